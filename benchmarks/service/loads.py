"""The batches of which the service time is measured: rows in the tables, and events of a queue."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from benchmarks.drain.database import fill
from benchmarks.harness import Json
from benchmarks.rows import airports, bodies, event, weather
from chalicelib.ops import Op

PARENTS = 200
"""Stations that observations refer to."""

SAMPLE_ROWS = 1_000
"""Rows of a sample, in at most 20 batches and at least one."""

ORDERED: tuple[Op, ...] = (
    "create",
    "replace",
    "merge",
    "delete",
    "create-or-merge",
    "create-or-ignore",
)
MIXED: tuple[Op, ...] = ("create", "replace", "merge", "delete")
"""Ops of a mixed batch, one message of each after the other."""

_MAY_EXIST = ("replace", "create-or-merge", "create-or-ignore")


class Load(NamedTuple):
    """Batches of the same kind: `messages` of `rows` rows each, `padding` characters longer than
    the row of an airport or a report.

    buffer: ordered, of stations; or unordered, of observations. ops: a message of each after the
    other; more than one with one row a message only.
    """

    buffer: str
    ops: tuple[Op, ...]
    messages: int
    rows: int
    padding: int = 0

    @property
    def batch_rows(self) -> int:
        return self.messages * self.rows

    @property
    def calls(self) -> int:
        """Batches of a sample."""
        return max(1, min(20, SAMPLE_ROWS // self.batch_rows))

    @property
    def all_rows(self) -> int:
        """Rows of a sample."""
        return self.batch_rows * self.calls


class Batches(NamedTuple):
    """Events of a sample, and the bytes of the bodies of each, on average."""

    events: list[Json]
    bytes_: int


def prepare(url: str, load: Load) -> Batches:
    """Fill the tables for one sample, and return its batches."""
    stations = airports(load.all_rows + PARENTS)
    written, parents = stations[: load.all_rows], stations[load.all_rows :]
    made = _bodies(load, written, [row["icao"] for row in parents])
    fill(url, [*_present(load, written), *parents])
    size = load.messages
    events = [event(made[start : start + size]) for start in range(0, len(made), size)]
    return Batches(events, sum(len(body.encode()) for body in made) // load.calls)


def _bodies(load: Load, stations: list[Json], parents: Sequence[str]) -> list[str]:
    if load.buffer == "unordered":
        reports = weather(parents, load.all_rows)
        for each in reports:
            each["report"]["remarks"] = "x" * load.padding
        return bodies("observations", "create", reports, load.rows)
    kinds = [
        bodies("stations", op, [_write(op, row, load.padding) for row in some], load.rows)
        for op, some in _by_op(load, stations)
    ]
    return [body for turn in zip_longest(*kinds) for body in turn if body]


def _by_op(load: Load, stations: list[Json]) -> list[tuple[Op, list[Json]]]:
    """The rows of each op."""
    kinds = len(load.ops)
    return [(op, stations[number::kinds]) for number, op in enumerate(load.ops)]


def _write(op: Op, row: Json, padding: int) -> Json:
    """The members of a row that a write of the op has."""
    if op == "delete":
        return {"icao": row["icao"]}
    name = "new" + "x" * padding
    return {"icao": row["icao"], "name": name} if op == "merge" else {**row, "name": name}


def _present(load: Load, stations: list[Json]) -> list[Json]:
    """The rows that are there before: none of those to create, all of those to change or delete,
    and every other one of those that may be there."""
    found = []
    for op, rows in _by_op(load, stations):
        if op in _MAY_EXIST:
            found += rows[::2]
        elif op != "create":
            found += rows
    return [] if load.buffer == "unordered" else found
