"""The throughput of single writes from the stream of the front table, beside the same messages from
the ordered queue in batches of ten, which is all that SQS hands out of one.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.drain.database import fill, rows_per_second
from benchmarks.harness import OURS, Context, Json, Result, interleave
from benchmarks.rows import airports, subscriptions
from chalicelib.buffer.delivery import Buffer
from chalicelib.buffer.dynamodb import take as stream
from chalicelib.buffer.dynamodb.entries import FrontItem, etag_of, item_entry
from chalicelib.buffer.dynamodb.naming import item_of
from chalicelib.buffer.sqs import take as queue
from chalicelib.contract import key, resources
from chalicelib.contract.json_text import render
from chalicelib.drain import handler
from chalicelib.messages.message import Message, RowSet, encode
from chalicelib.messages.receipt import new_id
from chalicelib.ops import Op
from chalicelib.settings import LANES

RESOURCE = "subscriptions"
PARENTS = 200
OF_FIFO = 10
OPS: tuple[Op, ...] = ("create", "replace", "delete")
"""Ops that the front table's stream has, and "mixed": a third of each, one after the other."""

SIZES = (100, 1_000)
"""Records of the stream in a batch."""

_SEQUENCE = 100_000_000_000_000_000_001

FULL, QUICK = (4_000, 7), (1_000, 3)
"""Rows a sample, and rounds."""


@dataclass(frozen=True)
class StreamLoad:
    """The load of a sample. op: of all writes, or mixed. batch: records of the stream at once."""

    op: str
    batch: int
    rows: int


def run(url: str, quick: bool) -> Iterator[Result]:
    """Yield the rows a second of each op, for each size of a batch of the stream."""
    rows, rounds = QUICK if quick else FULL
    for op in (*OPS, "mixed"):
        for batch in SIZES:
            load = StreamLoad(op, batch, rows)
            turns: dict[str, Callable[[], float]] = {
                OURS: partial(_measure, url, load, batch, _stream_event, stream),
                "fifo": partial(_measure, url, load, OF_FIFO, _queue_event, queue),
            }
            case = {"op": op, "resource": RESOURCE, "messages": batch, "writes": 1}
            yield Result({"source": "stream", **case}, "rows/s", interleave(turns, rounds))


def _measure(
    url: str,
    load: StreamLoad,
    batch: int,
    to_event: Callable[[Sequence[Message]], Json],
    buffer: Buffer,
) -> float:
    """Return rows a second."""
    context = Context()
    parents = airports(PARENTS)
    rows = subscriptions([row["icao"] for row in parents], load.rows)
    messages, present = _messages(load.op, rows)
    fill(url, parents, present)
    starts = range(0, len(messages), batch)
    events = [to_event(messages[start : start + batch]) for start in starts]
    return rows_per_second(
        url, load.rows, lambda: [handler.drain(each, context, buffer) for each in events]
    )


def _messages(op: str, rows: list[Json]) -> tuple[list[Message], list[Json]]:
    """Return a message for each row, and the rows that are there before. Every other replacement
    finds one."""
    ops = [each for each in OPS if op in (each, "mixed")]
    kinds = [ops[number % len(ops)] for number in range(len(rows))]
    present = [
        row
        for number, (kind, row) in enumerate(zip(kinds, rows, strict=True))
        if kind == "delete" or (kind == "replace" and number % 2)
    ]
    return [_message(kind, row) for kind, row in zip(kinds, rows, strict=True)], present


def _message(op: Op, row: Json) -> Message:
    """Return the message of a write as the API function makes it, for either buffer."""
    now = time.time_ns() // 1_000_000
    members = {"id": row["id"]} if op == "delete" else row
    digests = (key.digest(resources.resource(RESOURCE), row),)
    rows = RowSet(tuple(sorted(members)), (0,), digests, render(members))
    return Message(str(new_id(now)), "0" * 32, now, RESOURCE, op, (rows,))


def _queue_event(messages: Sequence[Message]) -> Json:
    return {
        "Records": [
            {
                "messageId": message.dedup_id,
                "body": encode(message),
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": str(message.accepted_at),
                    "MessageGroupId": str(message.sets[0].digests[0] % LANES),
                },
            }
            for message in messages
        ]
    }


def _stream_event(messages: Sequence[Message]) -> Json:
    return {"Records": [_record(number, message) for number, message in enumerate(messages)]}


def _record(number: int, message: Message) -> Json:
    (rows,) = message.sets
    pk = item_of(resources.resource(RESOURCE), json.loads(rows.rows)) or ""
    row = None if message.op == "delete" else rows.rows
    item = FrontItem(pk, row, etag_of(message.dedup_id), encode(message))
    return {
        "eventID": "0" * 32,
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": message.accepted_at // 1_000,
            "Keys": {"pk": {"S": pk}},
            "NewImage": item_entry(item),
            "SequenceNumber": str(_SEQUENCE + number),
            "SizeBytes": 1_000,
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/front/stream/2026-01-01",
    }
