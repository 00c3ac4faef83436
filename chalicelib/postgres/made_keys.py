"""Keys that the database has made for rows whose writes did not name them.

The statement that writes the rows stores them. Whole numbers are stored less their places: those of
a sequence nearly always count up with these, so that the differences compress to nothing.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

from chalicelib.postgres.connecting.connection import Transaction

Key = int | str | list[int | str]
"""The value of the key's column, or the list of its columns' values: whole numbers, or JSON's text
of any other value."""


class Run(NamedTuple):
    """Consecutive items with consecutive keys: the first of each, and their number."""

    item: int
    length: int
    key: Key


class Made(NamedTuple):
    """Keys of rows of one message. keys: one for each item, None if unknown."""

    dedup_id: str
    resource: str
    items: Sequence[int]
    keys: Sequence[Key | None]


INSERT = "INSERT INTO decanter.made_key (poured_at, resource, dedup_ids, ends, items, keys)"

# Where columns hold no arrays, these are kept as their texts.
# The ledger has entered all messages of a row in one transaction.
_OF_MESSAGES = """
    SELECT poured_at, %(resource)s, %(dedup_ids)s::uuid[], %(ends)s::integer[], %(items)s::json,
        %(keys)s::json
    FROM decanter.ledger WHERE dedup_id = (%(dedup_ids)s::uuid[])[1]
"""

_OF_THIS_TRANSACTION = """
    SELECT now(), %(resource)s, %(dedup_ids)s::uuid[], %(ends)s::integer[], %(items)s::json,
        %(keys)s::json
"""

_FOUND = """
    SELECT resource, first, made_key.items -> nth - 1, (
        SELECT json_agg(key ORDER BY place)
        FROM json_array_elements(made_key.keys) WITH ORDINALITY AS own (key, place)
        WHERE place BETWEEN first AND (ends::integer[])[nth])
    FROM decanter.ledger JOIN decanter.made_key USING (poured_at),
        array_position(dedup_ids::uuid[], dedup_id) AS nth,
        coalesce((ends::integer[])[nth - 1] + 1, 1) AS first
    WHERE dedup_id BETWEEN %s::uuid AND %s::uuid AND nth IS NOT NULL
"""


def places(resource: str, parts: Sequence[tuple[str, Sequence[int]]]) -> dict[str, str]:
    """Values for a statement that stores the keys of a resource's rows, by message in their order:
    its dedup ID and the items of its rows. Parts of one message follow each other and are stored as
    one."""
    ids, items = zip(*parts, strict=True)
    if len({*ids}) < len(ids):
        joined: dict[str, list[int]] = defaultdict(list)
        for dedup_id, own in parts:
            joined[dedup_id] += own
        ids, items = tuple(joined), tuple(joined.values())
    return {
        "resource": resource,
        "dedup_ids": f"{{{','.join(ids)}}}",
        "ends": f"{{{','.join(map(str, accumulate(map(len, items))))}}}",
        "items": f"[{','.join(map(_packed, items))}]",
    }


def store(
    transaction: Transaction,
    resource: str,
    parts: Sequence[tuple[str, Sequence[int]]],
    keys: Sequence[int],
) -> None:
    """Store the keys of rows of messages that this transaction enters; parts: see `places`."""
    bound = {**places(resource, parts), "keys": json.dumps(_less(keys))}
    transaction.ahead(INSERT + _OF_THIS_TRANSACTION, bound)


def keep(transaction: Transaction, made: Iterable[Made], is_late: bool = False) -> None:
    """Keep keys of messages in the ledger. is_late: several earlier transactions may have entered
    the messages."""
    groups: dict[tuple[str, str], list[Made]] = defaultdict(list)
    for each in sorted(made):
        groups[each.resource, each.dedup_id if is_late else ""].append(each)
    for (resource, _), rows in groups.items():
        keys = [key for each in rows for key in each.keys]
        bound = places(resource, [(each.dedup_id, each.items) for each in rows])
        transaction.ahead(INSERT + _OF_MESSAGES, {**bound, "keys": json.dumps(_less(keys))})


def runs(transaction: Transaction, first: UUID, last: UUID) -> tuple[str, list[Run]]:
    """Resource and keys of the rows that messages of a request, `first` to `last`, have written, in
    the order of their items; an empty name if none is known."""
    found = transaction.execute(_FOUND, (str(first), str(last)))
    pairs: list[tuple[int, Key]] = []
    for _, place, items, keys in found:
        known = zip(_unpacked(items), _whole(place, keys), strict=True)
        pairs += [(item, key) for item, key in known if key is not None]
    pairs.sort(key=lambda pair: pair[0])
    return (found[0][0] if found else "", _runs(pairs))


def _less(keys: Sequence[Key | None]) -> list[Key | None]:
    return [key - n if isinstance(key, int) else key for n, key in enumerate(keys, start=1)]


def _packed(items: Sequence[int]) -> str:
    first, length = items[0], len(items)
    if length == 1 or [*items] == [*range(first, first + length)]:
        return f"[{first},{length}]"
    return f"[{','.join([f'{item},1' for item in items])}]"


def _unpacked(items: Sequence[int]) -> Iterator[int]:
    for first, length in zip(items[::2], items[1::2], strict=True):
        yield from range(first, first + length)


def _whole(place: int, keys: Iterable[Any]) -> Iterator[Any]:
    for n, key in enumerate(keys, start=place):
        yield key + n if isinstance(key, int) else key


def _runs(pairs: Iterable[tuple[int, Key]]) -> list[Run]:
    found: list[Run] = []
    for item, key in pairs:
        first, length, start = found[-1] if found else (0, 0, "")
        is_next = isinstance(key, int) and isinstance(start, int) and key == start + length
        if is_next and item == first + length:
            found[-1] = Run(first, length + 1, start)
        else:
            found.append(Run(item, 1, key))
    return found
