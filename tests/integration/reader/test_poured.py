"""Which messages are poured, and which writes of a resource wait."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table

from chalicelib.messages.questions import PouredAnswer, PouredQuestion, to_event
from tests.kit.stream import drain, record, write
from tests.kit.world import World


def ask(world: World, resource: str, *dedup_ids: str) -> PouredAnswer:
    question = PouredQuestion(resource, dedup_ids)
    return question.read_answer(world.read(json.loads(to_event(question, 10))))


def test_what_is_not_in_the_ledger_is_missing_and_what_waits_is_counted(
    make_world: Callable[[MetaData], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    metadata = MetaData()
    key = {"primary_key": True, "autoincrement": False}
    info = {"front": "closed"}
    Table("people", metadata, Column("id", Integer, **key), info=info)  # type: ignore[arg-type]
    Table("pets", metadata, Column("id", Integer, **key),  # type: ignore[arg-type]
          Column("owner", ForeignKey("people.id")), info=info)  # fmt: skip
    world = make_world(metadata)
    poured = write("create", "people", {"id": 1})
    early = [write("create", "pets", {"id": id, "owner": 2}) for id in (1, 2)]
    other = write("create", "pets", {"id": 3, "owner": 1})
    drain(world, [record(each) for each in (poured, *early)])

    waiting = [each.dedup_id for each in early]
    assert ask(world, "pets", *waiting, other.dedup_id) == PouredAnswer([other.dedup_id], 2)
    assert ask(world, "people", poured.dedup_id) == PouredAnswer([], 0)
    assert ask(world, "pets") == PouredAnswer([], 2)
