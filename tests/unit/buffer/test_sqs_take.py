"""Records of SQS → deliveries: lanes are of the ordered queue alone."""

from typing import Any

import pytest

from chalicelib.buffer.sqs import take


def record(group: str, **more: str) -> dict[str, Any]:
    return {"messageId": "m", "body": "{}", "attributes": {"MessageGroupId": group}, **more}


@pytest.mark.parametrize(
    ("queue", "lane"),
    [("stage-ordered.fifo", "7"), ("stage-unordered", None), ("stage-fifo", None)],
)
def test_the_message_group_of_a_standard_queue_is_no_lane(queue: str, lane: str | None) -> None:
    arn = f"arn:aws:sqs:eu-central-1:1:{queue}"

    [delivery] = take.deliveries({"Records": [record("7", eventSourceARN=arn)]})

    assert delivery.lane == lane


def test_a_record_that_does_not_name_its_queue_keeps_its_order() -> None:
    [delivery] = take.deliveries({"Records": [record("7")]})

    assert delivery.lane == "7"
