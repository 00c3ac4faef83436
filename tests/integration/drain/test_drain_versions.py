"""Messages of a newer version, met after a rollback, stay queued: nothing accepted is lost."""

import json
from functools import cache
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from chalicelib.buffer.sqs import put, take
from chalicelib.drain import handler
from chalicelib.errors import Unfinished
from chalicelib.messages.message import VERSION
from tests.kit.world import Context, World, event


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("a", Integer))
    Table("log", metadata, Column("line", Text), info={"ordered": False})
    return metadata


@pytest.fixture
def world(make_world) -> World:
    return make_world(tables())


def newer(entry: put.QueueEntry, **changes: Any) -> put.QueueEntry:
    """As the next version may write it."""
    header, *lines = entry.body.split("\n")
    described = {**json.loads(header), "v": VERSION + 1, **changes}
    return put.QueueEntry(entry.dedup_id, entry.lane, "\n".join([json.dumps(described), *lines]))


def in_lane(entry: put.QueueEntry, lane: str | None) -> put.QueueEntry:
    return put.QueueEntry(entry.dedup_id, lane, entry.body)


def states(world: World, receipts: list[str]) -> list[str]:
    return [world.status(receipt)["state"] for receipt in receipts]


@pytest.mark.parametrize(
    "changes", [{}, {"op": "truncate"}, {"if": {"since": "yesterday"}}, {"sets": "elsewhere"}]
)
def test_what_only_a_newer_version_can_read_stays_queued_and_holds_up_its_lane_alone(
    world, monkeypatch, caplog, changes
):
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    receipts = [
        world.post("things", {"id": 1, "a": 1}),
        world.put("things", 1, {"a": 2}),
        world.patch("things", 1, {"a": 3}),
        world.post("things", {"id": 2}),
    ]
    entries = [in_lane(each, lane) for each, lane in zip(world.queued, "aaab", strict=True)]
    records = event([entries[0], newer(entries[1], **changes), *entries[2:]])["Records"]
    names = [record["messageId"] for record in records]

    for _ in range(2):
        assert handler.drain({"Records": records}, Context(30), take) == {
            "batchItemFailures": [{"itemIdentifier": name} for name in names[1:3]]
        }

    assert states(world, receipts) == ["applied", "pending", "pending", "applied"]
    assert world.rejections() == []
    assert world.execute("SELECT id, a FROM things ORDER BY id") == [(1, 1), (2, None)]
    line, _ = [each for each in caplog.records if each.levelname == "ERROR"]
    assert names[1] in line.message
    assert f"version {VERSION + 1}, this deployment reads up to {VERSION}" in line.message
    assert "Deploy that version again" in line.message

    # The newer version is back.
    world.drain(entries[1:3], receives=3)
    assert states(world, receipts) == ["applied"] * 4
    assert world.execute("SELECT id, a FROM things ORDER BY id") == [(1, 3), (2, None)]


def test_without_partial_responses_the_batch_comes_again_and_its_neighbours_are_poured(world):
    receipts = [world.post("log", {"line": "x"}), world.post("log", {"line": "y"})]
    entries = [newer(world.queued[0]), world.queued[1]]

    for receives in (1, 2):
        with pytest.raises(Unfinished, match="1 of 2"):
            world.drain(entries, receives=receives)

    assert states(world, receipts) == ["pending", "applied"]
    assert world.execute("SELECT line FROM log") == [("y",)]
    assert (world.poured(), world.rejections()) == (1, [])


def test_a_batch_of_newer_messages_alone_touches_nothing(world):
    receipt = world.post("log", {"line": "x"})
    bad = world.post("log", {"line": "y"})

    with pytest.raises(Unfinished, match="2 of 2"):
        world.drain([newer(each) for each in world.queued])

    assert states(world, [receipt, bad]) == ["pending"] * 2
    assert (world.poured(), world.rejections()) == (0, [])


def test_a_message_that_decanter_did_not_send_is_rejected_beside_one_that_it_will_know(world):
    world.post("log", {"line": "x"})
    (entry,) = world.queued
    foreign = ['{"v": 4}', json.dumps({"v": VERSION + 1, "id": "mine", "fp": "", "at": 0})]

    with pytest.raises(Unfinished, match="1 of 3"):
        world.drain([foreign[0], newer(entry).body, foreign[1]])

    kept = world.rejections("type, body")
    assert sorted(kept) == sorted(("foreign-message", body) for body in foreign)
    assert world.poured() == 2
