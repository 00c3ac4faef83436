"""Troubled writes among good ones, on a queue with the habits of SQS: good ones do not wait."""

import os
import random
from collections.abc import Callable
from contextlib import closing
from functools import cache

import psycopg2
import pytest
from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, MetaData, Table

from chalicelib.messages.message import decode
from tests.kit.virtual_queue import VISIBILITY_SECONDS, Queue
from tests.kit.world import World

SEEDS = int(os.environ.get("DECANTER_EXAMPLES", "1"))


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("parents", metadata, Column("id", Integer, primary_key=True), Column("n", Integer))
    Table("children", metadata, Column("id", Integer, primary_key=True),
          Column("parent", ForeignKey("parents.id")), Column("n", Integer))  # fmt: skip
    Table("things", metadata, Column("id", Integer, primary_key=True),
          Column("n", Integer, CheckConstraint("n < 1000")))  # fmt: skip
    Table("broken", metadata, Column("id", Integer, primary_key=True), Column("n", Integer))
    return metadata


@pytest.fixture
def queue(make_world: Callable[[MetaData], World], monkeypatch: pytest.MonkeyPatch) -> Queue:
    world = make_world(tables())
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    world.execute("INSERT INTO parents SELECT generate_series(1, 50)")
    return Queue(world)


def states(world: World, receipts: list[str]) -> set[str]:
    return {world.status(receipt)["state"] for receipt in receipts}


def test_orphans_now_and_then_hold_up_no_writes_of_others(queue: Queue) -> None:
    good: list[str] = []
    orphans: list[str] = []
    oldest: list[float] = []

    def step() -> None:
        second = int(queue.now)
        oldest.append(max([queue.now - each.sent_at for each in queue.messages], default=0))
        if second % 5 == 0:
            orphans.append(queue.world.post("children", {"id": second, "parent": 10_000 + second}))
        good.append(queue.world.post("things", {"id": second, "n": 0}))

    queue.run(240, step)
    bodies = [decode(each.entry.body) for each in queue.messages]

    # A write waits at most for its lane to open again, however many orphans came before.
    assert max(oldest) <= 2 * VISIBILITY_SECONDS + 60
    assert sum(message.resource == "things" for message in bodies) < 60
    queue.run_to_the_end()
    assert states(queue.world, good) == {"applied"}
    assert states(queue.world, orphans) == {"rejected"}


def test_children_that_are_sent_before_their_parents_are_all_applied(queue: Queue) -> None:
    children = [queue.world.post("children", {"id": n, "parent": 1_000 + n}) for n in range(120)]
    queue.send()
    queue.wait(2)
    parents = [queue.world.post("parents", {"id": 1_000 + n}) for n in range(120)]
    queue.send()

    queue.run_to_the_end()

    assert states(queue.world, [*children, *parents]) == {"applied"}


def test_a_dirty_load_holds_up_no_writes_of_others(queue: Queue) -> None:
    loads = [
        queue.world.post(
            "children",
            [{"id": 100 * r + n, "parent": 10_000 + n if n % 6 == 0 else 1} for n in range(100)],
        )
        for r in range(20)
    ]
    patches = [queue.world.post("things", {"id": n, "n": 1}) for n in range(24)]
    queue.send()

    queue.run(2 * VISIBILITY_SECONDS)

    assert states(queue.world, patches) == {"applied"}
    queue.run_to_the_end()
    for load in loads:
        status = queue.world.status(load)
        assert (status["state"], status["rejected"]) == ("partial", 17)
        assert {each["type"] for each in status["rejections"]} == {"missing-parent"}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_good_write_is_poured_at_the_first_delivery_of_its_message(
    queue: Queue, seed: int
) -> None:
    dice = random.Random(seed)
    world = queue.world
    world.execute("""
        CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.n = 7 THEN PERFORM pg_sleep(600); END IF; RETURN NEW; END $$;
        CREATE TRIGGER dawdle BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION dawdle();
        ALTER TABLE broken RENAME TO gone;
        INSERT INTO things SELECT generate_series(1, 9), 0;
    """)
    good: list[str] = []
    expected: dict[str, set[str]] = {}
    late: list[tuple[float, int]] = []
    with closing(psycopg2.connect(world.url)) as other:
        other.cursor().execute("SELECT FROM parents WHERE id = 3 FOR UPDATE")
        for number in range(100, 160):
            kind = dice.choice(["good"] * 6 + ["orphan", "late", "locked", "broken", "bad", "key"])
            kind = "slow" if number == 120 else kind
            match kind:
                case "good" if dice.random() < 0.5:
                    good.append(world.post("things", {"id": number, "n": 0}))
                case "good":
                    row = [{"id": 10 * number + n, "parent": dice.randint(4, 50)} for n in range(3)]
                    good.append(world.post("children", row))
                case "slow":
                    expected[world.post("things", {"id": number, "n": 7})] = {"rejected"}
                case "orphan":
                    receipt = world.post("children", {"id": number, "parent": 20_000 + number})
                    expected[receipt] = {"rejected"}
                    expected[world.patch("children", number, {"n": 1})] = {"rejected"}
                case "late":
                    receipt = world.post("children", {"id": number, "parent": 30_000 + number})
                    expected[receipt] = {"applied"}
                    late.append((queue.now + dice.randint(1, 20), 30_000 + number))
                case "locked":
                    receipt = world.post("children", {"id": number, "parent": 3})
                    expected[receipt] = {"applied"}
                    expected[world.patch("children", number, {"n": 1})] = {"applied"}
                case "broken":
                    expected[world.post("broken", {"id": number, "n": 1})] = {"applied"}
                case "bad":
                    expected[world.post("things", {"id": number, "n": 1000})] = {"rejected"}
                case "key":
                    good.append(
                        world.patch("things", dice.randint(1, 9), {"n": dice.randint(8, 99)})
                    )
            for at, parent in [each for each in late if each[0] <= queue.now]:
                expected[world.post("parents", {"id": parent})] = {"applied"}
                late.remove((at, parent))
            queue.send()
            if dice.random() < 0.3:
                while queue.deliver():
                    untried = {each.entry.dedup_id for each in queue.messages if not each.receives}
                    delivered = [
                        receipt for receipt in good if not untried & dedup_ids(world, receipt)
                    ]
                    assert states(world, delivered) <= {"applied"}
                queue.wait(dice.randint(1, 4))
        for _, parent in late:
            expected[world.post("parents", {"id": parent})] = {"applied"}
        queue.send()
        queue.run(2 * VISIBILITY_SECONDS)
    world.execute("ALTER TABLE gone RENAME TO broken")

    queue.run_to_the_end(1_200)

    assert states(world, good) == {"applied"}
    assert {receipt: states(world, [receipt]) for receipt in expected} == expected


def dedup_ids(world: World, receipt: str) -> set[str]:
    from chalicelib.messages.receipt import verify
    from tests.kit.world import RECEIPT_KEY

    known = verify(receipt, RECEIPT_KEY, "me")
    assert known is not None
    return {known.dedup_id(number) for number in range(known.messages)}
