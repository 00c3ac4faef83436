"""A drain pours what any buffer hands over, and the buffer says in its own way what is left."""

import re
from collections.abc import Callable
from types import SimpleNamespace

from sqlalchemy import Column, Integer, MetaData, Table

from chalicelib.buffer.delivery import delivery
from chalicelib.drain import handler
from tests.kit.project import HOME
from tests.kit.world import Context, World


def test_a_buffer_gets_the_places_of_the_unfinished_back(
    make_world: Callable[[MetaData], World],
) -> None:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True))
    world = make_world(metadata)
    for id_ in range(3):
        world.post("things", {"id": id_})
    bodies = [entry.body for entry in world.queued]
    bodies[1] = bodies[1].replace('{"v":4', '{"v":99', 1)  # of a newer version
    shelf = SimpleNamespace(
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
    assert world.execute("SELECT id FROM things") == [(0,)]


def test_the_drain_knows_no_buffer_by_name() -> None:
    texts = [each.read_text() for each in (HOME / "chalicelib/drain").glob("*.py")]
    words = re.compile(r"sqs|receipt.?handle|messageId|batchItem|ReceiveCount", re.IGNORECASE)

    assert texts
    assert [match for text in texts for match in words.findall(text)] == []
