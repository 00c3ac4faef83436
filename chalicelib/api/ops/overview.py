"""The overview: throughput, backlog, lag, rejections and connections, and when what waits will be
poured. What cannot be found out is null, and said to be unknown."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from chalicelib import aws
from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request, only
from chalicelib.api.ops import asking
from chalicelib.api.reads import estimate
from chalicelib.buffer import mappings
from chalicelib.buffer.mappings import MappingState
from chalicelib.buffer.sqs import backlog, counts
from chalicelib.errors import NotConfigured, Problem
from chalicelib.messages import pace
from chalicelib.messages.pace import Pace
from chalicelib.messages.place import moment
from chalicelib.settings import IntakeSettings, connection_budget, stream_function

logger = logging.getLogger("decanter.ops")

Json = dict[str, Any]
_Found = TypeVar("_Found")

_AWS_SECONDS = 20.0
_NOT_FOUND: tuple[type[Exception], ...] = (KeyError, ValueError)
_ROLES = {
    "decanter-drain": "drain",
    "decanter-operate": "drain",
    "decanter-reader": "reader",
    "decanter-sweep": "sweep",
    "decanter migrate": "owner",
}
"""Kinds of database roles, by the names that functions give their connections."""

_NOT_OF_A_STREAM = {
    "queued": "DynamoDB does not tell how many records of a stream wait",
    "in_flight": "DynamoDB does not tell how many records of a stream are being read",
    "dead_letters": "a stream has no dead letters: a record is tried until it is poured",
}
_OF_DATABASE = (
    "resources", "waiting", "connections.in_use", "rejections", "history", "estimate_score",
)  # fmt: skip
_OF_ALL_DRAINS = "Postgres shows the connections of all drains together, see `connections`"

_LANES_BASIS = (
    "writes that wait in the database: later writes to their keys wait for them, all else in the"
    " lane does not. SQS does not tell how many messages of each lane are on the queue"
)


class Unknown:
    """What could not be found out. listed: each with what it is, and why. deadline: a
    time.monotonic() after which nothing more is looked for."""

    def __init__(self, deadline: float) -> None:
        self.listed: list[dict[str, str]] = []
        self._deadline = deadline

    def add(self, what: str, why: str) -> None:
        """Note that something is not known."""
        self.listed.append({"what": what, "why": why})

    def unless(self, what: str, find: Callable[[], _Found]) -> _Found | None:
        """What can be found; None, and noted, if AWS or the reader does not answer."""
        if time.monotonic() > self._deadline:
            self.add(what, "there was no time left to find it out")
            return None
        try:
            return find()
        except Problem as problem:
            self.add(what, problem.detail)
        except NotConfigured as error:
            self.add(what, str(error))
        except _NOT_FOUND + aws.failures() as error:
            logger.warning("%s is not known: %r", what, error)
            self.add(what, f"AWS did not tell it: {aws.code(error)}")
        return None


class _Database(NamedTuple):
    """What the reader has found: its document, and the pace of each buffer."""

    document: Json
    paces: Mapping[str, Pace]


def overview(request: Request) -> Answer:
    """GET /ops/overview."""
    only(request.query)
    unknown = Unknown(request.until(_AWS_SECONDS))
    now = time.time()
    unknown.add("buffers.connections", _OF_ALL_DRAINS)
    database = unknown.unless("database", lambda: _database(request))
    if database is None:
        for name in _OF_DATABASE:
            unknown.add(name, "it is in the database, see `database`")
    known = database.document if database else {}
    score = estimate.score(pace.read(known["past"]), known["now"]) if database else None
    if score and not score["scored"]:
        unknown.add("estimate_score", "nothing waited at any minute of the last hour")
    budget = unknown.unless("budget", connection_budget)
    body = {
        "at": moment(int(now * 1_000_000)),
        "resources": known.get("resources"),
        "buffers": [
            _buffer(each, database.paces.get(each.buffer) if database else None, unknown, now)
            for each in mappings.states(request.until(_AWS_SECONDS))
        ],
        "waiting": known.get("waiting"),
        "connections": _connections(known.get("connections"), budget),
        "budget": None if budget is None else sum(budget.values()),
        "rejections": known.get("rejections"),
        "history": known.get("history"),
        "estimate_score": score,
        "unknown": unknown.listed,
    }
    return Answer(200, body)


def lanes(request: Request) -> Answer:
    """GET /ops/lanes."""
    only(request.query)
    found = asking.read(request, "lanes")
    return Answer(200, {"lanes": json.loads(found.body), "basis": _LANES_BASIS})


def _database(request: Request) -> _Database:
    document = json.loads(asking.read(request, "overview").body)
    return _Database(document, {each.buffer: each for each in pace.read(document["paces"])})


def _buffer(mapping: MappingState, its_pace: Pace | None, unknown: Unknown, now: float) -> Json:
    """A buffer as the overview shows it."""
    name = mapping.buffer
    where = f"buffers.{name}"
    found = _stream(where, unknown) if name == "stream" else _queue(name, where, unknown)
    if mapping.state is None:
        unknown.add(f"{where}.mapping", mapping.why)
    counted = None if found["queued"] is None else found["queued"] + found["in_flight"]
    made = estimate.estimate(name, counted, its_pace, bool(mapping.paused), now)
    if made.seconds is None:
        unknown.add(f"{where}.estimate", made.basis)
    return {
        "name": name,
        **found,
        "mapping": (
            None if mapping.state is None else {"state": mapping.state, "paused": mapping.paused}
        ),
        "connections": None,
        "estimate": made._asdict(),
    }


def _queue(name: str, where: str, unknown: Unknown) -> Json:
    url = IntakeSettings.from_environment().queue_url(is_ordered=name == "ordered")
    found = unknown.unless(f"{where}.queued", lambda: counts.counts(url))
    if found is None:
        return dict.fromkeys(("queued", "in_flight", "oldest_seconds", "dead_letters"))
    queue_name = url.rpartition("/")[2]
    return {
        "queued": found.queued,
        "in_flight": found.in_flight,
        "oldest_seconds": (
            _age(f"{where}.oldest_seconds", unknown, lambda: backlog.oldest_seconds(queue_name))
            if found.queued or found.in_flight
            else None
        ),
        "dead_letters": unknown.unless(f"{where}.dead_letters", lambda: counts.dead_letters(found)),
    }


def _stream(where: str, unknown: Unknown) -> Json:
    for member, why in _NOT_OF_A_STREAM.items():
        unknown.add(f"{where}.{member}", why)
    age = _age(
        f"{where}.oldest_seconds", unknown, lambda: backlog.stream_seconds(stream_function())
    )
    return {**dict.fromkeys(_NOT_OF_A_STREAM), "oldest_seconds": age}


def _age(what: str, unknown: Unknown, find: Callable[[], float | None]) -> float | None:
    """An age by CloudWatch, which has it late and not at all where nothing happens."""
    before = len(unknown.listed)
    age = unknown.unless(what, find)
    if age is None and len(unknown.listed) == before:
        unknown.add(what, "CloudWatch has no age of the last minutes; it is some minutes late")
    return age


def _connections(in_use: Mapping[str, int] | None, budget: Mapping[str, int] | None) -> list[Json]:
    """Connections by the kind of their database role, against the most that they may be."""
    used: Counter[str] = Counter()
    for name, count in (in_use or {}).items():
        used[_ROLES.get(name, "other")] += count
    return [
        {
            "role": role,
            "in_use": None if in_use is None else used[role],
            "most": (budget or {}).get(role),
        }
        for role in sorted({*used, *(budget or {})})
    ]
