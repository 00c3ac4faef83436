"""The drain on the rules of Aurora DSQL: no savepoints, settings, locks or COPY, and conflicts."""

import json
import re
from collections.abc import Callable
from typing import Any, cast
from uuid import uuid4

import pytest
from ministack.core import pgproxy
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table, Text, Uuid

from chalicelib.drain import handler, pour
from chalicelib.messages import split
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting import connection
from chalicelib.settings import SLOW_TRIES, message_rows
from chalicelib.sweep import handler as sweeper
from decanter.local import dsql as local_dsql
from decanter.proof.load.conflicts import Conflicts
from tests.kit.dsql import tables
from tests.kit.world import Context, World


@pytest.fixture
def engine_name() -> str:
    return "dsql"


@pytest.fixture
def dsql_world(make_world: Callable[[MetaData], World], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(handler, "_LONGEST_PAUSE_SECONDS", 0)
    return make_world(tables())


def ids(world: World) -> list[Any]:
    return [id_ for (id_,) in world.execute("SELECT id FROM things ORDER BY id")]


def test_all_ops_are_poured(dsql_world: World):
    world = dsql_world
    world.post("things", [{"id": f"{n}", "n": n} for n in range(200)])
    world.patch("things", "1", {"n": -1})
    world.put("things", "new", {"n": 5})
    world.delete("things", "2")
    missing = world.patch("things", "gone", {"n": 1})
    world.post("made", [{"a": 1}, {"a": 2}])

    assert world.drain() == {"batchItemFailures": []}

    assert len(ids(world)) == 200
    assert world.value("SELECT n FROM things WHERE id = '1'") == -1
    assert world.value("SELECT count(*) FROM made") == 2
    assert world.status(missing)["rejections"][0]["type"] == "missing"


def test_bad_rows_are_set_aside_without_savepoints(dsql_world: World):
    world = dsql_world
    world.post("things", {"id": "taken", "u": 7})
    world.drain()
    receipt = world.post(
        "things",
        [{"id": f"{n:02}", "n": n, "u": 7 if n in (3, 11) else None} for n in range(20)],
    )
    other = world.post("things", {"id": "other"})

    world.drain()

    assert len(ids(world)) == 20
    status = world.status(receipt)
    assert [(each["item"], each["type"]) for each in status["rejections"]] == [
        (3, "conflict"),
        (11, "conflict"),
    ]
    assert world.status(other)["state"] == "applied"


def test_a_bad_row_is_found_whatever_models_make_of_each_try(
    make_world: Callable[[MetaData], World],
):
    """The transaction is done again, and then sends other values than before."""
    metadata = MetaData()
    Table(
        "moving",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("n", Integer, CheckConstraint("n < 5", name="small")),
        Column("touched", Uuid, onupdate=uuid4),
        Column("also", Text, onupdate=lambda: str(uuid4())),
        Column("made", Uuid, default=uuid4),
    )
    world = make_world(metadata)
    world.post("moving", [{"id": n, "n": 1} for n in range(4)])
    world.drain()

    for change in ("resolution=merge-duplicates", ""):
        first = 10 if not change else 1
        sent = [{"id": first, "n": 2}, {"id": first + 1, "n": 9}, {"id": first + 2, "n": 3}]
        receipt = world.post("moving", sent, Prefer=change)
        world.drain()

        status = world.status(receipt)
        assert status["state"] == "partial"
        assert [(each["item"], each["type"]) for each in status["rejections"]] == [(1, "check")]


def test_a_child_waits_for_its_parent(dsql_world: World):
    world = dsql_world
    world.post("parts", [{"id": 1, "thing": "late"}, {"id": 2, "thing": None}])
    world.drain()
    assert world.execute("SELECT id FROM parts") == [(2,)]
    world.post("things", {"id": "late"})
    world.drain()
    world.drain_by_schedule()
    assert world.value("SELECT count(*) FROM parts") == 2
    assert world.rejections() == []


def test_conditions_are_checked_with_the_locks_that_there_are(dsql_world: World):
    world = dsql_world
    world.post("things", {"id": "x", "n": 1})
    world.drain()
    unmet = world.put("things", "x", {"n": 2}, If_None_Match="*")
    met = world.put("things", "x", {"n": 3}, If_Match="*")
    world.drain()
    assert world.status(unmet)["rejections"][0]["type"] == "precondition-failed"
    assert world.status(met)["state"] == "applied"
    assert world.value("SELECT n FROM things") == 3


def statements_of(world: World, monkeypatch: pytest.MonkeyPatch, fails: int) -> tuple[int, Any]:
    """Pour a batch with a bad row, with one statement refused as a conflict; return how many
    statements there were until then, and what the database has."""
    sent = 0
    real = pgproxy.validate

    def validate(sql: str, state: Any = None) -> Any:
        nonlocal sent
        sent += 1
        if sent == fails:
            return pgproxy.DsqlError("40001", "mutation conflicts with another transaction (OC000)")
        return real(sql, state)

    world.execute("TRUNCATE things, parts, decanter.ledger, decanter.rejection, decanter.waiting")
    world.post("things", [{"id": f"{n}", "u": 1} for n in range(2)], Idempotency_Key=f"k{fails}")
    world.post("things", {"id": "other"}, Idempotency_Key=f"o{fails}")
    world.patch("things", "other", {"n": 1}, Idempotency_Key=f"p{fails}")
    with monkeypatch.context() as patch:
        patch.setattr(pgproxy, "validate", validate)
        assert world.drain() == {"batchItemFailures": []}
    things = world.execute("SELECT n FROM things ORDER BY n")
    return sent, (things, world.rejections("type"))


def test_a_conflict_at_any_statement_changes_nothing(
    dsql_world: World, monkeypatch: pytest.MonkeyPatch
):
    world = dsql_world
    sent, expected = statements_of(world, monkeypatch, fails=0)
    assert expected == ([(1,), (None,)], [("conflict",)])
    for number in range(1, sent + 1):
        assert statements_of(world, monkeypatch, number)[1] == expected, number


def test_every_function_does_again_what_has_met_another_transaction(dsql_world: World):
    world, conflicts = dsql_world, Conflicts()
    [*local_dsql._servers.values()][-1].conflict = conflicts
    receipt = world.post("things", {"id": "x"})

    assert world.drain() == {"batchItemFailures": []}
    handler.drain({"reconciled": 1}, Context(30), cast(Any, None))
    assert world.status(receipt)["state"] == "applied"
    assert sweeper.sweep(Context(30)) == {"deleted": 0, "emptied": 0}

    connection.forget("sweep")
    assert {each.role for each in conflicts.came} == {"drain", "reader", "sweep"}
    assert {*conflicts.came} == {*conflicts.struck}


def test_a_conflict_keeps_the_connection(dsql_world: World, monkeypatch: pytest.MonkeyPatch):
    world = dsql_world
    world.post("things", {"id": "x"})
    world.drain()
    held = connection._held["drain"]
    statements_of(world, monkeypatch, fails=3)
    assert connection._held["drain"] is held


def test_two_pours_of_one_request_write_one_row(dsql_world: World):
    assert "DO UPDATE" in ledger._CLAIM_REQUEST_AGAIN
    world = dsql_world
    receipt = world.post("things", [{"id": "a"}, {"id": "b"}], Idempotency_Key="once")
    again = [*world.queued]
    world.drain()
    claimed = world.execute("SELECT xmin::text FROM decanter.ledger WHERE writes = 0")
    world.drain(again)
    assert world.execute("SELECT xmin::text FROM decanter.ledger WHERE writes = 0") != claimed
    assert world.status(receipt)["state"] == "applied"


def test_an_old_connection_is_replaced(dsql_world: World, monkeypatch: pytest.MonkeyPatch):
    world = dsql_world
    world.post("things", {"id": "x"})
    world.drain()
    held = connection._held["drain"]
    world.post("things", {"id": "y"})
    world.drain()
    assert connection._held["drain"] is held
    now = connection.time.time()
    monkeypatch.setattr(connection.time, "time", lambda: now + 3_500)
    world.post("things", {"id": "z"})
    world.drain()
    assert connection._held["drain"] is not held
    assert held.closed
    assert json.dumps(ids(world)) == '["x", "y", "z"]'


def test_no_transaction_writes_more_rows_than_it_may(dsql_world: World):
    world = dsql_world
    for first in range(0, 6_000, 1_000):
        world.post("things", [{"id": f"{n:04}"} for n in range(first, first + 1_000)])
    world.post("things", {"id": "0000"})

    world.drain()

    assert len(ids(world)) == 6_000
    assert world.rejections("type") == [("conflict",)]
    assert most_written(world) <= 3_000


TABLES = ("things", "parts", "made", *(f"decanter.{name}" for name in (
    "ledger", "rejection", "waiting", "made_key", "outbox")))  # fmt: skip


def most_written(world: World) -> int:
    """The most rows that are there from one transaction."""
    rows = " UNION ALL ".join(f"SELECT xmin::text FROM {table}" for table in TABLES)
    return int(max(world.execute(f"SELECT count(*) FROM ({rows}) AS row GROUP BY xmin"))[0])


@pytest.mark.parametrize(
    ("resource", "row", "outcome", "alike"),
    [
        ("things", {"u": 7}, "rejected", True),
        ("things", {"u": 7}, "rejected", False),
        ("parts", {"thing": "late"}, "pending", True),
        ("made", {}, "applied", True),
        ("made", {}, "applied", False),
    ],
)
def test_the_largest_message_is_poured_whatever_becomes_of_it(
    dsql_world: World,
    monkeypatch: pytest.MonkeyPatch,
    resource: str,
    row: dict[str, Any],
    outcome: str,
    alike: bool,
):
    world = dsql_world
    monkeypatch.setattr(split, "LANES", 1)
    monkeypatch.setattr(pour, "retry", lambda *_, **__: None)
    world.execute("INSERT INTO things VALUES ('taken', 1, 7)")
    most = message_rows()
    assert most is not None
    ids = {"things": str, "parts": int}.get(resource, lambda _: None)
    rows = [{**row, "id": ids(n), "n" if resource == "things" else "a": n} for n in range(most)]
    for n, each in enumerate(rows):
        if resource == "made" or (resource == "things" and not alike and n % 2):
            each.pop("id" if resource == "made" else "n")
        if resource == "parts":
            each.pop("a")
        if resource == "made" and not alike and n % 2:
            each.pop("a")
    receipt = world.post(resource, rows)
    [_] = world.queued

    assert world.drain() == {"batchItemFailures": []}

    assert world.status(receipt)["state"] == outcome
    assert most <= most_written(world) <= 3_000


def limited(monkeypatch: pytest.MonkeyPatch, error: pgproxy.DsqlError, most: int) -> None:
    """Refuse statements of a transaction that deletes more rows."""
    real, deleted = pgproxy.validate, 0

    def validate(sql: str, state: Any = None) -> Any:
        nonlocal deleted
        is_delete = bool(re.search(r"DELETE FROM \S*things", sql))
        if sql == "BEGIN":
            deleted = 0
        elif is_delete:
            deleted += len(re.findall("big", sql))
        return error if is_delete and deleted > most else real(sql, state)

    monkeypatch.setattr(pgproxy, "validate", validate)


TOO_MUCH = [
    ("54000", "transaction row limit exceeded"),
    ("25006", "transaction exceeds the 3,000 row limit"),
]


@pytest.mark.parametrize(("sqlstate", "reason"), TOO_MUCH)
def test_a_write_that_changes_too_much_is_rejected(
    dsql_world: World, monkeypatch: pytest.MonkeyPatch, sqlstate: str, reason: str
):
    world = dsql_world
    world.execute("INSERT INTO things VALUES ('big', 1, 1), ('other', 1, 2)")
    limited(monkeypatch, pgproxy.DsqlError(sqlstate, reason), most=0)
    bad, good = world.delete("things", "big"), world.delete("things", "other")

    assert world.drain() == {"batchItemFailures": []}
    assert world.status(good)["state"] == "applied"
    for _ in range(SLOW_TRIES):
        world.drain_by_schedule()

    assert [each["reason"] for each in world.status(bad)["rejections"]] == [reason]
    assert world.rejections("sqlstate") == [("54000",)]


@pytest.mark.parametrize(("sqlstate", "reason"), TOO_MUCH)
def test_writes_that_change_too_much_together_are_poured_apart(
    dsql_world: World, monkeypatch: pytest.MonkeyPatch, sqlstate: str, reason: str
):
    world = dsql_world
    receipts = []
    for n in range(5):
        world.execute("INSERT INTO things VALUES (%s)", f"big {n}")
        receipts.append(world.delete("things", f"big {n}"))
    limited(monkeypatch, pgproxy.DsqlError(sqlstate, reason), most=2)

    assert world.drain() == {"batchItemFailures": []}
    for _ in receipts:
        world.drain_by_schedule()

    assert [world.status(each)["state"] for each in receipts] == ["applied"] * 5
