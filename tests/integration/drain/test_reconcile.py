"""Writes that the stream has dropped come from the front table, once, and over nothing newer."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from chalicelib.buffer.dynamodb import entries, take
from chalicelib.buffer.dynamodb.entries import FrontItem
from chalicelib.drain import handler
from chalicelib.messages.message import Message, encode
from chalicelib.messages.receipt import new_id
from decanter.deployment import reconcile as reconciling
from decanter.deployment.findings import DeploymentError
from decanter.deployment.reconcile import Reconciled, reconcile
from tests.kit.front_table import FrontTable
from tests.kit.fronted import NAME
from tests.kit.stream import drain, record, write
from tests.kit.world import Context, World

HOUR = 3_600_000


class Lambda:
    """Invokes the drain. fails: instead of it. left: sequence numbers that are not finished."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.left: list[str] = []
        self.fails = False

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        assert FunctionName == "drain"
        event = json.loads(Payload)
        if self.fails:
            body = {"errorMessage": "the database is unavailable"}
            return {"Payload": io.BytesIO(json.dumps(body).encode()), "FunctionError": "Unhandled"}
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

    def rows(self) -> list[Any]:
        return self.world.execute("SELECT id, n FROM things ORDER BY id")


@pytest.fixture
def stage(
    make_world: Callable[[MetaData], World],
    front_table: FrontTable,
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("n", Integer), info={"front": "dynamodb"})  # fmt: skip
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    return Stage(make_world(metadata), front_table)


def thing(id: int, n: int | None, hours: float, op: Any = "replace") -> Message:
    """A write that was accepted so many hours ago."""
    row = {"id": id} if op == "delete" else {"id": id, "n": n}
    return write(op, "things", row, ms=-int(hours * HOUR))


def test_what_the_stream_has_dropped_is_poured_once(stage: Stage) -> None:
    for message in (thing(1, 1, 25), thing(2, 2, 700), thing(3, None, 30, "delete")):
        stage.accept(message)
    drain(stage.world, [record(thing(3, 3, 40))])  # before its delete was lost

    assert stage.run() == Reconciled(items=3, sent=3)
    assert stage.rows() == [(1, 1), (2, 2)]
    stage.world.execute("UPDATE things SET n = 9")  # as if a later write had
    assert stage.run().sent == 3
    assert stage.rows() == [(1, 9), (2, 9)]


def test_what_the_stream_still_has_is_left_to_it(stage: Stage) -> None:
    stage.accept(thing(1, 1, 23.9))
    stage.accept(thing(2, 2, 31 * 24))

    assert stage.run() == Reconciled(items=2, recent=1, expired=1)
    assert stage.rows() == []


def test_a_newer_write_that_was_poured_meanwhile_is_not_overwritten(stage: Stage) -> None:
    stage.accept(thing(1, 1, 26))
    drain(stage.world, [record(thing(1, 2, 0))])

    stage.run()

    assert stage.rows() == [(1, 2)]
    assert stage.world.execute("SELECT type FROM decanter.rejection") == [("superseded",)]


def test_entries_that_cannot_be_read_are_counted(stage: Stage) -> None:
    pk = entries.item_pk("things", ["7"])
    stage.table.put(entries.item_entry(FrontItem(pk, "{}", new_id(1).hex, "no message")))
    newer = encode(thing(8, 8, 30)).replace('{"v":1', '{"v":99', 1)
    pk = entries.item_pk("things", ["8"])
    stage.table.put(entries.item_entry(FrontItem(pk, "{}", new_id(1).hex, newer)))

    assert stage.run() == Reconciled(items=2, damaged=1, recent=1)


def test_it_may_be_stopped_anywhere(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "_MOST_RECORDS", 3)
    for id in range(10):
        stage.accept(thing(id, id, 25))

    first = next(iter(reconcile(stage.clients, NAME, "drain")))
    assert (first.sent, len(stage.rows())) == (3, 3)
    assert stage.run() == Reconciled(items=10, sent=10)
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
