"""Rows in front: whole rows from what a client sends, and what is stored of them."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from chalicelib.api.front.defaults import made
from chalicelib.buffer.dynamodb import entries
from chalicelib.buffer.dynamodb.entries import Entry, FrontItem
from chalicelib.contract import key
from chalicelib.contract.json_text import Scanner, render
from chalicelib.contract.resources import KeyColumn, Resource
from chalicelib.errors import Fault, Problem
from chalicelib.messages.address import path_to

_EXPONENT = re.compile("[0-9][eE][+-]?[0-9]")


class SentRow(NamedTuple):
    """A valid row of a request, or the key of one to delete.

    value: its members. item: its position, from 0. pointer: to it, in the body. bytes_: of its
    text.
    """

    value: Mapping[str, Any]
    item: int = 0
    pointer: str = ""
    bytes_: int = 0


class StoredRow(NamedTuple):
    """What the front has of a row. item: None if there is none; row: None in a tombstone.
    is_damaged: there is an item, and it cannot be read."""

    item: FrontItem | None = None
    row: Mapping[str, Any] | None = None
    is_damaged: bool = False

    @property
    def etag(self) -> str | None:
        """Of a row that exists."""
        return self.item.etag if self.item and self.row is not None else None


def complete(
    resource: Resource, value: Mapping[str, Any], moment: datetime | None
) -> dict[str, Any]:
    """The whole row: absent members have their defaults, or null. moment: of the write; None: what
    each would make anew is null."""
    row = dict.fromkeys(resource.row) | {
        name: made(default, moment)
        for name, default in (resource.front.defaults.items() if resource.front else ())
        if name not in value and (default.make is None or moment)
    }
    return row | {name: part for name, part in value.items() if name in row}


def with_default_key(
    resource: Resource, value: Mapping[str, Any], moment: datetime
) -> Mapping[str, Any]:
    """The members, and the defaults of absent key columns."""
    missing = [column.name for column in resource.key if column.name not in value]
    if not missing or resource.front is None:
        return value
    defaults = resource.front.defaults
    return {**value, **{name: made(defaults[name], moment) for name in missing}}


def merged(resource: Resource, row: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The row with a patch applied as RFC 7396 says; a null is a column's value."""
    keys = {column.name for column in resource.key}
    changes = {
        name: _patched(row[name], part) if isinstance(part, Mapping) else part
        for name, part in patch.items()
        if name not in keys
    }
    return {**row, **changes}


def overwritten(
    resource: Resource, row: Mapping[str, Any], sent: Mapping[str, Any]
) -> dict[str, Any]:
    """The row with the members that were sent, each as a whole."""
    keys = {column.name for column in resource.key}
    return {**row, **{name: part for name, part in sent.items() if name not in keys}}


def _patched(target: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    found = dict(target) if isinstance(target, Mapping) else {}
    for name, part in patch.items():
        if part is None:
            found.pop(name, None)
        else:
            found[name] = _patched(found.get(name), part)
    return found


def refuse_grown(resource: Resource, row: Mapping[str, Any], text: str, pointer: str) -> None:
    """Raises Problem 413 for a merged row that is too large when it is read."""
    from chalicelib.contract import row_size  # only where a row is merged

    if _EXPONENT.search(text) or row_size.grows(resource, text, row):
        fault = row_size.fault(row_size.sizes(resource, row), pointer, None)
        if fault:
            raise Problem("row-too-large", fault.detail, (fault,))


def item_pk(resource: Resource, row: Mapping[str, Any], pointer: str = "") -> str:
    """The name of the item of a row. Raises Problem 422 for a key that no item can have."""
    texts = _texts(resource.key, row, pointer)
    pk = entries.item_pk(resource.name, texts)
    refuse_long(pk, resource.key, texts, pointer)
    return pk


def refuse_long(pk: str, columns: Sequence[KeyColumn], texts: Sequence[str], pointer: str) -> None:
    """Raises Problem 422 for a name that is too long for DynamoDB, at the longest of its values.

    columns, texts: of the values. pointer: to the row.
    """
    if len(pk) > entries.MAX_PK_BYTES // 4 and len(pk.encode()) > entries.MAX_PK_BYTES:
        longest = max(range(len(texts)), key=lambda number: len(texts[number]))
        detail = (
            f"a key or unique value takes {len(pk.encode())} bytes with its names; DynamoDB accepts"
            f" at most {entries.MAX_PK_BYTES}"
        )
        fault = Fault(f"{pointer}/{columns[longest].name}", "maxLength", detail)
        raise Problem("invalid-key", detail, (fault,))


def _texts(columns: Sequence[KeyColumn], row: Mapping[str, Any], pointer: str) -> list[str]:
    texts = [key.canonical(column, row[column.name]) for column in columns]
    for column, text in zip(columns, texts, strict=True):
        if text is None:
            detail = (
                f"{render(row[column.name])[:100]} cannot be compared with other spellings of the"
                " same value, so it cannot be a key here"
            )
            raise Problem(
                "invalid-key", detail, (Fault(f"{pointer}/{column.name}", "key", detail),)
            )
    return [text for text in texts if text is not None]


def location(resource: Resource, row: Mapping[str, Any]) -> str:
    """The path of a row."""
    values = [row[column.name] for column in resource.key]
    texts = [value if isinstance(value, str) else render(value) for value in values]
    return path_to(f"/{resource.name}", texts)


def key_text(resource: Resource, row: Mapping[str, Any]) -> str:
    """The key as JSON text."""
    return render({column.name: row[column.name] for column in resource.key})


def stored(resource: Resource, entry: Entry | None, moment: datetime | None = None) -> StoredRow:
    """The row in an entry, with the columns of today's contract, see `complete`. Raises Problem 409
    for an entry that is not Decanter's, or has no row of the resource."""
    if entry is None:
        return StoredRow()
    try:
        item = entries.read_item(entry)
        if item.row is None:
            return StoredRow(item)
        _, row = Scanner(item.row).value(item.row)
        if not isinstance(row, dict):
            raise entries.Damaged("its row is not an object")
        if tuple(row) == resource.row:
            return StoredRow(item, row)
        if not {column.name for column in resource.key} <= row.keys():
            raise entries.Damaged("its row has no key")
    except ValueError as error:
        raise _damaged(resource, str(error)) from None
    row = complete(resource, row, moment)
    return StoredRow(item._replace(row=render(row)), row)


def _damaged(resource: Resource, why: str) -> Problem:
    return Problem(
        "item-damaged",
        f"the row of {resource.name} was changed in DynamoDB by other hands: {why}. PUT writes it"
        " anew, and DELETE removes it",
    )
