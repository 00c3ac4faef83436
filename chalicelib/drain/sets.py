"""Messages → waves → sets: what one statement may do at once.

A set holds rows of one resource, op and list of members, and no key twice. Rows with conditions
have sets of their own. The i-th write to a key
goes into the i-th wave, so writes to one key stay in the order of their messages. Keys are told
apart by their digests, with set operations only: nothing here looks at a single row.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from chalicelib.errors import RefusedByDatabase
from chalicelib.message import Condition, Message, Op, RowSet

_Kind = tuple[str, Op, tuple[str, ...], bool]  # the last: whether it is conditional


@dataclass(frozen=True)
class Set:
    """Rows for one statement; parts in the order of their messages."""

    resource: str
    op: Op
    members: tuple[str, ...]
    parts: tuple[tuple[Message, RowSet], ...]

    @property
    def rows(self) -> str:
        """JSON array of all rows."""
        return f"[{','.join(part.rows for _, part in self.parts)}]"

    @property
    def count(self) -> int:
        return sum(len(part.items) for _, part in self.parts)

    @property
    def conditions(self) -> list[Condition]:
        """Of a conditional set, one for each row, which is a message of its own. Else empty."""
        if not self.parts or self.parts[0][0].condition is None:
            return []
        return [message.condition for message, _ in self.parts if message.condition]

    def without(self, rows: Iterable["Row"]) -> "Set":
        """What is left of a conditional set."""
        gone = {row.message.dedup_id for row in rows}
        left = tuple(part for part in self.parts if part[0].dedup_id not in gone)
        return replace(self, parts=left)


@dataclass(frozen=True)
class Row:
    """One row of a set that was taken apart: JSON text, its message and place in the request."""

    message: Message
    item: int
    text: str


def waves(messages: Sequence[Message], ranks: Mapping[str, int]) -> list[list[Set]]:
    """Sets in the order in which to pour them.

    ranks: each resource's place among the tables, parents before children. Deletes come last in a
    wave, children before parents.
    """
    keys: list[set[int]] = []
    found: list[dict[_Kind, list[tuple[Message, RowSet]]]] = []
    for message in messages:
        for rows in message.sets:
            wave = _first_free(keys, rows.digests)
            if wave == len(keys):
                keys.append(set())
                found.append(defaultdict(list))
            keys[wave].update(rows.digests)
            kind = (message.resource, message.op, rows.members, message.condition is not None)
            found[wave][kind].append((message, rows))
    return [
        [
            Set(resource, op, members, tuple(parts))
            for (resource, op, members, _), parts in sorted(
                wave.items(), key=lambda kind: _place(kind[0][0], kind[0][1], ranks)
            )
        ]
        for wave in found
    ]


def all_apart(rows: Set) -> list[Row]:
    """Single rows of a set. Raises RefusedByDatabase for one that is not as its headers say."""
    apart, broken = taken_apart(rows)
    if broken:
        message = "the rows of a message are not as many as its header says"
        raise RefusedByDatabase(message, sqlstate="22023")
    return apart


def taken_apart(rows: Set) -> tuple[list[Row], list[tuple[Message, int]]]:
    """Single rows, for the rare set that holds a bad one; and the items of parts that are broken:
    not JSON, or not as many rows as the header says."""
    apart: list[Row] = []
    broken: list[tuple[Message, int]] = []
    for message, part in rows.parts:
        try:
            texts = zip(part.items, _texts(part.rows), strict=True)
            apart += [Row(message, item, text) for item, text in texts]
        except (ValueError, RecursionError):
            broken += [(message, item) for item in part.items]
    return apart, broken


def _texts(rows: str) -> list[str]:
    decoder = json.JSONDecoder(parse_constant=_no_json)
    texts, at = [], 0
    while at < len(rows):
        _, end = decoder.raw_decode(rows, at)
        texts.append(rows[at:end])
        at = end + 1  # the comma
    return texts


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _first_free(keys: Sequence[set[int]], digests: Sequence[int]) -> int:
    """The wave behind the last one that has one of these keys."""
    for wave in range(len(keys), 0, -1):
        if not keys[wave - 1].isdisjoint(digests):
            return wave
    return 0


def _place(resource: str, op: Op, ranks: Mapping[str, int]) -> tuple[bool, int]:
    return (op == "delete", -ranks[resource] if op == "delete" else ranks[resource])
