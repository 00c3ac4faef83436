"""The traffic that a stage is planned for: a document that a team writes, read and checked."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from chalicelib.contract.resources import Resource
from chalicelib.ops import OPS, Op, available
from chalicelib.settings import MAX_FRONT_ROWS, MAX_MESSAGE_BYTES, MAX_ROWS
from decanter.planning import documents

DAY_SECONDS = 24 * 3600

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_TOLERANCE = 0.001


class Rate(NamedTuple):
    """What arrives from a second of the day on, until the next rate."""

    second: float
    requests_per_second: float


class Burst(NamedTuple):
    """What arrives beside the rate, for some seconds."""

    second: float
    seconds: float
    requests_per_second: float


class Outage(NamedTuple):
    """When in the day the database is unavailable, and for how many seconds."""

    second: float
    seconds: float


@dataclass(frozen=True)
class Traffic:
    """The writes of one resource.

    share: of all requests, from 0 to 1. rows: of a request. row_bytes: of a row as JSON. ops: the
    share of each op in its requests; they sum up to 1. hottest: share of its writes that go to one
    key. zipf: exponent by which the others are spread over `keys` keys; 0: evenly.
    """

    resource: str
    share: float
    rows: int
    row_bytes: int
    ops: Mapping[Op, float]
    hottest: float = 0.0
    zipf: float = 0.0
    keys: int = 100_000


@dataclass(frozen=True)
class Profile:
    """The traffic of a day, and what is asked of the stage.

    rates: by their second; the first one holds from second 0. lag_p99_seconds: the goal: 99 of 100
    messages are poured so many seconds after they were accepted. connections: that the database
    grants to the functions; None: unknown. region: of AWS, for prices. round_trip_seconds: from a
    function to the database and back, beyond that of the benchmark, which has both on one machine.
    """

    rates: tuple[Rate, ...]
    resources: tuple[Traffic, ...]
    lag_p99_seconds: float
    region: str
    connections: int | None = None
    bursts: tuple[Burst, ...] = ()
    outage: Outage | None = None
    round_trip_seconds: float = 0.0


def _number(description: str, least: float = 0, above: float | None = None) -> Mapping[str, Any]:
    bound = {"minimum": least} if above is None else {"exclusiveMinimum": above}
    return {"type": "number", **bound, "description": description}


def _whole(description: str, least: int, most: int) -> Mapping[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most, "description": description}


def _object(required: str, description: str, **properties: Any) -> Mapping[str, Any]:
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
        "description": description,
    }


_AT = {
    "type": "string",
    "pattern": f"^{_TIME.pattern}$",
    "description": 'a time of the day from "00:00" to "23:59:59"',
}
_REQUESTS = _number("a number of requests a second, from 0")
_SHARE = {"type": "number", "minimum": 0, "maximum": 1, "description": "a share, from 0 to 1"}

SCHEMA: Mapping[str, Any] = _object(
    "region rate resources goal",
    "a profile with the members region, rate, resources and goal, and perhaps bursts, outage,"
    " connections and round_trip_ms",
    region={"type": "string", "minLength": 1, "description": "a region, such as us-east-1"},
    connections=_whole("how many connections the database grants to the functions", 1, 100_000),
    round_trip_ms=_number("milliseconds from a function to the database and back, from 0"),
    goal=_object(
        "lag_p99_seconds",
        "an object with lag_p99_seconds",
        lag_p99_seconds=_number("a number of seconds above 0", above=0),
    ),
    rate={
        "description": "a list of rates, each with at and requests_per_second; or a recorded curve"
        " with minutes and requests_per_second",
        "if": {"type": "object"},
        "then": _object(
            "minutes requests_per_second",
            "a recorded curve: the minutes of a step, and the requests a second of each step",
            minutes=_whole("how many minutes each step has", 1, 24 * 60),
            requests_per_second={"type": "array", "minItems": 1, "items": _REQUESTS,
                                 "description": "a list of requests a second, for each step"},
        ),
        "else": {
            "type": "array",
            "minItems": 1,
            "items": _object(
                "at requests_per_second", "a rate: at and requests_per_second",
                at=_AT, requests_per_second=_REQUESTS,
            ),
        },
    },
    bursts={
        "type": "array",
        "description": "a list of bursts, each with at, seconds and requests_per_second",
        "items": _object(
            "at seconds requests_per_second",
            "a burst: at, seconds and the requests_per_second that come beside the rate",
            at=_AT,
            seconds=_number("a number of seconds above 0", above=0),
            requests_per_second=_REQUESTS,
        ),
    },
    outage=_object(
        "at minutes", "an outage of the database: at and minutes",
        at=_AT, minutes=_number("a number of minutes above 0", above=0),
    ),
    resources={
        "type": "object",
        "minProperties": 1,
        "description": "the traffic of each resource, by its name",
        "additionalProperties": _object(
            "share rows_per_request bytes_per_row ops",
            "the traffic of a resource: share, rows_per_request, bytes_per_row, ops, and perhaps"
            " keys",
            share={**_SHARE, "description": "its share of all requests, from 0 to 1"},
            rows_per_request=_whole("how many rows a request has", 1, MAX_ROWS),
            bytes_per_row=_whole("how many bytes a row has as JSON", 2, MAX_MESSAGE_BYTES),
            ops={
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"enum": [*OPS], "description": f"an op: {', '.join(OPS)}"},
                "additionalProperties": _SHARE,
                "description": "the share of each op in its requests, from 0 to 1",
            },
            keys=_object(
                "", "how its writes are spread over keys: number, hottest, zipf",
                number=_whole("how many keys are written to", 1, 1_000_000_000),
                hottest={**_SHARE, "description": "the share of its writes that go to one key"},
                zipf=_number("the exponent of Zipf's law, from 0, which spreads them evenly"),
            ),
        ),
    },
)  # fmt: skip
"""Of a profile as it is written. Descriptions are what its errors say to be right."""


def load(path: Path, resources: Mapping[str, Resource]) -> Profile:
    """The profile in a file. resources: of the contract, by name. Raises PlanningError."""
    return parsed(documents.read(path), resources, path.name)


def parsed(document: Any, resources: Mapping[str, Resource], name: str) -> Profile:
    """A profile as it is written → Profile. Raises PlanningError, with its name."""
    documents.check(document, SCHEMA, name)
    documents.refuse(_faults(document, resources), name)
    outage = document.get("outage")
    return Profile(
        rates=_rates(document["rate"]),
        resources=tuple(_traffic(*each) for each in document["resources"].items()),
        lag_p99_seconds=document["goal"]["lag_p99_seconds"],
        region=document["region"],
        connections=document.get("connections"),
        bursts=tuple(
            Burst(_second(each["at"]), each["seconds"], each["requests_per_second"])
            for each in document.get("bursts", ())
        ),
        outage=Outage(_second(outage["at"]), 60 * outage["minutes"]) if outage else None,
        round_trip_seconds=document.get("round_trip_ms", 0) / 1000,
    )


def _second(time: str) -> int:
    hours, minutes, seconds = (int(each or 0) for each in _TIME.fullmatch(time).groups())  # type: ignore[union-attr]
    return 3600 * hours + 60 * minutes + seconds


def _rates(rate: Any) -> tuple[Rate, ...]:
    if isinstance(rate, dict):
        step = 60 * rate["minutes"]
        return tuple(
            Rate(step * place, each) for place, each in enumerate(rate["requests_per_second"])
        )
    found = sorted(Rate(_second(each["at"]), each["requests_per_second"]) for each in rate)
    if found[0].second > 0:  # what holds at the end of a day holds at its begin
        found.insert(0, Rate(0, found[-1].requests_per_second))
    return tuple(found)


def _traffic(name: str, written: Mapping[str, Any]) -> Traffic:
    keys = written.get("keys", {})
    return Traffic(
        name,
        written["share"],
        written["rows_per_request"],
        written["bytes_per_row"],
        dict(written["ops"]),
        keys.get("hottest", Traffic.hottest),
        keys.get("zipf", Traffic.zipf),
        keys.get("number", Traffic.keys),
    )


def _faults(document: Mapping[str, Any], resources: Mapping[str, Resource]) -> Iterator[str]:
    """What a schema cannot say."""
    yield from _faults_of_times(document)
    sent = document["resources"]
    if fault := _sum([each["share"] for each in sent.values()]):
        yield f"resources: their shares {fault}"
    for name, written in sent.items():
        if name not in resources:
            known = ", ".join(sorted(resources))
            yield f"resources.{name}: there is no such resource; the resources are: {known}"
        else:
            yield from _faults_of_resource(f"resources.{name}", written, resources[name])
    if all(rate.requests_per_second == 0 for rate in _rates(document["rate"])) and not any(
        each["requests_per_second"] for each in document.get("bursts", ())
    ):
        yield "rate: nothing is sent in the whole day; give a rate above 0"


def _faults_of_times(document: Mapping[str, Any]) -> Iterator[str]:
    rate = document["rate"]
    if isinstance(rate, dict):
        minutes = rate["minutes"] * len(rate["requests_per_second"])
        if minutes * 60 != DAY_SECONDS:
            yield (
                f"rate: {len(rate['requests_per_second'])} steps of {rate['minutes']} minutes are"
                f" {minutes} minutes; a day has {DAY_SECONDS // 60}"
            )
    else:
        times = Counter(_second(each["at"]) for each in rate)
        for number, each in enumerate(rate):
            if times[_second(each["at"])] > 1:
                yield f"rate.{number}.at: {each['at']} appears more than once; give it one rate"
    spans = {
        f"bursts.{number}": (each["at"], each["seconds"])
        for number, each in enumerate(document.get("bursts", ()))
    }
    if outage := document.get("outage"):
        spans["outage"] = (outage["at"], 60 * outage["minutes"])
    for place, (at, seconds) in spans.items():
        if _second(at) + seconds > DAY_SECONDS:
            yield f"{place}: it ends after midnight; let it end within the day"


def _faults_of_resource(
    place: str, written: Mapping[str, Any], resource: Resource
) -> Iterator[str]:
    if fault := _sum(written["ops"].values()):
        yield f"{place}.ops: their shares {fault}"
    gives_key = "replace" in resource.schemas
    possible = {each.op for each in available(resource.ordered, gives_key)}
    rows = written["rows_per_request"]
    for op in written["ops"]:
        if op not in possible:
            accepted = ", ".join(each for each in OPS if each in possible)
            yield f"{place}.ops.{op}: {resource.name} has no such op; it has {accepted}"
        elif OPS[op].names_row and rows > 1:
            yield (
                f"{place}.ops.{op}: it writes one row in a request, and rows_per_request is {rows};"
                " set that to 1, or leave the op out"
            )
    if resource.is_fronted and rows > MAX_FRONT_ROWS:
        yield (
            f"{place}.rows_per_request: {rows} is more than {MAX_FRONT_ROWS}, which a request to a"
            " resource behind the front table has at most"
        )
    keys = written.get("keys", {})
    if keys and not resource.ordered:
        yield f"{place}.keys: {resource.name} is unordered, so its keys do not matter; leave it out"


def _sum(shares: Any) -> str:
    """What is wrong with shares that should add up to 1; empty if they do."""
    total = sum(shares)
    return "" if abs(total - 1) <= _TOLERANCE else f"add up to {total:g}, and should to 1"
