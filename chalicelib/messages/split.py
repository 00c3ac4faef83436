"""Rows of one request → messages: by lane, in sets, within the size that SQS accepts.

The split depends only on the rows and on settings of the deployment (lanes, size of messages,
engine, keys of the models), so that all retries of a request give the same messages until a
deployment changes these; `receipt.split_id` distinguishes the splits.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from chalicelib.errors import Fault, Problem
from chalicelib.messages.message import RowSet
from chalicelib.settings import LANES, message_bytes, message_rows

_HEADER_BYTES = 400
_ROW_BYTES = 34  # its item and its digest in the header, and commas
_SET_BYTES = 22  # brackets in the header and around the rows, and perhaps a null
_VALUES_BYTES = 16  # the name of that member of the header, and commas

_Kind = tuple[int, tuple[str, ...], tuple[str, ...] | None]


class KeyedRow(NamedTuple):
    """One write of a request: item, members in text, key digest (None if unordered), and its JSON
    object; or the line of its values, and which of these are documents, see `values`."""

    item: int
    members: tuple[str, ...]
    digest: int | None
    text: str
    documents: tuple[str, ...] | None = None


def split(
    rows: Sequence[KeyedRow], lane_count: int | None = None
) -> list[tuple[str | None, tuple[RowSet, ...]]]:
    """Lane and sets of each message; the first messages of all lanes come before the second ones.

    lane_count: of the ordered queue; None: LANES. Raises Problem 413 for a row that is too large
    for a message.
    """
    lanes = lane_count or LANES
    if len(rows) == 1:
        return [_message(rows[0], lanes)]
    by_lane: dict[int | None, list[KeyedRow]] = defaultdict(list)
    for row in rows:
        by_lane[None if row.digest is None else row.digest % lanes].append(row)
    chunks = {
        _lane(same[0], lanes): [message for part in _parts(same) for message in _messages(part)]
        for same in by_lane.values()
    }
    rounds = max(map(len, chunks.values()))
    return [
        (lane, lane_chunks[turn])
        for turn in range(rounds)
        for lane, lane_chunks in chunks.items()
        if turn < len(lane_chunks)
    ]


def _parts(rows: Sequence[KeyedRow]) -> list[Sequence[KeyedRow]]:
    """The rows of a lane in parts, of which none has more than a message may have."""
    most = message_rows() or len(rows)
    return [rows[first : first + most] for first in range(0, len(rows), most)]


def _messages(rows: Sequence[KeyedRow]) -> list[tuple[RowSet, ...]]:
    """The sets of each message of a lane. Nearly always, all rows fit into one set of one message,
    which takes no step for each of them."""
    items, members, digests, texts, documents = zip(*rows, strict=True)
    kind = (members[0], documents[0])
    is_one = members.count(kind[0]) == documents.count(kind[1]) == len(rows)
    if is_one and (digests[0] is None or len({*digests}) == len(rows)):
        joined = _joined(texts, kind[1])
        if len(rows) * _ROW_BYTES + _text_bytes(joined) + _set_bytes(*kind) <= _room():
            known = () if digests[0] is None else digests
            return [(RowSet(kind[0], items, known, joined, kind[1]),)]
    return [_sets(kinds) for kinds in _chunks(rows)]


def _message(row: KeyedRow, lane_count: int) -> tuple[str | None, tuple[RowSet, ...]]:
    """The message of a single row, as in most requests, without the detours for many."""
    if fault := too_large(row, f"/{row.item}"):
        raise _problem(fault)
    digests = () if row.digest is None else (row.digest,)
    return _lane(row, lane_count), (
        RowSet(row.members, (row.item,), digests, row.text, row.documents),
    )


def _lane(row: KeyedRow, lane_count: int) -> str | None:
    return None if row.digest is None else str(row.digest % lane_count)


def too_large(row: KeyedRow, pointer: str) -> Fault | None:
    """The fault of a row that is too large for a message."""
    if _bytes(row) + _set_bytes(row.members, row.documents) <= _room():
        return None
    detail = f"the row takes {_bytes(row)} bytes; a message holds at most {message_bytes()}"
    return Fault(pointer, "size", detail)


def _problem(fault: Fault) -> Problem:
    return Problem("row-too-large", fault.detail, (fault,))


def _chunks(rows: Iterable[KeyedRow]) -> list[dict[_Kind, list[KeyedRow]]]:
    """Rows of each message by wave and members. The i-th row of a key is in the i-th wave, so that
    no set holds a key twice."""
    chunks: list[dict[_Kind, list[KeyedRow]]] = []
    chunk: dict[_Kind, list[KeyedRow]] = {}
    waves: dict[int, int] = defaultdict(int)
    left, room = -1, _room()
    for row in rows:
        size = _bytes(row)
        of_set = _set_bytes(row.members, row.documents)
        kind = (0 if row.digest is None else waves[row.digest], row.members, row.documents)
        same = chunk.get(kind)
        if size + (of_set if same is None else 0) > left:
            chunk, same, kind = {}, None, (0, row.members, row.documents)
            chunks.append(chunk)
            waves.clear()
            left = room
            if fault := too_large(row, f"/{row.item}"):
                raise _problem(fault)
        if same is None:
            same = chunk[kind] = []
            left -= of_set
        same.append(row)
        left -= size
        if row.digest is not None:
            waves[row.digest] += 1
    return chunks


def _sets(kinds: Mapping[_Kind, Sequence[KeyedRow]]) -> tuple[RowSet, ...]:
    return tuple(
        RowSet(
            members=members,
            items=tuple(row.item for row in same),
            digests=tuple(row.digest for row in same if row.digest is not None),
            text=_joined([row.text for row in same], documents),
            documents=documents,
        )
        for (_, members, documents), same in sorted(kinds.items(), key=lambda kind: kind[0][0])
    )


def _joined(texts: Sequence[str], documents: tuple[str, ...] | None) -> str:
    return (",".join if documents is None else "\n".join)(texts)


def _room() -> int:
    return message_bytes() - _HEADER_BYTES


def _bytes(row: KeyedRow) -> int:
    """Bytes of a row in a message, where U+FFFE and U+FFFF take six bytes instead of three."""
    return _text_bytes(row.text) + _ROW_BYTES


def _text_bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    return len(text.encode()) + 3 * (text.count("\ufffe") + text.count("\uffff"))


@lru_cache(maxsize=1_000)
def _set_bytes(members: tuple[str, ...], documents: tuple[str, ...] | None = None) -> int:
    named = len(json.dumps(members)) + _SET_BYTES
    return named if documents is None else named + len(json.dumps(documents)) + _VALUES_BYTES
