"""What travels on the queues: writes of one request and one lane, in sets, under one dedup ID.

The body is lines of JSON. The first is the header; each further line is the array of rows of one
set, in the client's own text, so that numbers keep their digits and the drain can hand the rows to
Postgres without looking into them. Imports nothing of the rest but errors.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args
from uuid import UUID

from chalicelib.errors import ForeignMessage

VERSION = 1

_LAST_MILLISECOND = 1 << 47
_LAST_ITEM = (1 << 31) - 1

_T = TypeVar("_T")

Op = Literal["create", "replace", "merge", "delete"]
OPS: tuple[Op, ...] = get_args(Op)


@dataclass(frozen=True)
class RowSet:
    """Rows with the same members, no key twice.

    members: column names present in every row, sorted.
    items: each row's place in the client's request, from 0.
    digests: each row's key digest; empty for unordered resources.
    rows: the rows' JSON objects, comma separated, without the array's brackets.
    """

    members: tuple[str, ...]
    items: tuple[int, ...]
    digests: tuple[int, ...]
    rows: str


@dataclass(frozen=True)
class Message:
    """Writes of one request and lane that are poured together or not at all.

    accepted_at: milliseconds since the epoch.
    fingerprint: identity of the request's content, to tell a reused key from a retry.
    sets: in the order in which they have to be poured.
    """

    dedup_id: UUID
    fingerprint: str
    accepted_at: int
    resource: str
    op: Op
    sets: tuple[RowSet, ...]

    @property
    def writes(self) -> int:
        return sum(len(rows.items) for rows in self.sets)


def encode(message: Message) -> str:
    """Body for SQS. JSON strings may hold U+FFFE and U+FFFF, which SQS refuses; they go escaped."""
    header = {
        "v": VERSION,
        "id": str(message.dedup_id),
        "fp": message.fingerprint,
        "at": message.accepted_at,
        "resource": message.resource,
        "op": message.op,
        "sets": [
            {"members": rows.members, "items": rows.items, "digests": rows.digests}
            for rows in message.sets
        ],
    }
    lines = [json.dumps(header, separators=(",", ":"))]
    lines += [f"[{rows.rows}]" for rows in message.sets]
    return "\n".join(lines).replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


def decode(body: str) -> Message:
    """Read a body back. Raises ForeignMessage, with the reason, for what `encode` did not make."""
    first, *lines = body.split("\n")
    try:
        header: Any = json.loads(first)
    except (ValueError, RecursionError):
        raise ForeignMessage("the body is not JSON lines written by Decanter") from None
    if not isinstance(header, dict) or "v" not in header:
        raise ForeignMessage("the body has no Decanter header")
    if header["v"] != VERSION:
        raise ForeignMessage(
            f"the message has version {header['v']!r}, this deployment reads {VERSION}"
        )
    try:
        sets = tuple(
            _row_set(described, line) for described, line in zip(header["sets"], lines, strict=True)
        )
        message = Message(
            dedup_id=UUID(header["id"]),
            fingerprint=_of(str, header["fp"]),
            accepted_at=_of(int, header["at"]),
            resource=_of(str, header["resource"]),
            op=header["op"],
            sets=sets,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ForeignMessage(f"the header is not one that Decanter writes ({error!r})") from None
    if message.op not in OPS or not sets:
        raise ForeignMessage(f"the header names no op of {', '.join(OPS)} or no rows")
    if not (message.resource + message.fingerprint).isprintable():
        raise ForeignMessage("the header holds characters that no name has")
    if not 0 <= message.accepted_at < _LAST_MILLISECOND:
        raise ForeignMessage(f"the header's time {message.accepted_at} is not one of ours")
    return message


def _row_set(described: dict[str, Any], line: str) -> RowSet:
    items, digests = described["items"], described["digests"]
    if not items or {*map(type, items), *map(type, digests)} != {int}:
        raise ValueError("items and digests are not whole numbers")
    if min(items) < 0 or max(items) > _LAST_ITEM or (digests and len(digests) != len(items)):
        raise ValueError("items and digests do not agree")
    if not (line.startswith("[{") and line.endswith("}]")):
        raise ValueError("a set is not an array of rows")
    return RowSet(_strings(described["members"]), tuple(items), tuple(digests), line[1:-1])


def _of(kind: type[_T], value: Any) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _strings(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(_of(str, value) for value in values)
