"""The lists of a status: rejections, and the paths of rows whose keys the database has generated.
Both lists are complete up to the same item."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter
from typing import Any

from chalicelib.messages.address import path_to
from chalicelib.postgres.made_keys import Key, Run
from chalicelib.reader.answer import sent_bytes

_LONGEST = 8_000
"""Bytes of an address: API Gateway accepts 10,240 for it and a request's headers."""

_SHORT = _LONGEST // 12  # characters, which take up to four bytes


@dataclass(frozen=True)
class Lists:
    """The lists, and the numbers of entries left out. last_item: where both end; None if they are
    complete."""

    rejections: list[Mapping[str, Any]]
    locations: list[Mapping[str, Any]]
    unlisted: Mapping[str, int]
    last_item: int | None


def lists(
    rejections: Sequence[Mapping[str, Any]], behind: int, locations: Sequence[Run], path: str,
    after_item: int, most: int,
) -> Lists:  # fmt: skip
    """The entries after an item, as many as Lambda sends in `most` bytes, at least one.

    rejections: the first ones after the item. behind: the number of all of them. locations: of all
    items. path: of the resource.
    """
    runs = [*_behind(locations, after_item)]
    end = rejections[-1]["item"] if len(rejections) < behind else None
    entries: tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]] = [], []
    bytes_ = count = 0
    last_item = after_item
    rejected = ((each["item"], each["item"], 0, each) for each in rejections)
    located = ((run.item, run.item + run.length - 1, 1, _located(run, path)) for run in runs)
    for item, last, kind, entry in merge(rejected, located, key=itemgetter(0)):
        bytes_ += sent_bytes(json.dumps(entry)) + 2
        if (bytes_ > most and any(entries)) or (end is not None and item > end):
            break
        entries[kind].append(entry)
        count += kind * (last - item + 1)
        last_item = last
    unlisted = {
        "rejections": behind - len(entries[0]),
        "locations": sum(run.length for run in runs) - count,
    }
    return Lists(*entries, unlisted, last_item if any(unlisted.values()) else None)


def has_address(key: Key) -> bool:
    """Whether a path can name a row with this key: no path has an empty segment or is too long. A
    key without a value, as in a view, has none."""
    if isinstance(key, int):
        return True
    values = key if isinstance(key, list) else [key]
    if None in values or "" in values:
        return False
    return sum(len(str(value)) for value in values) < _SHORT or len(address("", key)) < _LONGEST


def address(path: str, key: Key) -> str:
    """The path of a row."""
    values = key if isinstance(key, list) else [key]
    return path_to(path, [str(value) for value in values])


def _behind(runs: Iterable[Run], after_item: int) -> Iterator[Run]:
    for run in runs:
        left = run.item + run.length - 1 - after_item
        if left >= run.length:
            yield run
        elif left > 0 and isinstance(run.key, int):
            yield Run(after_item + 1, left, run.key + run.length - left)


def _located(run: Run, path: str) -> Mapping[str, Any]:
    first = {"item": run.item, "location": address(path, run.key)}
    if run.length == 1 or not isinstance(run.key, int):
        return first
    last = run.length - 1
    return {
        **first,
        "last_item": run.item + last,
        "last_location": address(path, run.key + last),
    }
