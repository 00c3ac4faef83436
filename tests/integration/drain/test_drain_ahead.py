"""A version that was taken back leaves messages which the one before does not know."""

import logging
from collections.abc import Callable
from functools import cache

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from chalicelib.buffer.sqs import put
from chalicelib.errors import Unfinished
from chalicelib.messages.message import RowSet
from chalicelib.postgres import revisions
from chalicelib.postgres.engine import ENGINES
from tests.kit.world import World, changed

NEWER = "INSERT INTO decanter.alembic_version VALUES ('0002_of_the_next')"


@cache
def tables(*more: str) -> MetaData:
    metadata = MetaData()
    names = ("name", *more)
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        *[Column(name, Text) for name in names],
    )
    return metadata


@pytest.fixture
def world(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    made = make_world(tables())
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    return made


def with_member(entry: put.QueueEntry, member: str) -> put.QueueEntry:
    """The entry as a version whose table has one more column would have sent it."""

    def change(message):  # type: ignore[no-untyped-def]
        (rows,) = message.sets
        members = tuple(sorted((*rows.members, member)))
        text = rows.rows.replace("}", f', "{member}": "x"}}')
        return message._replace(sets=(RowSet(members, rows.items, rows.digests, text),))

    return changed(entry, change)


def same_lane(world: World) -> tuple[put.QueueEntry, put.QueueEntry]:
    """A message that has to come before another one, of the same row."""
    world.post("things", {"id": 1, "name": "first"})
    world.patch("things", 1, {"name": "second"})
    first, second = world.queued
    world.queued.clear()
    assert first.lane == second.lane
    return first, second


def test_what_a_version_deployed_later_has_sent_stays_queued_with_what_follows(
    world: World, make_world: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = same_lane(world)
    world.post("things", {"id": 7})
    (other,) = world.queued
    world.queued.clear()
    assert other.lane != first.lane
    newer = with_member(first, "note")
    world.execute(NEWER)

    with caplog.at_level(logging.ERROR):
        answer = world.drain([newer, other, second])

    assert len(answer["batchItemFailures"]) == 2
    assert world.execute("SELECT id FROM things") == [(7,)]
    assert world.rejections() == []
    assert "things has no writable column note" in caplog.text

    world.execute("ALTER TABLE public.things ADD note text")
    back = make_world(tables("note"), world.url)
    back.drain([newer, second, newer])

    assert back.execute("SELECT id, name, note FROM things ORDER BY id") == [
        (1, "second", "x"),
        (7, None, None),
    ]
    assert back.poured() == 3


def test_a_message_of_a_table_that_comes_later_stays_queued(world: World) -> None:
    world.post("things", {"id": 1})
    (entry,) = world.queued
    world.execute(NEWER)

    answer = world.drain([changed(entry, lambda message: message._replace(resource="fresh"))])

    assert len(answer["batchItemFailures"]) == 1
    assert (world.rejections(), world.poured()) == ([], 0)


def test_without_partial_responses_the_whole_batch_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DECANTER_PARTIAL_RESPONSES")
    first, second = same_lane(world)
    world.execute(NEWER)

    with pytest.raises(Unfinished):
        world.drain([with_member(first, "note"), second])


def test_in_a_database_that_is_not_ahead_it_is_a_mismatch(world: World) -> None:
    first, _ = same_lane(world)

    assert world.drain([with_member(first, "note")]) == {"batchItemFailures": []}

    assert world.rejections() == [(0, "schema-mismatch")]


def test_all_revisions_that_are_shipped_are_known() -> None:
    from alembic.script import ScriptDirectory

    from chalicelib.migrate.handler import alembic_config

    scripts = [ScriptDirectory.from_config(alembic_config(on=each)) for each in ENGINES.values()]

    shipped = {each.revision for script in scripts for each in script.walk_revisions()}
    assert set(revisions._known()) == shipped
