"""The overview and the lanes as the API function puts them together, and estimates in a status."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.api.ops import overview
from chalicelib.api.reads import pending
from chalicelib.buffer import mappings
from chalicelib.buffer.sqs import backlog, counts, put
from chalicelib.messages.pace import Pace
from chalicelib.messages.receipt import front_id, issue
from tests.kit.api import RECEIPT_KEY, Answered, assert_problem, body_of
from tests.kit.reader_stub import RECEIPT, TOKEN, Clock, Reader

OPERATOR = "ops:read"
NOW = 1_800_000_000
DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "arn:secret"}}, "Get")
RESOURCES = [
    {"name": "stations", "front": "sqs", "ordered": True, "writes_per_minute": 600, "lag": None,
     "rejected_last_hour": 2, "waiting": 0},
]  # fmt: skip
FOUND = {
    "now": NOW,
    "resources": RESOURCES,
    "waiting": [],
    "connections": {"decanter-drain": 3, "decanter-operate": 1, "decanter-reader": 2},
    "rejections": [],
    "history": {"minutes": []},
    "paces": [Pace("ordered", NOW, 600, 60, 60, 0.5, 0, None)],
    "past": [Pace("ordered", NOW - 600, 600, 60, 60, 0.5, 100, NOW - 590)],
}


@dataclass
class Aws:
    """SQS, Lambda and CloudWatch. queues: attributes by the end of the URL. mappings: their states,
    by buffer. ages: by the value of the metric's dimension; anything may be an exception."""

    queues: dict[str, Any] = field(default_factory=dict)
    mappings: dict[str, Any] = field(default_factory=dict)
    ages: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> Any:
        self.asked.append(QueueUrl)
        found = self.queues.get(QueueUrl.rpartition("/")[2], {})
        if isinstance(found, Exception):
            raise found
        return {"Attributes": {name: found[name] for name in AttributeNames if name in found}}

    def get_event_source_mapping(self, UUID: str) -> Any:
        found = self.mappings.get(UUID, "Enabled")
        if isinstance(found, Exception):
            raise found
        return {"UUID": UUID, "State": found}

    def get_metric_statistics(self, Dimensions: list[Any], **_: Any) -> Any:
        [dimension] = Dimensions
        self.asked.append(dimension["Value"])
        found = self.ages.get(dimension["Value"])
        if isinstance(found, Exception):
            raise found
        at = datetime.now(UTC)
        return {"Datapoints": [] if found is None else [{"Timestamp": at, "Maximum": found}]}


def queue(queued: int, in_flight: int = 0, dead_letters: str = "") -> dict[str, str]:
    found = {
        "ApproximateNumberOfMessages": str(queued),
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": str(in_flight),
    }
    if dead_letters:
        arn = f"arn:aws:sqs:eu-west-1:1:{dead_letters}"
        found["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1000})
    return found


@pytest.fixture
def cloud(intake_environment: None, recorder: Any, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """Queues with their dead-letter queues, all empty."""
    found = Aws(
        {
            "ordered.fifo": queue(0, dead_letters="ordered-dlq.fifo"),
            "ordered-dlq.fifo": queue(0),
            "unordered": queue(0, dead_letters="unordered-dlq"),
            "unordered-dlq": queue(0),
        }
    )
    monkeypatch.setattr(put, "_client", lambda: found)
    monkeypatch.setattr(backlog, "_client", lambda: found)
    monkeypatch.setattr(aws, "within", lambda _deadline, call: call())
    monkeypatch.setattr(counts, "counts", COUNTS)
    monkeypatch.setenv("DECANTER_BUDGET", '{"drain": 7, "reader": 4, "owner": 1, "sweep": 1}')
    for name in ("ORDERED", "UNORDERED"):
        monkeypatch.setenv(f"DECANTER_{name}_MAPPING", name.lower())
    monkeypatch.setattr(mappings, "_client", lambda: found)
    pending._readings.clear()
    return found


COUNTS = counts.counts


@pytest.fixture
def read(
    api: Callable[..., Answered], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """`read(**changes)`: the overview, where the database has found this."""

    def overview(**changes: Any) -> dict[str, Any]:
        Reader(monkeypatch, {"body": json.dumps({**FOUND, **changes})})
        answer = api("GET", "/ops/overview", scopes=OPERATOR)
        assert answer.status_code == 200, answer.body
        found: dict[str, Any] = body_of(answer)
        return found

    return overview


def buffer(found: dict[str, Any], name: str) -> dict[str, Any]:
    [its] = [each for each in found["buffers"] if each["name"] == name]
    return dict(its)


def why(found: dict[str, Any], what: str) -> str | None:
    return next((each["why"] for each in found["unknown"] if each["what"] == what), None)


def test_the_overview_has_what_the_database_and_sqs_say(cloud: Aws, read: Any) -> None:
    cloud.queues["ordered.fifo"] |= queue(15, 5)
    cloud.queues["ordered-dlq.fifo"] = queue(3)
    cloud.ages["ordered.fifo"] = 42.0

    found = read()

    assert found["resources"] == RESOURCES
    ordered = buffer(found, "ordered")
    assert {name: ordered[name] for name in ("queued", "in_flight", "oldest_seconds")} == {
        "queued": 15, "in_flight": 5, "oldest_seconds": 42.0
    }  # fmt: skip
    assert ordered["dead_letters"] == 3
    assert ordered["estimate"]["seconds"] == 20.0
    assert ordered["estimate"]["writes_ahead"] == 200
    assert found["estimate_score"]["scored"] == 1
    assert [each["name"] for each in found["buffers"]] == ["ordered", "unordered"]


def test_connections_are_those_of_a_role_against_its_part_of_the_budget(
    cloud: Aws, read: Any
) -> None:
    found = read()

    assert found["budget"] == 13
    assert found["connections"] == [
        {"role": "drain", "in_use": 4, "most": 7},
        {"role": "owner", "in_use": 0, "most": 1},
        {"role": "reader", "in_use": 2, "most": 4},
        {"role": "sweep", "in_use": 0, "most": 1},
    ]


def test_an_empty_queue_has_no_oldest_message_and_nobody_is_asked_for_its_age(
    cloud: Aws, read: Any
) -> None:
    found = read()

    assert buffer(found, "unordered")["oldest_seconds"] is None
    assert why(found, "buffers.unordered.oldest_seconds") is None
    assert "unordered" not in cloud.asked


def test_an_age_that_cloudwatch_has_not_yet_is_unknown_not_zero(cloud: Aws, read: Any) -> None:
    cloud.queues["ordered.fifo"] |= queue(0, 1)

    found = read()

    assert buffer(found, "ordered")["oldest_seconds"] is None
    assert "late" in str(why(found, "buffers.ordered.oldest_seconds"))


def test_what_aws_denies_is_unknown_and_names_no_account(cloud: Aws, read: Any) -> None:
    cloud.queues["ordered.fifo"] = DENIED
    cloud.queues["unordered-dlq"] = DENIED
    cloud.queues["unordered"] |= queue(1)
    cloud.ages["unordered"] = DENIED

    found = read()

    names = ("queued", "in_flight", "oldest_seconds", "dead_letters")
    assert [buffer(found, "ordered")[name] for name in names] == [None] * 4
    assert [buffer(found, "unordered")[name] for name in names] == [1, 0, None, None]
    denied = {each["what"] for each in found["unknown"] if "AccessDenied" in each["why"]}
    assert denied == {
        "buffers.ordered.queued", "buffers.unordered.dead_letters",
        "buffers.unordered.oldest_seconds",
    }  # fmt: skip
    assert "secret" not in json.dumps(found)
    assert buffer(found, "ordered")["estimate"]["seconds"] is None


def test_a_paused_buffer_says_so_and_has_no_estimate_of_what_waits(cloud: Aws, read: Any) -> None:
    cloud.mappings = {"ordered": "Disabling", "unordered": DENIED}
    cloud.queues["ordered.fifo"] |= queue(7)

    found = read()

    assert buffer(found, "ordered")["mapping"] == {"state": "Disabling", "paused": True}
    assert "is paused" in buffer(found, "ordered")["estimate"]["basis"]
    assert buffer(found, "unordered")["mapping"] is None
    assert "AccessDenied" in str(why(found, "buffers.unordered.mapping"))


def test_a_database_that_does_not_answer_leaves_the_rest_known(
    cloud: Aws, api: Callable[..., Answered], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator looks when something is wrong."""
    Reader(monkeypatch, {"unwell": True})
    cloud.queues["ordered.fifo"] |= queue(9)

    found = body_of(api("GET", "/ops/overview", scopes=OPERATOR))

    assert "does not answer" in str(why(found, "database"))
    assert all(why(found, name) for name in ("resources", "history", "connections.in_use"))
    assert buffer(found, "ordered")["queued"] == 9
    assert buffer(found, "ordered")["estimate"]["seconds"] is None
    names = ("resources", "waiting", "rejections", "history", "estimate_score")
    assert [found[name] for name in names] == [None] * 5
    assert {each["in_use"] for each in found["connections"]} == {None}


def test_calls_that_hang_leave_the_rest_unknown_in_time(
    cloud: Aws, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(time.monotonic())
    monkeypatch.setattr(overview.time, "monotonic", clock.monotonic)

    def hang(_url: str) -> counts.Counts:
        clock.sleep(21)
        return counts.Counts(1, 0, None)

    monkeypatch.setattr(counts, "counts", hang)

    found = read()

    assert buffer(found, "ordered")["queued"] == 1
    assert "no time left" in str(why(found, "buffers.ordered.oldest_seconds"))
    assert "no time left" in str(why(found, "buffers.unordered.queued"))
    assert len(clock.sleeps) == 1


def test_without_its_variable_the_budget_is_unknown(
    cloud: Aws, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DECANTER_BUDGET")

    found = read()

    assert found["budget"] is None
    assert "DECANTER_BUDGET" in str(why(found, "budget"))
    assert {each["role"]: each["most"] for each in found["connections"]} == {
        "drain": None, "reader": None
    }  # fmt: skip


def test_a_stream_tells_its_age_and_not_how_much_waits(
    cloud: Aws, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECANTER_FRONT_TABLE", "front")
    monkeypatch.setenv("DECANTER_STREAM_FUNCTION", "drain_stream")
    monkeypatch.setenv("DECANTER_STREAM_MAPPING", "stream")
    cloud.ages["drain_stream"] = 2_500.0

    found = read()

    stream = buffer(found, "stream")
    assert (stream["oldest_seconds"], stream["queued"], stream["dead_letters"]) == (2.5, None, None)
    assert {"buffers.stream.queued", "buffers.stream.dead_letters", "buffers.stream.estimate"} <= {
        each["what"] for each in found["unknown"]
    }


@pytest.mark.parametrize("path", ["/ops/overview", "/ops/lanes"])
def test_operators_alone_may_look(api: Callable[..., Answered], path: str) -> None:
    assert_problem(api("GET", path, scopes="*:read *:write ops:write"), 403, "missing-scope")
    assert_problem(api("POST", path, {}, scopes=OPERATOR), 405, "op-not-allowed")
    assert_problem(api("GET", f"{path}?x=1", scopes=OPERATOR), 400, "invalid-query")


def test_lanes_are_passed_on_with_what_they_leave_out(
    api: Callable[..., Answered], monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes = [{"lane": 3, "waiting": 2, "blocking": None}]
    reader = Reader(monkeypatch, {"body": json.dumps(lanes), "rows": 1})

    found = body_of(api("GET", "/ops/lanes", scopes=OPERATOR))

    assert found["lanes"] == lanes
    assert "SQS does not tell" in found["basis"]
    assert reader.asked == [{"ask": "ops", "what": "lanes", "given": {}}]


def status(
    api: Callable[..., Answered], patch: pytest.MonkeyPatch, token: str = TOKEN, **members: Any
) -> dict[str, Any]:
    """The estimate in the status of a pending request."""
    given = {"queued": 5, "paces": FOUND["paces"], **members}
    Reader(patch, {"body": '{"state":"pending","writes":5}', "state": "pending", "pending": True,
                   **given})  # fmt: skip
    answer = body_of(api("GET", f"/writes/{token}"))
    assert (answer["state"], answer["writes"]) == ("pending", 5)
    return dict(answer["estimate"])


def test_a_pending_status_says_when_what_waits_will_be_poured(
    cloud: Aws, api: Callable[..., Answered], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.queues["ordered.fifo"] |= queue(10)
    cloud.queues["unordered"] |= queue(1_000)

    found = status(api, monkeypatch)
    assert (found["seconds"], found["writes_ahead"]) == (10.0, 100)
    assert found["basis"]


def test_a_pending_status_may_be_on_either_queue(
    cloud: Aws, api: Callable[..., Answered], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.queues["ordered.fifo"] |= queue(10)
    cloud.queues["unordered"] |= queue(30)
    paces = [*FOUND["paces"], Pace("unordered", NOW, 60, 60, 60, 0, 0, None)]

    assert status(api, monkeypatch, paces=paces)["seconds"] == 30.0


def test_the_messages_are_counted_once_in_some_seconds(
    cloud: Aws, api: Callable[..., Answered], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        status(api, monkeypatch)
    assert len(cloud.asked) == 1

    later = pending.time.monotonic() + 6
    monkeypatch.setattr(pending.time, "monotonic", lambda: later)
    status(api, monkeypatch)
    assert len(cloud.asked) == 2


def test_a_status_is_answered_even_if_nobody_counts(
    cloud: Aws, api: Callable[..., Answered], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.queues["ordered.fifo"] = DENIED

    found = status(api, monkeypatch)

    assert (found["seconds"], "how many messages" in found["basis"]) == (None, True)


def test_a_pending_status_says_that_the_drain_is_paused(
    cloud: Aws, api: Callable[..., Answered], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.queues["ordered.fifo"] |= queue(10)
    cloud.mappings = {"ordered": "Disabled"}

    found = status(api, monkeypatch)

    assert (found["seconds"], "the drain of ordered is paused" in found["basis"]) == (None, True)


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"queued": 0, "paces": []}, "wait in the database"),
        ({"queued": None, "paces": []}, "older version"),
        ({"paces": []}, "the database does not tell"),
    ],
)
def test_a_status_without_an_estimate_says_why(
    cloud: Aws,
    api: Callable[..., Answered],
    monkeypatch: pytest.MonkeyPatch,
    members: dict[str, Any],
    why: str,
) -> None:
    cloud.queues["ordered.fifo"] |= queue(10)

    found = status(api, monkeypatch, **members)

    assert (found["seconds"], why in found["basis"]) == (None, True)


def test_a_status_of_writes_in_front_needs_no_queue(
    cloud: Aws, api: Callable[..., Answered], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = issue(RECEIPT._replace(id=front_id(7, 0)), RECEIPT_KEY.encode(), "me")

    found = status(api, monkeypatch, token)

    assert (found["seconds"], "stream" in found["basis"], cloud.asked) == (None, True, [])
