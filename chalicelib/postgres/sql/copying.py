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
    Float,
    Integer,
    Numeric,
    String,
    Time,
    Uuid,
)
from sqlalchemy.dialects.postgresql import INTERVAL

from chalicelib.messages.values import Columns
from chalicelib.postgres.resources import ResourceTable, base_type, postgres_type
from chalicelib.postgres.sql.names import column_name, plain_name, quoted, table_name, typed
from chalicelib.postgres.sql.statements import KEPT, columns_of

_SCALARS = (String, Integer, Numeric, Float, Boolean, Date, DateTime, Time, Uuid, INTERVAL)
_OPTIONS = r"(FORMAT csv, NULL 'null', ESCAPE E'\\')"


NEXT_NUMBERS = "SELECT nextval(%s::regclass) FROM generate_series(1, %s)"
"""So many numbers of a sequence."""


CHANGED = "22012"
"""The SQLSTATE of what `is_unchanged` refuses."""


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
    types = {column.name: postgres_type(column.type) for column in named}
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
def table_facts(resource: ResourceTable, takes_key: bool) -> str:
    """The query for whether a COPY into the database's table has the effect of an INSERT by the
    model, the sequence of its key (NULL: none that the role may use), and its version, see
    `is_unchanged`.

    It has for a table whose columns have the model's types; without domains, which COPY does not
    check where it leaves them out; without columns that are generated always, other than a key that
    is taken; and without what an INSERT would follow, or be refused by: triggers that may leave a
    row out, rules, policies.
    """
    return f"""
        SELECT is_fit, sequence::text, {_version(resource)} FROM {_fit(resource, takes_key)}
    """


@cache
def is_unchanged(resource: ResourceTable) -> str:
    """The statement that is refused unless the table has this version, %s. The lock keeps it so
    until COMMIT."""
    return f"""
        LOCK TABLE ONLY {table_name(resource.table)} IN ROW EXCLUSIVE MODE;
        SELECT 1 / ({_version(resource)} = %s)::int
    """


def _version(resource: ResourceTable) -> str:
    """A text that changes with the table, its columns and defaults, and its first rule and policy.
    COPY itself refuses a view, and fires triggers, of which the number of rows tells."""
    return f"""(
        SELECT concat_ws(' ', oid, relhasrules, relrowsecurity,
            (SELECT string_agg(xmin::text, ' ') FROM pg_attribute WHERE attrelid = pg_class.oid),
            (SELECT string_agg(xmin::text, ' ') FROM pg_attrdef WHERE adrelid = pg_class.oid))
        FROM pg_class WHERE oid = {quoted(plain_name(resource.table))}::regclass)"""


def _fit(resource: ResourceTable, takes_key: bool) -> str:
    """A row with `is_fit` and `sequence`."""
    facts, number = copied(resource), _number(resource)
    columns = [c for c in resource.writable if c.name in facts.scalars | facts.documents]
    names = ", ".join(quoted(column.name) for column in columns)
    types = ", ".join(f"pg_typeof({column_name(column)})::oid" for column in columns)
    table = quoted(plain_name(resource.table))
    key = quoted(number.name if number is not None and takes_key else "")
    return f"""
        (SELECT CAST({table} AS regclass) AS id) AS named
        JOIN pg_class ON pg_class.oid = id
        LEFT JOIN LATERAL (
            SELECT sequence
            FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum,
                LATERAL (
                    SELECT objid::regclass FROM pg_depend
                    WHERE attidentity <> '' AND refclassid = 'pg_class'::regclass
                        AND refobjid = attrelid AND refobjsubid = attnum
                        AND classid = 'pg_class'::regclass AND deptype = 'i'
                    UNION ALL
                    SELECT refobjid::regclass FROM pg_depend
                    WHERE attidentity = '' AND classid = 'pg_attrdef'::regclass
                        AND objid = pg_attrdef.oid AND refclassid = 'pg_class'::regclass
                        AND pg_get_expr(adbin, adrelid)
                            = format('nextval(%%L::regclass)', refobjid::regclass)
                ) AS own (sequence)
            WHERE attrelid = id AND attname = {key} AND NOT attisdropped
                AND CASE WHEN EXISTS (SELECT FROM pg_sequence WHERE seqrelid = sequence)
                    THEN has_sequence_privilege(sequence, 'USAGE') END) AS found ON true
        CROSS JOIN LATERAL (SELECT relkind IN ('r', 'p')
            AND NOT row_security_active(id::oid)
            AND NOT EXISTS (
                SELECT FROM pg_rewrite WHERE ev_class = id AND ev_type = '3')
            AND NOT EXISTS (
                SELECT FROM pg_trigger
                WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgtype & 3 = 3
                    AND (tgrelid = id OR tgrelid IN (SELECT relid FROM pg_partition_tree(id))))
            AND NOT EXISTS (
                SELECT FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
                WHERE attrelid = id AND NOT attisdropped
                    AND (typtype = 'd' OR (attidentity = 'a' AND attname <> {key})))
            AND NOT EXISTS (
                SELECT FROM (SELECT) AS one
                    LEFT JOIN json_to_recordset('[]'::json) AS declared ({typed(columns)}) ON true,
                    unnest(ARRAY[{names}]::text[], ARRAY[{types}]::oid[]) AS wanted (name, type)
                    LEFT JOIN pg_attribute
                        ON attrelid = id AND attname = wanted.name AND NOT attisdropped
                WHERE atttypid IS DISTINCT FROM wanted.type)) AS fit (is_fit)
    """


def _number(resource: ResourceTable) -> Column[Any] | None:
    """The key, if it is a number that the database may make."""
    if len(resource.key) != 1:
        return None
    (column,) = resource.key
    is_number = isinstance(base_type(column.type), Integer) and column.default is None
    return column if is_number else None
