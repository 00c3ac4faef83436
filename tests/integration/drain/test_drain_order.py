"""Nothing twice, and every key in the order in which its writes were accepted."""

import random
import threading
import time
from collections import defaultdict
from contextlib import suppress
from functools import cache
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from chalicelib.buffer.sqs.take import deliveries
from chalicelib.drain.pour import pour
from chalicelib.errors import DatabaseUnavailable
from chalicelib.postgres.connecting import session
from chalicelib.postgres.connecting.connection import transaction
from tests.kit.waiting import LONG, until
from tests.kit.world import World, event


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("a", Integer),
          Column("b", Text, server_default="d"))  # fmt: skip
    Table("log", metadata, Column("line", Text), info={"ordered": False})
    return metadata


@pytest.fixture
def world(make_world) -> World:
    return make_world(tables())


def things(world: World) -> dict[int, tuple[Any, Any]]:
    return {id_: (a, b) for id_, a, b in world.execute("SELECT id, a, b FROM things")}


class Model:
    """What a table has to hold: the writes applied one after the other."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[Any, Any]] = {}
        self.rejected = 0

    def create(self, key: int, n: int) -> None:
        if key in self.rows:
            self.rejected += 1
        else:
            self.rows[key] = (n, "d")

    def replace(self, key: int, n: int) -> None:
        self.rows[key] = (n, "d")

    def merge(self, key: int, n: int) -> None:
        if key in self.rows:
            self.rows[key] = (self.rows[key][0], str(n))
        else:
            self.rejected += 1

    def delete(self, key: int, n: int) -> None:
        if self.rows.pop(key, None) is None:
            self.rejected += 1


def write(world: World, op: str, key: int, n: int) -> str:
    if op == "create":
        return world.post("things", {"id": key, "a": n})
    if op == "replace":
        return world.put("things", key, {"a": n})
    if op == "merge":
        return world.patch("things", key, {"b": str(n)})
    return world.delete("things", key)


MANY = 800


def test_writes_that_are_delivered_twice_leave_every_key_with_its_last_value(world):
    dice = random.Random(20260101)
    model = Model()
    for n in range(MANY):
        op, key = dice.choice(["create", "replace", "merge", "delete"]), dice.randrange(100)
        getattr(model, op)(key, n)
        write(world, op, key, n)
    lanes = defaultdict(list)
    for entry in world.queued:
        lanes[entry.lane].append(entry)
    assert len(lanes) == 16

    # Lanes advance as they like; a batch comes again at once, later, or beside the next one.
    batches = {lane: [found[i : i + 10] for i in range(0, len(found), 10)]
               for lane, found in lanes.items()}  # fmt: skip
    while batches:
        lane = dice.choice(list(batches))
        batch = batches[lane].pop(0)
        again = dice.randrange(3)
        if again == 0:
            world.drain(batch + batch)
        elif again == 1:
            world.drain(batch)
            world.drain(batch)
        else:
            following = batches[lane][0][:5] if batches[lane] else []
            world.drain(batch + following)
            world.drain(batch + following)
        if not batches[lane]:
            del batches[lane]

    assert things(world) == model.rows
    assert len(world.rejections()) == model.rejected
    assert world.poured() == MANY


def test_batches_of_many_lanes_keep_the_order_of_each(world):
    dice = random.Random(7)
    model = Model()
    for n in range(300):
        op, key = dice.choice(["create", "replace", "merge", "delete"]), dice.randrange(10)
        getattr(model, op)(key, n)
        write(world, op, key, n)

    world.drain()

    assert things(world) == model.rows
    assert len(world.rejections()) == model.rejected


@pytest.mark.parametrize("repeat", ["batch", "later", "both"])
def test_a_message_that_comes_again_does_nothing(world, repeat):
    world.post("things", [{"id": n, "a": 0} for n in range(20)])
    world.post("log", [{"line": "x"}] * 5)
    world.patch("things", 3, {"a": 1})
    world.delete("things", 99)
    entries, world.queued = world.queued, []

    world.drain(entries * 2 if repeat in ("batch", "both") else entries)
    if repeat in ("later", "both"):
        world.execute("UPDATE things SET a = 5 WHERE id = 3")
        world.drain(entries, receives=2)
        world.drain(entries[::-1], receives=3)

    assert world.value("SELECT count(*) FROM things") == 20
    assert things(world)[3][0] == (1 if repeat == "batch" else 5)
    assert world.value("SELECT count(*) FROM log") == 5
    assert world.rejections("type") == [("missing",)]
    assert world.poured() == len(entries)


def test_fresh_messages_among_repeated_ones_are_poured(world):
    world.post("log", {"line": "old"})
    world.put("things", 1, {"a": 1})
    old, world.queued = world.queued, []
    world.drain(old)
    world.post("log", {"line": "new"})
    world.patch("things", 1, {"b": "new"})

    world.drain([*old, *world.queued, *old])

    assert world.execute("SELECT line FROM log ORDER BY line") == [("new",), ("old",)]
    assert things(world) == {1: (1, "new")}


def test_a_retry_with_the_same_idempotency_key_has_one_effect(world):
    first = world.post("log", [{"line": "x"}] * 3, Idempotency_Key="k")
    second = world.post("log", [{"line": "x"}] * 3, Idempotency_Key="k")

    world.drain()

    assert first == second
    assert world.value("SELECT count(*) FROM log") == 3
    assert world.status(first)["state"] == "applied"
    assert world.status(first)["applied"] == 3


def test_a_message_poured_by_two_drains_at_once_takes_effect_once(world):
    world.post("log", [{"line": "x"}] * 3)
    world.post("things", [{"id": n} for n in range(50)])
    entries, world.queued = world.queued, []
    together = threading.Barrier(4)
    failures: list[BaseException] = []

    def drain(seed: int) -> None:
        own = psycopg2.connect(world.url)
        own.autocommit = True
        shuffled = random.Random(seed).sample(entries, len(entries))
        together.wait()
        try:
            pour_patiently(own, shuffled)
        except BaseException as error:
            failures.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=drain, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert world.value("SELECT count(*) FROM log") == 3
    assert world.value("SELECT count(*) FROM things") == 50
    assert world.rejections() == []
    assert world.poured() == len(entries)


def pour_patiently(own: Any, entries: list[Any]) -> None:
    for _ in range(20):
        try:
            assert pour(own, deliveries(event(entries)), time.monotonic() + LONG) == []
            return
        except DatabaseUnavailable as error:  # a deadlock between two drains is tried again
            if error.sqlstate != "40P01":
                raise
    raise AssertionError("no end of deadlocks")


WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.mark.parametrize("outcome", ["commit", "rollback"])
def test_a_drain_waits_for_another_one_with_the_same_message_and_does_what_is_left(world, outcome):
    world.post("log", {"line": "x"})
    entries, world.queued = world.queued, []
    (delivery,) = deliveries(event(entries))
    other = psycopg2.connect(world.url)
    with other.cursor() as cursor:  # a drain that has claimed the message and not committed yet
        cursor.execute(
            "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, accepted_at)"
            " VALUES (%s, %s, 1, now())",
            (delivery.dedup_id, delivery.message.fingerprint),
        )
        cursor.execute("INSERT INTO log VALUES ('x')")
    done = threading.Event()

    def drain() -> None:
        own = psycopg2.connect(world.url)
        own.autocommit = True
        pour(own, [delivery], time.monotonic() + LONG)
        own.close()
        done.set()

    thread = threading.Thread(target=drain)
    thread.start()
    until(lambda: done.is_set() or world.value(WAITING))
    assert not done.is_set()
    getattr(other, outcome)()
    thread.join()
    other.close()

    assert world.value("SELECT count(*) FROM log") == 1
    assert world.poured() == 1


def test_two_drains_with_one_unique_value_pour_one_and_reject_one(make_world):
    metadata = MetaData()
    Table(
        "users",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("mail", Text, unique=True),
    )
    world = make_world(metadata)
    receipts = [world.post("users", [{"id": n * 100 + i, "mail": f"{i}@x"} for i in range(20)])
                for n in range(2)]  # fmt: skip
    requests = {entry.dedup_id[:32] for entry in world.queued}
    halves = [[e for e in world.queued if e.dedup_id[:32] == request] for request in requests]
    assert len(halves) == 2
    world.queued = []
    together = threading.Barrier(2)
    failures: list[BaseException] = []

    def drain(entries: list[Any]) -> None:
        own = session.opened(world.url, "test")
        own.autocommit = True
        together.wait()
        try:
            pour_patiently(own, entries)
        except BaseException as error:
            failures.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=drain, args=(half,)) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert world.value("SELECT count(*) FROM users") == 20
    statuses = [world.status(receipt) for receipt in receipts]
    assert sum(status["rejected"] for status in statuses) == 20
    assert sum(status["applied"] for status in statuses) == 20
    assert {name for (name,) in world.rejections('"constraint"')} == {"users_mail_key"}


def test_the_ledger_row_and_the_effect_commit_together(world):
    world.post("log", {"line": "x"})
    entries, world.queued = world.queued, []
    own = psycopg2.connect(world.url)
    own.autocommit = True
    world.execute(
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
    )
    world.execute("CREATE CONSTRAINT TRIGGER stop AFTER INSERT ON log DEFERRABLE INITIALLY DEFERRED"
                  " FOR EACH ROW EXECUTE FUNCTION stop()")  # fmt: skip
    with pytest.raises(DatabaseUnavailable):
        pour(own, deliveries(event(entries)), time.monotonic() + LONG)

    assert (world.poured(), world.value("SELECT count(*) FROM log")) == (0, 0)
    world.execute("DROP TRIGGER stop ON log")
    world.drain(entries, receives=2)
    assert (world.poured(), world.value("SELECT count(*) FROM log")) == (1, 1)


def test_a_transaction_ends_with_its_block(world):
    own = psycopg2.connect(world.url)
    own.autocommit = True
    with transaction(own, time.monotonic() + LONG) as running:
        running.execute("INSERT INTO log VALUES ('kept')")
    with suppress(KeyError), transaction(own, time.monotonic() + LONG) as running:
        running.execute("INSERT INTO log VALUES ('taken back')")
        raise KeyError
    own.close()

    assert world.execute("SELECT line FROM log") == [("kept",)]
