"""Rows → the names of their entries: an item, and a claim for each unique value."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from chalicelib.buffer.dynamodb.entries import claim_pk, item_pk
from chalicelib.contract.key import canonical
from chalicelib.contract.resources import KeyColumn, Resource, Unique


class NamedClaim(NamedTuple):
    """A claim of a row. texts: the canonical texts of its values, in the order of the columns."""

    unique: Unique
    texts: list[str]


def item_of(resource: Resource, row: Mapping[str, Any]) -> str | None:
    """The name of a row's item; None if its key has no canonical text, so that it has no item."""
    texts = _texts(resource.key, row)
    return None if texts is None else item_pk(resource.name, texts)


def claims_of(resource: Resource, row: Mapping[str, Any]) -> dict[str, NamedClaim]:
    """The claims that a row has, by name: none for a NULL, or a value without canonical text."""
    found: dict[str, NamedClaim] = {}
    for unique in resource.front.unique if resource.front else ():
        texts = _texts(unique.columns, row)
        if texts is not None:
            found[claim_pk(resource.name, unique.name, texts)] = NamedClaim(unique, texts)
    return found


def _texts(columns: tuple[KeyColumn, ...], row: Mapping[str, Any]) -> list[str] | None:
    values = [(column, row.get(column.name)) for column in columns]
    texts = [None if value is None else canonical(column, value) for column, value in values]
    known = [text for text in texts if text is not None]
    return known if len(known) == len(texts) else None
