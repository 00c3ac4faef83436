"""Rows and events for benchmarks: real airports, and random weather and subscriptions from a fixed
seed."""

import json
import random
import time
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import islice
from uuid import UUID, uuid4

import airportsdata

from benchmarks.harness import Json
from chalicelib.api.writes.rows import by_values
from chalicelib.contract import key
from chalicelib.messages.message import Message, RowSet, decode, encode
from chalicelib.messages.receipt import Receipt, issue, new_id
from chalicelib.messages.split import KeyedRow, split
from chalicelib.ops import Op
from chalicelib.postgres.resources import resources
from chalicelib.postgres.sql.copying import copied
from decanter.local.demo.airports import station


@cache
def airports(count: int) -> list[Json]:
    """Return that many real stations. Raise ValueError beyond their number."""
    stations = [station(dict(airport)) for airport in airportsdata.load("ICAO").values()]
    if count > len(stations):
        raise ValueError(f"there are {len(stations)} airports, not {count}")
    return stations[:count]


def weather(codes: Sequence[str], count: int, seed: int = 1) -> list[Json]:
    """Return that many observations of these stations."""
    numbers = random.Random(seed)  # noqa: S311
    return [
        {
            "station": numbers.choice(codes),
            "observed_at": f"2026-01-{index % 28 + 1:02d}T{index % 24:02d}:{index % 60:02d}:00Z",
            "temperature_c": numbers.randrange(-400, 400) / 10,
            "wind_kt": numbers.randrange(0, 800) / 10,
            "pressure_hpa": numbers.randrange(95000, 105000) / 100,
            "report": {
                "visibility_m": numbers.randrange(100, 9999),
                "cloud": ["BKN", 1200],
            },
        }
        for index in range(count)
    ]


def subscriptions(codes: Sequence[str], count: int, seed: int = 1) -> list[Json]:
    """Return that many whole rows of subscriptions to these stations."""
    numbers = random.Random(seed)  # noqa: S311
    return [
        {
            "id": str(UUID(int=numbers.getrandbits(128), version=4)),
            "email": f"ada.{number:06}@example.com",
            "station": numbers.choice(codes),
            "wind_above_kt": numbers.randrange(100, 800) / 10,
            "active": True,
            "created_at": f"2026-01-{number % 28 + 1:02d}T12:00:00.123456+00:00",
        }
        for number in range(count)
    ]


def bodies(resource: str, op: Op, rows: Iterable[Json], writes: int) -> list[str]:
    """Return message bodies as the API function writes them, with so many writes each.

    The rows of a message have to fit into one: below the size limit, and all of one lane.
    """
    messages = []
    now = time.time_ns() // 1_000_000
    remaining = iter(rows)
    while part := list(islice(remaining, writes)):
        ((_, sets),) = split(_rows(resource, op, part))
        messages.append(encode(Message(str(new_id(now)), "0" * 32, now, resource, op, sets)))
    return messages


def as_objects(message_event: Json) -> Json:
    """Return the event with the rows of its messages as JSON objects, whatever they are."""
    messages = [decode(each["body"]) for each in message_event["Records"]]
    return event(
        encode(each._replace(sets=tuple(_object_set(rows) for rows in each.sets)))
        for each in messages
    )


def with_receipt(body: str) -> str:
    """Return the message as it is in a stage that publishes events."""
    message = decode(body)
    receipt = Receipt(
        UUID(message.dedup_id), message.accepted_at, 1, message.writes, message.fingerprint
    )
    return encode(message._replace(receipt=issue(receipt, b"k" * 32, "me")))


def event(messages: Iterable[str]) -> Json:
    """Return the event that Lambda passes to a drain function, of messages that are sent now."""
    # Without the time, a message that is poured half a minute later is taken for a late one.
    sent = str(time.time_ns() // 1_000_000)
    return {
        "Records": [
            {
                "messageId": str(uuid4()),
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": sent},
            }
            for body in messages
        ]
    }


def _object_set(rows: RowSet) -> RowSet:
    return rows._replace(text=rows.rows, documents=None)


def _rows(resource: str, op: Op, rows: Sequence[Json]) -> Sequence[KeyedRow]:
    """The rows as the API function sends them, by the models that are poured into."""
    texts = [json.dumps(row, separators=(",", ":")) for row in rows]
    keyed = [
        KeyedRow(item, tuple(sorted(row)), _digest(resource, row), text)
        for item, (row, text) in enumerate(zip(rows, texts, strict=True))
    ]
    return by_values(copied(resources()[resource]), op, [*map(tuple, rows)], keyed)


def _digest(resource: str, row: Json) -> int | None:
    """Any digests that differ and share a lane."""
    if resource == "observations":
        return None
    return key.number(row["icao" if resource == "stations" else "id"]) << 4
