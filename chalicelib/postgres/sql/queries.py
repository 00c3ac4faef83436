"""The SQL that reads the user's tables: rows by their keys, and pages of a list.

Values are bound: keys and places as JSON text, which `json_to_recordset` turns into typed columns,
and those of filters one by one, so that Postgres knows them when it chooses a plan.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, JSON, Column

from chalicelib.postgres.engine import Engine
from chalicelib.postgres.resources import ResourceTable, postgres_type, recordset_type
from chalicelib.postgres.sql.names import (
    PLACE,
    column_name,
    escaped,
    quoted,
    recordset,
    same_key,
    sent_rows,
    table_name,
)
from chalicelib.postgres.sql.sizes import LARGEST_ESTIMATE, is_notation, shown_bytes, stored_bytes

# Names that no table or column of the user's has.
_SENT = '"decanter:sent"'
_READ = '"decanter:read"'
_FOUND = '"decanter:found"'
_AT = '"decanter:at"'
_ROW = '"decanter:row"'
_FROM = '"decanter:from"'
_BODY = '"decanter:body"'
_NEXT = '"decanter:next"'
_BYTES = '"decanter:bytes"'
_STORED = '"decanter:stored"'
_SIZE = '"decanter:size"'
_SIZES = '"decanter:sizes"'
_SHOWN = '"decanter:placed"'
_ETAG = '"decanter:etag"'

_COMPARED = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_STATES = {"null": "NULL", "true": "TRUE", "false": "FALSE", "unknown": "UNKNOWN"}

TOO_LARGE = "too large"
"""The ETag of a row that cannot be shown. No client can send it, as it has a blank."""

LARGEST_PLACE = 1_000_000
"""Size limit in bytes of the place where a page begins. No index holds a key that long."""


class RowFilter(NamedTuple):
    """A condition on the rows of a list. op: a comparison, `in`, or `is`, whose value is a state.
    values: as Postgres reads them."""

    column: Column[Any]
    op: str
    negated: bool
    values: tuple[str, ...]

    @property
    def takes_null(self) -> bool:
        """Whether a row without a value may pass."""
        return self.op == "is" and not (self.negated and self.values == ("null",))


class By(NamedTuple):
    """A column that a list is ordered by. nullable: there are NULLs, last in both directions."""

    column: Column[Any]
    descending: bool
    nullable: bool


class Part(NamedTuple):
    """A part of a list: the rows in which one column is NULL, or those in which it is not, or all.

    start: the part begins behind the row that is bound as %(from)s; for each column of the order,
        whether it is NULL in that row. None: the part begins with its first row.
    """

    order: tuple[By, ...]
    null: Column[Any] | None = None
    not_null: Column[Any] | None = None
    start: tuple[bool, ...] | None = None


def etag(resource: ResourceTable, alias: str = "target") -> str:
    """An expression for the ETag of the row that has this alias, without quotes.

    It covers the row as the reader shows it, generated columns included: 32 hexadecimal digits, or
    TOO_LARGE.
    """
    columns = resource.table.columns
    digest = f"(SELECT {_digest(_text(_ROW))} FROM (SELECT {_columns(columns, alias)}) AS {_ROW})"
    is_shown = f"{_estimate(columns, alias)} <= {LARGEST_ESTIMATE}"
    return f"CASE WHEN {is_shown} THEN {digest} ELSE '{TOO_LARGE}' END"


@cache
def rows_query(resource: ResourceTable, engine: Engine) -> str:
    """Rows as JSON text, with their ETags and their total bytes, in the order of their keys.

    Binds %(rows)s, an array of keys, and %(most)s, the most bytes: with more, no text is returned,
    and none is made of far larger rows. A key without a row has NULLs.
    """
    return _rows(resource, list(resource.table.columns), engine, is_whole=True)


def parts_query(resource: ResourceTable, shown: Sequence[Column[Any]], engine: Engine) -> str:
    """The same with some columns of each row, and the ETag of the whole row."""
    return _rows(resource, shown, engine, is_whole=False)


def _rows(
    resource: ResourceTable, shown: Sequence[Column[Any]], engine: Engine, is_whole: bool
) -> str:
    """is_whole: all columns are shown, so that the ETag is made of the text."""
    table, on = f"{table_name(resource.table)} AS target", same_key(resource)
    bytes_ = f"sum(coalesce(octet_length({_BODY}), {_SIZE})) OVER ()"
    made, passed = ("", "") if is_whole else (f", {{}} AS {_ETAG}", f", {_ETAG}")

    def sized(alias: str) -> str:
        size = f"{_estimate(shown, alias)} AS {_SIZE}"
        return f"{_columns(shown, alias)}, {size}{made.format(etag(resource, alias))}"

    source = f"FROM {table} JOIN {_SENT} AS sent ON {on}"
    if engine.column_subqueries:
        read, found = "", f"{PLACE} AS {_AT}, {sized('target')} {source}"
    else:
        columns = _columns(resource.table.columns, "target")
        read = f"{_READ} AS MATERIALIZED (SELECT {PLACE} AS {_AT}, {columns} {source}),"
        found = f"{_AT}, {sized('target')} FROM {_READ} AS target"
    return f"""
        WITH {_SENT} AS MATERIALIZED (SELECT * FROM {sent_rows(resource.key)}),
        {read} {_FOUND} AS MATERIALIZED (SELECT {found})
        SELECT CASE WHEN {bytes_} <= %(most)s THEN {_BODY} END,
            {_digest(_BODY) if is_whole else _ETAG}, {bytes_}
        FROM (
            SELECT {PLACE}, {_SIZE}{passed},
                CASE WHEN {_SIZE} IS NOT NULL AND {_SIZES} <= {LARGEST_ESTIMATE}
                THEN {_body(shown)} END AS {_BODY}
            FROM (
                SELECT {PLACE}, found.*, sum({_SIZE}) OVER () AS {_SIZES}
                FROM {_SENT} LEFT JOIN {_FOUND} AS found ON {_AT} = {PLACE}) AS {_ROW}
            OFFSET 0) AS found
        ORDER BY {PLACE}
    """


@cache
def rejection_query(resource: ResourceTable) -> str:
    """The reason for which a write of a request to one row was rejected.

    Binds %(first)s and %(last)s, the request's dedup IDs, %(resource)s, and %(rows)s, an array of
    one key. A value that the key's type does not take names no row.
    """
    return f"""
        SELECT reason FROM decanter.rejection, {sent_rows(resource.key)}
        WHERE dedup_id BETWEEN %(first)s::uuid AND %(last)s::uuid AND resource = %(resource)s
            AND {" AND ".join(map(_is_rejected, resource.key))}
        ORDER BY dedup_id, item LIMIT 1
    """


def bound(filters: Sequence[RowFilter]) -> dict[str, Any]:
    """The values that the filters of a page or a count bind."""
    return {
        f"given{at}": (list if _cast(each.column) else tuple)(each.values)
        if each.op == "in"
        else each.values[0]
        for at, each in enumerate(filters)
    }


def nothing(given: Mapping[str, Any]) -> dict[str, Any]:
    """In place of the `bound` values: values that any type accepts, and no row has."""
    return {
        name: None if isinstance(value, str) else type(value)([None])
        for name, value in given.items()
    }


def count_query(resource: ResourceTable, filters: Sequence[RowFilter]) -> str:
    """The number of rows of a list. Binds the filters' `bound` values."""
    table = f"{table_name(resource.table)} AS target"
    return f"SELECT count(*) FROM {table} {_where(_tests(filters))}"


def page_query(
    resource: ResourceTable,
    part: Part,
    placed: Sequence[Column[Any]],
    filters: Sequence[RowFilter],
    shown: Sequence[Column[Any]],
) -> str:
    """Rows of a list as JSON text, in the list's order, each with the value of `from` that
    continues behind it: the JSON text of an object, or NULL if that would be too long to be sent.

    placed: the columns of that object, which are those of the list's order. shown: those of the
    text. Binds the filters' `bound` values; %(limit)s rows; %(most)s bytes of text, followed by one
    more row without text; %(first)s bytes, which the first row may have nevertheless; and, for a
    part that begins behind a row, %(from)s, an array of one object. No text is made of far larger
    rows.
    """
    tests = _tests(filters)
    if part.null is not None:
        tests.append(f"target.{column_name(part.null)} IS NULL")
    if part.not_null is not None:
        tests.append(f"target.{column_name(part.not_null)} IS NOT NULL")
    if part.start:
        tests.append(_behind(part.order, part.start))
    read = list({column.name: column for column in (*shown, *placed)}.values())
    place = ", ".join(f"{_ROW}.{column_name(column)}" for column in placed)
    start = f"WITH {_FROM} AS MATERIALIZED (SELECT * FROM {recordset('from', placed)})"
    start = start if part.start else ""
    table = f"{table_name(resource.table)} AS target"
    is_near = f"{{}} <= %(most)s OR ({PLACE} = 1 AND %(first)s > 0 AND {{}} <= {LARGEST_ESTIMATE})"
    # Rows are ordered and limited before their sizes are estimated, and these before any row is
    # made text: rows far behind the end of the page are not touched. OFFSET 0 keeps Postgres from
    # making the text twice, for the answer and for its length.
    return f"""
        {start}
        SELECT CASE WHEN {_BYTES} <= %(most)s OR ({PLACE} = 1 AND {_BYTES} <= %(first)s)
            THEN {_BODY} END, {_NEXT}
        FROM (
            SELECT {_BODY}, {_NEXT}, {PLACE}, {_SIZE}, sum({_SIZE}) OVER so_far AS {_BYTES}
            FROM (
                SELECT {_BODY}, {_NEXT}, {PLACE},
                    coalesce(octet_length({_BODY}), {_SIZE}) AS {_SIZE}
                FROM (
                    SELECT {PLACE}, {_SIZE}, CASE WHEN {is_near.format(_SIZES, _SIZES)}
                        THEN {_body(shown)} END AS {_BODY},
                        CASE WHEN ({PLACE} <= 2 OR {_SIZES} - {_SIZE} <= %(most)s)
                            AND {shown_bytes(placed, _ROW)} <= {LARGEST_PLACE}
                        THEN (SELECT {_text(_SHOWN)} FROM (SELECT {place}) AS {_SHOWN})
                        END AS {_NEXT}
                    FROM (
                        SELECT *, sum({_SIZE}) OVER so_far AS {_SIZES}
                        FROM (
                            SELECT *, CASE WHEN {is_near.format(_STORED, _STORED)}
                                THEN {shown_bytes(shown, _ROW)}
                                ELSE {_STORED} END AS {_SIZE}
                            FROM (
                                SELECT *, row_number() OVER so_far AS {PLACE},
                                    sum({stored_bytes(shown, _ROW)})
                                        OVER so_far AS {_STORED}
                                FROM (
                                    SELECT {_columns(read, "target")} FROM {table}
                                    {_where(tests)}
                                    ORDER BY {_ordered(part.order)} LIMIT %(limit)s) AS {_ROW}
                                WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)) AS {_ROW}
                            OFFSET 0) AS {_ROW}
                        WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)) AS {_ROW}
                    OFFSET 0) AS page) AS page
            WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)) AS page
        WHERE {_BYTES} - {_SIZE} <= %(most)s OR {PLACE} <= 2
    """


def _where(tests: Sequence[str]) -> str:
    return f"WHERE {' AND '.join(tests)}" if tests else ""


def _tests(filters: Sequence[RowFilter]) -> list[str]:
    return [_test(each, f"given{at}") for at, each in enumerate(filters)]


def _test(filter_: RowFilter, parameter: str) -> str:
    """Whether a row passes a filter.

    A value takes the type of its column, without its limit: a cast would cut or round it, and find
    other rows. Only an unknown type is named.
    """
    own, cast = f"target.{column_name(filter_.column)}", _cast(filter_.column)
    if not filter_.values:
        return f"{own} IS NOT NULL" if filter_.negated else "false"
    if filter_.op == "is":
        test = f"{own} IS {_STATES[filter_.values[0]]}"
    elif filter_.op != "in":
        test = f"{own} {_COMPARED[filter_.op]} %({parameter})s{cast}"
    elif cast:
        test = f"{own} = ANY (%({parameter})s{cast}[])"
    else:
        test = f"{own} IN %({parameter})s"
    return f"NOT ({test})" if filter_.negated else test


def _cast(column: Column[Any]) -> str:
    return f"::{escaped(recordset_type(column))}" if is_notation(column.type) else ""


def _behind(order: Sequence[By], start: Sequence[bool]) -> str:
    """Whether a row comes behind that of %(from)s."""
    first = order[0]
    after = _after(order, start)
    if first.nullable or _compared(order, start):
        return after
    # Redundant, but Postgres can look it up in an index.
    bound = f"target.{column_name(first.column)} {'<=' if first.descending else '>='}"
    return f"{bound} {_value(first.column)} AND {after}"


def _after(order: Sequence[By], start: Sequence[bool]) -> str:
    """Whether a row comes behind that of %(from)s; empty if none can."""
    if not order:
        return ""
    if compared := _compared(order, start):
        return compared
    first = order[0]
    own, value = f"target.{column_name(first.column)}", _value(first.column)
    either = []
    if not start[0]:
        either.append(f"{own} {'<' if first.descending else '>'} {value}")
        either += [f"{own} IS NULL"] if first.nullable else []
    if after := _after(order[1:], start[1:]):
        either.append(
            f"({own} IS NULL AND {after})" if start[0] else f"({own} = {value} AND {after})"
        )
    return f"({' OR '.join(either)})" if either else ""


def _compared(order: Sequence[By], start: Sequence[bool]) -> str:
    """One comparison of rows, which can use an index; empty if directions or NULLs forbid it."""
    directions = {by.descending for by in order}
    if len(directions) > 1 or any(start) or any(by.nullable for by in order):
        return ""
    own = ", ".join(f"target.{column_name(by.column)}" for by in order)
    values = ", ".join(_value(by.column) for by in order)
    return f"({own}) {'<' if True in directions else '>'} ({values})"


def _ordered(order: Sequence[By]) -> str:
    """NULLS LAST only if there are NULLs: an index that is read backwards has them first."""
    return ", ".join(
        f"target.{column_name(by.column)}"
        + (" DESC" if by.descending else "")
        + (" NULLS LAST" if by.descending and by.nullable else "")
        for by in order
    )


def _value(column: Column[Any]) -> str:
    """A value of %(from)s that Postgres knows before it looks for rows, to use an index."""
    return f"(SELECT {column_name(column)} FROM {_FROM})"


def _is_rejected(column: Column[Any]) -> str:
    """Whether the row of a rejection has the value of the row `sent`."""
    name, member = column_name(column), quoted(column.name)
    if isinstance(postgres_type(column.type), ARRAY | JSON):
        own, type_, sent = f"(rejection.row -> {member})::text", "jsonb", f"to_jsonb(sent.{name})"
    else:
        own, type_ = f"rejection.row ->> {member}", recordset_type(column).split(" COLLATE ")[0]
        sent = f"sent.{name}"
    valid = f"pg_input_is_valid({own}, {quoted(type_)})"
    return f"CASE WHEN {valid} THEN ({own})::{escaped(type_)} = {sent} END"


def _columns(columns: Iterable[Column[Any]], alias: str) -> str:
    return ", ".join(f"{alias}.{column_name(column)}" for column in columns)


def _estimate(columns: Iterable[Column[Any]], alias: str) -> str:
    """The estimated bytes of a row's columns as they are shown; as they are stored if those are
    already too many."""
    shown = list(columns)
    stored = stored_bytes(shown, alias)
    return (
        f"CASE WHEN {stored} > {LARGEST_ESTIMATE} THEN {stored}"
        f" ELSE {shown_bytes(shown, alias)} END"
    )


def _body(columns: Iterable[Column[Any]]) -> str:
    """The text of these columns of a row."""
    return f"(SELECT {_text(_SHOWN)} FROM (SELECT {_columns(columns, _ROW)}) AS {_SHOWN})"


def _text(row: str) -> str:
    return f"row_to_json({row})::text"


def _digest(text: str) -> str:
    return f"left(encode(sha256(convert_to({text}, 'UTF8')), 'hex'), 32)"
