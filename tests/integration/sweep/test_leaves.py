"""Leaves of the ledger are emptied whole, and keep what may still be asked for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache

import psycopg2
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from chalicelib.postgres import retention
from chalicelib.postgres.connecting import connection
from chalicelib.sweep import handler
from tests.kit.world import Context, World

pytestmark = pytest.mark.needs("partitions")

IN_LEAVES = """
    SELECT count(*) FROM decanter.ledger
    WHERE tableoid <> 'decanter.ledger_rest'::regclass
"""
KEYED = "get_byte(uuid_send(dedup_id), 6) BETWEEN 128 AND 143"
NOTHING = {"deleted": 0, "emptied": 0}


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("name", Text))
    return metadata


@pytest.fixture
def world(make_world: Callable[..., World]) -> Iterator[World]:
    yield make_world(tables())
    connection.forget("sweep")


def age(world: World, days: float, which: str = "true") -> None:
    """Let that much time pass for these rows."""
    older = "UPDATE decanter.ledger SET poured_at = poured_at - %s * interval '1 day'"
    world.execute(f"{older} WHERE {which}", days)


def sweep() -> dict[str, int]:
    return handler.sweep(Context(30))


def leaf(world: World) -> str:
    """The leaf that the messages of now are in."""
    found = world.value(
        "SELECT relname FROM pg_class JOIN decanter.ledger ON pg_class.oid = ledger.tableoid"
        " WHERE relname <> 'ledger_rest' LIMIT 1"
    )
    return str(found)


def keyed_here(world: World) -> str:
    """A message with an Idempotency-Key whose random ID happens to be in this leaf."""
    return str(
        world.value(
            "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, items, keys)"
            " SELECT overlay(dedup_id::text PLACING '8' FROM 15)::uuid, 'it''s \"{a,b}\\', 2,"
            " '\\x0001', '\\xff00' FROM decanter.ledger"
            f" WHERE NOT {KEYED} LIMIT 1 RETURNING dedup_id::text"
        )
    )


def test_a_leaf_that_is_old_as_a_whole_is_emptied_without_deleting_a_row(world: World) -> None:
    for number in range(20):
        world.post("things", {"id": number})
    world.drain()
    name = leaf(world)
    assert world.value(IN_LEAVES) == 20
    age(world, handler._DAYS - 0.1)
    assert sweep() == NOTHING
    assert world.value(IN_LEAVES) == 20
    age(world, 0.2)

    assert sweep() == {"deleted": 0, "emptied": 1}

    assert world.value(f"SELECT pg_table_size('decanter.{name}')") <= 8192  # of its TOAST index
    assert sweep() == NOTHING


def test_no_row_goes_while_one_of_its_leaf_is_not_old(world: World) -> None:
    for number in range(20):
        world.post("things", {"id": number})
    world.drain()
    age(world, handler._DAYS + 1, "dedup_id < (SELECT max(dedup_id::text)::uuid FROM"
        " decanter.ledger)")  # fmt: skip

    assert sweep() == NOTHING

    assert world.value(IN_LEAVES) == 20


def test_keyed_messages_stay_in_their_leaf_as_they_are_for_as_long_as_promised(
    world: World,
) -> None:
    for number in range(20):
        world.post("things", {"id": number})
    world.drain()
    known = keyed_here(world)
    of_it = "SELECT ledger::text FROM decanter.ledger WHERE dedup_id = %s"
    age(world, handler._DAYS + 1)
    before = world.value(of_it, known)

    assert sweep() == {"deleted": 0, "emptied": 1}

    assert world.value(of_it, known) == before
    assert world.value(IN_LEAVES) == 1
    assert sweep() == NOTHING  # not again, for nothing
    age(world, handler._KEYED_DAYS - handler._DAYS)
    assert sweep() == {"deleted": 1, "emptied": 0}
    assert world.value(IN_LEAVES) == 0


def test_a_keyed_message_that_was_just_poured_keeps_no_leaf(world: World) -> None:
    world.post("things", {"id": 1})
    world.drain()
    keyed_here(world)
    age(world, handler._DAYS + 1, f"NOT {KEYED}")

    assert sweep() == {"deleted": 0, "emptied": 1}

    assert world.value(IN_LEAVES) == 1


def test_a_message_stays_while_one_of_its_writes_waits(world: World) -> None:
    for number in range(3):
        world.post("things", {"id": number})
    world.drain()
    (waits,) = world.execute("SELECT dedup_id::text FROM decanter.ledger LIMIT 1")
    world.execute(
        "INSERT INTO decanter.waiting (dedup_id, item, reason, message)"
        " VALUES (%s, 0, 'lock', ''), (%s, 1, 'lock', '')",
        *waits * 2,
    )
    age(world, handler._DAYS + 1)

    assert sweep() == {"deleted": 0, "emptied": 1}

    assert world.execute("SELECT dedup_id::text FROM decanter.ledger") == [waits]
    world.execute("DELETE FROM decanter.waiting")
    assert sweep() == {"deleted": 0, "emptied": 1}
    assert world.poured() == 0


def test_a_leaf_that_is_in_use_stays_until_the_next_sweep_and_holds_up_no_pour(
    world: World,
) -> None:
    world.post("things", {"id": 1})
    world.drain()
    age(world, handler._DAYS + 1)
    with closing(psycopg2.connect(world.url)) as other:
        other.cursor().execute(f"SELECT FROM decanter.{leaf(world)}")
        done: list[dict[str, int]] = []
        thread = threading.Thread(target=lambda: done.append(sweep()))
        thread.start()
        world.post("things", {"id": 2})
        assert world.drain() == {"batchItemFailures": []}
        thread.join()

    assert done == [NOTHING]
    assert world.poured() == 2


def test_leaves_that_the_role_has_no_right_on_stay(world: World) -> None:
    world.post("things", {"id": 1})
    world.drain()
    age(world, handler._DAYS + 1)
    with closing(psycopg2.connect(world.url)) as own, own.cursor() as cursor:
        cursor.execute("CREATE ROLE other; GRANT USAGE ON SCHEMA decanter TO other; SET ROLE other")
        cursor.execute(retention._LEAVES)
        assert cursor.fetchall() == []
        own.rollback()


def test_a_rejection_goes_after_its_message_in_a_leaf(world: World) -> None:
    world.post("things", {"id": 1})
    world.post("things", {"id": 1})
    world.drain()
    world.execute("UPDATE decanter.rejection SET rejected_at = now() - interval '90 days'")
    assert sweep() == NOTHING
    assert len(world.rejections()) == 1

    age(world, handler._DAYS + 1)

    assert sweep() == {"deleted": 1, "emptied": 1}
    assert world.rejections() == []


def test_no_rejection_goes_while_rows_of_the_ledger_are_held_elsewhere(world: World) -> None:
    world.post("things", {"id": 1})
    world.post("things", {"id": 1})
    world.drain()
    world.execute("UPDATE decanter.rejection SET rejected_at = now() - interval '90 days'")
    world.execute("CREATE TABLE decanter.ledger_held AS SELECT * FROM decanter.ledger")
    world.execute("TRUNCATE decanter.ledger")

    assert sweep() == NOTHING

    assert len(world.rejections()) == 1


def test_the_steps_that_empty_a_leaf_are_as_many_with_many_rows(
    world: World, statements: list[str]
) -> None:
    seen = []
    for count in (10, 1000):
        world.post("things", [{"id": count * 10_000 + n} for n in range(count)])
        world.drain()
        age(world, handler._DAYS + 1)
        statements.clear()
        assert sweep()["emptied"] == 1
        seen.append(len(statements))
    assert seen[0] == seen[1]


def test_a_leaf_that_a_deployment_drops_meanwhile_stops_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.post("things", {"id": 1})
    world.drain()
    age(world, handler._DAYS + 1)
    name = leaf(world)
    monkeypatch.setattr(retention, "leaves", lambda _: ["ledger_20000103", name])

    assert sweep() == {"deleted": 0, "emptied": 1}
