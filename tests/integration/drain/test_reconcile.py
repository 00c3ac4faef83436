"""Writes that the stream has dropped come from the front table, once, and over nothing newer."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from chalicelib.buffer.dynamodb import entries, take
from chalicelib.buffer.dynamodb.entries import FrontItem
from chalicelib.drain import handler
from chalicelib.messages.message import Message, encode
from chalicelib.messages.receipt import Receipt, front_id, issue, new_id
from chalicelib.reader import overtaken
from decanter.deployment import reconcile as reconciling
from decanter.deployment.findings import DeploymentError
from decanter.deployment.reconcile import Reconciled, reconcile
from tests.kit.front_table import FrontTable
from tests.kit.fronted import NAME, error
from tests.kit.stream import drain, record, write
from tests.kit.world import RECEIPT_KEY, Context, World

HOUR = 3_600_000


class Lambda:
    """Invokes the drain. fails: instead of it. left: sequence numbers that are not finished.
    is_old: it is of a version that does not know of overtaken writes. busy: how many invocations
    are refused because the stream has all containers."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.left: list[str] = []
        self.fails = False
        self.is_old = False
        self.busy = 0

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        assert FunctionName == "drain"
        event = json.loads(Payload)
        if self.busy:
            self.busy -= 1
            raise error("TooManyRequestsException")
        if self.fails:
            body = {"errorMessage": "the database is unavailable"}
            return {"Payload": io.BytesIO(json.dumps(body).encode()), "FunctionError": "Unhandled"}
        if "Records" not in event:
            answer = handler.drain({} if self.is_old else event, Context(30), take)
            return {"Payload": io.BytesIO(json.dumps(answer).encode())}
        self.batches.append(len(event["Records"]))
        answer = handler.drain(event, Context(30), take)
        answer["batchItemFailures"] += [{"itemIdentifier": self.left.pop()}] if self.left else []
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}


class Stage:
    """The table, and what is in Postgres."""

    def __init__(self, world: World, table: FrontTable) -> None:
        self.world, self.table, self.functions = world, table, Lambda()

    def accept(self, message: Message) -> Message:
        """As the API function does; the stream has dropped it."""
        self.table.put(record(message)["dynamodb"]["NewImage"])
        return message

    def clients(self, service: str) -> Any:
        return {"lambda": self.functions, "dynamodb": self.table.client}[service]

    def run(self) -> Reconciled:
        return [*reconcile(self.clients, NAME, "drain")][-1]

    def counts(self) -> Reconciled:
        return replace(self.run(), settled_before=None)

    def status(self, *messages: Message, writes: int = 0, **more: Any) -> dict[str, Any]:
        """Of a request with these messages, from the first to the last."""
        ids = [UUID(each.dedup_id) for each in messages]
        count = ids[-1].int - ids[0].int + 1
        mark, at = messages[0].fingerprint, messages[0].accepted_at
        receipt = Receipt(ids[0], at, count, writes or count, mark)
        return self.world.status(issue(receipt, RECEIPT_KEY, "me"), **more)

    def rows(self) -> list[Any]:
        return self.world.execute("SELECT id, n FROM things ORDER BY id")


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("n", Integer), info={"front": "dynamodb"})  # fmt: skip
    return metadata


@pytest.fixture
def stage(
    make_world: Callable[[MetaData], World],
    front_table: FrontTable,
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    return Stage(make_world(tables()), front_table)


def thing(id: int, n: int | None, hours: float, op: Any = "replace") -> Message:
    """A write that was accepted so many hours ago."""
    row = {"id": id} if op == "delete" else {"id": id, "n": n}
    return write(op, "things", row, ms=-int(hours * HOUR))


def test_what_the_stream_has_dropped_is_poured_once(stage: Stage) -> None:
    for message in (thing(1, 1, 25), thing(2, 2, 700), thing(3, None, 30, "delete")):
        stage.accept(message)
    drain(stage.world, [record(thing(3, 3, 40))])  # before its delete was lost

    assert stage.counts() == Reconciled(items=3, sent=3)
    assert stage.rows() == [(1, 1), (2, 2)]
    stage.world.execute("UPDATE things SET n = 9")  # as if a later write had
    assert stage.run().sent == 3
    assert stage.rows() == [(1, 9), (2, 9)]


def test_what_the_stream_still_has_is_left_to_it(stage: Stage) -> None:
    stage.accept(thing(1, 1, 23.9))
    stage.accept(thing(2, 2, 31 * 24))

    assert stage.counts() == Reconciled(items=2, recent=1, expired=1)
    assert stage.rows() == []


def test_a_newer_write_that_was_poured_meanwhile_is_not_overwritten(stage: Stage) -> None:
    stage.accept(thing(1, 1, 26))
    drain(stage.world, [record(thing(1, 2, 0))])

    stage.run()

    assert stage.rows() == [(1, 2)]
    assert stage.world.execute("SELECT type FROM decanter.rejection") == [("superseded",)]


def test_entries_that_cannot_be_read_are_counted_and_named(stage: Stage) -> None:
    lost = thing(1, 1, 40)
    pk = entries.item_pk("things", ["7"])
    stage.table.put(entries.item_entry(FrontItem(pk, "{}", new_id(1).hex, "no message")))
    newer = encode(thing(8, 8, 30)).replace('{"v":1', '{"v":99', 1)
    pk = entries.item_pk("things", ["8"])
    stage.table.put(entries.item_entry(FrontItem(pk, "{}", new_id(1).hex, newer)))

    done = stage.run()

    assert replace(done, names=()) == Reconciled(items=2, damaged=1, newer=1)
    assert sorted(done.names) == ['row/things/["7"]', 'row/things/["8"]']
    assert stage.status(lost)["state"] == "pending"


def test_a_write_that_was_overtaken_reads_superseded(stage: Stage) -> None:
    lost, last = thing(1, 1, 40), stage.accept(thing(1, 2, 30))
    young = [thing(1, 1, 24.9), thing(2, 1, 3)]
    queued = lost._replace(dedup_id=str(new_id(lost.accepted_at)))
    assert stage.status(lost)["state"] == "pending"

    before = stage.run().settled_before

    assert before is not None
    assert lost.accepted_at < before < young[0].accepted_at
    found = stage.status(lost)
    assert (found["state"], found["applied"], found["rejected"]) == ("rejected", 0, 1)
    (rejection,) = found["rejections"]
    assert (rejection["item"], rejection["type"]) == (0, "superseded")
    assert rejection["reason"] == overtaken.REASON
    assert [(each["type"], each["items"]) for each in found["causes"]] == [("superseded", "0")]
    assert stage.status(last)["state"] == "applied"
    assert [stage.status(each)["state"] for each in (*young, queued)] == ["pending"] * 3
    assert stage.status(thing(1, 1, 31 * 24))["state"] == "expired"


def test_the_items_of_overtaken_writes_are_told_where_they_are_known(stage: Stage) -> None:
    first = front_id(thing(1, 1, 40).accepted_at, 4)
    lost, poured, later, not_reached = [
        thing(n, n, 40)._replace(dedup_id=str(UUID(int=first.int + n))) for n in range(4)
    ]
    drain(stage.world, [record(poured)])
    stage.run()

    found = stage.status(lost, poured, later, not_reached)

    assert (found["state"], found["applied"], found["rejected"]) == ("partial", 1, 3)
    assert [each["item"] for each in found["rejections"]] == [4, 6, 7]
    assert [(each["count"], each["items"]) for each in found["causes"]] == [(3, "4,6-7")]
    rest = stage.status(lost, poured, later, not_reached, after_item=5)
    assert [each["item"] for each in rest["rejections"]] == [6, 7]
    # One of the items between them was not written at all.
    found = stage.status(lost, poured, later, not_reached, writes=3)
    assert (found["state"], found["applied"], found["rejected"]) == ("partial", 1, 2)
    assert [each["item"] for each in found["rejections"]] == [None, None]
    assert [(each["count"], "items" in each) for each in found["causes"]] == [(2, False)]


def test_a_drain_of_a_former_version_leaves_receipts_as_they_are(stage: Stage) -> None:
    stage.functions.is_old = True

    assert stage.run() == Reconciled()
    assert stage.status(thing(1, 1, 40))["state"] == "pending"


def test_a_drain_that_the_stream_keeps_busy_is_asked_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "_PAUSE_SECONDS", 0)
    stage.accept(thing(1, 1, 25))
    stage.functions.busy = 3
    assert stage.counts() == Reconciled(items=1, sent=1)

    stage.table.client.delete_item(TableName=NAME, Key={"pk": {"S": 'row/things/["1"]'}})
    stage.functions.busy = 3
    assert stage.run().settled_before
    stage.functions.busy = 1_000
    with pytest.raises(DeploymentError, match="run this again"):
        stage.run()


def test_an_earlier_run_takes_nothing_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = thing(1, 1, 40)
    stage.run()
    monkeypatch.setattr(reconciling, "_SETTLED_HOURS", 50)
    stage.run()
    stage.run()

    assert stage.status(lost)["state"] == "rejected"


def test_it_may_be_stopped_anywhere(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "_MOST_RECORDS", 3)
    for id in range(10):
        stage.accept(thing(id, id, 25))

    first = next(iter(reconcile(stage.clients, NAME, "drain")))
    assert (first.sent, len(stage.rows())) == (3, 3)
    assert stage.counts() == Reconciled(items=10, sent=10)
    assert stage.functions.batches == [3, 3, 3, 3, 1]
    assert stage.rows() == [(id, id) for id in range(10)]


def test_what_is_unfinished_is_handed_over_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "_PAUSE_SECONDS", 0)
    for id in range(3):
        stage.accept(thing(id, id, 25))
    stage.functions.left = ["2"]

    assert stage.run().sent == 3
    assert stage.functions.batches == [3, 1]


def test_a_drain_that_fails_says_what_to_do(stage: Stage) -> None:
    stage.accept(thing(1, 1, 25))
    stage.functions.fails = True

    with pytest.raises(DeploymentError, match="the database is unavailable"):
        stage.run()
