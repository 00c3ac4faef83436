"""The consumer of docs/events.md: each event once, and nothing older after something newer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from chalicelib.publish import event
from tests.kit import outbox_stub
from tests.kit.consumer import program
from tests.kit.mocked_aws import mocked_aws

CONSUMER = program()


@pytest.fixture(name="queue")
def fixture_queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"),
                        ("DEFAULT_REGION", "eu-central-1")):  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    with mocked_aws():
        yield boto3.client("sqs").create_queue(
            QueueName="q", Attributes={"VisibilityTimeout": "0"}
        )["QueueUrl"]


def send(queue: str, *places: int, **members: Any) -> None:
    for place in places:
        text = event.read(outbox_stub.event(place, **members)).text
        boto3.client("sqs").send_message(QueueUrl=queue, MessageBody=text)


def consumed(queue: str, store: Any, **how: Any) -> list[int]:
    found: list[int] = []
    CONSUMER.consume(
        queue, store, lambda event, _store: found.append(event["sequence"]), wait=0, **how
    )
    return found


def test_an_event_is_handled_once_however_often_it_comes(queue: str, tmp_path: Path) -> None:
    store = CONSUMER.open_store(tmp_path / "events.db")
    send(queue, 2, 1, 2, 2)

    assert consumed(queue, store) == [1, 2]
    send(queue, 1, 3)
    assert consumed(queue, CONSUMER.open_store(tmp_path / "events.db")) == [3]


def test_nothing_older_follows_something_newer_about_the_same_row(
    queue: str, tmp_path: Path
) -> None:
    store = CONSUMER.open_store(tmp_path / "events.db")
    send(queue, 5, 9)
    assert consumed(queue, store, about=lambda _: "row") == [5, 9]

    send(queue, 7, 10)

    assert consumed(queue, store, about=lambda _: "row") == [10]


def test_what_could_not_be_handled_comes_again(queue: str, tmp_path: Path) -> None:
    store = CONSUMER.open_store(tmp_path / "events.db")
    send(queue, 1)

    def fail(_event: Any, _store: Any) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        CONSUMER.consume(queue, store, fail, wait=0)

    assert consumed(queue, store) == [1]
    assert consumed(queue, store) == []


def test_it_reads_all_envelopes() -> None:
    made = outbox_stub.event(1)

    assert CONSUMER.read(json.dumps(made)) == made
    assert CONSUMER.read(json.dumps({"Type": "Notification", "Message": json.dumps(made)})) == made
    assert CONSUMER.read(json.dumps({"source": "decanter", "detail": made})) == made
