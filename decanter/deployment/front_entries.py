"""Rows of Postgres → their entries in the front table."""

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from chalicelib.buffer.dynamodb import entries
from chalicelib.buffer.dynamodb.entries import Damaged, Entry, FrontItem
from chalicelib.buffer.dynamodb.naming import claims_of, item_of
from chalicelib.contract.json_text import Scanner, render
from chalicelib.contract.resources import Resource
from chalicelib.errors import shortened

_LONGEST_KEY = 300


class Unfit(NamedTuple):
    """A row that no item can hold. key: JSON text. why: what is wrong with it."""

    key: str
    why: str

    def __str__(self) -> str:
        return f"{shortened(self.key, _LONGEST_KEY)}: {self.why}"


class RowEntries(NamedTuple):
    """The entries of a row. key: JSON text. pk: the name of its item. entries: item and claims, by
    name."""

    key: str
    pk: str
    entries: Mapping[str, Entry]

    @property
    def claims(self) -> list[str]:
        """The names of its claims."""
        return [pk for pk in self.entries if pk != self.pk]


def row_entries(resource: Resource, text: str) -> RowEntries | Unfit:
    """The entries of a row, whose last write is in Postgres. text: JSON."""
    try:
        _, members = Scanner(text).value(text)
    except ValueError as error:
        return Unfit(_key(resource, text), f"requests do not take such a row: {error}")
    key = _key(resource, text)
    if (pk := item_of(resource, members)) is None:
        return Unfit(key, "its key cannot be compared with other spellings of the same value")
    item = entries.item_entry(FrontItem(pk, text, etag(text)))
    claims = {name: entries.claim_entry(name, pk) for name in claims_of(resource, members)}
    if long := [name for name in (pk, *claims) if len(name.encode()) > entries.MAX_PK_BYTES]:
        what = "key" if pk in long else "unique value"
        return Unfit(key, f"its {what} takes more than {entries.MAX_PK_BYTES:,} bytes in DynamoDB")
    if (size := entries.size(item)) > entries.MAX_ENTRY_BYTES:
        return Unfit(key, f"it takes {size:,} bytes, and DynamoDB {entries.MAX_ENTRY_BYTES:,}")
    return RowEntries(key, pk, {pk: item, **claims})


def _key(resource: Resource, text: str) -> str:
    """The key of a row, as JSON text."""
    members = json.loads(text, parse_int=Decimal, parse_float=Decimal)
    return render({column.name: members[column.name] for column in resource.key})


def etag(text: str) -> str:
    """The ETag of a row, as the reader gives it to clients."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def is_right(found: Entry | None, wanted: Entry) -> bool:
    """Whether an entry says the same as the wanted one. An item may have another ETag."""
    if found is None or "owner" in wanted:
        return found == wanted
    try:
        item = entries.read_item(found)
    except Damaged:
        return False
    return item.row == wanted["row"]["S"] and item.refused is None
