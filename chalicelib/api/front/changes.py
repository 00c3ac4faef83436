"""What a write does to a row: the new item, claims on unique values, parents that have to exist."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.api.front import rows
from chalicelib.api.front.asked import FrontRequest
from chalicelib.api.front.rows import SentRow, StoredRow
from chalicelib.buffer.dynamodb import table
from chalicelib.buffer.dynamodb.naming import claims_of
from chalicelib.buffer.dynamodb.table import Requirement
from chalicelib.contract import json_text, resources
from chalicelib.contract.resources import Parent, Resource, Unique
from chalicelib.errors import Fault, Problem
from chalicelib.messages.message import ANY_ROW, Condition
from chalicelib.ops import OPS, Op


class RowChange(NamedTuple):
    """What becomes of one row.

    op: of the message for Postgres; None if the row stays as it is, and there is none.
    row, text: afterwards; None if it is deleted. status: of the answer; 200 for a replacement that
        may be the first write of the row, as only DynamoDB knows that, and tells it once.
    requirement: that the item has to fulfil. claims, released: names of claims to take and to give
    back. parents: names of items that need to have a row. etag: of a row that stays as it is.
    """

    sent: SentRow
    pk: str
    op: Op | None
    row: Mapping[str, Any] | None
    text: str | None
    status: int
    requirement: Requirement | None
    claims: Mapping[str, Unique]
    released: frozenset[str]
    parents: Mapping[str, Parent]
    etag: str = ""

    @property
    def key_row(self) -> Mapping[str, Any]:
        """Members that name the row."""
        return self.sent.value if self.row is None else self.row


def change(asked: FrontRequest, sent: SentRow, pk: str, old: StoredRow) -> RowChange:
    """What becomes of a row. old: as it is, if that is known. Raises Problem 404, 409, 412, 413."""
    resource, op = asked.resource, asked.op
    if asked.is_reading:
        judge(asked, sent, old.row is not None or old.is_damaged, old.etag)
    if OPS[op].removes:
        return _change(asked, sent, pk, old, "delete", None)
    if old.row is None or op == "replace":
        row = rows.complete(resource, sent.value, asked.moment)
        inserts: Op = "replace" if op == "replace" else "create"
        return _change(asked, sent, pk, old, inserts, row)
    if op == "create-or-ignore":
        text = old.item.row if old.item else None
        return RowChange(
            sent, pk, None, old.row, text, 200, None, {}, frozenset(), {}, old.etag or ""
        )
    merge = rows.merged if OPS[op].partial else rows.overwritten
    row = merge(resource, old.row, sent.value)
    return _change(asked, sent, pk, old, "replace", row)


def judge(asked: FrontRequest, sent: SentRow, exists: bool, etag: str | None) -> None:
    """Raises Problem unless the row as it is allows the write: 412, 404 or 409."""
    if not _holds(asked.condition, exists, etag):
        found = f'has the ETag "{etag}"' if exists else "does not exist"
        raise Problem(
            "precondition-failed",
            f"the row {_named(asked, sent)} {found}; nothing was written",
        )
    if not exists and not OPS[asked.op].inserts:
        raise Problem("no-such-row", f"{_named(asked, sent)} does not exist; nothing was written")
    if exists and asked.op == "create":
        detail = f"{_named(asked, sent)} exists: PUT or PATCH changes it"
        raise Problem("conflict", detail, (Fault(sent.pointer, "unique", detail),))


def _holds(condition: Condition | None, exists: bool, etag: str | None) -> bool:
    if condition is None:
        return True
    match, none_match = condition
    if none_match is not None and exists:
        return False
    return match is None or (exists and (match == ANY_ROW or etag in match))


def _change(
    asked: FrontRequest,
    sent: SentRow,
    pk: str,
    old: StoredRow,
    op: Op,
    row: Mapping[str, Any] | None,
) -> RowChange:
    resource = asked.resource
    text = None if row is None else json_text.render(row)
    if row is not None and text is not None and old.row is not None and op != asked.op:
        rows.refuse_grown(resource, row, text, sent.pointer)
    held = _claims(resource, old.row, sent.pointer)
    claims = _claims(resource, row, sent.pointer)
    before = _parents(resource, old.row, sent.pointer)
    parents = _parents(resource, row, sent.pointer)
    requirement = _requirement(asked, old)
    is_known = op != "replace" or asked.is_reading or requirement == table.HAS_NO_ROW
    created = 201 if old.row is None and not old.is_damaged and is_known else 200
    return RowChange(
        sent,
        pk,
        op,
        row,
        text,
        204 if row is None else created,
        requirement,
        {name: claims[name] for name in claims.keys() - held.keys()},
        frozenset(held.keys() - claims.keys()),
        {name: parents[name] for name in parents.keys() - before.keys()},
    )


def _requirement(asked: FrontRequest, old: StoredRow) -> Requirement | None:
    """What the item has to be like: unchanged since it was read, or as the request wants it."""
    if old.is_damaged:
        return table.IS_THERE
    if asked.is_reading:
        return table.is_unchanged(old.item.etag) if old.item else table.IS_MISSING
    match, none_match = asked.condition or Condition(None, None)
    if asked.op == "create" or none_match is not None:
        return table.HAS_NO_ROW
    if match is not None and match != ANY_ROW:
        return table.has_etag(match) if match else _NEVER
    return table.HAS_ROW if match is not None or OPS[asked.op].removes else None


_NEVER = Requirement("attribute_not_exists(#pk) AND attribute_exists(#pk)")
"""Weak ETags match no row when it is written (RFC 9110)."""


def _claims(
    resource: Resource, row: Mapping[str, Any] | None, pointer: str
) -> Mapping[str, Unique]:
    """The claims that a row has, by name. A value without canonical form is left to Postgres."""
    claims = {} if row is None else claims_of(resource, row)
    for pk, (unique, texts) in claims.items():
        rows.refuse_long(pk, unique.columns, texts, pointer)
    return {pk: each.unique for pk, each in claims.items()}


def _parents(
    resource: Resource, row: Mapping[str, Any] | None, pointer: str
) -> Mapping[str, Parent]:
    """The items that a row refers to, by name."""
    found: dict[str, Parent] = {}
    for parent in resource.front.parents if resource.front and row is not None else ():
        values: Sequence[Any] = [row and row[name] for name in parent.columns]
        if None not in values:
            referred = resources.resource(parent.resource)
            named = {c.name: value for c, value in zip(referred.key, values, strict=True)}
            found[rows.item_pk(referred, named, pointer)] = parent
    return found


def _named(asked: FrontRequest, sent: SentRow) -> str:
    return f"{asked.resource.name} {rows.key_text(asked.resource, sent.value)[:200]}"
