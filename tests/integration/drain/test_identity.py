"""One request, one effect: whatever splits it, retries it, and delivers it, and in which order.

`make property` tries the property with more requests; DECANTER_EXAMPLES says how many.
"""

import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, Text

from chalicelib.buffer.sqs import put
from chalicelib.contract import key
from chalicelib.messages import split
from chalicelib.messages.message import decode
from chalicelib.messages.receipt import keyed_id
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import transaction
from tests.kit.waiting import LONG
from tests.kit.world import World, changed

EXAMPLES = int(os.environ.get("DECANTER_EXAMPLES", "15"))
CREATES = {"create": "", "create-or-merge": "resolution=merge-duplicates",
           "create-or-ignore": "resolution=ignore-duplicates"}  # fmt: skip

# Every row that is written leaves a trace, so that a write that is done twice is seen.
TRACE = """
    CREATE TABLE public.trace (place bigserial PRIMARY KEY, id integer, name text);
    CREATE FUNCTION public.traced() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.trace (id, name) VALUES (new.id, new.name);
        RETURN new;
    END $$;
    CREATE TRIGGER traced AFTER INSERT OR UPDATE ON things
        FOR EACH ROW EXECUTE FUNCTION public.traced();
    CREATE TRIGGER traced AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION public.traced();
"""


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("name", Text))
    Table("events", metadata, Column("id", Integer), Column("name", Text),
          info={"ordered": False})  # fmt: skip
    return metadata


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    made = make_world(tables())
    made.execute(TRACE)
    made.execute("ALTER TABLE things ADD CONSTRAINT good CHECK (name <> 'bad')")
    made.execute("ALTER TABLE events ADD CONSTRAINT good CHECK (name <> 'bad')")
    return made


@dataclass(frozen=True)
class Version:
    """A deployment. room: bytes of a message. salt: other digests, as of other kinds of keys."""

    lanes: int = 16
    room: int = 1_000_000
    salt: str = ""


@dataclass(frozen=True)
class Attempt:
    """The request as a client sends it. taken: how many messages of each lane SQS takes before it
    fails; None: all."""

    version: Version
    taken: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Plan:
    """A request, its attempts, and how their messages come: the lanes from which the next one is
    taken, and with how many others; once all came, all come again in an order by `seed`."""

    resource: str
    op: str
    rows: tuple[tuple[int, str], ...]
    attempts: tuple[Attempt, ...]
    turns: tuple[int, ...]
    sizes: tuple[int, ...]
    seed: int


VERSIONS = st.builds(
    Version,
    lanes=st.sampled_from([1, 2, 3, 16]),
    room=st.sampled_from([130, 200, 300, 1_000_000]),
    salt=st.sampled_from(["", "", "other"]),
)
ATTEMPTS = st.builds(
    Attempt, VERSIONS, st.none() | st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)
)
NAMES = st.sampled_from(["a", "b", "c", "d", "bad"])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    resource = draw(st.sampled_from(["things", "things", "things", "events"]))
    ops = [*CREATES] if resource == "things" else ["create"]
    return Plan(
        resource,
        draw(st.sampled_from(ops)),
        tuple(draw(st.lists(st.tuples(st.integers(1, 6), NAMES), min_size=1, max_size=14))),
        (*draw(st.lists(ATTEMPTS, max_size=3)), Attempt(draw(VERSIONS))),
        tuple(draw(st.lists(st.integers(0, 15), min_size=1, max_size=12))),
        tuple(draw(st.lists(st.integers(1, 10), min_size=1, max_size=6))),
        draw(st.integers(0, 1_000)),
    )


@contextmanager
def deployed(version: Version) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "LANES", version.lanes)
        patch.setattr(split, "_room", lambda: version.room)
        if version.salt:
            digest = key.digest
            patch.setattr(
                key, "digest", lambda *given: key.number(f"{version.salt}/{digest(*given)}")
            )
        yield


def send(world: World, plan: Plan, attempt: Attempt) -> tuple[str, list[put.QueueEntry]]:
    """The receipt, and what of its messages is on the queue."""
    rows = [{"id": id_, "name": name} for id_, name in plan.rows]
    headers = {"Idempotency_Key": "k"}
    if CREATES[plan.op]:
        headers["Prefer"] = CREATES[plan.op]
    with deployed(attempt.version):
        receipt = world.post(plan.resource, rows, **headers)
    entries, world.queued = world.queued, []
    if attempt.taken is None:
        return receipt, entries
    lanes = sorted({entry.lane or "" for entry in entries})
    left = {lane: attempt.taken[place % len(attempt.taken)] for place, lane in enumerate(lanes)}
    taken = []
    for entry in entries:
        left[entry.lane or ""] -= 1
        if left[entry.lane or ""] >= 0:
            taken.append(entry)
    return receipt, taken


def expected(plan: Plan) -> tuple[dict[int, list[str]], set[int]]:
    """What is written to each key, in order, and the items that are rejected."""
    written: dict[int, list[str]] = defaultdict(list)
    rejected: set[int] = set()
    for item, (id_, name) in enumerate(plan.rows):
        is_there = bool(written[id_]) and plan.resource == "things"
        if name == "bad" or (is_there and plan.op == "create"):
            rejected.add(item)
        elif not is_there or plan.op == "create-or-merge":
            written[id_].append(name)
    return written, rejected


def traced(world: World) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for id_, name in world.execute("SELECT id, name FROM public.trace ORDER BY place"):
        found[id_].append(name)
    return found


def assert_true(world: World, plan: Plan, receipt: str, is_over: bool) -> None:
    """What a receipt says is what is in the tables."""
    status = world.status(receipt)
    rejected = {each["item"] for each in status["rejections"]}
    assert status["rejected"] == len(rejected) == len(world.rejections())
    assert rejected <= expected(plan)[1]
    if plan.op != "create-or-ignore":
        assert status["applied"] == world.value("SELECT count(*) FROM public.trace")
    assert (status["state"] != "pending") == is_over
    assert is_over == (status["applied"] + status["rejected"] == len(plan.rows))


def follow(world: World, plan: Plan) -> None:
    world.execute("TRUNCATE things, events, public.trace, decanter.ledger, decanter.rejection")
    receipts: list[str] = []
    lanes: dict[tuple[int, str | None], list[put.QueueEntry]] = defaultdict(list)
    everything: list[put.QueueEntry] = []
    for place, attempt in enumerate(plan.attempts):
        receipt, taken = send(world, plan, attempt)
        receipts += [receipt] if attempt.taken is None else []
        everything += taken
        for entry in taken:  # those of another deployment may come before or after
            lanes[place, entry.lane].append(entry)
    turn = 0
    while waiting := [lane for lane in lanes if lanes[lane]]:
        batch: list[put.QueueEntry] = []
        for _ in range(plan.sizes[turn % len(plan.sizes)]):
            if waiting := [lane for lane in lanes if lanes[lane]]:
                lane = waiting[plan.turns[turn % len(plan.turns)] % len(waiting)]
                batch.append(lanes[lane].pop(0))
                turn += 1
        turn += 1
        world.drain(batch)
        ledger_rows = "SELECT coalesce(sum(writes), 0) FROM decanter.ledger"
        is_over = world.value(ledger_rows) == len(plan.rows)
        for receipt in receipts:
            assert_true(world, plan, receipt, is_over)

    written, rejected = expected(plan)
    of_events = sorted if plan.resource == "events" else list
    assert {k: of_events(v) for k, v in traced(world).items()} == {
        k: of_events(v) for k, v in written.items() if v
    }
    for receipt in receipts:
        assert_true(world, plan, receipt, is_over=True)
        assert {each["item"] for each in world.status(receipt)["rejections"]} == rejected

    before = traced(world)
    random.Random(plan.seed).shuffle(everything)
    for start in range(0, len(everything), 10):
        world.drain(everything[start : start + 10])
    assert traced(world) == before


def test_a_request_has_one_effect_however_it_is_split_and_retried(world: World) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=EXAMPLES <= 40,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(plans())
    def property_(plan: Plan) -> None:
        follow(world, plan)

    property_()


SMALL = Version(lanes=1, room=200)
OTHER = Version(lanes=1, room=330)


def rows_of(count: int) -> list[dict[str, Any]]:
    return [{"id": n, "name": f"n{n}"} for n in range(count)]


def sent(world: World, version: Version, rows: Any, key_: str = "k") -> list[put.QueueEntry]:
    with deployed(version):
        world.post("things", rows, Idempotency_Key=key_, Prefer="resolution=merge-duplicates")
    entries, world.queued = world.queued, []
    return entries


def test_a_retry_in_another_split_changes_nothing_of_what_was_written_since(world: World) -> None:
    first, retry = sent(world, SMALL, rows_of(9)), sent(world, OTHER, rows_of(9))
    assert 1 < len(retry) < len(first)
    world.drain(first)
    world.execute("UPDATE things SET name = 'newer'")
    before = traced(world)

    world.drain(retry)

    assert traced(world) == before


def test_what_was_accepted_of_a_request_and_the_rest_of_its_retry_make_one_effect(
    world: World,
) -> None:
    first, retry = sent(world, SMALL, rows_of(9)), sent(world, OTHER, rows_of(9))

    world.drain(first[1:3])  # SQS has not taken the others
    world.drain(retry[:1])
    world.drain(retry[1:])

    assert traced(world) == {n: [f"n{n}"] for n in range(9)}


@pytest.mark.parametrize("is_open", ["first", "retry"])
def test_two_drains_with_two_splits_of_a_request_wait_for_each_other(
    world: World, is_open: str
) -> None:
    """Also where neither is the first of the request to be poured."""
    first, retry = sent(world, SMALL, rows_of(9)), sent(world, OTHER, rows_of(9))
    world.drain(first[:1])
    one = ledger.entry(decode(first[1].body))
    two = ledger.entry(decode(retry[0].body))
    ours, theirs = (one, two) if is_open == "first" else (two, one)
    assert {*ours.items} & {*theirs.items}
    found: list[dict[str, Any]] = []

    def other() -> None:
        with closing(psycopg2.connect(world.url)) as own:
            own.autocommit = True
            with transaction(own, time.monotonic() + LONG) as running:
                ledger.claim_requests(running, [theirs])
                found.append(ledger.poured_in_another_split(running, [theirs]))

    with closing(psycopg2.connect(world.url)) as own:
        own.autocommit = True
        thread = threading.Thread(target=other)
        with transaction(own, time.monotonic() + LONG) as running:
            ledger.claim_requests(running, [ours])
            ledger.poured_in_another_split(running, [ours])
            ledger.claim_fresh(running, [ours])
            thread.start()
            thread.join(0.3)
            assert found == []
        thread.join()

    others = found[0][theirs.dedup_id]
    poured = {item for item in theirs.items if any(item in each for each in others)}
    assert poured >= {*ours.items} & {*theirs.items}


def test_drains_with_messages_of_one_split_do_not_wait_for_each_other(world: World) -> None:
    first = sent(world, SMALL, rows_of(9))
    world.drain(first[:1])
    one, two = (ledger.entry(decode(entry.body)) for entry in first[1:3])

    with closing(psycopg2.connect(world.url)) as own, closing(psycopg2.connect(world.url)) as other:
        own.autocommit = other.autocommit = True
        with transaction(own, time.monotonic() + LONG) as running:
            ledger.claim(running, [one])
            running.execute("SELECT 1")
            with transaction(other, time.monotonic() + LONG) as beside:
                ledger.claim(beside, [two])
                beside.execute("SELECT 1")
            with transaction(other, time.monotonic() + LONG) as beside:
                ledger.claim_requests(beside, [two])
                assert ledger.poured_in_another_split(beside, [two]) == {}

    assert world.value("SELECT count(*) FROM decanter.ledger WHERE writes > 0") == 3


def test_many_requests_in_a_batch_need_few_locks(world: World) -> None:
    entries = [
        ledger.LedgerEntry(str(keyed_id("me", str(n))), "f" * 32, 1, 0) for n in range(5_000)
    ]

    with closing(psycopg2.connect(world.url)) as own:
        own.autocommit = True
        with transaction(own, time.monotonic() + LONG) as running:
            ledger.claim(running, entries)
            ((locks,),) = running.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )

    assert 0 < locks <= 256


# The key of another request


def aged(entry: put.QueueEntry, seconds: float) -> put.QueueEntry:
    """The entry as of a request that was accepted so much earlier."""
    return changed(entry, lambda m: m._replace(accepted_at=m.accepted_at - int(seconds * 1000)))


@pytest.mark.parametrize("is_first_in_front", [True, False])
def test_of_two_requests_with_a_key_in_one_batch_the_first_accepted_is_applied(
    world: World, is_first_in_front: bool
) -> None:
    one = world.put("things", 1, {"name": "first"}, Idempotency_Key="k")
    two = world.put("things", 2, {"name": "second"}, Idempotency_Key="k")
    first, second = world.queued
    batch = [aged(first, 1), second]

    world.drain(batch if is_first_in_front else batch[::-1])

    assert traced(world) == {1: ["first"]}
    assert world.status(one)["state"] == "applied"
    assert world.status(two)["rejections"][0]["type"] == "key-reused"


def test_of_two_requests_with_a_key_the_later_stays_once_it_is_poured(world: World) -> None:
    one = world.put("things", 1, {"name": "first"}, Idempotency_Key="k")
    two = world.put("things", 2, {"name": "second"}, Idempotency_Key="k")
    first, second = world.queued

    world.drain([second])
    world.drain([aged(first, 1)])

    assert traced(world) == {2: ["second"]}
    assert world.status(one)["rejections"][0]["type"] == "key-reused"
    assert world.status(two)["state"] == "applied"
