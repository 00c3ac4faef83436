"""Writes to a table with ten million rows, beside the same table with no others than are written
to; and a ledger with as many messages beside an empty one.

Both are databases of one server, and take turns. What is large was made as it would have grown: row
after row, with its indexes there. Postgres has memory for all of it, up to a quarter of the
machine's, and nothing else to do: a sample of either begins right after a checkpoint, and neither
another one nor vacuum comes before its end.

So both write each page that they change to Postgres' log, whole, once a sample. New rows, and the
last ones, are in as many pages here as there. Any rows of the large table are each in a page of its
own: what that costs, as it does after each checkpoint, is a part of having grown. What is left
without it is measured as well, with full_page_writes off.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from functools import partial
from itertools import product

import psutil
from sqlalchemy.schema import CreateTable

from benchmarks.growth import ledger, tables
from benchmarks.growth.load import ANY, LAST, Load, Numbers, loads
from benchmarks.growth.sample import EMPTY, Sample, execute, pour, results
from benchmarks.harness import OURS, Result, interleave
from chalicelib.migrate.handler import upgrade
from chalicelib.ops import Op
from chalicelib.postgres import partitions
from chalicelib.postgres.connecting import session
from chalicelib.postgres.resources import DIALECT
from decanter.local.server import scratch_embedded

FULL_ROWS, QUICK_ROWS = 10_000_000, 100_000
"""Rows of what is large, unless another number is asked for."""

ROUNDS, QUICK_ROUNDS = 7, 1

_CHANGES: tuple[Op, ...] = ("replace", "merge", "delete")
CASES: dict[str, list[tuple[Op, str]]] = {
    tables.TIMED: [("create", LAST), *product(_CHANGES, (LAST, ANY))],
    tables.RANDOM: [("create", LAST), *product(_CHANGES, (ANY,))],
    tables.INDEXED: [("create", LAST), *product(_CHANGES, (LAST,))],
}
"""By table: ops, and the rows that they write to."""

FULL, NOT_FULL = "full pages", "no full pages"
"""Whether the first change of a page after a checkpoint writes all of it to Postgres' log."""

_SETTING = {FULL: "on", NOT_FULL: "off"}

LEDGER = "ledger"
"""Beside a table, what can be measured alone."""

_LEAVES = 8  # weeks, from the first message of the large ledger on
_LARGE = "large"
_MEMORY = 400  # bytes of Postgres' memory for a row, with its indexes


class TooFewRowsError(Exception):
    """There are fewer rows in the large table than are written to."""


def run(quick: bool, rows: int | None = None, table: str | None = None) -> Iterator[Result]:
    """Yield the figures of each table, op and size, and then those of the ledger. rows: of what is
    large. table: of this one alone, which may be the ledger. Raise TooFewRowsError."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    rows = rows or (QUICK_ROWS if quick else FULL_ROWS)
    _check(rows, rounds, quick)
    with tables.poured(), _databases(rows) as (large, empty):
        for name, asked in CASES.items():
            if table not in (None, name):
                continue
            every = f"generate_series(1::bigint, {rows})"
            execute(large, tables.insert(name, every), f"VACUUM ANALYZE {name}")
            of_large, of_empty = Numbers(rows), Numbers(rows)
            for (op, which), pages in _with_pages(asked):
                _write_full_pages(large, pages)
                for load in loads(name, op, which, quick):
                    turns: dict[str, Callable[[], Sample]] = {
                        OURS: partial(_in_large, large, of_large, load),
                        EMPTY: partial(_in_empty, empty, of_empty, load),
                    }
                    case = {"large": rows, **load.case, "full_page_writes": pages}
                    yield from results(case, interleave(turns, rounds))
            _write_full_pages(large, FULL)
            execute(large, f"TRUNCATE {name}")
        if table in (None, LEDGER):
            yield from ledger.run(large, empty, rows, rounds, quick)


def _check(rows: int, rounds: int, quick: bool) -> None:
    changed = sum(
        load.rows + load.batch * load.writes
        for op in _CHANGES
        for load in loads(tables.TIMED, op, LAST, quick)
    )
    if rows < (least := 4 * changed * (rounds + 1)):  # the older half: with full pages, and without
        raise TooFewRowsError(
            f"{rows:,} rows are too few, as each is changed once at most: ask for at least"
            f" {least:,} with --rows, or for less with --quick."
        )


def _with_pages(asked: Iterable[tuple[Op, str]]) -> Iterator[tuple[tuple[Op, str], str]]:
    """Each case with full pages in Postgres' log, and that of any rows without them as well."""
    for each in asked:
        yield each, FULL
        if each[1] == ANY:
            yield each, NOT_FULL


def _write_full_pages(url: str, pages: str) -> None:
    """Have the server write full pages to its log, or not, from the next checkpoint on."""
    value = _SETTING[pages]
    execute(url, f"ALTER SYSTEM SET full_page_writes = {value}", "SELECT pg_reload_conf()")
    # Once new sessions have the setting, the process that makes checkpoints was told of it.
    while execute(url, "SHOW full_page_writes") != [(value,)]:
        time.sleep(0.01)


def _in_large(url: str, numbers: Numbers, load: Load) -> Sample:
    execute(url, "TRUNCATE decanter.ledger")
    return pour(url, load.events(load.take(numbers)), load.rows)


def _in_empty(url: str, numbers: Numbers, load: Load) -> Sample:
    """The table has the rows that are written to, in their order, unless these are new."""
    taken = load.take(numbers)
    execute(url, f"TRUNCATE decanter.ledger, {load.table}")
    if load.op != "create":
        given = f"unnest(ARRAY[{','.join(map(str, sorted(taken)))}]::bigint[])"
        execute(url, tables.insert(load.table, given), f"VACUUM ANALYZE {load.table}")
    return pour(url, load.events(taken), load.rows)


@contextmanager
def _databases(rows: int) -> Iterator[tuple[str, str]]:
    """Provide the URLs of two databases of one server, with the tables and nothing in them."""
    megabytes = min(rows * _MEMORY, psutil.virtual_memory().total // 4) // 2**20
    settings = {
        "shared_buffers": f"{max(128, megabytes)}MB",
        "max_wal_size": "16GB",
        "checkpoint_timeout": "1d",
        "autovacuum": "off",
    }
    created = [
        str(CreateTable(each).compile(dialect=DIALECT)) for each in tables.tables().sorted_tables
    ]
    with scratch_embedded("growth", settings=tuple(settings.items())) as server:
        for name in (_LARGE, EMPTY):
            server.ensure_database(name)
            upgrade(server.url(name), "decanter@head")
            with closing(session.opened(server.url(name), "bench")) as own:
                partitions.extend(own, _LEAVES, date.today() - timedelta(days=ledger.DAYS))
            execute(server.url(name), *created)
        yield server.url(_LARGE), server.url(EMPTY)
