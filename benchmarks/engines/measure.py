"""One drain on each engine, side by side: rows a second, and how often a batch waits for an answer.

`ours` is a plain Postgres. `dsql` is another database of the same server behind MiniStack's proxy
with the rules of Aurora DSQL: the time of the proxy, a Python program, is in it, and it is no
figure of Aurora DSQL, whose rows are on other machines. `proxied` is a plain Postgres behind the
same proxy without its rules; `dsql` beside it shows what the rules cost. Where DECANTER_CITUS_URL
names a cluster, `citus_local` has the table on its coordinator, and `citus_1`, `citus_2`, … spread
over as many of its workers.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import product
from typing import Any, NamedTuple
from unittest.mock import patch

from sqlalchemy.schema import CreateTable

from benchmarks.child import started
from benchmarks.drain.database import check_poured
from benchmarks.growth import tables
from benchmarks.growth.load import LAST, Load, Numbers
from benchmarks.growth.sample import execute, use
from benchmarks.harness import OURS, Context, Result, interleave
from chalicelib.buffer.sqs import take
from chalicelib.drain import handler
from chalicelib.migrate.handler import upgrade
from chalicelib.ops import Op
from chalicelib.postgres import partitions
from chalicelib.postgres.connecting import session
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.resources import DIALECT
from decanter import CITUS_URL
from decanter.local.citus import database_on, workers_of
from decanter.local.server import scratch_embedded

TABLE = tables.RANDOM
OPS: tuple[Op, ...] = ("create", "merge")
SIZES = ((10, 1, 50), (10, 100, 5), (10, 1_000, 2))
QUICK_SIZES = ((10, 1, 3), (10, 300, 1))
"""Messages a batch, writes a message, and batches that are measured."""

ROUNDS, QUICK_ROUNDS = 5, 1
_LEDGER_WEEKS = 2
_MOST_ROWS = 100_000


class Place(NamedTuple):
    """A database. url: functions connect by it; behind: the same database without a proxy."""

    url: str
    behind: str


class Sample(NamedTuple):
    """Rows a second, and how often a batch waited for an answer."""

    pace: float
    trips: float


_UNITS = {"pace": "rows/s", "trips": "round trips/batch"}


def run(quick: bool) -> Iterator[Result]:
    """Yield pace and round trips of each op at each size."""
    sizes, rounds = (QUICK_SIZES, QUICK_ROUNDS) if quick else (SIZES, ROUNDS)
    with tables.poured(), _places() as places:
        for op, (batch, writes, calls) in product(OPS, sizes):
            load = Load(TABLE, op, LAST, batch, writes, calls)
            turns: Mapping[str, Callable[[], Sample]] = {
                name: partial(_sample, place, load) for name, place in places.items()
            }
            found = interleave(turns, rounds)
            case = {"op": op, "messages": batch, "writes": writes}
            for name, unit in _UNITS.items():
                samples = {who: [getattr(each, name) for each in of] for who, of in found.items()}
                yield Result({**case, "measure": name}, unit, samples)


def _sample(place: Place, load: Load) -> Sample:
    """Pour into an empty table, or one with the rows that are changed. The first batch is not
    measured, as the connection is new. Raise AssertionError unless all rows are poured."""
    taken = load.take(Numbers(_MOST_ROWS))
    execute(
        place.behind,
        f"TRUNCATE {load.table}",
        "TRUNCATE decanter.ledger, decanter.rejection, decanter.waiting",
    )
    if load.op != "create":
        numbers = ",".join(map(str, sorted(taken)))
        given = f"unnest(ARRAY[{numbers}]::bigint[])"
        execute(place.behind, tables.insert(load.table, given), f"ANALYZE {load.table}")
    first, *others = load.events(taken)
    use(place.url)
    handler.drain(first, Context(), take)
    gc.collect()
    with _counted() as trips:
        began = time.perf_counter()
        for event in others:
            handler.drain(event, Context(), take)
        took = time.perf_counter() - began
    check_poured(place.behind, len(taken))
    return Sample(load.rows / took, len(trips) / load.calls)


@contextmanager
def _counted() -> Iterator[list[str]]:
    """A list that gets longer with all that is sent in the block and waited for, but the end of a
    transaction that is undone."""
    sent: list[str] = []
    run = Transaction._run

    def counted(self: Transaction, wait: Callable[[bytes], Any]) -> Any:
        sent.append(wait.__name__)
        return run(self, wait)

    with patch.object(Transaction, "_run", counted):
        yield sent


@contextmanager
def _places() -> Iterator[dict[str, Place]]:
    """Provide the databases, with the ledger and the table."""
    [table] = [each for each in tables.tables().sorted_tables if each.name == TABLE]
    created = str(CreateTable(table).compile(dialect=DIALECT))
    with ExitStack() as stack:
        server = stack.enter_context(scratch_embedded("engines"))
        found = {}
        for name in (OURS, "proxied", "dsql"):
            server.ensure_database(name)
            own = url = server.url(name)
            if name != OURS:
                settings = {"url": own, "has_rules": name == "dsql"}
                url = stack.enter_context(started("benchmarks.engines.proxy", settings)).hear()
            upgrade(url, "decanter@head")
            if name != "dsql":
                _extend(own)
            execute(own, created)
            found[name] = Place(url, own)
        if named := os.environ.get(CITUS_URL):
            found |= stack.enter_context(_on_citus(named, created))
        yield found


@contextmanager
def _on_citus(named: str, created: str) -> Iterator[dict[str, Place]]:
    """The table in a database on a coordinator, and in those on one worker of it, on two, …"""
    found = {}
    with ExitStack() as stack:
        for workers in range(workers_of(named) + 1):
            url = stack.enter_context(database_on(named, workers))
            execute(url, created)
            if workers:
                execute(url, f"SELECT create_distributed_table('{TABLE}', 'id')")
            found[f"citus_{workers or 'local'}"] = Place(url, url)
        yield found


def _extend(url: str) -> Sequence[str]:
    with closing(session.opened(url, "bench")) as own:
        return partitions.extend(own, _LEDGER_WEEKS)
