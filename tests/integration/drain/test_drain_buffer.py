"""A drain pours what any buffer hands over, and the buffer says in its own way what is left."""

import re
from collections.abc import Callable
from types import SimpleNamespace

from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table

from chalicelib.buffer.delivery import delivery
from chalicelib.drain import handler
from tests.kit.project import HOME
from tests.kit.world import Context, World


def test_a_buffer_gets_the_places_of_the_unfinished_back(
    make_world: Callable[[MetaData], World],
) -> None:
    metadata = MetaData()
    Table("parents", metadata, Column("id", Integer, primary_key=True))
    Table("things", metadata, Column("id", Integer, primary_key=True))
    Table(
        "children",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("parent", ForeignKey("parents.id")),
    )
    world = make_world(metadata)
    world.post("things", {"id": 1})
    world.post("children", {"id": 1, "parent": 1})
    world.post("things", {"id": 2})
    bodies = [entry.body for entry in world.queued]
    shelf = SimpleNamespace(
        redelivers_waiting=True,
        deliveries=lambda event: [
            delivery(place, "the only lane", body)
            for place, body in zip(event["places"], bodies, strict=True)
        ],
        answer=lambda batch, unfinished: {
            "again": [each.place for each in unfinished], "of": len(batch)
        },
    )  # fmt: skip

    answer = handler.drain({"places": ["left", "middle", "right"]}, Context(30), shelf)

    assert answer == {"again": ["middle", "right"], "of": 3}
    assert world.execute("SELECT id FROM things ORDER BY id") == [(1,), (2,)]


def test_the_drain_knows_no_buffer_by_name() -> None:
    texts = [each.read_text() for each in (HOME / "chalicelib/drain").glob("*.py")]
    words = re.compile(r"sqs|receipt.?handle|messageId|batchItem|ReceiveCount", re.IGNORECASE)

    assert texts
    assert [match for text in texts for match in words.findall(text)] == []
