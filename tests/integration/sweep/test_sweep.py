"""The ledger forgets what no redelivery can ask for any more, and refuses what is older."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache

import psycopg2
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from chalicelib.buffer.sqs import put
from chalicelib.messages.message import decode, encode
from chalicelib.postgres import retention
from chalicelib.postgres.connecting import connection
from chalicelib.settings import LEDGER_DAYS
from chalicelib.sweep import handler
from tests.kit.databases import execute
from tests.kit.world import Context, World

DAY = 86_400_000


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("name", Text))
    return metadata


@pytest.fixture
def world(make_world: Callable[..., World]) -> Iterator[World]:
    world = make_world(tables())
    if world.engine.partitions:
        # As in a database that was just migrated, whose first leaf begins in a week or two.
        execute(world.url, "ALTER TABLE decanter.ledger DETACH PARTITION " + _term(world.url))
    yield world
    connection.forget("sweep")


def _term(url: str) -> str:
    """The term of leaves that the ledger has."""
    terms = "SELECT relid::text FROM pg_partition_tree('decanter.ledger') WHERE level = 1"
    return str(execute(url, f"{terms} AND NOT isleaf")[0][0])


def _rest(world: World) -> str:
    """The table that rows are deleted from one by one."""
    return "decanter.ledger_rest" if world.engine.partitions else "decanter.ledger"


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

    assert handler.sweep(Context(30)) == {"deleted": 3, "emptied": 0}

    assert world.poured() == 2
    assert len(world.rejections()) == 1
    assert world.value("SELECT count(*) FROM things") == 2
    assert handler.sweep(Context(30)) == {"deleted": 0, "emptied": 0}


def test_an_event_that_nobody_publishes_is_forgotten_with_its_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECANTER_EVENTS", "arn:aws:sns:eu-central-1:000000000000:done")
    for number in range(2):
        world.post("things", {"id": number})
    world.drain()
    old = "UPDATE decanter.outbox SET entered_at = now() - %s * interval '1 day' WHERE place = %s"
    world.execute(old, LEDGER_DAYS + 1.1, 1)
    world.execute(old, LEDGER_DAYS - 1, 2)

    assert handler.sweep(Context(30)) == {"deleted": 1, "emptied": 0}

    assert world.execute("SELECT place FROM decanter.outbox") == [(2,)]


def test_it_deletes_in_steps_and_ends_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "_STEP", 10)
    world.execute(
        "INSERT INTO decanter.ledger SELECT gen_random_uuid(), 'f', 1, now(), now()"
        " FROM generate_series(1, 95)"
    )
    age(world, LEDGER_DAYS * 2)

    assert handler.sweep(Context(handler._MARGIN_SECONDS)) == {"deleted": 0, "emptied": 0}
    assert handler.sweep(Context(30)) == {"deleted": 95, "emptied": 0}


def test_it_holds_up_no_drain(world: World) -> None:
    world.post("things", {"id": 1})
    world.drain()
    age(world, LEDGER_DAYS * 2)
    with closing(psycopg2.connect(world.url)) as other:  # a sweep that takes for ever
        with other.cursor() as cursor:
            cursor.execute(f"DELETE FROM {_rest(world)}")
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
    handler.sweep(Context(30))

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
    threads = [threading.Thread(target=lambda: done.append(handler.sweep(Context(30))))]

    for thread in threads:
        thread.start()
    with closing(psycopg2.connect(world.url)) as other, other, other.cursor() as cursor:
        cursor.execute(f"DELETE FROM {_rest(world)} WHERE random() < 0.5")
    for thread in threads:
        thread.join()

    assert done
    assert world.poured() == 0


def swept(world: World, limit: int = 5_000) -> int:
    """One transaction of a sweep; returns how many rows it has deleted."""
    with closing(psycopg2.connect(world.url)) as own:
        own.autocommit = True
        with connection.transaction(own, time.monotonic() + 30) as running:
            days, keyed_days = handler._DAYS, handler._KEYED_DAYS
            return retention.sweep(running, days, keyed_days, limit, world.engine)


def keyed(world: World, rows: list[dict[str, int]]) -> list[put.QueueEntry]:
    world.post("things", rows, Idempotency_Key="k", Prefer="resolution=merge-duplicates")
    entries, world.queued = world.queued, []
    return entries


def test_no_step_of_a_sweep_shows_a_rejected_write_as_applied(world: World) -> None:
    world.execute("INSERT INTO things VALUES (0)")
    receipts = [
        world.post("things", [{"id": n} for n in range(20)]),
        world.post("things", {"id": 0}),
        world.post("things", {"id": 0}, Idempotency_Key="k"),
    ]
    world.drain()
    assert [world.status(each)["state"] for each in receipts] == ["partial", "rejected", "rejected"]
    age(world, LEDGER_DAYS * 3)

    while swept(world, limit=1):
        for receipt in receipts:
            status = world.status(receipt)
            assert status["state"] != "applied"
            # What is counted as applied has its message in the ledger, and its rejections too.
            assert status["state"] in ("pending", "expired") or status["rejected"]

    assert world.poured() == 0
    assert world.rejections() == []


def test_a_rejection_goes_after_its_message_whatever_their_ages_say(world: World) -> None:
    world.post("things", {"id": 1})
    world.post("things", {"id": 1})
    world.drain(["what nobody knows", *world.queued])
    world.execute("UPDATE decanter.rejection SET rejected_at = now() - interval '90 days'")

    assert swept(world) == 0
    assert len(world.rejections()) == 2

    age(world, LEDGER_DAYS * 2)
    while swept(world):
        pass
    assert world.rejections() == []


def test_a_retry_on_the_last_day_that_waits_as_long_as_it_may_has_one_effect(world: World) -> None:
    first = keyed(world, [{"id": 1}])
    world.drain(first)
    world.execute("UPDATE things SET name = 'changed since'")
    age(world, LEDGER_DAYS - 0.1)
    retry = keyed(world, [{"id": 1, "name": None}])  # other content, or the same: it is known
    again = keyed(world, [{"id": 1}])
    age(world, LEDGER_DAYS - 0.1)
    handler.sweep(Context(30))
    waited = int((LEDGER_DAYS - 0.1) * DAY)

    for entry in (*retry, *again):
        message = decode(entry.body)
        world.drain([encode(message._replace(accepted_at=message.accepted_at - waited))])

    assert world.value("SELECT name FROM things") == "changed since"


def test_messages_of_a_request_with_a_key_are_forgotten_together(world: World) -> None:
    entries = keyed(world, [{"id": n} for n in range(40)])
    assert len(entries) > 2
    world.drain(entries[:1])
    age(world, 20)
    world.drain(entries[1:])
    age(world, handler._KEYED_DAYS - 10)

    assert swept(world) == 0
    assert world.poured() == len(entries) + 1

    age(world, 11)
    assert swept(world, limit=1) == len(entries) + 1
    assert world.poured() == 0


def test_requests_with_a_key_that_are_not_old_enough_do_not_keep_others(world: World) -> None:
    entries = keyed(world, [{"id": n} for n in range(40)])
    world.drain(entries[:1])
    world.post("things", {"id": 100}, Idempotency_Key="other")
    world.drain()
    age(world, handler._KEYED_DAYS + 1)
    world.drain(entries[1:])

    assert swept(world, limit=1) == 2
    assert world.poured() == len(entries) + 1
