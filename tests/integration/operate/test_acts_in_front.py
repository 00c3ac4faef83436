"""Rejections of resources behind the front table are resent through it, each once."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table

from chalicelib.api.ops import resend
from chalicelib.buffer.dynamodb import table
from chalicelib.errors import Problem
from chalicelib.messages.message import decode
from tests.kit.api import assert_problem, body_of
from tests.kit.front_table import FrontTable
from tests.kit.fronted import NAME, all_entries
from tests.kit.operators import break_next_record, ops, post
from tests.kit.stream import Record, drain, streamed
from tests.kit.world import World

__all__ = ["streamed"]


@cache
def tables() -> MetaData:
    metadata = MetaData()
    for name, info in (("items", {"front": "dynamodb"}), ("queued", {})):
        key = Column("id", Integer, primary_key=True, autoincrement=False)
        check = CheckConstraint("n >= 0", name=f"positive_{name}")
        Table(name, metadata, key, Column("n", Integer), check, info=info)
    return metadata


@pytest.fixture
def world(make_operated: Callable[[MetaData], World], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    return make_operated(tables())


def bad(world: World, front_table: FrontTable, streamed: list[Record], *numbers: int) -> list[str]:
    """Rows that Postgres has rejected, and that were set back. Returns the rejections' ids."""
    for number in numbers:
        world.put("items", number, {"n": -number})
    drain(world, streamed)
    streamed.clear()
    for pk in all_entries(front_table.client):
        front_table.client.delete_item(TableName=NAME, Key={"pk": {"S": pk}})
    found = world.execute(
        "SELECT dedup_id || '.' || item FROM decanter.rejection ORDER BY row ->> 'id'"
    )
    return [id_ for (id_,) in found]


def begin(**members: Any) -> str:
    answer = post("acts", {"kind": "resend", **members})
    assert answer.status_code == 201, answer.body
    return str(body_of(answer)["id"])


def step(act: str) -> Any:
    answer = post(f"acts/{act}/steps")
    assert answer.status_code == 200, answer.body
    return body_of(answer)


def test_a_step_that_was_not_recorded_writes_no_row_twice(
    world: World,
    front_table: FrontTable,
    streamed: list[Record],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad(world, front_table, streamed, 1, 2)
    world.execute("ALTER TABLE items DROP CONSTRAINT positive_items")
    act = begin(filter={"resource": "items"}, expect=2)
    break_next_record(monkeypatch)
    assert_problem(post(f"acts/{act}/steps"), 503, "reader-busy")
    assert len(streamed) == 2
    world.put("items", 1, {"n": 7})  # a newer write, which the repeated step must not undo

    found = step(act)

    assert (found["done"], found["failed"], found["state"]) == (2, 0, "done")
    assert len(streamed) == 3
    drain(world, streamed)
    assert world.execute("SELECT id, n FROM items ORDER BY id") == [(1, 7), (2, -2)]
    resent = body_of(ops("/ops/rejections?state=resent"))["rejections"]
    known = {id_ for (id_,) in world.execute("SELECT dedup_id::text FROM decanter.ledger")}
    assert {each["correction"]["resent_as"] for each in resent} < known


def test_another_row_for_a_write_that_was_resent_is_not_written(
    world: World,
    front_table: FrontTable,
    streamed: list[Record],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (id_,) = bad(world, front_table, streamed, 1)
    act = begin(ids=[id_])
    break_next_record(monkeypatch)
    assert_problem(post(f"acts/{act}/steps"), 503, "reader-busy")

    found = step(begin(ids=[id_], rows={id_: {"id": 1, "n": 5}}))

    assert (found["done"], found["failed"]) == (0, 1)
    assert len(streamed) == 1


def test_what_the_front_refuses_fails_by_itself_and_can_be_resent_later(
    world: World, front_table: FrontTable, streamed: list[Record]
) -> None:
    world.post("items", {"id": 3, "n": -3})
    bad(world, front_table, streamed, 1, 2)
    world.execute("ALTER TABLE items DROP CONSTRAINT positive_items")
    world.post("items", {"id": 3, "n": 9})

    first = begin(filter={}, expect=3)
    assert (step(first)["done"], step(first)["failed"]) == (2, 1)
    (failed,) = body_of(ops(f"/ops/acts/{first}"))["steps"][0]["detail"]["failed"]
    assert "exists: PUT or PATCH changes it" in failed["reason"]
    world.delete("items", 3)
    second = step(begin(filter={}, expect=1))

    assert (second["done"], second["failed"], second["state"]) == (1, 0, "done")
    drain(world, streamed)
    assert world.execute("SELECT id, n FROM items ORDER BY id") == [(1, -1), (2, -2), (3, -3)]


@pytest.mark.parametrize("problem", ["time", "table"])
def test_what_was_written_before_the_time_or_the_table_ended_is_recorded(
    world: World,
    front_table: FrontTable,
    streamed: list[Record],
    monkeypatch: pytest.MonkeyPatch,
    problem: str,
) -> None:
    bad(world, front_table, streamed, 1, 2, 3)
    act = begin(filter={}, expect=3)
    monkeypatch.setattr("chalicelib.api.ops.acts._IN_PAGES", frozenset())
    with pytest.MonkeyPatch.context() as patch:
        if problem == "time":
            patch.setattr(resend, "_FRONT_SECONDS", -1.0)
        else:
            write = table.write
            calls: list[Any] = []

            def once(*given: Any, **more: Any) -> Any:
                calls.append(given)
                if len(calls) > 1:
                    raise Problem("front-unavailable", "away")
                return write(*given, **more)

            patch.setattr(table, "write", once)
        found = step(act)
        assert (found["done"], found["state"]) == (1, "running")
        if problem == "table":
            assert_problem(post(f"acts/{act}/steps"), 503, "front-unavailable")

    found = step(act)

    assert (found["done"], found["failed"], found["state"]) == (3, 0, "done")
    assert len(streamed) == 3


def test_fronts_and_queues_are_resent_in_one_act(
    world: World, front_table: FrontTable, streamed: list[Record]
) -> None:
    bad(world, front_table, streamed, 1)
    world.post("queued", {"id": 2, "n": -1})
    world.drain()

    found = step(begin(filter={}, expect=2))

    assert (found["done"], found["state"]) == (2, "done")
    assert len(streamed) == len(world.queued) == 1
    (sent,) = decode(world.queued[0].body).sets
    assert json.loads(sent.rows) == {"id": 2, "n": -1}
