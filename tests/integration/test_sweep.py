"""The ledger forgets what no redelivery can ask for any more, and refuses what is older."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from chalicelib.database import connection, sweep
from chalicelib.message import decode, encode
from chalicelib.settings import LEDGER_DAYS
from tests.integration.drain_fixtures import Context, World

DAY = 86_400_000


@pytest.fixture
def world(make_world: Callable[..., World]) -> Iterator[World]:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("name", Text))
    yield make_world(metadata)
    connection.forget("sweep")


def age(world: World, days: float) -> None:
    """Let that much time pass for all that is in the ledger."""
    for table, column in (("ledger", "poured_at"), ("rejection", "rejected_at")):
        world.execute(
            f"UPDATE decanter.{table} SET {column} = {column} - %s * interval '1 day'", days
        )


def test_what_is_older_than_the_ledgers_days_is_deleted_and_nothing_else(world: World) -> None:
    world.post("things", {"id": 1})
    world.post("things", {"id": 1})
    world.drain()
    age(world, LEDGER_DAYS + 1.1)
    world.post("things", {"id": 2})
    world.post("things", {"id": 2})
    world.drain()
    age(world, LEDGER_DAYS - 1)

    assert sweep.sweep(Context(30)) == {"deleted": 3}

    assert world.poured() == 2
    assert len(world.rejections()) == 1
    assert world.value("SELECT count(*) FROM things") == 2
    assert sweep.sweep(Context(30)) == {"deleted": 0}


def test_it_deletes_in_steps_and_ends_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_STEP", 10)
    world.execute(
        "INSERT INTO decanter.ledger SELECT gen_random_uuid(), 'f', 1, now(), now()"
        " FROM generate_series(1, 95)"
    )
    age(world, LEDGER_DAYS * 2)

    assert sweep.sweep(Context(sweep._MARGIN_SECONDS)) == {"deleted": 0}
    assert sweep.sweep(Context(30)) == {"deleted": 95}


def test_it_holds_up_no_drain(world: World) -> None:
    world.post("things", {"id": 1})
    world.drain()
    age(world, LEDGER_DAYS * 2)
    with closing(psycopg2.connect(world.url)) as other:  # a sweep that takes for ever
        with other.cursor() as cursor:
            cursor.execute("DELETE FROM decanter.ledger")
            world.post("things", {"id": 2})
            assert world.drain() == {"batchItemFailures": []}
        other.rollback()

    assert world.value("SELECT count(*) FROM things") == 2


def test_a_redrive_of_what_the_ledger_has_forgotten_is_refused_and_never_poured_twice(
    world: World,
) -> None:
    receipt = world.post("things", {"id": 1, "name": "once"})
    (entry,) = world.queued
    message = decode(entry.body)
    old = encode(message._replace(accepted_at=message.accepted_at - (LEDGER_DAYS * DAY + 1000)))
    world.drain([encode(message)])
    world.execute("UPDATE things SET name = 'changed since'")
    age(world, LEDGER_DAYS * 2)
    sweep.sweep(Context(30))

    assert world.drain([old]) == {"batchItemFailures": []}

    assert world.value("SELECT name FROM things") == "changed since"
    assert world.rejections() == [(0, "expired")]
    assert world.status(receipt)["state"] == "rejected"


def test_a_message_that_is_not_quite_too_old_is_poured(world: World) -> None:
    world.post("things", {"id": 1})
    message = decode(world.queued.pop().body)
    aged = message._replace(accepted_at=message.accepted_at - LEDGER_DAYS * DAY + 60_000)

    world.drain([encode(aged)])

    assert world.value("SELECT count(*) FROM things") == 1


def test_a_sweep_beside_another_does_not_fail(world: World) -> None:
    world.execute(
        "INSERT INTO decanter.ledger SELECT gen_random_uuid(), 'f', 1, now(), now()"
        " FROM generate_series(1, 20000)"
    )
    age(world, LEDGER_DAYS * 2)
    done: list[dict[str, int]] = []
    threads = [threading.Thread(target=lambda: done.append(sweep.sweep(Context(30))))]

    for thread in threads:
        thread.start()
    with closing(psycopg2.connect(world.url)) as other, other, other.cursor() as cursor:
        cursor.execute("DELETE FROM decanter.ledger WHERE random() < 0.5")
    for thread in threads:
        thread.join()

    assert done
    assert world.poured() == 0
