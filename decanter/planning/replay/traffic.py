"""Requests to replay: a part of a profile's day, drawn from a seed, as their messages.

The rows are of the sample tables. Ops that change rows find them: `stations` has one for each key.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from chalicelib.api.writes.rows import by_values
from chalicelib.contract import key
from chalicelib.contract.resources import Resource
from chalicelib.messages.message import Message, RowSet, encode
from chalicelib.messages.receipt import Receipt, new_id
from chalicelib.messages.split import KeyedRow, split
from chalicelib.ops import OPS, Op
from decanter.planning.documents import PlanningError
from decanter.planning.profile import DAY_SECONDS, Profile, Traffic
from decanter.planning.requests import rank, ranks
from decanter.planning.simulation import Stretch, stretches

Json = dict[str, Any]

STATIONS, OBSERVATIONS = "stations", "observations"
MOST_KEYS = 20_000
"""Rows of `stations` that are there before; keys are spread over at most as many."""

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CODES = len(_LETTERS) ** 4
_LEAD = 0.25  # of the part, before the traffic that it is chosen for
_FINGERPRINT = "0" * 32


class Part(NamedTuple):
    """A part of the day, in seconds."""

    begin: float
    end: float


class Split(NamedTuple):
    """A message of a request. lane: None where there is no order."""

    lane: str | None
    sets: tuple[RowSet, ...]


class Planned(NamedTuple):
    """A request. second: of the part, when it is sent. buffer: that it waits in."""

    second: float
    resource: str
    op: Op
    buffer: str
    messages: tuple[Split, ...]

    def bodies(self, accepted_at: int) -> list[tuple[str, str | None, str]]:
        """Dedup ID, lane and body of each message. accepted_at: milliseconds since the epoch."""
        receipt = Receipt(new_id(accepted_at), accepted_at, len(self.messages), 0, _FINGERPRINT)
        return [
            (receipt.dedup_id(number), each.lane, self._body(receipt, number, each.sets))
            for number, each in enumerate(self.messages)
        ]

    def _body(self, receipt: Receipt, number: int, sets: tuple[RowSet, ...]) -> str:
        id_, at = receipt.dedup_id(number), receipt.accepted_at
        return encode(Message(id_, _FINGERPRINT, at, self.resource, self.op, sets))


def busiest(profile: Profile, seconds: float) -> Part:
    """The part of the day with so many seconds that has the most requests. What begins in the day,
    as a burst, has some time before it."""
    found = stretches(profile, 1.0)

    def begin(edge: float) -> float:
        return max(0.0, min(edge - _LEAD * seconds, DAY_SECONDS - seconds))

    begins = [begin(each.begin) for each in found]
    best = max(begins, key=lambda each: _requests(found, Part(each, each + seconds)))
    return Part(best, best + seconds)


def _requests(found: Sequence[Stretch], part: Part) -> float:
    return sum(
        max(0.0, min(each.end, part.end) - max(each.begin, part.begin)) * each.requests_per_second
        for each in found
    )


def check(profile: Profile, resources: Mapping[str, Resource]) -> None:
    """Raises PlanningError for traffic that cannot be replayed."""
    for each in profile.resources:
        if each.resource not in (STATIONS, OBSERVATIONS) or resources[each.resource].is_fronted:
            raise PlanningError(
                f"{each.resource} cannot be replayed: rows are made for {STATIONS} and"
                f" {OBSERVATIONS}, behind queues, alone. Name a profile of these, or none"
            )
        if any(OPS[op].removes for op in each.ops):
            raise PlanningError(
                f"deletes of {each.resource} cannot be replayed, as their rows would be gone; leave"
                " them out"
            )


def fresh() -> Iterator[int]:
    """Numbers of stations that are not there before, for the creates of all that is sent to a
    stage."""
    return count(MOST_KEYS)


def planned(
    profile: Profile,
    part: Part,
    resources: Mapping[str, Resource],
    seed: int,
    unused: Iterator[int],
) -> list[Planned]:
    """The requests of a part of the day, in order. unused: see `fresh`."""
    draw = random.Random(f"{seed}/replay")
    makers = {
        each.resource: Maker(each, resources[each.resource], seed, unused)
        for each in profile.resources
    }
    shares = [each.share for each in profile.resources]
    found = []
    for stretch in stretches(profile, 1.0):
        begin, end = max(stretch.begin, part.begin), min(stretch.end, part.end)
        rate = stretch.requests_per_second
        at = begin + draw.expovariate(rate) if rate else end
        while at < end:
            [traffic] = draw.choices(profile.resources, shares)
            [op] = draw.choices([*traffic.ops], [*traffic.ops.values()])
            found.append(makers[traffic.resource].request(at - part.begin, op))
            at += draw.expovariate(rate)
    return found


class Maker:
    """Makes requests of one resource. unused: see `fresh`."""

    def __init__(
        self, traffic: Traffic, resource: Resource, seed: int, unused: Iterator[int]
    ) -> None:
        self._traffic = traffic
        self._resource = resource
        self._draw = random.Random(f"{seed}/rows/{traffic.resource}")
        self._weights = ranks(traffic)
        self._unused = unused

    def request(self, second: float, op: Op) -> Planned:
        rows = [self._row(op) for _ in range(self._traffic.rows)]
        ordered = self._resource.ordered
        digests = key.digests(self._resource, rows) if ordered else [None] * len(rows)
        keyed = [
            KeyedRow(item, tuple(sorted(row)), digest, json.dumps(row, separators=(",", ":")))
            for item, (row, digest) in enumerate(zip(rows, digests, strict=True))
        ]
        sent = by_values(self._resource.by_values, op, [*map(tuple, rows)], keyed)
        messages = tuple(Split(lane, sets) for lane, sets in split(sent))
        buffer = "ordered" if ordered else "unordered"
        return Planned(second, self._resource.name, op, buffer, messages)

    def _row(self, op: Op) -> Json:
        row = station(self._key(op)) if self._resource.name == STATIONS else self._observation()
        lacking = self._traffic.row_bytes - len(json.dumps(row, separators=(",", ":")))
        if lacking > 0:
            _pad(row, lacking)
        return row

    def _key(self, op: Op) -> int:
        if op == "create":
            return next(self._unused) % _CODES
        return (rank(self._draw.random(), self._traffic, self._weights) + 1) % MOST_KEYS

    def _observation(self) -> Json:
        return {
            "station": code(self._draw.randrange(MOST_KEYS)),
            "observed_at": "2026-01-01T12:00:00Z",
            "temperature_c": self._draw.randrange(-400, 400) / 10,
            "report": {},
        }


def station(number: int) -> Json:
    """A row of the station with this number."""
    return {
        "icao": code(number),
        "name": "Replayed",
        "country": "XX",
        "elevation_ft": 1,
        "latitude": 2,
        "longitude": 3,
        "timezone": "UTC",
    }


def code(number: int) -> str:
    """The key of a station: four letters or digits."""
    text = ""
    for _ in range(4):
        number, place = divmod(number, len(_LETTERS))
        text = _LETTERS[place] + text
    return text


def _pad(row: Json, characters: int) -> None:
    if "report" in row:
        row["report"] = {"remarks": "x" * max(0, characters - len('"remarks":""'))}
    else:
        row["name"] += "x" * characters


def parents() -> Iterator[Json]:
    """The rows of `stations` that are there before."""
    return map(station, range(MOST_KEYS))
