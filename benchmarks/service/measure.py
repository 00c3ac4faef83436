"""What a batch costs a drain, for `python -m decanter plan`: the seconds of the whole handler, from
the event of Lambda to its return after COMMIT, on one connection to an embedded Postgres.

A line is fitted to the times of each op, with a fixed part of a batch, and a part for each message,
row and byte. Round trips to the database are counted, so that those of a network can be added: here
both are on one machine. Containers of a drain and of the API function are started, for their cold
starts and their memory.
"""

from collections.abc import Iterator, Sequence

from benchmarks.drain.database import own_database
from benchmarks.harness import OURS, Result
from benchmarks.service import batches, containers, document
from benchmarks.service.batches import Measured, by_kind
from chalicelib.ops import OPS
from decanter.planning.fit import Fit, fit

FULL = [
    *((1, 1, 0), (10, 1, 0), (100, 1, 0), (1_000, 1, 0)),
    *((10, 100, 0), (10, 1_000, 0)),
    *((10, 1, 2_000), (10, 100, 500), (1, 1, 20_000)),
]
QUICK = [(1, 1, 0), (10, 1, 0), (100, 1, 0), (10, 100, 0), (10, 100, 500)]
"""Messages of a batch, rows of a message, and characters by which a row is longer."""

FULL_ROUNDS, QUICK_ROUNDS = 5, 3


def run(quick: bool) -> Iterator[Result]:
    """Yield the milliseconds of each load, the microseconds of each part of the fits and their
    errors, and what containers use; then write the file."""
    sizes, rounds = (QUICK, QUICK_ROUNDS) if quick else (FULL, FULL_ROUNDS)
    with own_database() as url:
        found = batches.measured(url, batches.loads(sizes), rounds)
        yield from map(_times, found)
        yield from parts(found)
        started = containers.measured(url, containers.QUICK if quick else containers.FULL)
        yield from containers.results(started)
    document.write(document.document(found, started, rounds), document.path(quick))


def _times(found: Measured) -> Result:
    load = found.load
    case = {
        "op": "+".join(load.ops),
        "buffer": load.buffer,
        "messages": load.messages,
        "rows": load.batch_rows,
        "bytes": found.bytes_,
        "round trips": found.round_trips,
    }
    walls = [each.wall * 1_000 for each in found.samples]
    processors = [each.processor * 1_000 for each in found.samples]
    return Result(case, "ms", {OURS: walls, "processor": processors}, is_compared=False)


def parts(found: Sequence[Measured]) -> Iterator[Result]:
    """Yield each part of the fits, of the times of each round; and the errors of the fits of the
    medians, one for each load."""
    made = document.fits(found)
    for kind, same in by_kind(found).items():
        is_removed = OPS[kind.op].removes
        rounds = zip(*(each.points() for each in same), strict=True)
        of_rounds = [fit(points, is_removed) for points in rounds]
        case = {"fit": kind.op, "buffer": kind.buffer}
        for part in Fit._fields:
            samples = [getattr(each, part) * 1_000_000 for each in of_rounds]
            yield Result({**case, "of": part}, "µs", {OURS: samples})
        errors = [100 * error for error in made[kind].errors]
        yield Result({**case, "of": "error"}, "%", {OURS: errors})
