"""The file of service times, which `python -m decanter plan` reads: fits of what was measured."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.harness import Json
from benchmarks.service.batches import Kind, Measured, by_kind
from benchmarks.service.containers import Containers
from chalicelib.ops import OPS
from decanter import PROJECT
from decanter.planning import service
from decanter.planning.fit import Fit, fit

LOOK = PROJECT / "build" / "service.json"
"""Of a quick run, which is only looked at."""

_DIGITS = 4


class OpFit(NamedTuple):
    """One op. errors: by how much of the measured time the fit is wrong, for each of its loads."""

    fit: Fit
    errors: Sequence[float]
    round_trips: float
    processor_share: float


def fits(found: Sequence[Measured]) -> dict[Kind, OpFit]:
    """The fit of each op of each buffer, of the medians of its loads."""
    made = {}
    for kind, same in by_kind(found).items():
        points = [each.point() for each in same]
        fitted = fit(points, without_bytes=OPS[kind.op].removes)
        made[kind] = OpFit(
            fitted,
            fitted.errors(points),
            median(each.round_trips for each in same),
            median(each.processor_share for each in same),
        )
    return made


def further_op(found: Sequence[Measured], made: Mapping[Kind, OpFit]) -> dict[str, float]:
    """What each further op of a batch adds to the largest fixed part of its ops, and to their
    messages, rows and bytes: seconds and round trips, the median of the mixed loads."""
    seconds, round_trips = [], []
    for each in found:
        if (others := len(each.load.ops) - 1) == 0:
            continue
        ops = [made[Kind(each.load.buffer, op)] for op in each.load.ops]
        point = each.point()
        share = 1 / len(ops)
        variable = sum(share * (op.fit.seconds(point) - op.fit.fixed) for op in ops)
        fixed = max(op.fit.fixed for op in ops)
        seconds.append((point.seconds - fixed - variable) / others)
        round_trips.append((each.round_trips - max(op.round_trips for op in ops)) / others)
    return {
        "seconds": max(0.0, median(seconds)),
        "round_trips": max(0.0, median(round_trips)),
    }


def document(found: Sequence[Measured], containers: Mapping[str, Containers], rounds: int) -> Json:
    """The whole file."""
    made = fits(found)
    return _rounded(
        {
            "measured": {
                "at": datetime.now(UTC).date().isoformat(),
                "machine": f"{os.cpu_count()} cores, {platform.machine()}",
                "python": platform.python_version(),
                "rounds": rounds,
            },
            "cold_start_seconds": median(containers["drain"].cold_starts),
            "ops": {kind.op: _op(each) for kind, each in made.items() if kind.buffer == "ordered"},
            "unordered": {
                kind.op: _op(each) for kind, each in made.items() if kind.buffer == "unordered"
            },
            "further_op": further_op(found, made),
            "functions": {name: each.document() for name, each in containers.items()},
        }
    )


def _op(found: OpFit) -> Json:
    return {
        "batch_seconds": found.fit.fixed,
        "message_seconds": found.fit.message,
        "row_seconds": found.fit.row,
        "byte_seconds": found.fit.byte,
        "round_trips": found.round_trips,
        "processor_share": found.processor_share,
        "median_error": median(found.errors),
        "largest_error": max(found.errors),
    }


def write(document: Json, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def path(quick: bool) -> Path:
    """Where the file of a run is written."""
    return LOOK if quick else service.FILE


def _rounded(value: object) -> Json:
    """The same with all fractions to a few digits, which is more than their noise allows."""
    match value:
        case dict():
            return {name: _rounded(each) for name, each in value.items()}
        case float():
            return float(f"{value:.{_DIGITS}g}")  # type: ignore[return-value]
    return value  # type: ignore[return-value]
