"""Messages → waves → sets: what one statement may do at once.

A set holds rows of one resource, op and list of members. Rows with conditions have sets of their
own. The i-th write to a key goes into the i-th wave, so writes to one key stay in the order of
their messages, and no set holds a key twice; but for creates that a message repeats, see `waves`.
Keys are distinguished by their digests, with set operations only: nothing looks at a single row.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.messages.message import Condition, Message, RowSet
from chalicelib.ops import OPS, Op
from chalicelib.postgres.errors import invalid_value

BROKEN = invalid_value("the rows of a message are not as many as its header says")

_Kind = tuple[str, Op, tuple[str, ...], bool]  # the last: whether it is conditional
_Places = dict[int, tuple[int, tuple[str, ...]]]  # of a key: wave and members of its last row


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

    def without(self, rows: Iterable["SetRow"]) -> "Set":
        """What is left of a conditional set."""
        gone = {row.message.dedup_id for row in rows}
        left = tuple(part for part in self.parts if part[0].dedup_id not in gone)
        return replace(self, parts=left)

    def split(self, digests: Collection[int]) -> tuple["Set", list["SetRow"]]:
        """The set without the rows whose key has one of these digests; and those rows."""
        if not digests:
            return self, []
        left: list[tuple[Message, RowSet]] = []
        taken: list[SetRow] = []
        for message, part in self.parts:
            if not any(digest in digests for digest in part.digests):
                left.append((message, part))
                continue
            apart, broken = separate_rows(replace(self, parts=((message, part),)))
            if broken:  # found again, and rejected, where the rest is poured
                left.append((message, part))
                continue
            taken += [row for row in apart if row.digest in digests]
            if kept := [row for row in apart if row.digest not in digests]:
                left.append((message, row_set(part.members, kept)))
        return replace(self, parts=tuple(left)), taken


@dataclass(frozen=True)
class SetRow:
    """One row of a set that was taken apart: JSON text, its message and place in the request.

    digest: of its key; None where it has none (unordered resources).
    """

    message: Message
    item: int
    text: str
    members: tuple[str, ...] = ()
    digest: int | None = None

    @property
    def alone(self) -> Message:
        """A message of this row and nothing else."""
        return self.message._replace(sets=(row_set(self.members, [self]),))


def waves(messages: Sequence[Message], ranks: Mapping[str, int]) -> list[list[Set]]:
    """Sets in the order in which to pour them.

    ranks: each resource's place among the tables, parents before children. Deletes come last in a
    wave, children before parents. A create that finds its key taken changes nothing, so all that a
    message repeats of a key stand in one wave, in their order: they cost one statement.
    """
    keys: list[set[int]] = []
    found: list[dict[_Kind, list[tuple[Message, RowSet]]]] = []
    for message in messages:
        seen: set[int] = set()
        repeated: _Places = {}
        may_repeat = len(message.sets) > 1 and OPS[message.op].only_adds
        for rows in message.sets:
            wave = _wave_of(keys, repeated, rows) if repeated else _first_free(keys, rows.digests)
            if may_repeat:
                again = seen.intersection(rows.digests)
                repeated.update(dict.fromkeys(again, (wave, rows.members)))
                seen.update(rows.digests)
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
                wave.items(), key=lambda kind: _sort_key(kind[0][0], kind[0][1], ranks)
            )
        ]
        for wave in found
    ]


def message_rows(message: Message) -> list[SetRow]:
    """Single rows of a message. Raises RefusedByDatabase, see `single_rows`."""
    parts = tuple((message, part) for part in message.sets)
    return single_rows(Set(message.resource, message.op, (), parts))


def single_rows(rows: Set) -> list[SetRow]:
    """Single rows of a set. Raises RefusedByDatabase for one that is not as its headers say."""
    apart, broken = separate_rows(rows)
    if broken:
        raise BROKEN
    return apart


def separate_rows(rows: Set) -> tuple[list[SetRow], list[tuple[Message, int]]]:
    """Single rows, for the rare set that holds a bad one; and the items that are broken: rows that
    are not JSON, and all of a part that has not as many as the header says."""
    apart: list[SetRow] = []
    broken: list[tuple[Message, int]] = []
    for message, part in rows.parts:
        texts = _texts(part)
        digests = part.digests or (None,) * len(part.items)
        for item, text, digest in zip(part.items, texts, digests, strict=True):
            if text is None:
                broken.append((message, item))
            else:
                apart.append(SetRow(message, item, text, part.members, digest))
    return apart, broken


def _texts(part: RowSet) -> list[str | None]:
    """The text of each row, None for one that is not JSON; if they are not as many as there should
    be, of none."""
    rows = part.rows
    texts: list[str | None] = []
    at = 0
    while at < len(rows):
        _, end = _decode_row(rows, at)
        texts.append(rows[at:end] if end else None)
        at = (end or _end_of_invalid(rows, at, {*part.members})) + 1  # the comma
    return texts if len(texts) == len(part.items) else [None] * len(part.items)


def _decode_row(rows: str, at: int) -> tuple[Any, int]:
    """The row that begins there, and where it ends; that is 0 if it is not JSON."""
    try:
        value, end = _decoder.raw_decode(rows, at)
    except (ValueError, RecursionError):
        return None, 0
    return (value, end) if rows[end : end + 1] in ("", ",") else (None, 0)


def _end_of_invalid(rows: str, at: int, members: set[str]) -> int:
    """Where the comma is behind a row that is not JSON: before the next one with these members."""
    for match in _BETWEEN.finditer(rows, at):
        value, end = _decode_row(rows, match.end() - 1)
        if end and value.keys() == members:
            return match.start()
    return len(rows)


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_BETWEEN = re.compile(r",\{")


def split_overwritten(message: Message) -> tuple[Message, list[RowSet]]:
    """The message without the rows that a later one of it may overwrite, member by member; and
    those. Equal digests say only that the keys may be equal.
    """
    last: dict[int, tuple[str, ...]] = {}
    kept: list[RowSet] = []
    dropped: list[RowSet] = []
    for rows in reversed(message.sets):
        is_overwritten = {*map(last.get, rows.digests)} == {rows.members}
        (dropped if is_overwritten else kept).append(rows)
        last.update(dict.fromkeys(rows.digests, rows.members))
    return message._replace(sets=tuple(reversed(kept))), dropped


def without(
    message: Message, goes: Callable[[int, int | None], bool]
) -> tuple[Message, list[SetRow]]:
    """What is left of a message, which may be no set at all, and the rows that are gone.

    goes: whether a row does, by its item and its key digest (None: unordered).
    Of a set that is not as its header says, all is left, to be found broken.
    """
    left: list[RowSet] = []
    gone: list[SetRow] = []
    for part in message.sets:
        digests = part.digests or (None,) * len(part.items)
        going = [goes(*each) for each in zip(part.items, digests, strict=True)]
        whole = Set(message.resource, message.op, part.members, ((message, part),))
        rows, broken = separate_rows(whole) if any(going) else ([], [])
        if broken or not rows:
            left.append(part)
            continue
        gone += [row for row, is_going in zip(rows, going, strict=True) if is_going]
        if staying := [row for row, is_going in zip(rows, going, strict=True) if not is_going]:
            left.append(row_set(part.members, staying))
    return message._replace(sets=tuple(left)), gone


def digests_of(messages: Iterable[Message | None]) -> set[int]:
    """Of the keys that the messages write to; one that cannot be read is None."""
    sets = [part for message in messages if message for part in message.sets]
    return {digest for part in sets for digest in part.digests}


def row_set(members: tuple[str, ...], rows: Sequence[SetRow]) -> RowSet:
    """Rows with these members, put together again."""
    return RowSet(
        members,
        tuple(row.item for row in rows),
        tuple(row.digest for row in rows if row.digest is not None),
        ",".join(row.text for row in rows),
    )


def _wave_of(keys: Sequence[set[int]], repeated: _Places, rows: RowSet) -> int:
    """The wave of the rows' last repetition, if all have the same one, and else the first free."""
    before = {repeated.get(digest) for digest in rows.digests}
    if len(before) == 1 and (place := before.pop()) and place[1] == rows.members:
        return place[0]
    return _first_free(keys, rows.digests)


def _first_free(keys: Sequence[set[int]], digests: Sequence[int]) -> int:
    """The wave behind the last one that has one of these keys."""
    for wave in range(len(keys), 0, -1):
        if not keys[wave - 1].isdisjoint(digests):
            return wave
    return 0


def _sort_key(resource: str, op: Op, ranks: Mapping[str, int]) -> tuple[bool, int]:
    removes = OPS[op].removes
    return removes, -ranks[resource] if removes else ranks[resource]
