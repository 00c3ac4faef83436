"""COPY of rows that travel by their values, see `messages.values`: which rows it may pour, and into
which tables.

COPY reads a value by the input function of its column, as `json_to_recordset` does for the scalars
of JSON. It does not do what else an INSERT may: fill a column by the model, return a key, follow a
rule, refuse a value for a column that is generated always, write rows in the order of their keys.
Where a key is the next number of a sequence, numbers are taken before.
"""

from functools import cache, lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    Numeric,
    String,
    Time,
    Uuid,
)
from sqlalchemy.dialects.postgresql import INTERVAL

from chalicelib.messages.values import Columns
from chalicelib.postgres.resources import ResourceTable, base_type
from chalicelib.postgres.sql.names import column_name, plain_name, quoted, table_name, typed
from chalicelib.postgres.sql.statements import KEPT, columns_of

_SCALARS = (String, Integer, Numeric, Boolean, Date, DateTime, Time, Uuid, INTERVAL)
_OPTIONS = r"(FORMAT csv, NULL 'null', ESCAPE E'\\')"


NEXT_NUMBERS = "SELECT nextval(%s::regclass) FROM generate_series(1, %s)"
"""So many numbers of a sequence."""


class Copying(NamedTuple):
    """How a set is copied. sql: the statement. takes_key: each line begins with the row's key,
    which was not sent."""

    sql: str
    takes_key: bool


@cache
def copied(resource: ResourceTable) -> Columns:
    """Columns of the rows that can be copied, by the model.

    Two drains that insert the same keys in two orders end in a deadlock. Of an ordered resource,
    a key is in one lane, and so in one drain; rows of others are copied only without their key.
    """
    named = resource.writable if resource.ordered else {*resource.writable} - {*resource.key}
    types = {column.name: base_type(column.type) for column in named}
    filled = [column for column in resource.writable if column.default is not None]
    keys = [column for column in resource.key if column is not _number(resource)]
    return Columns(
        frozenset(name for name, each in types.items() if isinstance(each, _SCALARS)),
        frozenset(name for name, each in types.items() if isinstance(each, JSON)),
        frozenset(column.name for column in (*filled, *keys)),
    )


@lru_cache(maxsize=KEPT)
def copying(
    resource: ResourceTable, members: tuple[str, ...], documents: tuple[str, ...] | None
) -> Copying | None:
    """How a set with these members and documents is copied; None if it has to be inserted, as one
    that was sent under other models."""
    if documents is None or copied(resource).documents_of(members) != documents:
        return None
    number = _number(resource)
    takes_key = number is not None and number.name not in members
    columns = [*(resource.key if takes_key else ()), *columns_of(resource, members)]
    names = ", ".join(map(column_name, columns))
    sql = f"COPY {table_name(resource.table)} ({names}) FROM STDIN {_OPTIONS}"
    return Copying(sql, takes_key)


@cache
def takes_copies(resource: ResourceTable) -> str:
    """The query for whether the database's table can be copied into and means the same by a value
    as the model does, as its columns have the model's types; and for the sequence of its key, NULL
    if it has none that the role may use."""
    facts, number = copied(resource), _number(resource)
    columns = [c for c in resource.writable if c.name in facts.scalars | facts.documents]
    if not columns:
        return "SELECT false, NULL"
    names = ", ".join(quoted(column.name) for column in columns)
    types = ", ".join(f"pg_typeof({column_name(column)})::oid" for column in columns)
    table = quoted(plain_name(resource.table))
    key = quoted(number.name if number is not None else "")
    return f"""
        SELECT relkind IN ('r', 'p')
            AND NOT EXISTS (
                SELECT FROM pg_attribute
                WHERE attrelid = id AND attidentity = 'a' AND attname <> {key})
            AND NOT EXISTS (
                SELECT FROM json_to_recordset('[{{}}]'::json) AS declared ({typed(columns)}),
                    unnest(ARRAY[{names}], ARRAY[{types}]) AS wanted (name, type)
                    LEFT JOIN pg_attribute
                        ON attrelid = id AND attname = wanted.name AND NOT attisdropped
                WHERE atttypid IS DISTINCT FROM wanted.type),
            (SELECT sequence::text
            FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum,
                CAST(pg_get_serial_sequence({table}, attname) AS regclass) AS sequence
            WHERE attrelid = id AND attname = {key} AND NOT attisdropped
                AND (attidentity <> ''
                    OR pg_get_expr(adbin, adrelid) = format('nextval(%%L::regclass)', sequence))
                AND has_sequence_privilege(sequence, 'USAGE'))
        FROM pg_class, CAST({table} AS regclass) AS id WHERE oid = id
    """


def _number(resource: ResourceTable) -> Column[Any] | None:
    """The key, if it is a number that the database may make."""
    for column in resource.key[:1]:
        is_number = isinstance(base_type(column.type), Integer) and column.default is None
        return column if is_number and len(resource.key) == 1 else None
    return None
