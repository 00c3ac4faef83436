"""Messages → waves → sets: rows that one statement may write at once.

A set holds rows of one resource, op and list of members; rows with conditions are in separate sets.
The i-th write to a key goes into the i-th wave, so writes to one key stay in the order of their
messages, and no set holds a key twice, except for creates that a message repeats, see `waves`. Keys
are distinguished by their digests, with set operations only: nothing looks at single rows.
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

BROKEN = invalid_value("the number of rows of a message is not the one in its header")

_Members = tuple[str, ...]
_Kind = tuple[str, Op, _Members, _Members | None, bool]  # the last: whether it is conditional
_Wave = dict[_Kind, list[tuple[Message, RowSet]]]
_Places = dict[int, tuple[int, tuple[str, ...]]]  # by digest: wave and members of the last row


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
    def documents(self) -> tuple[str, ...] | None:
        """Of a set by values, as all of its parts are, see `RowSet`; else None."""
        return self.parts[0][1].documents

    @property
    def lines(self) -> str:
        """Of a set by values: the lines of all rows."""
        return "\n".join(part.text for _, part in self.parts)

    @property
    def count(self) -> int:
        return sum(len(part.items) for _, part in self.parts)

    @property
    def conditions(self) -> list[Condition]:
        """The conditions of a conditional set, one for each row, which is a whole message; else
        empty."""
        if not self.parts or self.parts[0][0].condition is None:
            return []
        return [message.condition for message, _ in self.parts if message.condition]

    def without(self, rows: Iterable["SetRow"]) -> "Set":
        """The conditional set without these rows."""
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
            if broken:  # they are rejected where the rest is poured
                left.append((message, part))
                continue
            taken += [row for row in apart if row.digest in digests]
            if kept := [row for row in apart if row.digest not in digests]:
                left.append((message, row_set(part.members, kept)))
        return replace(self, parts=tuple(left)), taken


@dataclass(frozen=True)
class SetRow:
    """A single row of a set. item: its place in the request. text: JSON. digest: of its key, None
    for unordered resources."""

    message: Message
    item: int
    text: str
    members: tuple[str, ...] = ()
    digest: int | None = None

    @property
    def alone(self) -> Message:
        """A message of this row alone."""
        return self.message._replace(sets=(row_set(self.members, [self]),))


def waves(messages: Sequence[Message], ranks: Mapping[str, int]) -> list[list[Set]]:
    """Sets in the order in which to pour them.

    ranks: each resource's place among the tables, parents before children. Deletes come last in a
    wave, children before parents. A create that finds its key taken changes nothing, so all creates
    of one key in a message are in one wave, in their order: they cost one statement.
    """
    found = _only_wave(messages) or _waves_by_key(messages)
    return [
        [
            Set(resource, op, members, tuple(parts))
            for (resource, op, members, *_), parts in sorted(
                wave.items(), key=lambda kind: _sort_key(kind[0][0], kind[0][1], ranks)
            )
        ]
        for wave in found
    ]


def _only_wave(messages: Sequence[Message]) -> list[_Wave]:
    """All rows in one wave, if no two have the same key, as nearly always; else nothing."""
    digests: list[int] = []
    wave: _Wave = defaultdict(list)
    for message in messages:
        _, _, _, resource, op, sets, condition, *_ = message
        for rows in sets:
            digests += rows.digests
            kind = (resource, op, rows.members, rows.documents, condition is not None)
            wave[kind].append((message, rows))
    return [wave] if wave and len({*digests}) == len(digests) else []


def _waves_by_key(messages: Sequence[Message]) -> list[_Wave]:
    keys: list[set[int]] = []
    found: list[_Wave] = []
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
            named = (message.resource, message.op, rows.members, rows.documents)
            found[wave][(*named, message.condition is not None)].append((message, rows))
    return found


def message_rows(message: Message) -> list[SetRow]:
    """The single rows of a message. Raises RefusedByDatabase, see `single_rows`."""
    parts = tuple((message, part) for part in message.sets)
    return single_rows(Set(message.resource, message.op, (), parts))


def single_rows(rows: Set) -> list[SetRow]:
    """The single rows of a set. Raises RefusedByDatabase if they do not match their headers."""
    apart, broken = separate_rows(rows)
    if broken:
        raise BROKEN
    return apart


def separate_rows(rows: Set) -> tuple[list[SetRow], list[tuple[Message, int]]]:
    """The single rows of a set, and the items that are broken: rows that are not JSON, and all rows
    of a part whose number is not the one in its header."""
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
    """The text of each row, None for one that is not JSON; all None if their number is wrong."""
    rows = part.rows
    texts: list[str | None] = []
    at = 0
    while at < len(rows):
        _, end = _decode_row(rows, at)
        texts.append(rows[at:end] if end else None)
        at = (end or _end_of_invalid(rows, at, {*part.members})) + 1  # the comma
    return texts if len(texts) == len(part.items) else [None] * len(part.items)


def _decode_row(rows: str, at: int) -> tuple[Any, int]:
    """The row that begins there, and its end; 0 if it is not JSON."""
    try:
        value, end = _decoder.raw_decode(rows, at)
    except (ValueError, RecursionError):
        return None, 0
    return (value, end) if rows[end : end + 1] in ("", ",") else (None, 0)


def _end_of_invalid(rows: str, at: int, members: set[str]) -> int:
    """The place of the comma behind a row that is not JSON: before one with these members."""
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
    """The message without the rows that its later rows may overwrite, member by member; and those.
    Keys with equal digests may still differ.
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
    """The message without some rows, which may have no set left; and those rows.

    goes: whether a row goes, by its item and the digest of its key (None: unordered). A set that
    does not match its header stays whole, to be found broken.
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
    """Digests of the keys that the messages write to. None: a message that cannot be read."""
    sets = [part for message in messages if message for part in message.sets]
    return {digest for part in sets for digest in part.digests}


def row_set(members: tuple[str, ...], rows: Sequence[SetRow]) -> RowSet:
    """Rows with these members, joined."""
    return RowSet(
        members,
        tuple(row.item for row in rows),
        tuple(row.digest for row in rows if row.digest is not None),
        ",".join(row.text for row in rows),
    )


def _wave_of(keys: Sequence[set[int]], repeated: _Places, rows: RowSet) -> int:
    """The wave of the last rows with these keys, if they are all in one, else the first free."""
    before = {repeated.get(digest) for digest in rows.digests}
    if len(before) == 1 and (place := before.pop()) and place[1] == rows.members:
        return place[0]
    return _first_free(keys, rows.digests)


def _first_free(keys: Sequence[set[int]], digests: Sequence[int]) -> int:
    """The wave after the last one that has one of these keys."""
    for wave in range(len(keys), 0, -1):
        if not keys[wave - 1].isdisjoint(digests):
            return wave
    return 0


def _sort_key(resource: str, op: Op, ranks: Mapping[str, int]) -> tuple[bool, int]:
    removes = OPS[op].removes
    return removes, -ranks[resource] if removes else ranks[resource]
