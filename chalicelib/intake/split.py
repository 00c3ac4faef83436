"""Rows of one request → messages: by lane, in sets, within the size that SQS takes.

The split depends on nothing but the rows, so that every retry of a request gives the same messages.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chalicelib.errors import Fault, Problem
from chalicelib.message import RowSet
from chalicelib.settings import LANES, MAX_MESSAGE_BYTES

_HEADER_BYTES = 400
_HEADER_BYTES_A_ROW = 30  # its item and its digest in the header


@dataclass(frozen=True)
class Row:
    """One write of a request: its place in it, members in text, key digest (None: unordered)."""

    item: int
    members: tuple[str, ...]
    digest: int | None
    text: str


def split(rows: Sequence[Row]) -> list[tuple[str | None, tuple[RowSet, ...]]]:
    """Lane and sets of each message, first messages of all lanes before second ones.

    Raises Problem 413 for a row that fits no message.
    """
    lanes: dict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        lanes[None if row.digest is None else str(row.digest % LANES)].append(row)
    chunks = {lane: _chunks(lane_rows) for lane, lane_rows in lanes.items()}
    rounds = max(map(len, chunks.values()))
    return [
        (lane, _sets(lane_chunks[turn]))
        for turn in range(rounds)
        for lane, lane_chunks in chunks.items()
        if turn < len(lane_chunks)
    ]


def _chunks(rows: Iterable[Row]) -> list[list[Row]]:
    chunks: list[list[Row]] = []
    left = 0
    for row in rows:
        size = len(row.text.encode()) + 1 + _HEADER_BYTES_A_ROW + sum(map(len, row.members))
        if size > MAX_MESSAGE_BYTES - _HEADER_BYTES:
            detail = f"the row takes {size} bytes; a message holds {MAX_MESSAGE_BYTES}"
            fault = Fault(f"/{row.item}", "size", detail)
            raise Problem(413, "row-too-large", "A row is too large", detail, (fault,))
        if size > left:
            chunks.append([])
            left = MAX_MESSAGE_BYTES - _HEADER_BYTES
        chunks[-1].append(row)
        left -= size
    return chunks


def _sets(rows: Sequence[Row]) -> tuple[RowSet, ...]:
    """The i-th row of a key goes into the i-th wave, so no set holds a key twice."""
    seen: dict[int, int] = defaultdict(int)
    sets: dict[tuple[int, tuple[str, ...]], list[Row]] = defaultdict(list)
    for row in rows:
        wave = 0
        if row.digest is not None:
            wave = seen[row.digest]
            seen[row.digest] += 1
        sets[wave, row.members].append(row)
    return tuple(
        RowSet(
            members=members,
            items=tuple(row.item for row in same),
            digests=tuple(row.digest for row in same if row.digest is not None),
            rows=",".join(row.text for row in same),
        )
        for (_, members), same in sorted(sets.items(), key=lambda found: found[0][0])
    )
