"""Lists, page by page.

A page begins behind the last row of the one before, by the values that it was ordered by: rows that
come and go in between make no other row be left out or shown twice.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column

from chalicelib.errors import DatabaseError, DatabaseMisfit, DatabaseUnwell, RefusedByDatabase
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.resources import Resource, resources
from chalicelib.postgres.sql.queries import (
    By,
    Filter,
    Part,
    bound,
    count_query,
    nothing,
    page_query,
)
from chalicelib.reader.answer import (
    ANSWER_BYTES,
    PAGE_BYTES,
    ROW_BYTES,
    Ended,
    executed,
    is_too_large,
    sent_bytes,
    too_large,
)

LIST_SECONDS = 5.0
"""Most time for a list, however long the function may run."""

_LOCK_SECONDS = 2.5
_NO_OPERATOR = ("42883", "42725")  # there is no such comparison or order, or not one alone
_CANCELED = "57014"

_Row = tuple[str | None, str]


@dataclass(frozen=True)
class _List:
    """What is asked for. event: as `page` gets it. until: time.monotonic()."""

    resource: Resource
    order: tuple[By, ...]
    filters: tuple[Filter, ...]
    shown: Sequence[Column[Any]]
    event: Mapping[str, Any]
    until: float


@dataclass(frozen=True)
class _Most:
    """What is read of a list: rows, and bytes of their text; of the first row if that is more."""

    rows: int
    bytes_: int
    of_first: int


_ONE_WITHOUT_TEXT = _Most(1, -1, -1)


def page(transaction: Transaction, event: Mapping[str, Any]) -> dict[str, Any]:
    """A page of a list, as `{"body": JSON text of an array, "next": JSON text or None, "rows": how
    many it has}`.

    event: resource; filters, the JSON text of an object, of columns that equal a value; order, a
    list of `[column, "asc" or "desc"]` that ends with the columns of the key; limit, the number of
    rows; and from, None or the `next` of another page. It may have where, a list of `[column,
    operator, whether it is negated, values as texts]`, and select, the columns to show, or None.
    The answer may also be `{"unfit": why}` for a list that cannot be had, or `{"too_large": true,
    "next": …}` where the first row is too large to be told.
    """
    asked = _begun(transaction, event)
    with _told_of(asked, "filter or order by an indexed column"):
        return _page(transaction, asked)


def counted(transaction: Transaction, event: Mapping[str, Any]) -> dict[str, Any]:
    """The same, and `count`: how many rows the list has in all."""
    asked = _begun(transaction, event)
    with _told_of(asked, "filter by an indexed column, or ask without count=exact"):
        told = _page(transaction, asked)
        return {**told, "count": _count(transaction, asked, told)}


def _begun(transaction: Transaction, event: Mapping[str, Any]) -> _List:
    # A page may take several statements, which have to see the same rows.
    transaction.ahead("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    return _asked(resources()[event["resource"]], event, time.monotonic() + LIST_SECONDS)


def _page(transaction: Transaction, asked: _List) -> dict[str, Any]:
    limit = asked.event["limit"]
    found = _found(transaction, asked, _Most(limit + 1, PAGE_BYTES, ROW_BYTES))
    return _row(transaction, asked) if found is None else _told(found, limit)


@contextmanager
def _told_of(asked: _List, cure: str) -> Iterator[None]:
    """What the database does not do for a list is told to its client. cure: where it took too
    long."""
    try:
        yield
    except (RefusedByDatabase, DatabaseMisfit) as error:
        if isinstance(error, RefusedByDatabase):
            raise _unfit(error.message) from error
        if error.sqlstate in _NO_OPERATOR:
            raise _unfit(f"{error.message}; filter and order by columns of other types") from error
        raise
    except DatabaseUnwell as error:
        if error.sqlstate != _CANCELED or time.monotonic() < asked.until - 0.1:
            raise
        raise _unfit(f"the list took longer than {LIST_SECONDS:g} s; {cure}") from error


def _asked(resource: Resource, event: Mapping[str, Any], until: float) -> _List:
    # Numbers stay as they were sent: Postgres keeps all their digits.
    equal = json.loads(event["filters"], parse_int=str, parse_float=str)
    where = [(name, "eq", False, [_text(value)]) for name, value in equal.items()]
    where += event.get("where", ())
    filters = tuple(
        Filter(column, op, negated, tuple(values))
        for column, (_, op, negated, values) in zip(
            columns(resource, [name for name, *_ in where]), where, strict=True
        )
    )
    # What a filter leaves out does not divide the list.
    with_value = {each.column.name for each in filters if not each.takes_null}
    order = tuple(
        By(column, direction == "desc", bool(column.nullable) and column.name not in with_value)
        for column, (_, direction) in zip(
            columns(resource, [name for name, _ in event["order"]]), event["order"], strict=True
        )
    )
    select = event.get("select")
    shown = list(resource.table.columns) if select is None else columns(resource, select)
    return _List(resource, order, filters, shown, event, until)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _count(transaction: Transaction, asked: _List, told: Mapping[str, Any]) -> int:
    if asked.event["from"] is None and told["next"] is None:
        return int(told["rows"])
    sql = count_query(asked.resource, asked.filters)
    ((count,),) = _executed(transaction, asked, sql, {})
    return int(count)


def _executed(
    transaction: Transaction, asked: _List, sql: str, values: Mapping[str, Any]
) -> list[Any]:
    """values: what the statement binds besides those of the filters."""
    given = bound(asked.filters)
    seconds = asked.until - time.monotonic()
    return executed(transaction, sql, {**given, **values}, nothing(given), seconds, _LOCK_SECONDS)


def _row(transaction: Transaction, asked: _List) -> dict[str, Any]:
    """A page of one row, for Postgres gave up on the text of some row of the whole one."""
    if found := _found(transaction, asked, _Most(1, PAGE_BYTES, ROW_BYTES)):
        return _told(found, 1, more=True)
    places = _found(transaction, asked, _ONE_WITHOUT_TEXT)
    raise too_large(next=places[0][1] if places else None)


def _found(transaction: Transaction, asked: _List, most: _Most) -> list[_Row] | None:
    """Rows, as many as there are and may be; the last one without text where it would be too much.

    None if Postgres gave up on a text. The transaction goes on all the same.
    """
    try:
        return _read(transaction, asked, most)
    except DatabaseError as error:
        if not is_too_large(error):
            raise
        return None


def _read(transaction: Transaction, asked: _List, most: _Most) -> list[_Row]:
    event = asked.event
    told = [by.column for by in asked.order]
    found: list[_Row] = []
    left = most.bytes_
    for part in _parts(asked.order, event["from"]):
        values = {
            "from": f"[{event['from']}]",
            "limit": most.rows - len(found),
            "most": left,
            "first": 0 if found else most.of_first,
        }
        sql = page_query(asked.resource, part, told, asked.filters, asked.shown)
        found += _executed(transaction, asked, sql, values)
        if len(found) >= most.rows or (found and found[-1][0] is None):
            break
        left = max(0, most.bytes_ - sum(len(text.encode()) for text, _ in found if text))
    return found


def _parts(order: tuple[By, ...], start: str | None) -> list[Part]:
    """Rows with a value in the first column, and those without. Each part can be had from an
    index, both at once can not."""
    at = None if start is None else json.loads(start, parse_int=len)
    nulls = None if at is None else tuple(at[by.column.name] is None for by in order)
    first, *rest = order
    if not first.nullable:
        return [Part(order, start=nulls)]
    column = first.column
    if nulls and nulls[0]:
        return [Part(tuple(rest), null=column, start=nulls[1:])]
    with_values = (first._replace(nullable=False), *rest)
    return [Part(with_values, not_null=column, start=nulls), Part(tuple(rest), null=column)]


def columns(resource: Resource, names: Sequence[str]) -> list[Column[Any]]:
    """The columns of these names. Raises Ended."""
    known = {column.name: column for column in resource.table.columns}
    if missing := [name for name in names if name not in known]:
        raise _unfit(f"{resource.name} has no column {', '.join(missing)}")
    return [known[name] for name in names]


def _told(found: Sequence[_Row], limit: int, more: bool = False) -> dict[str, Any]:
    """more: whether there may be further rows than those found."""
    texts: list[str] = []
    bytes_ = 2
    for text, _ in found[:limit]:
        bytes_ += sent_bytes(text) if text is not None else ANSWER_BYTES
        if bytes_ > ANSWER_BYTES:
            break
        texts.append(str(text))
    if len(found) > len(texts) or more:
        next_ = found[max(0, len(texts) - 1)][1]
        if next_ is None:
            raise _unfit("the place of a row in this order is too long; order by other columns")
        if not texts:
            raise too_large(next=next_)
        return {"body": f"[{','.join(texts)}]", "next": next_, "rows": len(texts)}
    return {"body": f"[{','.join(texts)}]", "next": None, "rows": len(texts)}


def _unfit(why: str) -> Ended:
    return Ended({"unfit": why})
