"""A sample of the drain: batches that are poured into one database of several."""

import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from benchmarks import processor
from benchmarks.harness import Context, Json, Result
from chalicelib.buffer.sqs import take
from chalicelib.drain import handler
from chalicelib.postgres.connecting import session
from chalicelib.postgres.connecting.connection import forget

EMPTY = "empty"
"""The peer: a database with nothing in it but what is written to."""

CHECKPOINT = "CHECKPOINT"
"""Before what is measured: the first change of each page after it writes all of the page to
Postgres' log. Without one, only rows that were there for long would pay for that."""

_NOT_APPLIED = """
    SELECT (SELECT count(*) FROM decanter.rejection), (SELECT count(*) FROM decanter.waiting)
"""


class Sample(NamedTuple):
    """Of the rows of a sample: how many a second; how many a second of processor time, of drain and
    Postgres together; and the bytes of Postgres' log for each."""

    wall: float
    processor: float
    log: float


_UNITS = {"wall": "rows/s", "processor": "rows/s", "log": "bytes/row"}


def use(url: str) -> None:
    """Have the functions connect to this database from now on."""
    os.environ["DECANTER_DATABASE_URL"] = url
    for role in ("drain", "reader", "sweep"):
        forget(role)


def execute(url: str, *statements: str) -> list[Any]:
    """Execute statements, each in a transaction of its own; return the rows of the last one."""
    with closing(session.opened(url, "bench")) as own:
        own.autocommit = True
        with own.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def pour(url: str, events: Sequence[Json], rows: int) -> Sample:
    """Pour the events. The first is not measured, as the connection is new. The others have so many
    rows, and come right after a checkpoint. Raise AssertionError unless all rows are applied."""
    use(url)
    first, *others = events
    # Open all the time: a process that ends takes its time with it.
    with closing(session.opened(url, "bench")) as own, own.cursor() as cursor:
        handler.drain(first, Context(), take)
        execute(url, CHECKPOINT)
        gc.collect()
        log = _log_bytes(cursor)
        spent = processor.server_seconds(own.info.backend_pid) + time.process_time()
        started = time.perf_counter()
        for event in others:
            handler.drain(event, Context(), take)
        took = time.perf_counter() - started
        spent = processor.server_seconds(own.info.backend_pid) + time.process_time() - spent
        log = _log_bytes(cursor) - log
        cursor.execute(_NOT_APPLIED)
        if (found := cursor.fetchone()) != (0, 0):
            raise AssertionError(f"rejections and waiting writes are {found}")
    return Sample(rows / took, rows / spent, log / rows)


def _log_bytes(cursor: Any) -> int:
    """How many bytes were written to Postgres' log so far."""
    cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
    return int(cursor.fetchone()[0])


def results(case: Json, samples: Mapping[str, Sequence[Sample]]) -> Iterator[Result]:
    """Yield the results of a case, one for each figure of a sample."""
    for name, unit in _UNITS.items():
        figures = {who: [getattr(each, name) for each in found] for who, found in samples.items()}
        yield Result({**case, "measure": name}, unit, figures)
