"""The throughput of the drain and its peers on one connection to an embedded Postgres.

The whole handler is timed, from the event of Lambda to its return after COMMIT. At the end come
single writes from the stream of the front table.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product, zip_longest
from typing import Any

from benchmarks.drain import stream
from benchmarks.drain.database import fill, own_database, rows_per_second
from benchmarks.drain.peers import PEERS, copy_ready, copy_text
from benchmarks.harness import OURS, Context, Json, Result, interleave
from benchmarks.rows import airports, as_objects, bodies, event, weather, with_receipt
from chalicelib.buffer.sqs import take
from chalicelib.drain import handler

FULL = [(10, 1), (100, 1), (1_000, 1), (10_000, 1), (10, 100), (10, 1_000)]
QUICK = [(10, 1), (100, 1), (10, 100)]
"""Messages a batch, and writes a message."""

FULL_ROUNDS, QUICK_ROUNDS = 7, 3
OPS = [
    ("create", "observations"),
    ("create", "stations"),
    ("replace", "stations"),
    ("merge", "stations"),
    ("delete", "stations"),
    ("mixed", "both"),
]
PARENTS = 200
"""Stations that observations refer to."""

SAMPLE_ROWS = 2_000
"""Rows a sample, in at most 50 batches and at least one."""

POWERTOOLS_ROWS = 200
"""Rows a sample for the slowest peer."""


@dataclass(frozen=True)
class Load:
    """The load of a sample: `calls` batches of `batch` messages of `writes` writes each.

    resource: observations (foreign key, JSONB, identity), stations, or both. has_events: whether
    each request makes an event when it is done.
    """

    op: str
    resource: str
    batch: int
    writes: int
    calls: int
    has_events: bool = False

    @property
    def rows(self) -> int:
        return self.batch * self.writes * self.calls


def run(quick: bool, only: str | None = None) -> Iterator[Result]:
    """Yield the rows a second of each op at each size, from SQS and from the stream. only: of this
    op, and from SQS."""
    sizes, rounds = (QUICK, QUICK_ROUNDS) if quick else (FULL, FULL_ROUNDS)
    asked = [each for each in OPS if only in (None, each[0])]
    with own_database() as url:
        os.environ["DECANTER_DATABASE_URL"] = url
        for (op, resource), (batch, writes) in product(asked, sizes):
            calls = max(1, min(50, SAMPLE_ROWS // batch // writes))
            load = Load(op, resource, batch, writes, calls)
            case = {"op": op, "resource": resource, "messages": batch, "writes": writes}
            yield Result(case, "rows/s", interleave(_contestants(url, load), rounds))
        if only is None:
            yield from stream.run(url, quick)


def _contestants(url: str, load: Load) -> Mapping[str, Callable[[], float]]:
    """Return Decanter, itself with events, and each peer of an op. Ops other than create are
    compared with Decanter's own create of as many stations."""
    context = Context()

    def ours(event: Json) -> Any:
        return handler.drain(event, context, take)

    found = {
        OURS: partial(rows_poured, url, load, ours),
        "events": partial(rows_poured, url, replace(load, has_events=True), ours),
    }
    if load.op != "create":
        created = replace(load, op="create", resource="stations")
        return found | {"create": partial(rows_poured, url, created, ours)}
    # There a record is one write, and takes a millisecond.
    few = replace(load, batch=min(load.rows, POWERTOOLS_ROWS), writes=1, calls=1)
    found["copy_ready"] = partial(
        rows_poured, url, load, copy_ready(url), ready=lambda event: copy_text(as_objects(event))
    )
    return found | {
        name: partial(
            rows_poured, url, few if name == "powertools" else load, peer(url), ready=as_objects
        )
        for name, peer in PEERS.items()
    }


def rows_poured(
    url: str,
    load: Load,
    pour: Callable[[Any], Any],
    clock: Callable[[], float] = time.perf_counter,
    ready: Callable[[Json], Any] | None = None,
) -> float:
    """Return how many rows a second are poured, by this clock. ready: makes what is poured of an
    event, before the clock starts; None: the event itself is poured."""
    events = _prepare(url, load)
    batches = [ready(each) for each in events] if ready else events
    return rows_per_second(url, load.rows, lambda: [pour(each) for each in batches], clock)


def _prepare(url: str, load: Load) -> list[Json]:
    """Fill the tables for one sample, and return its events."""
    stations = airports(load.rows + PARENTS)
    changed, others = stations[: load.rows], stations[load.rows :]
    parents = [row["icao"] for row in others]
    present = stations[load.rows // 2 :] if load.op == "replace" else stations
    fill(url, others if (load.op, load.resource) == ("create", "stations") else present)
    if load.op == "mixed":
        quarter = load.rows // 4
        kinds = [
            _stations("replace", changed[:quarter], load.writes),
            _stations("merge", changed[quarter : 2 * quarter], load.writes),
            _stations("delete", changed[2 * quarter : 3 * quarter], load.writes),
            _observations(load.rows - 3 * quarter, parents, load.writes),
        ]
        made = [body for each in zip_longest(*kinds) for body in each if body]
    elif load.resource == "observations":
        made = _observations(load.rows, parents, load.writes)
    else:
        made = _stations(load.op, changed, load.writes)
    made = [with_receipt(body) for body in made] if load.has_events else made
    return [event(made[start : start + load.batch]) for start in range(0, len(made), load.batch)]


def _observations(count: int, parents: list[str], writes: int) -> list[str]:
    return bodies("observations", "create", weather(parents, count), writes)


def _stations(op: str, rows: list[Json], writes: int) -> list[str]:
    match op:
        case "create":
            return bodies("stations", "create", rows, writes)
        case "replace":
            return bodies("stations", "replace", [{**r, "name": "replaced"} for r in rows], writes)
        case "merge":
            changes = [{"icao": row["icao"], "name": "new", "city": None} for row in rows]
            return bodies("stations", "merge", changes, writes)
        case _:
            return bodies("stations", "delete", [{"icao": row["icao"]} for row in rows], writes)
