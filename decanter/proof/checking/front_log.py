"""The front table as a history of its entries, and what Postgres has to see of it."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from chalicelib.buffer.dynamodb import entries
from decanter.proof.checking.requests import RowName
from decanter.proof.front_history import Entry, FrontHistory, TableWrite
from decanter.proof.history import Attempt, History, Values, Write
from decanter.proof.tables import FRONTED, PARENTS

_UNIQUE = {"tags": ("tags_b_key", "b")}
"""The unique constraint of a resource, and its column."""


def is_fronted(attempt: Attempt) -> bool:
    return attempt.writes[0].resource in FRONTED


def row_name(pk: str) -> RowName:
    resource, texts = entries.split_item_pk(pk)
    return resource, ",".join(texts)


def item_name(row: RowName) -> str:
    return entries.item_pk(row[0], row[1].split(","))


def row_of(entry: Entry | None) -> Values | None:
    """The row in an item; None of a tombstone."""
    return json.loads(entry["row"]["S"]) if entry and "row" in entry else None


@dataclass(frozen=True)
class Log:
    """The table's writes, and the versions of each entry."""

    history: History
    front: FrontHistory

    @cached_property
    def versions(self) -> Mapping[str, Sequence[tuple[TableWrite, Entry | None]]]:
        found: dict[str, list[tuple[TableWrite, Entry | None]]] = defaultdict(list)
        for each in self.front.writes:
            for pk, entry in each.entries.items():
                found[pk].append((each, entry))
        return found

    @cached_property
    def by_request(self) -> Mapping[int, Sequence[TableWrite]]:
        """The writes of items that each request has made."""
        found: dict[int, list[TableWrite]] = defaultdict(list)
        for each in self.front.writes:
            if each.attempt is not None and items_of(each):
                found[self.history.attempts[each.attempt].request].append(each)
        return found

    def before(self, pk: str, number: int) -> Entry | None:
        """An entry as it was before the write of this number."""
        last = None
        for each, entry in self.versions.get(pk, ()):
            if each.number >= number:
                break
            last = entry
        return last

    def during(self, pk: str, first: float, last: float) -> list[Entry | None]:
        """What an entry was at any time from first to last."""
        found: list[Entry | None] = [None]
        for each, entry in self.versions.get(pk, ()):
            if each.at > last:
                break
            found = [*found, entry] if each.at >= first else [entry]
        return found

    def final(self) -> dict[str, Entry]:
        """All entries as they are at the end."""
        last = {pk: versions[-1][1] for pk, versions in self.versions.items()}
        return {pk: entry for pk, entry in last.items() if entry is not None}


def items_of(each: TableWrite) -> list[str]:
    return [pk for pk in each.entries if is_item(pk)]


def is_item(pk: str) -> bool:
    """Whether it is the name of an item, and not of what others have put there."""
    return pk.startswith(entries.ITEM) and pk.endswith("]")


def claim_of(pk: str, row: Values | None) -> str | None:
    """The name of the claim that a row has."""
    resource, _ = row_name(pk)
    name, column = _UNIQUE.get(resource, ("", ""))
    if row is None or row.get(column) is None:
        return None
    return entries.claim_pk(resource, name, [str(row[column])])


def parent_of(pk: str) -> str | None:
    """The name of the item of a row's parent."""
    resource, key = row_name(pk)
    return item_name((PARENTS[resource], key.split(",")[0])) if resource in PARENTS else None


def poured(history: History) -> History:
    """The history as Postgres has to see it: attempts in front have the writes that the stream
    carries, in the table's order; those that wrote nothing are left out."""
    if history.front is None:
        return history
    log = Log(history, history.front)
    attempts = []
    for position, attempt in enumerate(history.attempts):
        if not is_fronted(attempt):
            attempts.append(attempt)
        elif own := log.by_request.get(attempt.request):
            writes = {write.item: write for each in own for write in _messages(each, attempt)}
            places = {
                write.item: each.number
                for each in own
                if each.attempt == position
                for write in _messages(each, attempt)
            }
            known = tuple(writes[item] for item in sorted(writes))
            attempts.append(attempt._replace(writes=known, place=None, places=places))
    attempts = [each for each in attempts if each.writes]
    return _with_overtaken(history, attempts, log)


def _messages(each: TableWrite, attempt: Attempt) -> Iterator[Write]:
    """The writes whose messages are in the items of a write of the table."""
    for pk in items_of(each):
        entry = each.entries[pk]
        if entry and "write" in entry:
            resource, key = row_name(pk)
            header = json.loads(entry["write"]["S"].partition("\n")[0])
            (item,) = header["sets"][0][1]
            values = row_of(entry) or attempt.writes[item].values
            yield Write(item, resource, header["op"], key, values)


def _with_overtaken(history: History, attempts: Sequence[Attempt], log: Log) -> History:
    last = {pk: versions[-1][0].number for pk, versions in log.versions.items()}
    overtaken = {
        history.attempts[each.attempt].request
        for each in log.front.writes
        if each.number in log.front.dropped
        and each.attempt is not None
        and any(last[pk] > each.number for pk in items_of(each))
    }
    return replace(history, attempts=attempts, overtaken=frozenset(overtaken))
