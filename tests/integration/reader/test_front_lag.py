"""How far lists of resources in front say that they are behind."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table

from chalicelib.messages.message import Message
from chalicelib.postgres import front_lag
from tests.kit.stream import drain, record, write
from tests.kit.world import World

HOUR = 3_600_000


@cache
def tables() -> MetaData:
    metadata = MetaData()
    front = {"front": "dynamodb"}
    Table("groups", metadata, key(), info=front)
    Table("aXb", metadata, key(), Column("group", ForeignKey("groups.id")), info=front)
    Table("a_b", metadata, key(), info=front)
    Table("queued", metadata, key())
    return metadata


@pytest.fixture
def world(make_world: Callable[[MetaData], World], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    return make_world(tables())


def key() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=False)


def pour(world: World, *messages: Message) -> None:
    drain(world, [record(each) for each in messages])


def group(id: int, ms: int = 0) -> Message:
    return write("create", "groups", {"id": id}, ms)


def took(world: World, message: Message, seconds: float) -> None:
    """As if it had been accepted so long before it was poured."""
    world.execute(
        "UPDATE decanter.ledger SET accepted_at = poured_at - %s * interval '1 s'"
        " WHERE dedup_id = %s::uuid",
        seconds,
        message.dedup_id,
    )


def lag(world: World, resource: str = "groups", ask: str = "list") -> Any:
    """Seconds, and since when; None where they are unknown."""
    asked = {"ask": ask, "resource": resource, "filters": "{}", "order": [["id", "asc"]],
             "limit": 10, "from": None}  # fmt: skip
    answer = world.read(asked)
    return None if answer["lag"] is None else (answer["lag"], answer["age"])


def test_it_is_that_of_the_write_accepted_last_of_all_that_came(world: World) -> None:
    assert lag(world) is None
    first, last = group(1, ms=-9_000), group(2, ms=-8_000)
    pour(world, last)
    pour(world, first)
    took(world, first, 700)
    took(world, last, 2.5)

    for resource, ask in (("groups", "list"), ("groups", "counted"), ("a_b", "list")):
        seconds, age = lag(world, resource, ask)
        assert seconds == 2.5
        assert age > 0
    world.execute("UPDATE decanter.ledger SET poured_at = poured_at - interval '1 hour'")
    assert lag(world)[1] > 3_600


def test_clocks_that_differ_make_no_negative_lag(world: World) -> None:
    message = group(1, ms=500)
    pour(world, message)
    took(world, message, -0.5)

    assert lag(world)[0] == 0


def test_what_came_from_a_queue_does_not_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = group(1, ms=-9_000)
    pour(world, message)
    took(world, message, 2.5)
    for id in range(3):
        world.post("queued", {"id": id})
        world.post("queued", {"id": 10 + id}, Idempotency_Key=str(id))
    world.drain()

    assert lag(world)[0] == 2.5
    assert lag(world, "queued") is None
    monkeypatch.setattr(front_lag, "_MOST", 3)
    assert lag(world) is None


def test_what_was_accepted_more_than_a_day_ago_does_not_count(world: World) -> None:
    pour(world, group(1, ms=-25 * HOUR))

    assert lag(world) is None


def test_a_write_that_waits_counts_until_now(world: World) -> None:
    child = write("create", "aXb", {"id": 1, "group": 7}, ms=-HOUR)
    later = write("create", "aXb", {"id": 2, "group": 7}, ms=-HOUR // 2)
    pour(world, later, child)
    pour(world, group(1))

    seconds, age = lag(world, "aXb")
    assert (seconds > 3_600, age) == (True, 0)
    assert lag(world)[0] < seconds
    assert lag(world, "a_b")[0] < seconds  # its name is no pattern
