"""Writes that Postgres has refused after the front table took them, and the rows that it has."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from chalicelib.errors import DatabaseError, RefusedByDatabase
from chalicelib.messages.place import Place
from chalicelib.messages.questions import RefusedQuestion, RefusedWrite, RefusedWrites
from chalicelib.postgres import rejections
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.rejections import PlacedRejection
from chalicelib.postgres.resources import ResourceTable, resources
from chalicelib.postgres.revisions import is_ahead
from chalicelib.postgres.sql.queries import rows_query
from chalicelib.reader import answer

_MOST = 100  # as many as DynamoDB reads at once
_ITEM_BYTES = 409_600  # of an item of DynamoDB; no row with more text fits
_NO_ROWS = {"rows": "[]"}
_BEGIN = Place(0, str(UUID(int=0)), 0)
_LAST_MICROSECOND = 1 << 53


class _Found(NamedTuple):
    """A row of a table. text: JSON, None where there is no row, or one that no item holds."""

    text: str | None
    etag: str | None
    is_too_large: bool = False


def writes(transaction: Transaction, question: RefusedQuestion) -> RefusedWrites:
    """The next refused writes, as many as an answer holds.

    Left out are those of which no key is known: no item of the front table has their messages.
    """
    begin = _place(question.since)
    served = {name: each for name, each in resources().items() if each.has_items}
    found = rejections.since(transaction, [*served], begin, _MOST)
    keys = [_key(served[each.resource], each.row) for each in found]
    rows = _rows(transaction, served, found, keys)
    refused: list[RefusedWrite] = []
    taken: list[PlacedRejection] = []
    bytes_ = 0
    for each, key in zip(found, keys, strict=True):
        if key is not None:
            write = _write(each, key, rows[each.resource, key])
            bytes_ += answer.sent_bytes(json.dumps(write))
            if bytes_ > answer.ANSWER_BYTES:
                break
            refused.append(write)
        taken.append(each)
    is_end = len(taken) == len(found) < _MOST
    past = [each.place for each in taken if each.is_past]
    last = taken[-1].place if taken else begin
    # Tables of a later version that was rolled back are not served: what was refused there comes to
    # light once that version is back.
    keeps = not past or is_ahead(transaction)
    known = question.since if keeps else _text(past[-1])
    return RefusedWrites(refused, None if is_end else _text(last), known)


def _write(rejection: PlacedRejection, key: str, row: _Found) -> RefusedWrite:
    place, resource, type_, reason, _, _ = rejection
    return RefusedWrite(resource, key, place.dedup_id, type_, reason, *row)


def _key(resource: ResourceTable, row: str | None) -> str | None:
    """The key in a rejected row; None if it has none."""
    try:
        # Numbers stay as they were sent, with all their digits.
        members = json.loads(row or "", parse_int=str, parse_float=str)
        return json.dumps({column.name: members[column.name] for column in resource.key})
    except (ValueError, RecursionError, LookupError, TypeError):
        return None


def _rows(
    transaction: Transaction,
    served: Mapping[str, ResourceTable],
    found: Sequence[PlacedRejection],
    keys: Sequence[str | None],
) -> dict[tuple[str, str], _Found]:
    """By resource and key."""
    wanted: dict[str, dict[str, None]] = defaultdict(dict)  # in order, and each once
    for each, key in zip(found, keys, strict=True):
        if key is not None:
            wanted[each.resource][key] = None
    return {
        (name, key): row
        for name, own in wanted.items()
        for key, row in zip(own, _find(transaction, served[name], [*own]), strict=True)
    }


def _find(transaction: Transaction, resource: ResourceTable, keys: Sequence[str]) -> list[_Found]:
    """The rows with these keys. Where Postgres cannot read them all at once, fewer at a time: in
    the end it takes no such key, or the row is too large."""
    bound = {"rows": f"[{','.join(keys)}]", "most": answer.ROW_BYTES}
    is_too_large = True
    try:
        rows = answer.execute(
            transaction, rows_query(resource, transaction.engine), bound, _NO_ROWS
        )
        if not any(total is not None and total > answer.ROW_BYTES for _, _, total in rows):
            return [_fitting(text, etag) for text, etag, _ in rows]
    except DatabaseError as error:
        is_too_large = answer.is_too_large(error)
        if not is_too_large and not isinstance(error, RefusedByDatabase):
            raise
    if len(keys) == 1:
        return [_Found(None, None, is_too_large)]
    middle = len(keys) // 2
    first = _find(transaction, resource, keys[:middle])
    return first + _find(transaction, resource, keys[middle:])


def _fitting(text: str | None, etag: str | None) -> _Found:
    if text is not None and len(text.encode()) > _ITEM_BYTES:
        return _Found(None, etag, is_too_large=True)
    return _Found(text, etag)


def _place(text: str) -> Place:
    """The place in a text of `_text`; the first of all for any other text."""
    try:
        at, dedup_id, item = json.loads(text)
        if 0 <= int(at) < _LAST_MICROSECOND:
            return Place(int(at), str(UUID(dedup_id)), int(item))
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    return _BEGIN


def _text(place: Place) -> str:
    return json.dumps(place)
