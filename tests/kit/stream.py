"""The front table's stream as Lambda delivers it, made by hand, before the real drain."""

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from chalicelib.buffer.dynamodb import table, take
from chalicelib.buffer.dynamodb.entries import FrontItem, etag_of, item_entry, item_pk
from chalicelib.contract import key, resources
from chalicelib.drain import handler
from chalicelib.errors import DatabaseUnavailable, Unfinished
from chalicelib.messages.message import Message, RowSet, encode
from chalicelib.messages.receipt import front_id
from chalicelib.ops import Op
from tests.kit.front_table import FrontTable
from tests.kit.world import Context, World

BATCH = 1_000
_numbers = count(100_000_000_000_000_000_001)

Record = dict[str, Any]


def write(op: Op, resource: str, row: dict[str, Any], ms: int = 0) -> Message:
    """A write of one row, accepted so many milliseconds from now."""
    described = resources.resource(resource)
    now = int(time.time() * 1000) + ms
    rows = RowSet(
        tuple(sorted(row)),
        (0,),
        (key.digest(described, row),),
        json.dumps(row, separators=(",", ":")),
    )
    return Message(str(front_id(now, 0)), "0" * 32, now, resource, op, (rows,))


def record(message: Message, **change: Any) -> Record:
    """The record of the item that a write makes, just now."""
    row = json.loads(message.sets[0].rows)
    columns = resources.resource(message.resource).key
    pk = item_pk(message.resource, [str(row[column.name]) for column in columns])
    text = None if message.op == "delete" else message.sets[0].rows
    item = FrontItem(pk, text, etag_of(message.dedup_id), encode(message))
    return record_of(item_entry(item), **change)


def record_of(entry: Any, name: str = "MODIFY", **change: Any) -> Record:
    """A record with this new image. change: other members of `dynamodb`."""
    return {
        "eventID": "0" * 32,
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "dynamodb": {
            "ApproximateCreationDateTime": float(int(time.time())),
            "Keys": {"pk": entry.get("pk", {"S": "?"})},
            "NewImage": entry,
            "SequenceNumber": str(next(_numbers)),
            "SizeBytes": 100,
            "StreamViewType": "NEW_IMAGE",
            **change,
        },
        "eventSourceARN": "arn:aws:dynamodb:eu-central-1:1:table/front/stream/2026-01-01",
    }


def removal(pk: str) -> Record:
    """What is in the stream when the time to live removes an entry."""
    made = record_of({"pk": {"S": pk}}, "REMOVE")
    del made["dynamodb"]["NewImage"]
    service = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    return {**made, "userIdentity": service}


@pytest.fixture
def streamed(front_table: FrontTable, monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """Records of the items that requests write."""
    found: list[Record] = []
    write_ = table.write

    def written(actions: Sequence[Any], *arguments: Any, **more: Any) -> Any:
        outcome = write_(actions, *arguments, **more)
        if not outcome.refused:
            found.extend(record_of(each.entry) for each in actions if "write" in each.entry)
        return outcome

    monkeypatch.setattr(table, "write", written)
    return found


def drain(world: World, records: Sequence[Record], seconds: float = 30) -> dict[str, Any]:
    """Have the drain pour these records as one batch."""
    return handler.drain({"Records": [*records]}, Context(seconds), take)


@dataclass
class Shard:
    """One shard. at: the place of the first record that is not finished."""

    world: World
    records: list[Record] = field(default_factory=list)
    at: int = 0

    def add(self, messages: Iterable[Message]) -> None:
        self.records += [record(each) for each in messages]

    def deliver(self, most: int = BATCH, seconds: float = 30) -> bool:
        """Deliver a batch, and go on from the lowest sequence number that the answer names, or not
        at all if there is none. Return whether anything is left."""
        batch = self.records[self.at : self.at + most]
        with suppress(Unfinished, DatabaseUnavailable):
            answer = drain(self.world, batch, seconds)
            places = [int(each["dynamodb"]["SequenceNumber"]) for each in batch]
            failed = [int(each["itemIdentifier"]) for each in answer["batchItemFailures"]]
            self.at += places.index(min(failed)) if failed else len(batch)
        return self.at < len(self.records)
