"""Queries for the rows of a set that were refused or have to wait."""

from functools import lru_cache

from sqlalchemy import ARRAY, JSON, ForeignKeyConstraint, Table

from chalicelib.ops import OPS, Op
from chalicelib.postgres.constraint_names import name_of
from chalicelib.postgres.resources import ResourceTable, postgres_type, recordset_type
from chalicelib.postgres.sql.names import (
    PLACE,
    column_name,
    equal,
    exists,
    plain_name,
    quoted,
    same_key,
    sent_rows,
    table_name,
)
from chalicelib.postgres.sql.statements import KEPT, NTH, SENT, columns_of, in_effect

_TAKEN = '"decanter:taken"'
"""The sent rows whose unique values are taken: a name that no table of the user's has."""


@lru_cache(maxsize=KEPT)
def violators(
    resource: ResourceTable,
    op: Op,
    members: tuple[str, ...],
    constraint: str | None,
    unique: tuple[str, ...] = (),
) -> str:
    """A query for the sent rows that violate a constraint: place from 0, columns, reason, and
    whether that is certain. It is uncertain for a row whose key is that of an earlier one, which
    may have another fault.

    unique: the columns of a unique constraint. Empty if halving has to find the rows: for
    constraints other than unique ones of creates and foreign keys, and unless all their columns are
    sent, and the key where it decides what a create does.
    """
    table = resource.table
    sent = columns_of(resource, members)
    op = in_effect(resource, op, sent)
    asks_for_key = op == "create-or-ignore" or (op == "create-or-merge" and unique)
    if asks_for_key and not {*resource.key} <= {*sent}:
        return ""
    taken = ""
    if unique:
        columns = tuple(c for c in sent if c.name in unique and not OPS[op].names_row)
        if len(columns) < len(unique):
            return ""
        on = equal((c, c) for c in columns)
        on += f" AND NOT ({same_key(resource)})" if op == "create-or-merge" else ""
        taken = f", {_TAKEN} AS MATERIALIZED ({_there(table, on)})"
        certain = f"{PLACE} IN (SELECT {PLACE} FROM {_TAKEN})"
        fault = "already exists."
        test = f"({NTH} > 1 OR {certain})"
    else:
        key = foreign_key(table, constraint)
        pairs = [(element.column, element.parent) for element in key.elements] if key else []
        columns = tuple(own for _, own in pairs)
        if not key or not {*columns} <= {*sent}:
            return ""
        certain = "true"
        fault = f'is not present in table "{key.referred_table.name}".'
        test = f"{PLACE} NOT IN ({_there(key.referred_table, equal(pairs))})"
        if key.referred_table is table and {up for up, _ in pairs} <= {*sent}:
            test += f" AND NOT EXISTS (SELECT FROM {SENT} AS parent WHERE {equal(pairs, 'parent')})"
    if op in ("merge", "create-or-ignore"):
        # Without its row, a merge changes nothing; nor does a create-or-ignore with it.
        is_in = "IN" if op == "merge" else "NOT IN"
        test += f" AND {PLACE} {is_in} ({_there(table, same_key(resource))})"
    given = " AND ".join(f"sent.{column_name(c)} IS NOT NULL" for c in columns)
    named = ", ".join(f"sent.{column_name(column)}" for column in columns)
    names = quoted(", ".join(column.name for column in columns))
    return f"""
        WITH {SENT} AS MATERIALIZED (
            SELECT *, row_number() OVER (PARTITION BY {named} ORDER BY {PLACE}) AS {NTH}
            FROM {sent_rows(sent)}){taken}
        SELECT ({PLACE} - 1)::int, {names},
            format('Key (%%s)=(%%s) %%s', {names}, concat_ws(', ', {named}), {quoted(fault)}),
            {certain}
        FROM {SENT} AS sent WHERE {given} AND {test}
    """


def _there(table: Table, on: str) -> str:
    """The places of the sent rows for which the table has a row. Not asked row by row, which Citus
    does not do."""
    return f"SELECT {PLACE} FROM {table_name(table)} AS target JOIN {SENT} AS sent ON {on}"


def unique_columns(resource: ResourceTable) -> str:
    """A query for the columns of the unique index %(name)s, if it has plain columns only."""
    return f"""
        SELECT attname::text
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid,
            unnest(indkey[0:indnkeyatts - 1]) AS number
            JOIN pg_attribute ON attnum = number
        WHERE relname = %(name)s AND indrelid = to_regclass({quoted(plain_name(resource.table))})
            AND attrelid = indrelid AND indisunique AND indpred IS NULL AND indexprs IS NULL
    """


@lru_cache(maxsize=KEPT)
def unfit_values(resource: ResourceTable, members: tuple[str, ...]) -> str:
    """A query for the sent rows with a value that is invalid for its type: place from 0, column,
    reason, and that this is certain. Empty if halving has to find the rows: the notation of arrays
    and JSON is not the one of their types.
    """
    columns = columns_of(resource, members)
    plain = [c for c in columns if not isinstance(postgres_type(c.type), ARRAY | JSON)]
    if not plain:
        return ""
    texts = ", ".join(f"{column_name(column)} text" for column in plain)
    types = {c: recordset_type(c).split(" COLLATE ")[0] for c in plain}
    values = ", ".join(
        f"({quoted(c.name)}, sent.{column_name(c)}, {quoted(type_)})" for c, type_ in types.items()
    )
    names = ", ".join([*map(column_name, plain), PLACE])
    return f"""
        SELECT DISTINCT ON ({PLACE}) ({PLACE} - 1)::int, given.member, fault.message,
            true
        FROM ROWS FROM (json_to_recordset(%(rows)s::json) AS ({texts}))
            WITH ORDINALITY AS sent ({names}),
            LATERAL (VALUES {values}) AS given (member, value, kind),
            LATERAL pg_input_error_info(given.value, given.kind) AS fault
        WHERE fault.message IS NOT NULL
    """


@lru_cache(maxsize=KEPT)
def locked(resource: ResourceTable, op: Op, members: tuple[str, ...]) -> str:
    """A query for the sent rows that have to wait for another transaction, because it holds their
    row or one that they refer to: place from 0. The query waits for no lock, and takes those that
    it finds free until the transaction ends.

    Empty if halving has to find the rows, because no key or reference is sent. Postgres refuses it
    if the role may only read a parent.
    """
    sent = columns_of(resource, members)
    is_changed = resource.ordered and not OPS[op].only_adds
    held = []
    if is_changed and {*resource.key} <= {*sent}:
        held.append((resource.table, same_key(resource), OPS[op].lock))
    for key in () if OPS[op].removes else resource.table.foreign_key_constraints:
        pairs = [(element.column, element.parent) for element in key.elements]
        if {own for _, own in pairs} <= {*sent}:
            held.append((key.referred_table, equal(pairs), "KEY SHARE"))
    if not held:
        return ""
    free, tests = [], []
    for number, (table, on, lock) in enumerate(held):
        name = f'"decanter:free_{number}"'
        free.append(f"""{name} AS MATERIALIZED (
            SELECT sent.{PLACE} FROM {table_name(table)} AS target JOIN {SENT} AS sent ON {on}
            FOR {lock} OF target SKIP LOCKED)""")
        tests.append(f"({exists(table, on)} AND {PLACE} NOT IN (SELECT {PLACE} FROM {name}))")
    return f"""
        WITH {SENT} AS MATERIALIZED (SELECT * FROM {sent_rows(sent)}), {", ".join(free)}
        SELECT ({PLACE} - 1)::int FROM {SENT} AS sent WHERE {" OR ".join(tests)}
    """


def foreign_key(table: Table, name: str | None) -> ForeignKeyConstraint | None:
    """The table's foreign key of that name, given or made by Postgres."""
    return next((key for key in table.foreign_key_constraints if name == name_of(key)), None)
