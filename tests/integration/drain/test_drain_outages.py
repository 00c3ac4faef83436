"""A database that cannot serve now is waited for: nothing is rejected, lost or done twice."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil
import psycopg2
import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text

from chalicelib.errors import DatabaseUnavailable
from chalicelib.migrate.handler import upgrade
from decanter.local.postgres import Postgres
from tests.kit.clocks import Granted, Skipping
from tests.kit.waiting import LONG, until
from tests.kit.world import World


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("n", Integer),
          Column("m", Integer))  # fmt: skip
    Table("log", metadata, Column("line", Text), info={"ordered": False})
    return metadata


@pytest.fixture
def world(make_world) -> World:
    return make_world(tables())


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A server that the tests here may stop."""
    home = Path(tempfile.mkdtemp(prefix="decanter-outage-"))
    server = Postgres(home)
    server.start()
    upgrade(server.url(), "decanter@head")
    with closing(psycopg2.connect(server.url())) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE public.log (line text)")
        connection.commit()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(home)


@pytest.fixture
def own_world(make_world, own_postgres: Postgres) -> Iterator[World]:
    own_postgres.start()
    found = make_world(tables(), own_postgres.url())
    found.execute("TRUNCATE log, decanter.ledger, decanter.rejection")
    yield found
    own_postgres.start()


def in_background(work) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def waits_for_lock(world: World) -> None:
    """Returns when the drain waits for somebody else."""
    until(
        lambda: world.value(
            f"SELECT count(*) FROM {world.sessions}"
            " WHERE application_name ~ 'decanter-drain|^citus'"
            " AND wait_event_type IN ('Lock', 'Timeout') AND datname = current_database()"
        ),
        "a wait of the drain",
    )


def pass_in_the_database(world: World, interval: str) -> None:
    """As if what waits had been tried last so long ago."""
    world.execute(
        "UPDATE decanter.waiting SET since = since - %s::interval,"
        " tried_at = tried_at - %s::interval",
        interval,
        interval,
    )


@contextmanager
def frozen(processes: Sequence[int]) -> Iterator[None]:
    """They take what they are sent, and keep no timeout. The block has to end by itself."""

    def send(number: int) -> None:
        for process in processes:
            os.kill(process, number)

    thaw = threading.Timer(LONG, send, (signal.SIGCONT,))
    thaw.start()
    send(signal.SIGSTOP)
    try:
        yield
        assert thaw.is_alive(), "nothing but the end of the frost has ended the wait"
    finally:
        thaw.cancel()
        send(signal.SIGCONT)


def kill(world: World) -> int:
    return int(world.value(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'decanter-drain' AND datname = current_database()"
    ))  # fmt: skip


def test_a_database_that_is_away_for_a_while_is_waited_for(own_world, own_postgres):
    receipt = own_world.post("log", {"line": "x"})
    own_postgres.stop()

    def come_back() -> None:
        time.sleep(1)
        own_postgres.start()

    thread = in_background(come_back)
    answer = own_world.drain(seconds=LONG)
    thread.join()

    assert answer == {"batchItemFailures": []}
    assert own_world.status(receipt)["state"] == "applied"
    assert own_world.value("SELECT count(*) FROM log") == 1


def test_a_database_that_stays_away_raises_in_time_and_loses_nothing(
    own_world, own_postgres, monkeypatch
):
    receipt = own_world.post("log", {"line": "x"})
    entries = list(own_world.queued)
    own_postgres.stop()
    clock = Skipping(monkeypatch)

    with pytest.raises(DatabaseUnavailable):
        own_world.drain(entries, seconds=LONG)

    assert LONG / 2 < clock.skipped < LONG - 2
    own_postgres.start()
    own_world.drain(entries, receives=2)
    assert own_world.status(receipt)["state"] == "applied"
    assert own_world.rejections() == []


def test_a_database_that_restarts_between_batches_costs_one_reconnect(own_world, own_postgres):
    own_world.post("log", {"line": "before"})
    own_world.drain()
    own_postgres.stop()
    own_postgres.start()
    own_world.post("log", {"line": "after"})

    own_world.drain(seconds=LONG)

    assert own_world.value("SELECT count(*) FROM log") == 2


def test_a_connection_that_was_cut_between_batches_is_made_again(world):
    world.post("log", {"line": "before"})
    world.drain()
    assert kill(world) == 1
    world.post("log", {"line": "after"})

    world.drain(seconds=LONG)

    assert world.value("SELECT count(*) FROM log") == 2


@pytest.mark.needs("waits_for_locks")
def test_a_connection_that_is_cut_during_a_batch_is_made_again(world):
    world.execute("INSERT INTO things VALUES (1, 0)")
    receipts = [world.post("log", {"line": "x"}), world.patch("things", 1, {"n": 1})]
    with closing(psycopg2.connect(world.url)) as other:
        other.cursor().execute("UPDATE things SET n = 5 WHERE id = 1")
        thread = in_background(lambda: world.drain(seconds=LONG))
        waits_for_lock(world)
        assert kill(world) == 1
        waits_for_lock(world)  # on its new connection
        other.commit()
        thread.join()

    assert [world.status(receipt)["state"] for receipt in receipts] == ["applied"] * 2
    assert world.value("SELECT count(*) FROM log") == 1
    assert world.value("SELECT n FROM things") == 1


@pytest.mark.needs("waits_for_locks")
def test_a_lock_that_is_not_released_in_time_rejects_nothing(world):
    world.execute("INSERT INTO things VALUES (1, 0)")
    receipt = world.patch("things", 1, {"n": 1})
    other_receipt = world.post("log", {"line": "x"})
    with closing(psycopg2.connect(world.url)) as other:
        other.cursor().execute("UPDATE things SET n = 5 WHERE id = 1")
        world.drain(seconds=12)
        assert world.status(other_receipt)["state"] == "applied"
        for _ in range(2):
            world.drain_by_schedule(seconds=12)
    assert world.status(receipt)["state"] == "pending"
    assert world.rejections() == []

    world.drain_by_schedule()

    assert world.status(receipt)["state"] == "applied"
    assert world.value("SELECT count(*) FROM log") == 1


@pytest.mark.needs("waits_for_locks")
def test_a_deadlock_is_tried_again(world):
    world.execute("INSERT INTO things VALUES (1, 0), (2, 0)")
    receipts = [world.patch("things", 1, {"n": 1}), world.patch("things", 2, {"m": 1})]
    done: list[object] = []
    with closing(psycopg2.connect(world.url)) as other, other.cursor() as cursor:
        cursor.execute("SET deadlock_timeout = '1h'")  # the drain is to be the one that gives way
        cursor.execute("UPDATE things SET n = 5 WHERE id = 2")
        thread = in_background(lambda: done.append(world.drain(seconds=LONG)))
        waits_for_lock(world)
        cursor.execute("UPDATE things SET m = 5 WHERE id = 1")
        other.commit()
        thread.join()

    assert done == [{"batchItemFailures": []}]
    assert [world.status(receipt)["state"] for receipt in receipts] == ["applied"] * 2
    assert world.execute("SELECT * FROM things ORDER BY id") == [(1, 1, 5), (2, 5, 1)]


def test_a_read_only_database_is_waited_for(world, monkeypatch):
    clock = Skipping(monkeypatch)
    receipt = world.post("log", {"line": "x"})
    entries = list(world.queued)
    name = world.value("SELECT current_database()")
    world.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    with pytest.raises(DatabaseUnavailable) as caught:
        world.drain(entries, seconds=LONG)

    assert caught.value.sqlstate == "25006"
    assert clock.skipped > LONG / 2
    world.execute(f"BEGIN READ WRITE; ALTER DATABASE {name} RESET ALL; COMMIT")
    assert world.rejections() == []
    world.drain(entries, receives=2)
    assert world.status(receipt)["state"] == "applied"


@pytest.mark.parametrize("bad", [False, True])
def test_statements_that_are_slow_together_do_not_outlive_the_invocation(world, bad, monkeypatch):
    world.execute("""
        CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(0.9); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION slow();
        CREATE TRIGGER slow BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION slow()
    """)
    for row in ({"id": 1}, {"id": 2, "n": 1}, {"id": 3, "m": 1}, {"id": 4, "n": 1, "m": 1}):
        world.post("things", row)
    if bad:
        world.patch("things", 9, {"n": 1})
    granted = Granted(monkeypatch)
    for drain in (world.drain, world.drain_by_schedule, world.drain_by_schedule):
        end = time.monotonic() + 5
        with suppress(DatabaseUnavailable):
            drain(seconds=5)
        assert granted.until < end
    world.execute("DROP TRIGGER slow ON things")
    world.drain_by_schedule()

    assert [kind for _, kind in world.rejections()] == ["missing"] * bad
    assert world.value("SELECT count(*) FROM things") == 4


def test_an_invocation_with_no_time_left_touches_nothing(world):
    world.post("log", {"line": "x"})

    with pytest.raises(DatabaseUnavailable):
        world.drain(list(world.queued), seconds=0.5)

    assert world.poured() == 0


def test_a_server_that_is_frozen_does_not_outlive_the_invocation(world):
    world.post("log", {"line": "before"})
    world.drain()
    receipt = world.post("log", {"line": "after"})
    entries = list(world.queued)
    server = world.value(
        "SELECT pid FROM pg_stat_activity"
        " WHERE application_name = 'decanter-drain' AND datname = current_database()"
    )
    # Another connection may still make it in time.
    with frozen([server]), suppress(DatabaseUnavailable):
        world.drain(entries, seconds=4)

    world.drain(entries, receives=2)
    assert world.status(receipt)["state"] == "applied"
    assert world.value("SELECT count(*) FROM log") == 2


def test_a_database_that_is_frozen_as_a_whole_does_not_outlive_the_invocation(
    own_world, own_postgres
):
    own_world.post("log", {"line": "before"})
    own_world.drain()
    receipt = own_world.post("log", {"line": "after"})
    entries = list(own_world.queued)
    first = int((own_postgres.data / "postmaster.pid").read_text().splitlines()[0])
    with (
        frozen([first, *(each.pid for each in psutil.Process(first).children())]),
        pytest.raises(DatabaseUnavailable),
    ):
        own_world.drain(entries, seconds=4)

    own_world.drain(entries, receives=2)
    assert own_world.status(receipt)["state"] == "applied"
    assert own_world.value("SELECT count(*) FROM log") == 2


def test_deliveries_that_an_outage_has_failed_use_up_no_patience(make_world, monkeypatch):
    Skipping(monkeypatch)
    metadata = MetaData()
    Table("parents", metadata, Column("id", Integer, primary_key=True))
    Table("children", metadata, Column("id", Integer, primary_key=True),
          Column("parent", ForeignKey("parents.id")), info={"ordered": False})  # fmt: skip
    world = make_world(metadata)
    parent = world.post("parents", {"id": 1})
    children = [world.post("children", {"id": n, "parent": 1}) for n in (1, 2)]
    first, *others = world.queued
    database = world.value("SELECT current_database()")
    world.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    for receives in range(1, 6):
        with pytest.raises(DatabaseUnavailable):
            world.drain(others, receives, seconds=10)
    world.execute(f"BEGIN READ WRITE; ALTER DATABASE {database} RESET ALL; COMMIT")

    world.drain(others, 6)
    pass_in_the_database(world, "1 hour")  # nobody looked for the parent meanwhile
    world.drain([])
    world.drain([first])
    world.drain_by_schedule()

    assert {world.status(receipt)["state"] for receipt in (parent, *children)} == {"applied"}


def test_a_drain_holds_one_connection(world):
    for n in range(5):
        world.post("things", {"id": n})
        world.post("things", {"id": 0})
        world.drain()

    assert world.value(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'decanter-drain' AND datname = current_database()"
    ) == 1  # fmt: skip


def test_an_outage_is_logged_and_not_an_error_of_a_message(
    own_world, own_postgres, caplog, monkeypatch
):
    Skipping(monkeypatch)
    own_world.post("log", {"line": "x"})
    own_postgres.stop()

    with pytest.raises(DatabaseUnavailable):
        own_world.drain(seconds=LONG)

    assert "the messages stay queued" in caplog.text
