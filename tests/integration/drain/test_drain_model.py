"""Random tables, requests and deliveries: the drain keeps what tests/kit/model promises.

`make property` looks longer, and at more tables, with other examples each time; DECANTER_EXAMPLES
says how many.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, event, given, note, settings

from chalicelib.api.writes import rows as intake_rows
from chalicelib.drain import handler
from tests.kit.model.course import Course
from tests.kit.model.plans import EXAMPLES, IS_LONG, SCHEMAS, Plan, Request, plans
from tests.kit.model.schema import metadata_of
from tests.kit.model.search import counted
from tests.kit.world import World


@pytest.fixture
def model_world(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[World, Any]]:
    """All random tables in one database; intake lets through what the contract would refuse."""
    made = make_world(metadata_of(SCHEMAS))
    monkeypatch.setattr(
        intake_rows, "check", lambda _resource, _op, found, *_, **__: (found.rows, [])
    )
    monkeypatch.setattr(handler, "_LONGEST_PAUSE_SECONDS", 0)
    with closing(psycopg2.connect(made.url)) as own:
        own.autocommit = True
        with own.cursor() as cursor:
            cursor.execute("SET timezone = 'UTC'")
        yield made, own


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not IS_LONG,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase is not Phase.explain],
)
@given(plan=plans())
def test_every_batch_does_what_some_order_of_its_writes_does(
    model_world: tuple[World, Any], plan: Plan
) -> None:
    for rows in plan.schema.tables:
        note(repr(rows))
    course = Course(*model_world, plan)
    with pytest.MonkeyPatch.context() as monkeypatch:
        course.begin(monkeypatch)
        for step in plan.steps:
            if isinstance(step, Request):
                course.accept(step)
            else:
                course.deliver(step)
        course.finish()
    for outcome, number in counted(
        [kind for each in course.messages.values() for kind in each.settled.values()]
    ).items():
        event(outcome, min(number, 3))


# What this has found, in plain words


@cache
def tables() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "nodes",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("above", sa.Integer, sa.ForeignKey("nodes.id", ondelete="RESTRICT")),
        sa.Column("u", sa.Integer, unique=True),
    )
    sa.Table(
        "log",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("n", sa.Integer, sa.CheckConstraint("n < 1000")),
        info={"ordered": False},
    )
    return metadata


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world(tables())


def nodes(world: World) -> list[Any]:
    return world.execute("SELECT id, above, u FROM nodes ORDER BY id")


def test_a_merge_of_a_missing_row_is_rejected_though_its_parent_came_late(world: World) -> None:
    world.execute("INSERT INTO nodes (id) VALUES (1)")
    kept, lost = world.patch("nodes", 1, {"above": 5}), world.patch("nodes", 2, {"above": 5})
    world.post("nodes", {"id": 5})

    world.drain()

    assert world.status(kept)["state"] == "applied"
    assert [each["type"] for each in world.status(lost)["rejections"]] == ["missing"]


def test_a_merge_of_a_missing_row_waits_for_no_parent(world: World) -> None:
    world.execute("INSERT INTO nodes (id) VALUES (1)")
    world.patch("nodes", 1, {"above": 99})
    lost = world.patch("nodes", 2, {"above": 99})

    world.drain_to_the_end()

    assert [each["type"] for each in world.status(lost)["rejections"]] == ["missing"]


def test_a_row_that_is_its_own_parent_is_poured_beside_an_orphan(world: World) -> None:
    world.post("nodes", [{"id": 1, "above": 1}, {"id": 2, "above": 99}])

    world.drain_to_the_end()

    assert nodes(world) == [(1, 1, None)]
    assert world.rejections() == [(1, "missing-parent")]


def test_an_orphan_that_has_another_fault_by_now_does_not_wait(world: World) -> None:
    world.post("nodes", {"id": 1, "above": 5, "u": 7})
    world.post("nodes", {"id": 5, "u": 7})

    assert world.drain() == {"batchItemFailures": []}

    assert nodes(world) == [(5, None, 7)]
    assert world.rejections() == [(0, "conflict")]


def test_a_row_that_others_refer_to_is_still_referenced_with_restrict_too(world: World) -> None:
    world.execute("INSERT INTO nodes VALUES (1, NULL, NULL), (2, 1, NULL)")
    world.delete("nodes", 1)

    world.drain()

    [(type_, sqlstate)] = world.rejections("type, sqlstate")
    assert type_ == "still-referenced"
    assert sqlstate in ("23503", "23001")  # before Postgres 18, and since


def test_a_bad_row_takes_no_key_from_a_good_one_behind_it(world: World) -> None:
    world.execute("INSERT INTO log VALUES (0, 0)")
    rows = [{"id": 0, "n": 1}, {"id": 1, "n": 1000}, {"id": 1, "n": 1}, {"id": 1, "n": 2}]
    world.post("log", rows)

    world.drain()

    assert world.execute("SELECT id, n FROM log ORDER BY id") == [(0, 0), (1, 1)]
    assert world.rejections() == [(0, "conflict"), (1, "check"), (3, "conflict")]


def test_names_with_dots_are_referred_to(make_world: Callable[..., World]) -> None:
    metadata = sa.MetaData()
    parent = sa.Table(
        "the.parents",
        metadata,
        sa.Column("a.b", sa.Integer, primary_key=True),
        sa.Column("c", sa.Integer, primary_key=True),
        info={"resource": "parents"},
    )
    sa.Table(
        "children",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("a", sa.Integer),
        sa.Column("c", sa.Integer),
        sa.ForeignKeyConstraint(["a", "c"], [parent.c["a.b"], parent.c.c]),
    )
    world = make_world(metadata)
    world.post("children", {"id": 1, "a": 2, "c": 3})
    world.post("parents", {"a.b": 2, "c": 3})

    assert world.drain() == {"batchItemFailures": []}

    assert world.rejections() == []
