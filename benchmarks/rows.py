"""Rows and events for benchmarks: real airports, and weather made up from a fixed seed."""

import json
import random
import time
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import islice
from uuid import uuid4

import airportsdata

from benchmarks.harness import Json
from chalicelib.contract import key
from chalicelib.messages.message import Message, encode
from chalicelib.messages.receipt import new_id
from chalicelib.messages.split import KeyedRow, split
from chalicelib.ops import Op
from decanter.local.demo.airports import station


@cache
def airports(count: int) -> list[Json]:
    """That many of the real stations. Raises ValueError beyond their number."""
    found = [station(dict(airport)) for airport in airportsdata.load("ICAO").values()]
    if count > len(found):
        raise ValueError(f"there are {len(found)} airports, not {count}")
    return found[:count]


def weather(codes: Sequence[str], count: int, seed: int = 1) -> list[Json]:
    """That many observations of these stations."""
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


def bodies(resource: str, op: Op, rows: Iterable[Json], writes: int) -> list[str]:
    """Message bodies as intake writes them, of so many rows each.

    The rows of a message must be fit for one message: below the size bound, all in one lane.
    """
    found = []
    now = time.time_ns() // 1_000_000
    remaining = iter(rows)
    while part := list(islice(remaining, writes)):
        ((_, sets),) = split([_row(resource, item, row) for item, row in enumerate(part)])
        found.append(encode(Message(str(new_id(now)), "0" * 32, now, resource, op, sets)))
    return found


def event(messages: Iterable[str]) -> Json:
    """What Lambda hands to a drain function."""
    return {
        "Records": [
            {
                "messageId": str(uuid4()),
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
            }
            for body in messages
        ]
    }


def _row(resource: str, item: int, row: Json) -> KeyedRow:
    digest = None
    if resource == "stations":  # any digests of the same lane: they only have to tell keys apart
        digest = key.number(row["icao"]) << 4
    text = json.dumps(row, separators=(",", ":"))
    return KeyedRow(item, tuple(sorted(row)), digest, text)
