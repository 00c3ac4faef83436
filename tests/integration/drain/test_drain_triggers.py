"""A trigger that leaves a row out, or as it was, says nothing: the drain tells it all the same."""

from collections.abc import Callable
from functools import cache

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from tests.kit.world import World

REASON = "a trigger of things left the row out or unchanged"


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("n", Integer))
    Table("log", metadata, Column("n", Integer), info={"ordered": False})
    return metadata


@pytest.fixture
def world(make_world: Callable[[MetaData], World]) -> World:
    made = make_world(tables())
    made.execute("INSERT INTO things SELECT n, 0 FROM generate_series(1, 9) AS n")
    made.execute("""
        CREATE FUNCTION public.leave() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' THEN RETURN CASE WHEN OLD.id % 2 = 0 THEN OLD END; END IF;
            RETURN CASE WHEN NEW.n % 2 = 0 THEN NEW END;
        END $$;
        CREATE TRIGGER leave BEFORE INSERT OR UPDATE OR DELETE ON things
            FOR EACH ROW EXECUTE FUNCTION leave();
        CREATE TRIGGER leave BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION leave();
    """)
    return made


def states(world: World, receipts: list[str]) -> list[str]:
    return [world.status(receipt)["state"] for receipt in receipts]


@pytest.mark.parametrize("is_isolating", [False, True])
def test_a_change_that_a_trigger_does_not_let_through_is_not_missing(
    world: World, is_isolating: bool
) -> None:
    receipts = [
        world.patch("things", 1, {"n": 1}),
        world.patch("things", 2, {"n": 2}),
        world.patch("things", 77, {"n": 1}),
        world.put("things", 3, {"n": 3}),
        world.put("things", 4, {"n": 4}),
        world.delete("things", 5),
        world.delete("things", 6),
        world.delete("things", 78),
    ]
    if is_isolating:
        receipts.append(world.post("things", {"id": 9, "n": 0}))

    world.drain()

    assert states(world, receipts[:8]) == [
        "rejected", "applied", "rejected", "rejected", "applied", "rejected", "applied", "rejected",
    ]  # fmt: skip
    found = world.execute(
        "SELECT row->>'id', type FROM decanter.rejection WHERE type <> 'conflict'"
    )
    assert dict(found) == {
        "1": "trigger", "77": "missing", "3": "trigger", "5": "trigger", "78": "missing",
    }  # fmt: skip
    assert world.value("SELECT count(*) FROM things WHERE id IN (1, 3, 5) AND n = 0") == 3


def test_a_condition_that_holds_is_not_reported_as_failed(world: World) -> None:
    receipts = [
        world.patch("things", 1, {"n": 1}, If_Match="*"),
        world.delete("things", 5, If_Match="*"),
        world.patch("things", 77, {"n": 1}, If_Match="*"),
    ]

    world.drain()

    assert states(world, receipts) == ["rejected"] * 3
    kinds = sorted(kind for _, kind in world.rejections())
    assert kinds == ["precondition-failed", "trigger", "trigger"]
    assert REASON in world.value(
        "SELECT min(reason) FROM decanter.rejection WHERE type = 'trigger'"
    )


@pytest.mark.parametrize("prefer", ["", "resolution=merge-duplicates"])
def test_rows_that_a_trigger_leaves_out_are_not_applied(world: World, prefer: str) -> None:
    headers = {"Prefer": prefer} if prefer else {}
    receipt = world.post("things", [{"id": n, "n": n} for n in range(10, 30)], **headers)

    world.drain()

    status = world.status(receipt)
    assert (status["state"], status["applied"], status["rejected"]) == ("partial", 10, 10)
    assert {each["type"] for each in status["rejections"]} == {"trigger"}
    assert {each["item"] % 2 for each in status["rejections"]} == {1}
    assert world.value("SELECT count(*) FROM things WHERE id >= 10") == 10


def test_rows_without_a_key_that_a_trigger_leaves_out_are_not_applied(world: World) -> None:
    receipts = [world.post("log", [{"n": n} for n in range(100)]), world.post("log", {"n": 1})]

    world.drain()

    assert states(world, receipts) == ["partial", "rejected"]
    assert world.status(receipts[0])["applied"] == 50


def test_what_is_ignored_where_it_is_there_stays_applied(world: World) -> None:
    receipt = world.post(
        "things", [{"id": 1, "n": 2}, {"id": 50, "n": 2}], Prefer="resolution=ignore-duplicates"
    )

    world.drain()

    assert states(world, [receipt]) == ["applied"]


def test_a_trigger_that_changes_rows_and_keeps_them_changes_no_outcome(world: World) -> None:
    world.execute("""
        DROP TRIGGER leave ON things;
        CREATE FUNCTION public.double() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.n := 2 * NEW.n; RETURN NEW; END $$;
        CREATE TRIGGER double BEFORE INSERT OR UPDATE ON things
            FOR EACH ROW EXECUTE FUNCTION double();
    """)
    receipts = [
        world.post("things", [{"id": n, "n": n} for n in range(10, 20)]),
        world.patch("things", 1, {"n": 1}),
        world.put("things", 2, {"n": 1}),
    ]

    world.drain()

    assert states(world, receipts) == ["applied"] * 3
    assert world.value("SELECT sum(n) FROM things WHERE id >= 10") == 2 * sum(range(10, 20))
