"""The outbox: an event for each request that is done, in the order of COMMIT of each key."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from itertools import permutations
from typing import Any

import psycopg2
import pytest
from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, MetaData, Table, Text

from chalicelib.buffer.sqs.put import QueueEntry
from chalicelib.buffer.sqs.take import deliveries
from chalicelib.drain.pour import pour
from chalicelib.errors import DatabaseUnavailable
from tests.kit.outcomes import ask, expected, publish, told
from tests.kit.waiting import LONG, until
from tests.kit.world import World, changed, event, without_patience

# A row with a gate waits at COMMIT, one of `gates` at once, until the test opens it.
GATES = """
    CREATE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(NEW.gate);
        RETURN NEW;
    END $$;
    CREATE CONSTRAINT TRIGGER gate AFTER INSERT OR UPDATE ON things DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.gate IS NOT NULL) EXECUTE FUNCTION public.gate();
    CREATE TRIGGER gate BEFORE INSERT ON gates FOR EACH ROW EXECUTE FUNCTION public.gate();
"""
AT_GATE = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s"
FOR_ROW = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND wait_event IN ('transactionid', 'tuple')
"""


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("gates", metadata, Column("gate", Integer, primary_key=True))
    Table("parents", metadata, Column("id", Integer, primary_key=True))
    Table("things", metadata, Column("id", Integer, primary_key=True),
          Column("n", Integer, CheckConstraint("n >= 0", name="positive")),
          Column("parent", ForeignKey("parents.id")), Column("text", Text),
          Column("gate", Integer))  # fmt: skip
    Table("log", metadata, Column("line", Text), info={"ordered": False})
    return metadata


@pytest.fixture
def world(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DECANTER_EVENTS", "arn:aws:sns:eu-central-1:000000000000:done")
    made = make_world(tables())
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    made.execute(GATES)
    return made


@pytest.fixture
def gates(world: World) -> Iterator[Callable[[int], Any]]:
    """A function that opens the gate with a number; all are closed first."""
    with closing(psycopg2.connect(world.url)) as own:
        own.autocommit = True
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(n) FROM generate_series(1, 9) AS n")
            yield lambda number: cursor.execute("SELECT pg_advisory_unlock(%s)", (number,))


class Drain:
    """A drain beside the others, with a batch of its own. is_fast: whether it tries all at once."""

    def __init__(self, world: World, entries: list[QueueEntry], is_fast: bool = True) -> None:
        self.entries = entries
        self.is_fast = is_fast
        self.url = world.url
        self.unfinished: list[Any] | None = None
        self.thread = threading.Thread(target=self.pour)
        self.thread.start()

    def pour(self) -> None:
        with closing(psycopg2.connect(self.url)) as own:
            own.autocommit = True
            batch = deliveries(event(self.entries))
            self.unfinished = pour(own, batch, time.monotonic() + LONG, self.is_fast)

    def end(self) -> None:
        self.thread.join()
        assert self.unfinished == []


def taken(world: World) -> list[QueueEntry]:
    entries, world.queued = world.queued, []
    return entries


def entered(world: World) -> int:
    return int(world.value("SELECT count(*) FROM decanter.outbox"))


def at_gate(world: World, number: int) -> None:
    until(lambda: world.value(AT_GATE, number), f"a drain at gate {number}")


# One event for each request, when it is done


@pytest.mark.parametrize("order", [*permutations((1, 2, 3))])
def test_a_request_of_many_messages_is_done_with_the_last_commit(
    world: World, gates: Callable[[int], Any], order: tuple[int, ...]
) -> None:
    """In whatever order its rows were entered, and whatever was published before."""
    ids = _in_three_lanes(world)
    receipt = world.post("things", [{"id": id_, "gate": n} for n, id_ in enumerate(ids, 1)])
    entries = taken(world)
    assert len(entries) == 3
    drains = {}
    for number, entry in enumerate(entries, 1):
        drains[number] = Drain(world, [entry])
        at_gate(world, number)
    assert publish(world) == []

    for number in order[:2]:
        gates(number)
        drains[number].end()
        assert publish(world) == []
    gates(order[2])
    drains[order[2]].end()

    (found,) = publish(world)
    assert told(found) == expected(world, receipt)
    assert found["sequence"] == order[2]  # of the row that was seen with all of the request
    assert entered(world) == 0


def _in_three_lanes(world: World) -> list[int]:
    found: dict[str, int] = {}
    for id_ in range(1, 100):
        world.put("things", id_, {})
        found.setdefault(str(taken(world)[0].lane), id_)
        if len(found) == 3:
            break
    return [*found.values()]


def test_each_request_has_one_event_however_two_drains_pour(world: World) -> None:
    """Lanes in any order, side by side, some batches twice; and a publisher that is cut off."""
    receipts, in_order = _requests(world)
    lanes = Lanes(taken(world))
    threads = [threading.Thread(target=lanes.pour, args=(world, seed)) for seed in range(2)]
    for thread in threads:
        thread.start()
    dice = random.Random(5)
    events: list[dict[str, Any]] = []
    confirmed: list[int] = []
    is_busy = True
    while is_busy or confirmed:
        is_busy = lanes.is_busy  # before asking: the last answer is of all that was poured
        answer = ask(world, confirmed, limit=dice.randrange(1, 30))
        for each in answer["events"]:
            assert told(each) == expected(world, each["receipt"])
        events += answer["events"]
        confirmed = answer["places"] if dice.random() < 0.7 or not is_busy else []
        if world.poured() > 50:  # some children have waited by then
            world.execute("INSERT INTO parents VALUES (0), (1), (2) ON CONFLICT DO NOTHING")
    for thread in threads:
        thread.join()

    assert lanes.failures == []
    once = {each["id"]: each for each in events}
    assert all(each == once[each["id"]] for each in events)
    assert sorted(each["receipt"] for each in once.values()) == sorted(receipts)
    places = {each["receipt"]: each["sequence"] for each in once.values()}
    for own in in_order.values():
        assert [places[receipt] for receipt in own] == sorted(places[receipt] for receipt in own)
    assert {each["state"] for each in events} == {"applied", "partial", "rejected"}
    assert entered(world) == 0


def _requests(world: World) -> tuple[list[str], dict[int, list[str]]]:
    """Receipts of many requests, and those of single writes by their keys."""
    dice = random.Random(3)
    receipts: list[str] = []
    in_order: dict[int, list[str]] = defaultdict(list)
    for number in range(120):
        key = dice.randrange(8)
        kind = dice.choice(["put", "put", "patch", "delete", "child", "many", "log"])
        if kind == "many":
            rows = [{"id": dice.randrange(8), "n": n - 1} for n in range(dice.randrange(1, 12))]
            receipts.append(world.post("things", rows, Prefer="resolution=merge-duplicates"))
        elif kind == "log":
            receipts.append(world.post("log", [{"line": "x"}] * dice.randrange(1, 4)))
        else:
            row = {"parent": dice.randrange(3)} if kind == "child" else {"n": dice.randrange(-1, 5)}
            write = {"patch": world.patch, "delete": lambda r, k, _: world.delete(r, k)}
            receipts.append(write.get(kind, world.put)("things", key, {**row, "text": f"{number}"}))
            in_order[key].append(receipts[-1])
    return receipts, in_order


class Lanes:
    """A FIFO queue: while a message of a lane is being poured, no other one of it is delivered."""

    def __init__(self, entries: list[QueueEntry]) -> None:
        self.lanes: dict[str | None, list[QueueEntry]] = defaultdict(list)
        for each in entries:
            self.lanes[each.lane].append(each)
        self.held: set[str | None] = set()
        self.lock = threading.Lock()
        self.failures: list[BaseException] = []

    @property
    def is_busy(self) -> bool:
        return not self.failures and any(self.lanes.values())

    def pour(self, world: World, seed: int) -> None:
        dice = random.Random(seed)
        try:
            with closing(psycopg2.connect(world.url)) as own:
                own.autocommit = True
                while self.is_busy:
                    lanes, batch = self._take(dice)
                    for _ in range(dice.choice([1, 1, 1, 2])):
                        end = time.monotonic() + LONG
                        left = pour(own, deliveries(event(batch)), end) if batch else []
                    self._give_back(lanes, batch, {each.dedup_id for each in left})
        except BaseException as error:
            self.failures.append(error)

    def _take(self, dice: random.Random) -> tuple[list[str | None], list[QueueEntry]]:
        with self.lock:
            free = [lane for lane, left in self.lanes.items() if left and lane not in self.held]
            lanes = dice.sample(free, min(len(free), dice.randrange(1, 5)))
            self.held |= {*lanes}
            batch = [each for lane in lanes for each in self.lanes[lane][: dice.randrange(1, 4)]]
            return lanes, batch

    def _give_back(
        self, lanes: list[str | None], batch: list[QueueEntry], unfinished: set[str]
    ) -> None:
        with self.lock:
            for lane in lanes:
                left = self.lanes[lane]
                self.lanes[lane] = [
                    each for each in left if each not in batch or each.dedup_id in unfinished
                ]
            self.held -= {*lanes}


# The order of COMMIT of each key


def test_who_has_waited_for_the_lock_of_a_row_comes_later(
    world: World, gates: Callable[[int], Any]
) -> None:
    first = world.put("things", 1, {"n": 1, "gate": 1})
    one = Drain(world, taken(world))
    at_gate(world, 1)
    second = world.put("things", 1, {"n": 2})
    two = Drain(world, taken(world))
    until(lambda: world.value(FOR_ROW), "a drain that waits for the row")
    gates(1)
    one.end()
    two.end()

    assert [each["receipt"] for each in publish(world)] == [first, second]


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_transaction_that_begins_first_and_commits_last_comes_later(
    world: World, gates: Callable[[int], Any], is_fast: bool
) -> None:
    gate = world.post("gates", {"gate": 1})
    late = world.put("things", 1, {"n": 1})
    one = Drain(world, taken(world), is_fast)
    at_gate(world, 1)  # it has claimed both messages
    early = world.put("things", 1, {"n": 2})
    world.drain()
    events = publish(world)
    gates(1)
    one.end()
    events += publish(world)

    assert [each["receipt"] for each in events] == [early, gate, late]
    assert events[0]["sequence"] < events[2]["sequence"]


# What ends how


def test_a_request_says_how_it_has_ended(world: World) -> None:
    receipts = [
        world.put("things", 1, {"n": 1}),
        world.put("things", 2, {"n": -1}),
        world.post("things", [{"id": 10 + n, "n": n - 1} for n in range(3)]),
        world.patch("things", 3, {"n": 1}),
        world.post("log", [{"line": "x"}] * 3),
    ]

    world.drain()

    found = {each["receipt"]: each for each in publish(world)}
    states = ["applied", "rejected", "partial", "rejected", "applied"]
    assert [found[receipt]["state"] for receipt in receipts] == states
    for receipt in receipts:
        assert told(found[receipt]) == expected(world, receipt)
    partial = found[receipts[2]]
    assert (partial["writes"], partial["applied"], partial["rejected"]) == (3, 2, 1)
    assert (partial["resource"], partial["caller"], partial["version"]) == ("things", "me", 1)


@pytest.mark.parametrize("size", [1, 40])
def test_a_request_whose_key_was_used_before_is_rejected(world: World, size: int) -> None:
    rows = [{"id": n, "n": 1} for n in range(size)]
    first = world.post("things", rows, Idempotency_Key="k")
    world.drain()
    second = world.post("things", [{**row, "n": 2} for row in rows], Idempotency_Key="k")

    entries = taken(world)
    world.drain(entries)
    world.drain(entries)  # nothing remembers that it was refused

    one, *others = publish(world)
    assert told(one) == expected(world, first)
    assert {each["id"] for each in others} == {others[0]["id"]} != {one["id"]}
    assert told(others[0]) == expected(world, second)
    assert (others[0]["state"], others[0]["rejected"]) == ("rejected", size)


@pytest.mark.parametrize("outcome", ["applied", "rejected"])
def test_a_write_that_waits_is_done_when_it_does_not(world: World, outcome: str) -> None:
    receipt = world.post("things", [{"id": n, "parent": None if n else 5} for n in range(4)])
    behind = world.put("things", 0, {"parent": 5, "text": "behind"})
    entries = taken(world)
    world.drain(entries)
    assert world.value("SELECT count(*) FROM decanter.waiting") == 2
    assert publish(world) == []

    if outcome == "applied":
        world.execute("INSERT INTO parents VALUES (5)")
        world.drain(entries)
    else:
        with without_patience():
            world.drain(entries, receives=2)

    events = publish(world)
    assert [each["receipt"] for each in events] == [receipt, behind]
    assert [told(each) for each in events] == [expected(world, each) for each in (receipt, behind)]
    states = ["partial", "rejected"] if outcome == "rejected" else ["applied", "applied"]
    assert [each["state"] for each in events] == states


# Nothing twice, and nothing of what is rolled back


def test_what_comes_again_enters_nothing(world: World) -> None:
    world.post("things", [{"id": n, "n": n - 1} for n in range(40)])
    world.put("things", 50, {"parent": 5})
    entries = taken(world)
    world.drain(entries)
    before = entered(world)

    world.drain(entries, receives=2)
    world.drain(entries[::-1] * 2, receives=3)

    assert before == entered(world) == len(entries)


def test_what_is_rolled_back_enters_nothing(world: World) -> None:
    receipt = world.put("things", 1, {"n": 1})
    entries = taken(world)
    world.execute(
        """
        CREATE FUNCTION public.stop() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END$$;
        CREATE CONSTRAINT TRIGGER stop AFTER INSERT ON things DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION public.stop();
        """
    )
    with closing(psycopg2.connect(world.url)) as own:
        own.autocommit = True
        with pytest.raises(DatabaseUnavailable):
            pour(own, deliveries(event(entries)), time.monotonic() + LONG)

    assert entered(world) == 0
    world.execute("DROP TRIGGER stop ON things")
    world.drain(entries, receives=2)
    assert [each["receipt"] for each in publish(world)] == [receipt]


@pytest.mark.parametrize("first_poured", [0, 1, 99])
def test_a_retry_in_another_split_is_one_request(
    world: World, monkeypatch: pytest.MonkeyPatch, first_poured: int
) -> None:
    rows = [{"id": n, "n": 1, "text": "x" * 500} for n in range(200)]
    first = world.post("things", rows, Idempotency_Key="k")
    entries = taken(world)
    monkeypatch.setenv("DECANTER_MESSAGE_BYTES", "10000")
    second = world.post("things", rows, Idempotency_Key="k")
    retry = taken(world)
    assert len(retry) > len(entries) > 1
    world.drain(entries[:first_poured])
    events = publish(world)
    assert len(events) == (first_poured > 1)

    for entry in retry:
        world.drain([entry])
        events += publish(world)
    world.drain(entries)

    (found,) = events + publish(world)
    assert found["receipt"] == (first if first_poured > 1 else second)
    assert (found["state"], found["writes"], found["applied"]) == ("applied", 200, 200)


# Stages without events, and messages of a time without


def test_without_the_setting_nothing_is_entered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DECANTER_EVENTS")
    world.post("things", [{"id": n, "n": n - 1} for n in range(3)])
    world.put("things", 7, {"parent": 5})
    assert not any("receipt" in each.body for each in world.queued)

    world.drain_to_the_end()

    assert entered(world) == 0
    assert ask(world) == {"events": [], "places": [], "left": 0, "oldest_seconds": None}


def test_a_request_of_which_some_messages_have_no_receipt_is_done_once(world: World) -> None:
    """As when the setting changes while they are queued: whoever has one tells it."""
    receipt = world.post("things", [{"id": n, "n": 1} for n in range(40)])
    with_receipt, *others = taken(world)
    old = [changed(each, lambda m: m._replace(receipt="")) for each in others]

    world.drain(old)
    assert entered(world) == 0
    world.drain([with_receipt])

    assert [each["receipt"] for each in publish(world)] == [receipt]
