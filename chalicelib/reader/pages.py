"""Lists, page by page.

A page begins behind the last row of the one before, by the values that it was ordered by: rows that
come and go in between make no other row be left out or shown twice.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column

from chalicelib.database.connection import Transaction
from chalicelib.database.queries import By, Part, page_query
from chalicelib.database.resources import Resource, resources
from chalicelib.errors import DatabaseMisfit, DatabaseUnwell, RefusedByDatabase
from chalicelib.reader.answer import (
    ANSWER_BYTES,
    PAGE_BYTES,
    ROW_BYTES,
    Ended,
    is_too_large,
    sent_bytes,
    too_large,
)

LIST_SECONDS = 5.0
"""Most time for a list, however long the function may run."""

_LOCK_MILLISECONDS = 2500
_UNDEFINED_FUNCTION = "42883"  # there is no such equality, or no such order
_CANCELED = "57014"

_Row = tuple[str | None, str]


def page(transaction: Transaction, event: Mapping[str, Any]) -> dict[str, Any]:
    """A page of a list, as `{"body": JSON text of an array, "next": JSON text or None}`.

    event: resource; filters, the JSON text of an object; order, a list of `[column, "asc" or
    "desc"]` that ends with the columns of the key; limit, the number of rows; and from, None or
    the `next` of another page. The answer may also be `{"unfit": why}` for a list that cannot be
    had, or `{"too_large": true, "next": …}` where the first row is too large to be told.
    """
    resource = resources()[event["resource"]]
    # A page may take two statements, which have to see the same rows.
    transaction.ahead("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    started = time.monotonic()
    try:
        found = _found(transaction, resource, event, started)
    except (RefusedByDatabase, DatabaseMisfit) as error:
        if is_too_large(error):
            raise too_large(next=None) from error
        if isinstance(error, RefusedByDatabase):
            raise _unfit(error.message) from error
        if error.sqlstate == _UNDEFINED_FUNCTION:
            raise _unfit(f"{error.message}; filter and order by columns of other types") from error
        raise
    except DatabaseUnwell as error:
        if error.sqlstate != _CANCELED or time.monotonic() - started < LIST_SECONDS - 0.1:
            raise
        raise _unfit(
            f"the list took longer than {LIST_SECONDS:g} s; filter or order by an indexed column"
        ) from error
    return _told(found, event["limit"])


def _found(
    transaction: Transaction, resource: Resource, event: Mapping[str, Any], started: float
) -> list[_Row]:
    """Rows of the page and, if there is a further one, that one as well; without text where it
    would be too much."""
    order = _order(resource, event["order"])
    filters = _columns(resource, json.loads(event["filters"]))
    told = [by.column for by in order]
    found: list[_Row] = []
    left = PAGE_BYTES
    for part in _parts(order, event["from"]):
        bound = {
            "given": f"[{event['filters']}]",
            "from": f"[{event['from']}]",
            "limit": event["limit"] + 1 - len(found),
            "most": left,
            "first": 0 if found else ROW_BYTES,
        }
        sql = page_query(resource, part, told, filters)
        seconds = started + LIST_SECONDS - time.monotonic()
        found += transaction.execute(sql, bound, seconds, _LOCK_MILLISECONDS / 1000)
        left = max(0, PAGE_BYTES - sum(len(text.encode()) for text, _ in found if text))
        if len(found) > event["limit"] or (found and found[-1][0] is None):
            break
    return found


def _parts(order: tuple[By, ...], start: str | None) -> list[Part]:
    """Rows with a value in the first column, and those without. Each part can be had from an
    index, both at once can not."""
    at = None if start is None else json.loads(start)
    nulls = None if at is None else tuple(at[by.column.name] is None for by in order)
    first, *rest = order
    if not first.nullable:
        return [Part(order, start=nulls)]
    column = first.column
    if nulls and nulls[0]:
        return [Part(tuple(rest), null=column, start=nulls[1:])]
    with_values = (first._replace(nullable=False), *rest)
    return [Part(with_values, not_null=column, start=nulls), Part(tuple(rest), null=column)]


def _order(resource: Resource, named: Sequence[Sequence[str]]) -> tuple[By, ...]:
    columns = _columns(resource, [name for name, _ in named])
    return tuple(
        By(column, direction == "desc", bool(column.nullable))
        for column, (_, direction) in zip(columns, named, strict=True)
    )


def _columns(resource: Resource, names: Sequence[str] | Mapping[str, Any]) -> list[Column[Any]]:
    known = {column.name: column for column in resource.table.columns}
    if missing := [name for name in names if name not in known]:
        raise _unfit(f"{resource.name} has no column {', '.join(missing)}")
    return [known[name] for name in names]


def _told(found: Sequence[_Row], limit: int) -> dict[str, Any]:
    texts: list[str] = []
    bytes_ = 2
    for text, _ in found[:limit]:
        bytes_ += sent_bytes(text) if text is not None else ANSWER_BYTES
        if bytes_ > ANSWER_BYTES:
            break
        texts.append(str(text))
    if found and not texts:
        raise too_large(next=found[0][1])
    more = len(found) > len(texts)
    return {"body": f"[{','.join(texts)}]", "next": found[len(texts) - 1][1] if more else None}


def _unfit(why: str) -> Ended:
    return Ended({"unfit": why})
