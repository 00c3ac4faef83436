"""Several drains at once, each a process with a connection of its own, beside as many processes
that only COPY the same rows.

All of them and Postgres share the cores of this machine. So each line comes with the processor time
of Postgres alone, all of its processes together, and that of the drains: on machines of its own,
Postgres takes as many rows a second as its cores have seconds for, unless something else stops it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import product
from typing import NamedTuple

from benchmarks import processor
from benchmarks.child import Child, started
from benchmarks.drain.database import check_poured, fill, own_database
from benchmarks.drains.process import COPY, PARENTS, READY
from benchmarks.harness import OURS, Result, interleave
from benchmarks.rows import airports
from chalicelib.postgres.connecting import session

DRAINS, QUICK_DRAINS = (1, 2, 4, 8), (1, 2)
ROUNDS, QUICK_ROUNDS = 5, 1


class Load(NamedTuple):
    """The load of each drain: `calls` batches of `batch` messages of `writes` writes each."""

    resource: str
    batch: int
    writes: int
    calls: int

    @property
    def rows(self) -> int:
        return self.batch * self.writes * self.calls


LOADS = (
    Load("observations", 10, 1_000, 4),
    Load("observations", 1_000, 1, 10),
    Load("stations", 10, 1_000, 4),
    Load("stations", 10, 1, 300),
)
QUICK_LOADS = (Load("observations", 100, 1, 2), Load("stations", 10, 10, 2))


class Sample(NamedTuple):
    """Rows a second of all drains together; microseconds of processor time a row, of Postgres and
    of the drains; and how many cores were at work."""

    sum: float
    postgres: float
    drains: float
    cores: float


_UNITS = {"sum": "rows/s", "postgres": "µs/row", "drains": "µs/row", "cores": "cores"}


def run(quick: bool) -> Iterator[Result]:
    """Yield the figures of each load, for each number of drains."""
    counts, rounds = (QUICK_DRAINS, QUICK_ROUNDS) if quick else (DRAINS, ROUNDS)
    with ExitStack() as stack:
        url = stack.enter_context(own_database())
        drains = [
            stack.enter_context(
                started("benchmarks.drains.process", {"url": url, "number": number})
            )
            for number in range(max(counts))
        ]
        for load, count in product(QUICK_LOADS if quick else LOADS, counts):
            turns: dict[str, Callable[[], Sample]] = {
                who: partial(_sample, url, drains[:count], who, load) for who in (OURS, COPY, READY)
            }
            found = interleave(turns, rounds)
            sizes = {"messages": load.batch, "writes": load.writes}
            case = {"resource": load.resource, **sizes, "drains": count}
            for name, unit in _UNITS.items():
                samples = {who: [getattr(each, name) for each in of] for who, of in found.items()}
                yield Result({**case, "measure": name}, unit, samples)


def _sample(url: str, drains: Sequence[Child], who: str, load: Load) -> Sample:
    """Have all drains pour at once. Raise AssertionError unless all rows are poured."""
    fill(url, airports(PARENTS) if load.resource == "observations" else [])
    for each in drains:
        each.tell({"load": load, "who": who})
    for each in drains:
        each.hear()
    with closing(session.opened(url, "bench")) as own:
        backend = own.info.backend_pid
        before = processor.server_seconds(backend)
        for each in drains:
            each.tell({})
        times = [each.hear() for each in drains]
        of_postgres = processor.server_seconds(backend) - before
    rows = load.rows * len(drains)
    check_poured(url, rows)
    took = max(each["ended"] for each in times) - min(each["began"] for each in times)
    of_drains = sum(each["spent"] for each in times)
    return Sample(
        rows / took,
        of_postgres * 1e6 / rows,
        of_drains * 1e6 / rows,
        (of_postgres + of_drains) / took,
    )
