"""The pace of the drain beside its peers, in one run, on one connection to a Postgres of its own.

What is timed is the whole handler: from the event that Lambda hands over to its return after
COMMIT. Shapes take turns, so that a machine that slows down slows all of them.
"""

import gc
import json
import os
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from chalicelib.drain import handler
from chalicelib.postgres.connecting import session
from decanter.bench.database import own_database
from decanter.bench.peers import PEERS
from decanter.bench.rows import Json, airports, bodies, event, weather

SINGLE = [(10, 1), (100, 1), (1_000, 1), (10_000, 1)]
BULK = [(10, 100), (10, 1_000)]
QUICK = [(10, 1), (100, 1), (10, 100)]
SHAPES = [
    ("create", "observations"),
    ("create", "stations"),
    ("replace", "stations"),
    ("merge", "stations"),
    ("delete", "stations"),
    ("mixed", "both"),
]
PARENTS = 200  # stations that observations refer to
POWERTOOLS_ROWS = 200
"""Rows of a sample that the slowest peer gets."""


@dataclass(frozen=True)
class Case:
    """A shape at one size: `batch` messages of `writes` writes each, in `calls` calls a sample.

    resource: observations (foreign key, JSONB, identity), stations, or both.
    """

    shape: str
    resource: str
    batch: int
    writes: int
    calls: int

    @property
    def rows(self) -> int:
        return self.batch * self.writes * self.calls


class Context:
    """As much of a Lambda context as the drain reads."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def run(quick: bool, as_json: bool) -> int:
    """Print a line for each case as soon as it is measured."""
    sizes, rounds = (QUICK, 3) if quick else (SINGLE + BULK, 7)
    with own_database() as url:
        os.environ["DECANTER_DATABASE_URL"] = url
        for shape, resource in SHAPES:
            for batch, writes in sizes:
                calls = max(1, min(50, 2_000 // (batch * writes)))
                case = Case(shape, resource, batch, writes, calls)
                _report(case, _measure(url, case, rounds), as_json)
    return 0


def _measure(url: str, case: Case, rounds: int) -> dict[str, list[float]]:
    """Rows a second of ours and of each peer that does this shape, a figure a round. The peer of
    the other ops is our own create, of as many stations."""
    context = Context()
    runners: dict[str, Callable[[Json], Any]] = {"ours": lambda e: handler.drain(e, context)}
    if case.shape == "create":
        runners |= {name: peer(url) for name, peer in PEERS.items()}
    else:
        runners["create"] = runners["ours"]
    found: dict[str, list[float]] = {name: [] for name in runners}
    for round_ in range(rounds + 1):
        for name, runner in runners.items():
            part = case
            if name == "powertools":  # a record is one write there, and takes a millisecond
                part = Case(case.shape, case.resource, min(case.rows, POWERTOOLS_ROWS), 1, 1)
            elif name == "create":
                part = replace(case, shape="create", resource="stations")
            events = _prepare(url, part)
            gc.collect()
            started = time.perf_counter()
            for each in events:
                runner(each)
            seconds = time.perf_counter() - started
            _check(url, part)
            if round_:  # the first one warms up
                found[name].append(part.rows / seconds)
    return found


def _prepare(url: str, case: Case) -> list[Json]:
    """Fill the tables for one sample, and make its events."""
    stations = airports(case.rows + PARENTS)
    changed, parents = (
        stations[: case.rows],
        [row["icao"] for row in stations[case.rows :]],
    )
    present = stations[case.rows // 2 :] if case.shape == "replace" else stations
    if (case.shape, case.resource) == ("create", "stations"):
        present = stations[case.rows :]
    rows = json.dumps([{**row, "active": True} for row in present])
    kept = "decanter.ledger, decanter.rejection, decanter.made_key"
    _execute(url, f"TRUNCATE stations, observations, {kept}")
    _execute(
        url,
        "INSERT INTO stations SELECT * FROM json_populate_recordset(NULL::stations, %s)",
        rows,
    )
    _execute(url, "ANALYZE stations")
    _execute(url, "CHECKPOINT")
    if case.shape == "mixed":
        quarter = case.rows // 4
        kinds = [
            _stations("replace", changed[:quarter], case.writes),
            _stations("merge", changed[quarter : 2 * quarter], case.writes),
            _stations("delete", changed[2 * quarter : 3 * quarter], case.writes),
            _observations(case.rows - 3 * quarter, parents, case.writes),
        ]
        made = [body for each in zip_longest(*kinds) for body in each if body]
    elif case.resource == "observations":
        made = _observations(case.rows, parents, case.writes)
    else:
        made = _stations(case.shape, changed, case.writes)
    return [event(made[start : start + case.batch]) for start in range(0, len(made), case.batch)]


def _observations(count: int, parents: list[str], writes: int) -> list[str]:
    return bodies("observations", "create", weather(parents, count), writes)


def _stations(shape: str, rows: list[Json], writes: int) -> list[str]:
    match shape:
        case "create":
            return bodies("stations", "create", rows, writes)
        case "replace":
            return bodies("stations", "replace", [{**r, "name": "replaced"} for r in rows], writes)
        case "merge":
            changes = [{"icao": row["icao"], "name": "new", "city": None} for row in rows]
            return bodies("stations", "merge", changes, writes)
        case _:
            return bodies("stations", "delete", [{"icao": row["icao"]} for row in rows], writes)


def _check(url: str, case: Case) -> None:
    """A sample counts only if all of it was poured."""
    question = "SELECT sum(writes), (SELECT count(*) FROM decanter.rejection) FROM decanter.ledger"
    if (found := _execute(url, question)) != [(case.rows, 0)]:
        raise AssertionError(f"{case}: writes and rejections are {found}")


def _report(case: Case, found: dict[str, list[float]], as_json: bool) -> None:
    medians = {name: statistics.median(figures) for name, figures in found.items()}
    ours = medians.pop("ours")
    figures: dict[str, Any] = {
        "bench": "drain",
        "shape": case.shape,
        "resource": case.resource,
        "batch": case.batch,
        "writes": case.writes,
        "rows_per_s": round(ours),
        "spread": [round(min(found["ours"])), round(max(found["ours"]))],
    }
    for name, median in medians.items():
        figures[f"{name}_rows_per_s"] = round(median)
        figures[f"{name}_ratio"] = round(ours / median, 2)
    if as_json:
        print(json.dumps(figures), flush=True)
        return
    low, high = figures["spread"]
    ratios = "  ".join(f"{ours / median:.2f} × {name}" for name, median in medians.items())
    print(
        f"{case.shape:8} {case.resource:12} {case.batch:6} × {case.writes:<5}"
        f" {ours:8,.0f} rows/s ({low:,}-{high:,})  {ratios}",
        flush=True,
    )


def _execute(url: str, statement: str, *parameters: Any) -> list[Any]:
    with closing(session.opened(url, "bench")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []
