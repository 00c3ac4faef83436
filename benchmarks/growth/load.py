"""The load of a sample: which rows are written to, and how."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.growth import tables
from benchmarks.harness import Json
from benchmarks.rows import bodies, event
from chalicelib.ops import Op

LAST, ANY = "last", "any"
"""Which rows are written to: the last ones, or any of the older half. New rows are the last."""

SIZES, QUICK_SIZES = [(10, 1), (10, 1_000)], [(10, 1), (10, 100)]
"""Messages a batch, and writes a message."""

SAMPLE_ROWS, QUICK_SAMPLE_ROWS = 20_000, 2_000
"""Rows a sample, in at most 100 batches and at least one."""

_MOST_BATCHES = 100
_STRIDE = (1 << 31) - 1  # a prime: it comes to all rows before it comes to one again


@dataclass
class Numbers:
    """The rows of a table that are written to, by their numbers, none twice.

    rows: at first, the table has those from 1 to this one. Others: how many were taken already.
    """

    rows: int
    created: int = 0
    last: int = 0
    any: int = 0

    def take(self, op: Op, which: str, count: int) -> list[int]:
        """Return so many."""
        half = self.rows // 2
        if op == "create":
            first, self.created = self.rows + self.created + 1, self.created + count
            return [*range(first, first + count)]
        if which == LAST:
            first, self.last = self.rows - self.last, self.last + count
            return [*range(first, first - count, -1)]
        places, self.any = range(self.any, self.any + count), self.any + count
        return [place * _STRIDE % half + 1 for place in places]


@dataclass(frozen=True)
class Load:
    """The load of a sample: `calls` batches of `batch` messages of `writes` writes each, after one
    that is not measured."""

    table: str
    op: Op
    which: str
    batch: int
    writes: int
    calls: int

    @property
    def rows(self) -> int:
        """Without those of the first batch."""
        return self.batch * self.writes * self.calls

    @property
    def case(self) -> Json:
        """The parameters by name."""
        what = {"table": self.table, "op": self.op, "rows": self.which}
        return {**what, "messages": self.batch, "writes": self.writes}

    def take(self, numbers: Numbers) -> list[int]:
        """Return the numbers of the rows of one sample."""
        return numbers.take(self.op, self.which, self.rows + self.batch * self.writes)

    def events(self, numbers: Sequence[int]) -> list[Json]:
        """Return the events that write to the rows of these numbers."""
        written = [_written(self.op, tables.row(self.table, each)) for each in numbers]
        made = bodies(self.table, self.op, written, self.writes)
        starts = range(0, len(made), self.batch)
        return [event(made[start : start + self.batch]) for start in starts]


def loads(table: str, op: Op, which: str, quick: bool) -> list[Load]:
    """The loads of an op, one for each size."""
    sizes, rows = (QUICK_SIZES, QUICK_SAMPLE_ROWS) if quick else (SIZES, SAMPLE_ROWS)
    return [
        Load(table, op, which, batch, writes, max(1, min(_MOST_BATCHES, rows // batch // writes)))
        for batch, writes in sizes
    ]


def _written(op: Op, row: Json) -> Json:
    """The row as a write of this op has it."""
    if op == "delete":
        return {"id": row["id"]}
    if op == "merge":
        return {"id": row["id"], "note": "corrected"}
    return row if op == "create" else {**row, "note": "replaced"}
