"""What comes late, as a redriven dead letter does: an older write never overwrites a newer one."""

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
from sqlalchemy import Column, Date, ForeignKey, Integer, MetaData, Table, Text, text

from chalicelib.buffer.sqs import put, take
from chalicelib.drain import handler
from tests.kit.world import Context, World, changed, event, without_patience

HOUR = 3_600


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("name", Text),
          Column("note", Text))  # fmt: skip
    Table("parts", metadata, Column("id", Integer, primary_key=True),
          Column("thing", ForeignKey("things.id")), Column("name", Text))  # fmt: skip
    Table("events", metadata, Column("id", Integer), info={"ordered": False})
    return metadata


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world(tables())


def accepted(entry: put.QueueEntry, seconds: float) -> put.QueueEntry:
    """The entry as of so many seconds later, or earlier."""
    return changed(entry, lambda m: m._replace(accepted_at=m.accepted_at + int(seconds * 1000)))


def taken(world: World) -> list[put.QueueEntry]:
    """What is queued, as of an hour ago."""
    entries, world.queued = world.queued, []
    return [accepted(entry, -HOUR) for entry in entries]


def redrive(*entries: put.QueueEntry, sent_at: float | None = None) -> None:
    """Deliver them as SQS does what is sent now, or then; 0: without saying when."""
    records = event(entries)
    for record in records["Records"]:
        if sent_at is not None:
            record["attributes"]["SentTimestamp"] = str(int(sent_at))
    assert handler.drain(records, Context(30), take) == {"batchItemFailures": []}


WRITES: Mapping[str, Callable[[World], Any]] = {
    "create": lambda world: world.post("things", {"id": 1, "name": "old"}),
    "create-or-merge": lambda world: world.post(
        "things", {"id": 1, "name": "old"}, Prefer="resolution=merge-duplicates"
    ),
    "create-or-ignore": lambda world: world.post(
        "things", {"id": 1, "name": "old"}, Prefer="resolution=ignore-duplicates"
    ),
    "replace": lambda world: world.put("things", 1, {"name": "old"}),
    "merge": lambda world: world.patch("things", 1, {"name": "old"}),
    "delete": lambda world: world.delete("things", 1),
}


@pytest.mark.parametrize("op", WRITES)
@pytest.mark.parametrize("newer", ["replace", "merge", "delete"])
def test_a_write_of_any_op_is_superseded_by_a_newer_one_of_any_op(
    world: World, op: str, newer: str
) -> None:
    world.execute("INSERT INTO things VALUES (1, 'first')")
    receipt = WRITES[op](world)
    (late,) = taken(world)
    if newer == "delete":
        world.delete("things", 1)
    else:
        (world.put if newer == "replace" else world.patch)("things", 1, {"name": "new"})
    world.drain()
    before = world.execute("SELECT * FROM things")

    redrive(late)

    assert world.execute("SELECT * FROM things") == before
    (rejection,) = world.status(receipt)["rejections"]
    assert rejection["type"] == "superseded"
    assert "later write" in rejection["reason"]


def test_only_the_writes_to_keys_with_a_newer_write_are_superseded(world: World) -> None:
    world.post("things", [{"id": n, "name": "old"} for n in range(40)])
    late = taken(world)
    for n in (3, 5, 8):
        world.put("things", n, {"name": "new"})
    world.drain()

    for start in range(0, len(late), 10):
        redrive(*late[start : start + 10])

    assert {*world.rejections()} == {(n, "superseded") for n in (3, 5, 8)}
    assert world.value("SELECT count(*) FROM things WHERE name = 'old'") == 37
    assert world.value("SELECT count(*) FROM things WHERE name = 'new'") == 3


def test_a_late_write_comes_again_while_rows_of_the_ledger_are_held_elsewhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer write to its key may be one of them."""
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    world.post("things", {"id": 1, "name": "old"})
    late = taken(world)
    world.put("things", 1, {"name": "new"})
    world.drain()
    world.execute("CREATE TABLE decanter.ledger_held AS SELECT * FROM decanter.ledger")
    world.execute("TRUNCATE decanter.ledger")

    answer = handler.drain(event(late), Context(5), take)

    assert len(answer["batchItemFailures"]) == 1
    assert world.execute("SELECT id, name FROM things") == [(1, "new")]
    world.execute("INSERT INTO decanter.ledger SELECT * FROM decanter.ledger_held")
    world.execute("DROP TABLE decanter.ledger_held")
    redrive(*late)
    assert world.rejections() == [(0, "superseded")]


def test_a_newer_write_that_was_rejected_supersedes_nothing(world: World) -> None:
    world.post("things", {"id": 1, "name": "old"})
    late = taken(world)
    world.patch("things", 1, {"name": "new"})  # there is no row yet: it is rejected as missing
    world.drain()
    assert world.rejections() == [(0, "missing")]

    redrive(*late)

    assert world.execute("SELECT id, name FROM things") == [(1, "old")]


def test_of_a_newer_message_only_the_writes_that_were_applied_supersede(world: World) -> None:
    world.execute("INSERT INTO things VALUES (1, 'there')")
    world.put("things", 1, {"name": "old"})
    world.put("things", 2, {"name": "old"})
    late = taken(world)
    world.post("things", [{"id": 1, "name": "new"}, {"id": 2, "name": "new"}])  # 1: a conflict
    world.drain()

    redrive(*late)

    assert world.execute("SELECT id, name FROM things ORDER BY id") == [(1, "old"), (2, "new")]


def test_an_older_write_supersedes_nothing(world: World) -> None:
    world.put("things", 1, {"name": "older"})
    older = [accepted(entry, -HOUR) for entry in taken(world)]
    world.put("things", 1, {"name": "old"})
    late = taken(world)
    world.drain(older)

    redrive(*late)

    assert world.execute("SELECT id, name FROM things") == [(1, "old")]
    assert world.rejections() == []


def test_what_waited_in_its_lane_is_not_late(world: World) -> None:
    """Its place there is its order, even if clocks say otherwise."""
    world.put("things", 1, {"name": "one"})
    world.put("things", 1, {"name": "two"})
    one, two = taken(world)
    sent_at = (time.time() - HOUR) * 1000
    redrive(one, sent_at=sent_at)

    redrive(accepted(two, -10), sent_at=sent_at)

    assert world.execute("SELECT id, name FROM things") == [(1, "two")]


def test_writes_that_come_late_together_are_poured_in_their_order(world: World) -> None:
    world.put("things", 1, {"name": "one"})
    world.patch("things", 1, {"note": "two"})
    one, two = taken(world)

    redrive(one, accepted(two, 60))

    assert world.execute("SELECT * FROM things") == [(1, "one", "two")]


def test_writes_that_come_late_together_in_another_order_do_not_overwrite_newer_ones(
    world: World,
) -> None:
    world.put("things", 1, {"name": "one"})
    world.put("things", 1, {"name": "two"})
    one, two = taken(world)

    redrive(accepted(two, 60), one)

    assert world.execute("SELECT id, name FROM things") == [(1, "two")]
    assert world.rejections() == [(0, "superseded")]


@pytest.mark.parametrize("is_applied", [True, False])
def test_a_newer_write_that_waits_supersedes_once_it_is_applied(
    world: World, is_applied: bool
) -> None:
    old = world.put("parts", 1, {"name": "old"})
    late = taken(world)
    world.put("parts", 1, {"thing": 7, "name": "new"})
    world.drain()

    redrive(*late)

    assert world.status(old)["state"] == "pending"
    if is_applied:
        world.execute("INSERT INTO things VALUES (7)")
        world.drain_by_schedule()
    else:
        with without_patience():
            world.drain_by_schedule()
    name, kind = ("new", "superseded") if is_applied else ("old", "missing-parent")
    assert world.execute("SELECT name FROM parts") == [(name,)]
    assert world.rejections() == [(0, kind)]


@pytest.mark.parametrize("is_applied", [True, False])
def test_a_newer_write_of_the_same_batch_supersedes_only_if_it_is_applied(
    world: World, is_applied: bool
) -> None:
    world.execute("ALTER TABLE things ADD CHECK (name <> 'bad')")
    world.put("things", 1, {"name": "old"})
    late = taken(world)
    world.put("things", 1, {"name": "new" if is_applied else "bad"})

    redrive(*world.queued, *late)

    name, kind = ("new", "superseded") if is_applied else ("old", "check")
    assert world.execute("SELECT name FROM things") == [(name,)]
    assert world.rejections() == [(0, kind)]


def test_unordered_writes_are_never_superseded(world: World) -> None:
    world.post("events", [{"id": 1}] * 3)
    late = taken(world)
    world.post("events", {"id": 1})
    world.drain()

    redrive(*late)

    assert world.value("SELECT count(*) FROM events") == 4
    assert world.rejections() == []


def test_a_late_write_that_was_poured_before_does_nothing(world: World) -> None:
    receipt = world.put("things", 1, {"name": "old"})
    late = taken(world)
    world.drain(late)
    world.put("things", 1, {"name": "new"})
    world.drain()

    redrive(*late)

    assert world.execute("SELECT id, name FROM things") == [(1, "new")]
    assert world.status(receipt)["state"] == "applied"


def test_nobody_asks_the_ledger_where_nothing_is_late(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chalicelib.postgres import ledger

    monkeypatch.setattr(ledger, "later_writes", None)
    world.put("things", 1, {"name": "one"})
    entries, world.queued = world.queued, []

    redrive(*entries, sent_at=time.time() * 1000)

    assert world.value("SELECT count(*) FROM things") == 1


def test_where_digests_do_not_tell_keys_apart_nothing_is_superseded(
    make_world: Callable[..., World],
) -> None:
    metadata = MetaData()
    Table("days", metadata, Column("id", Integer, primary_key=True),
          Column("day", Date, primary_key=True, server_default=text("CURRENT_DATE")),
          Column("name", Text))  # fmt: skip
    world = make_world(metadata)
    world.put("days", [1, "2026-01-01"], {"name": "old"})
    late = taken(world)
    world.put("days", [1, "2026-01-02"], {"name": "new"})
    world.drain()

    redrive(*late)

    assert world.execute("SELECT name FROM days ORDER BY day") == [("old",), ("new",)]
