"""The drain on the rules of Aurora DSQL: no savepoints, settings, locks or COPY, and conflicts."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from ministack.core import pgproxy
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text, Uuid, text

from chalicelib.drain import handler
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting import connection
from tests.kit.world import World


@pytest.fixture
def engine_name() -> str:
    return "dsql"


@pytest.fixture
def dsql_world(make_world: Callable[[MetaData], World], monkeypatch: pytest.MonkeyPatch) -> World:
    metadata = MetaData()
    Table("things", metadata, Column("id", Text, primary_key=True), Column("n", Integer),
          Column("u", Integer, unique=True))  # fmt: skip
    Table("parts", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("thing", Text, ForeignKey("things.id")))  # fmt: skip
    Table("made", metadata, Column("a", Integer), Column(
        "id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")))  # fmt: skip
    monkeypatch.setattr(handler, "_LONGEST_PAUSE_SECONDS", 0)
    return make_world(metadata)


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
    written = world.execute(
        "SELECT count(*) FROM (SELECT xmin::text FROM things UNION ALL"
        " SELECT xmin::text FROM decanter.ledger UNION ALL"
        " SELECT xmin::text FROM decanter.rejection) AS row GROUP BY xmin"
    )
    assert max(written)[0] <= 3_000
