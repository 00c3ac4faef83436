"""Lists, page by page.

A page begins after the last row of the previous one, by the values of its order, so that rows
inserted or deleted in between do not make others appear twice or not at all.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column

from chalicelib.errors import DatabaseError, DatabaseUnavailable, RefusedByDatabase, SchemaMismatch
from chalicelib.messages import questions
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.front_lag import front_lag
from chalicelib.postgres.resources import ResourceTable, resources
from chalicelib.postgres.sql.queries import (
    By,
    Part,
    RowFilter,
    bound,
    count_query,
    nothing,
    page_query,
)
from chalicelib.reader import answer

LIST_SECONDS = 5.0
"""Most time for a list, however long the function may run."""

_LOCK_SECONDS = 2.5

_Row = tuple[str | None, str]


@dataclass(frozen=True)
class _List:
    """A list. until: the time.monotonic() by which it has to be read."""

    resource: ResourceTable
    order: tuple[By, ...]
    filters: tuple[RowFilter, ...]
    shown: Sequence[Column[Any]]
    question: questions.ListQuestion
    until: float


@dataclass(frozen=True)
class _Most:
    """Limits of a read: rows, bytes of their text, and bytes of the first row if that is more."""

    rows: int
    bytes_: int
    of_first: int


_ONE_WITHOUT_TEXT = _Most(1, -1, -1)


def page(
    transaction: Transaction, question: questions.ListQuestion
) -> questions.Page | questions.CountedPage:
    """A page of a list. Raises Ended."""
    # A page may need several statements, which have to see the same rows.
    transaction.ahead("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    asked = _parse(resources()[question.resource], question, time.monotonic() + LIST_SECONDS)
    lag = _lag(transaction, asked.resource)
    with _answer_errors(asked):
        found = _find(
            transaction, asked, _Most(question.limit + 1, answer.PAGE_BYTES, answer.ROW_BYTES)
        )
        page = (
            _one_row(transaction, asked) if found is None else _limit_bytes(found, question.limit)
        )
        if question.counted:
            count = _count(transaction, asked, page)
            return questions.CountedPage(page.body, page.next, page.rows, count, *lag)
        return questions.Page(page.body, page.next, page.rows, *lag)


def _lag(transaction: Transaction, resource: ResourceTable) -> tuple[float | None, float | None]:
    """The lag and its age, see `questions.Page`."""
    found = front_lag(transaction, resource.name) if resource.is_fronted else None
    return found or (None, None)


@contextmanager
def _answer_errors(asked: _List) -> Iterator[None]:
    """Errors of the database that are due to the list become an answer to its client."""
    try:
        yield
    except (RefusedByDatabase, SchemaMismatch) as error:
        if isinstance(error, RefusedByDatabase):
            raise _invalid_list(error.message) from error
        if error.kind == "no-operator":
            raise _invalid_list(
                f"{error.message}; filter and order by columns of other types"
            ) from error
        raise
    except DatabaseUnavailable as error:
        if error.kind != "cancelled" or time.monotonic() < asked.until - 0.1:
            raise
        cure = "filter or order by an indexed column"
        if asked.question.counted:
            cure = "filter by an indexed column, or ask without count=exact"
        raise _invalid_list(f"the list took longer than {LIST_SECONDS:g} s; {cure}") from error


def _parse(resource: ResourceTable, question: questions.ListQuestion, until: float) -> _List:
    # Numbers stay as they were sent: Postgres keeps all their digits.
    equal = json.loads(question.equal, parse_int=str, parse_float=str)
    where = [questions.Where(name, "eq", False, [_text(value)]) for name, value in equal.items()]
    where += question.where
    filters = tuple(
        RowFilter(column, each.op, each.negated, tuple(each.texts))
        for column, each in zip(
            columns(resource, [each.column for each in where]), where, strict=True
        )
    )
    # NULLs that a filter leaves out do not divide the list.
    with_value = {each.column.name for each in filters if not each.takes_null}
    order = tuple(
        By(column, direction == "desc", bool(column.nullable) and column.name not in with_value)
        for column, (_, direction) in zip(
            columns(resource, [name for name, _ in question.order]), question.order, strict=True
        )
    )
    select = question.select
    shown = list(resource.table.columns) if select is None else columns(resource, select)
    return _List(resource, order, filters, shown, question, until)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _count(transaction: Transaction, asked: _List, page: questions.Page) -> int:
    if asked.question.start is None and page.next is None:
        return page.rows
    sql = count_query(asked.resource, asked.filters)
    ((count,),) = _execute(transaction, asked, sql, {})
    return int(count)


def _execute(
    transaction: Transaction, asked: _List, sql: str, values: Mapping[str, Any]
) -> list[Any]:
    """values: bound values of the statement besides those of the filters."""
    given = bound(asked.filters)
    seconds = asked.until - time.monotonic()
    return answer.execute(
        transaction, sql, {**given, **values}, nothing(given), seconds, _LOCK_SECONDS
    )


def _one_row(transaction: Transaction, asked: _List) -> questions.Page:
    """A page of one row, after Postgres failed to build the text of the whole page."""
    if found := _find(transaction, asked, _Most(1, answer.PAGE_BYTES, answer.ROW_BYTES)):
        return _limit_bytes(found, 1, more=True)
    places = _find(transaction, asked, _ONE_WITHOUT_TEXT)
    raise answer.Ended(questions.PageTooLarge(True, places[0][1] if places else None))


def _find(transaction: Transaction, asked: _List, most: _Most) -> list[_Row] | None:
    """Rows within the limits; the last one without its text if that would be too much.

    None if Postgres failed to build a text. The transaction continues.
    """
    try:
        return _read(transaction, asked, most)
    except DatabaseError as error:
        if not answer.is_too_large(error):
            raise
        return None


def _read(transaction: Transaction, asked: _List, most: _Most) -> list[_Row]:
    start = asked.question.start
    placed = [by.column for by in asked.order]
    found: list[_Row] = []
    left = most.bytes_
    for part in _parts(asked.order, start):
        values = {
            "from": f"[{start}]",
            "limit": most.rows - len(found),
            "most": left,
            "first": 0 if found else most.of_first,
        }
        sql = page_query(asked.resource, part, placed, asked.filters, asked.shown)
        found += _execute(transaction, asked, sql, values)
        if len(found) >= most.rows or (found and found[-1][0] is None):
            break
        left = max(0, most.bytes_ - sum(len(text.encode()) for text, _ in found if text))
    return found


def _parts(order: tuple[By, ...], start: str | None) -> list[Part]:
    """Rows with a value in the first column, and rows without. Each part can use an index, but not
    both at once."""
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


def columns(resource: ResourceTable, names: Sequence[str]) -> list[Column[Any]]:
    """The columns of these names. Raises Ended."""
    known = {column.name: column for column in resource.table.columns}
    if missing := [name for name in names if name not in known]:
        raise _invalid_list(f"{resource.name} has no column {', '.join(missing)}")
    return [known[name] for name in names]


def _limit_bytes(found: Sequence[_Row], limit: int, more: bool = False) -> questions.Page:
    """As many of the rows as an answer holds. more: whether others may follow."""
    texts: list[str] = []
    bytes_ = 2
    for text, _ in found[:limit]:
        bytes_ += answer.sent_bytes(text) if text is not None else answer.ANSWER_BYTES
        if bytes_ > answer.ANSWER_BYTES:
            break
        texts.append(str(text))
    next_ = None
    if len(found) > len(texts) or more:
        next_ = found[max(0, len(texts) - 1)][1]
        if next_ is None:
            why = "the values of a row in this order are too long; order by other columns"
            raise _invalid_list(why)
        if not texts:
            raise answer.Ended(questions.PageTooLarge(True, next_))
    return questions.Page(f"[{','.join(texts)}]", next_, len(texts))


def _invalid_list(why: str) -> answer.Ended:
    return answer.Ended(questions.InvalidList(why))
