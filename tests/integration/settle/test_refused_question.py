"""The reader's answer about writes in front that were refused, and the rows that Postgres has."""

import json
from collections.abc import Callable
from contextlib import closing
from functools import cache
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Column, Integer, MetaData, Numeric, Table, Text

from chalicelib.messages.questions import RefusedQuestion, RefusedWrites, to_event
from chalicelib.postgres import rejections
from chalicelib.reader import answer
from tests.kit.world import World


@cache
def tables() -> MetaData:
    metadata = MetaData()
    key = {"primary_key": True, "autoincrement": False}
    Table("small", metadata, Column("id", Integer, **key), Column("text", Text),
          info={"front": "dynamodb"})  # fmt: skip
    Table("exact", metadata, Column("amount", Numeric, **key), Column("kind", Text, **key),
          info={"front": "closed"})  # fmt: skip
    Table("queued", metadata, Column("id", Integer, **key))
    return metadata


@pytest.fixture
def world(make_world: Callable[[MetaData], World]) -> World:
    return make_world(tables())


def reject(world: World, resource: str | None, *rows: Any) -> None:
    """Rejections, each a second after the other. rows: JSON texts, or None."""
    world.execute(
        "INSERT INTO decanter.rejection (dedup_id, item, resource, op, type, reason, row,"
        " rejected_at) SELECT gen_random_uuid(), 0, %s, 'replace', 'check', 'why', row::json,"
        " now() + number * interval '1 s'"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS sent (row, number)",
        resource,
        [*rows],
    )


def ask(world: World, since: str = "") -> RefusedWrites:
    question = RefusedQuestion(since)
    payload = world.read(json.loads(to_event(question, 10)))
    return question.read_answer(json.loads(json.dumps(payload)))


def ids(found: RefusedWrites) -> list[int]:
    return [int(json.loads(each.key)["id"]) for each in found.refused]


def everything(world: World) -> list[RefusedWrites]:
    pages = [ask(world)]
    while pages[-1].next is not None:
        pages.append(ask(world, pages[-1].next))
    return pages


def test_a_refused_write_comes_with_the_row_of_postgres(world: World) -> None:
    world.execute("INSERT INTO exact VALUES (1.50, 'a'), (12345678901234567890.10, 'b')")
    reject(
        world,
        "exact",
        '{"amount":1.5,"kind":"a"}',
        '{"kind":"b","amount":12345678901234567890.1,"more":[1]}',
        '{"amount":7,"kind":"a"}',
    )

    found = ask(world)

    assert [(each.resource, json.loads(each.key), each.row) for each in found.refused] == [
        ("exact", {"amount": "1.5", "kind": "a"}, '{"amount":1.50,"kind":"a"}'),
        (
            "exact",
            {"amount": "12345678901234567890.1", "kind": "b"},
            '{"amount":12345678901234567890.10,"kind":"b"}',
        ),
        ("exact", {"amount": "7", "kind": "a"}, None),
    ]
    assert [each.etag is None for each in found.refused] == [False, False, True]
    assert {(each.type, each.reason, each.is_too_large) for each in found.refused} == {
        ("check", "why", False)
    }
    assert found.next is None


def test_rejections_without_a_key_and_of_other_resources_are_left_out(world: World) -> None:
    reject(world, "small", None, "[]", "5", '{"text":"x"}', '{"id":1}')
    reject(world, "queued", '{"id":2}')
    reject(world, None, '{"id":3}')

    assert ids(ask(world)) == [1]


def test_a_key_that_its_type_does_not_take_hides_no_other_row(world: World) -> None:
    world.execute("INSERT INTO small SELECT generate_series(1, 9)")
    keys = [1, 2, 1 << 40, 3, "x", 4]
    reject(world, "small", *[json.dumps({"id": key}) for key in keys])

    found = ask(world)

    assert [each.row is not None for each in found.refused] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]
    assert not any(each.is_too_large for each in found.refused)


def test_a_row_that_no_item_holds_is_told(world: World) -> None:
    world.execute("INSERT INTO small VALUES (1, 'x'), (2, repeat('x', 500000)), (3, 'x')")
    world.execute("INSERT INTO small VALUES (4, repeat('x', 6000000))")
    reject(world, "small", *[json.dumps({"id": key}) for key in range(1, 6)])

    found = ask(world)

    assert [(each.row is not None, each.is_too_large) for each in found.refused] == [
        (True, False), (False, True), (True, False), (False, True), (False, False)
    ]  # fmt: skip


def test_pages_hold_what_an_answer_holds(world: World) -> None:
    world.execute("INSERT INTO small SELECT n, repeat('ü', 190000) FROM generate_series(0, 19) n")
    reject(world, "small", *[json.dumps({"id": n % 20}) for n in range(40)])

    pages = everything(world)

    assert [id for page in pages for id in ids(page)] == [n % 20 for n in range(40)]
    assert all(each.row for page in pages for each in page.refused)
    assert max(len(json.dumps(vars(page))) for page in pages) < answer.ANSWER_BYTES + 100_000


def test_pages_follow_each_other_through_all_resources(world: World) -> None:
    for n in range(120):
        reject(world, "small", json.dumps({"id": n}))
        reject(world, "exact", json.dumps({"amount": n, "kind": "a"}))

    pages = everything(world)

    found = [each.dedup_id for page in pages for each in page.refused]
    wanted = "SELECT dedup_id::text FROM decanter.rejection ORDER BY rejected_at, dedup_id, item"
    assert found == [id for (id,) in world.execute(wanted)]
    assert len(pages) == 3


def test_only_what_is_past_is_known(world: World) -> None:
    reject(world, "small", *[json.dumps({"id": n}) for n in range(4)])
    assert ask(world, "?").known == "?"
    world.execute(
        "UPDATE decanter.rejection SET rejected_at = rejected_at - interval '20 min'"
        " WHERE (row ->> 'id')::int < 3"
    )
    known = ask(world).known

    assert ids(ask(world, known)) == [3]
    assert ask(world, known).known == known


def test_nothing_is_past_while_a_later_version_is_rolled_back(world: World) -> None:
    reject(world, "small", '{"id":1}')
    world.execute("UPDATE decanter.rejection SET rejected_at = rejected_at - interval '20 min'")
    world.execute("INSERT INTO decanter.alembic_version VALUES ('later')")

    found = ask(world, "?")

    assert (ids(found), found.known) == ([1], "?")


def test_a_hundred_cost_as_many_statements_as_two(world: World, statements: list[str]) -> None:
    reject(world, "small", *[json.dumps({"id": n}) for n in range(2)])
    ask(world)
    few = len(statements)
    reject(world, "small", *[json.dumps({"id": n}) for n in range(98)])
    statements.clear()
    ask(world)

    assert len(statements) == few


def test_rejections_of_other_resources_are_not_read(world: World) -> None:
    reject(world, "queued", *['{"id":1}'] * 5_000)
    reject(world, "small", '{"id":1}')
    world.execute("ANALYZE decanter.rejection")
    bound = {"resources": ["small"], "at": 0, "dedup_id": "0" * 32, "item": 0, "limit": 100}
    with closing(psycopg2.connect(world.url)) as own, own.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {rejections._SINCE}", bound)
        ((((plan),),),) = cursor.fetchall()

    assert removed(plan["Plan"]) == 0


def removed(node: dict[str, Any]) -> int:
    """Rows that Postgres read and did not take."""
    own = sum(int(value) for name, value in node.items() if name.startswith("Rows Removed by"))
    return own + sum(map(removed, node.get("Plans", [])))
