"""What the ledger's column for the resource costs: creates poured with it and without it.

Without it means that the claim neither sends nor stores it, by the same code otherwise. Seconds are
processor time, of the drain and of its Postgres backend together: a few per cent are less than what
the waits for a disk, or for a busy machine, differ by.
"""

import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from unittest.mock import patch

import psutil

from benchmarks import processor
from benchmarks.drain import measure
from benchmarks.drain.database import own_database
from benchmarks.drain.measure import Load
from benchmarks.harness import OURS, Context, Json, Result, interleave
from chalicelib.buffer.sqs import take
from chalicelib.drain import handler
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import connection, forget
from chalicelib.postgres.ledger import LedgerEntry

SIZES = [(10, 1), (100, 1), (1_000, 1), (10, 100)]
"""Messages a batch, and writes a message."""

RESOURCES = ("observations", "stations")
FULL_ROUNDS, QUICK_ROUNDS = 31, 3
SAMPLE_ROWS = 10_000
_CONNECT_SECONDS = 10.0

_STATEMENTS = ("_CLAIM", "_CLAIM_ALONE", "_CLAIM_FRESH", "_CLAIM_REQUEST")
_EDITS = (
    (", resource_name)", ")"),
    ("decode(keys, 'hex'), resource", "decode(keys, 'hex')"),
    (" %s::text[],\n        %s::text[])", " %s::text[])"),
    ("keys, resource)", "keys)"),
)
"""What takes the column out of a claim."""


def run(quick: bool) -> Iterator[Result]:
    """Yield the rows a second with the column and without it."""
    rounds = QUICK_ROUNDS if quick else FULL_ROUNDS
    with own_database() as url:
        os.environ["DECANTER_DATABASE_URL"] = url
        forget("drain")
        for resource in RESOURCES:
            for batch, writes in SIZES:
                calls = max(1, min(100, SAMPLE_ROWS // batch // writes))
                load = Load("create", resource, batch, writes, calls)
                turns: dict[str, Callable[[], float]] = {
                    OURS: partial(_with, url, load),
                    "without": partial(_without, url, load),
                }
                case = {"op": "create", "resource": resource, "messages": batch, "writes": writes}
                yield Result(case, "rows/s", interleave(turns, rounds))


def _pour(event: Json) -> object:
    return handler.drain(event, Context(), take)


def _with(url: str, load: Load) -> float:
    drain = connection(url, "drain", time.monotonic() + _CONNECT_SECONDS)
    backend = psutil.Process(drain.info.backend_pid)

    def clock() -> float:
        return time.process_time() + processor.seconds(backend)

    return measure.rows_poured(url, load, _pour, clock)


def _without(url: str, load: Load) -> float:
    former = {name: without_resource(getattr(ledger, name)) for name in _STATEMENTS}
    with patch.dict(vars(ledger), {**former, "_columns": _columns_without}):
        return _with(url, load)


def without_resource(claim: str) -> str:
    """A claim that leaves the column out. Raise AssertionError if there is none in it."""
    for text, instead in _EDITS:
        if text not in claim:
            raise AssertionError(f"the claim has no {text!r}")
        claim = claim.replace(text, instead)
    return claim


def _columns_without(entries: Iterable[LedgerEntry]) -> list[str]:
    """As in the ledger before it had the column."""
    *columns, items, keys, _ = zip(*sorted(entries), strict=True)
    texts = [f"{{{','.join(map(str, column))}}}" for column in columns]
    if any(items):
        items = tuple([struct.pack(f">{len(each)}I", *each).hex() for each in items])
    return [*texts, ledger._or_null(items), ledger._or_null(keys)]
