"""The SQL on the user's tables: one statement for each resource, op and list of members.

Rows are bound as one JSON text, which `json_to_recordset` turns into typed columns: no value ever
becomes part of a statement. Names and types come from the models.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ARRAY, JSON, Column, Dialect, Enum, ForeignKeyConstraint, Table
from sqlalchemy.dialects import postgresql

from chalicelib.database.resources import Resource, postgres_type, recordset_type
from chalicelib.message import Op

Makers = tuple[tuple[str, Callable[[Any], Any]], ...]

# Not the default of paramstyle, which doubles every % by itself.
_dialect: Dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]

# Names that no table or column of a user's has: the rows sent; the place of each, from 1; which of
# the rows with its key it is.
_SENT = '"decanter:sent"'
_PLACE = '"decanter:place"'
_NTH = '"decanter:nth"'

_CHANGE = """
    WITH {sent} AS MATERIALIZED (SELECT * FROM {rows}),
    "decanter:done" AS ({change} WHERE {on_key} RETURNING sent.{place})
    SELECT ({place} - 1)::int FROM {sent}
    WHERE {place} NOT IN (SELECT {place} FROM "decanter:done") ORDER BY {place}
"""


@dataclass(frozen=True)
class Statement:
    """One statement, with psycopg2's parameters.

    answers: it returns the places, from 0, of rows whose key is not in the table.
    each, once: columns whose value the model makes in Python, for each row or for the statement.
    """

    sql: str
    answers: bool = False
    each: Makers = ()
    once: Makers = ()

    def bound(self, rows: str, count: int) -> dict[str, str]:
        """Values for a JSON array of `count` rows."""
        bound = {"rows": rows}
        if self.each:
            bound["each"] = _json([_made(self.each) for _ in range(count)])
        if self.once:
            bound["once"] = _json(_made(self.once))
        return bound


@cache
def statement(resource: Resource, op: Op, members: tuple[str, ...]) -> Statement:
    """The statement for rows with these members. Raises KeyError for one that is no column."""
    sent = _columns(resource, members)
    if op == "delete":
        return _delete(resource, sent)
    if op == "merge":
        return _merge(resource, sent)
    return _insert(resource, sent, overwrite=op == "replace")


@cache
def violators(
    resource: Resource,
    op: Op,
    members: tuple[str, ...],
    constraint: str | None,
    unique: tuple[str, ...] = (),
) -> str:
    """A query for the sent rows that violate a constraint: place from 0, columns, reason, and
    whether that is certain. It is not for a row whose key is that of an earlier one, which may have
    another fault.

    unique: the columns, if it is one that makes them unique. Empty where halving has to find them:
    for other constraints than unique ones of creates and foreign keys whose columns are all sent.
    """
    table = resource.table
    sent = _columns(resource, members)
    if unique:
        columns = tuple(c for c in sent if c.name in unique) if op == "create" else ()
        if len(columns) < len(unique):
            return ""
        on = " AND ".join(f"target.{_name(c)} = sent.{_name(c)}" for c in columns)
        given = " AND ".join(f"sent.{_name(c)} IS NOT NULL" for c in columns)
        certain = f"EXISTS (SELECT FROM {_table(table)} AS target WHERE {on})"
        test = f"{given} AND ({_NTH} > 1 OR {certain})"
    else:
        certain = "true"
        key = foreign_key(table, constraint)
        columns = tuple(element.parent for element in key.elements) if key else ()
        pairs = [(element.parent, element.column) for element in key.elements] if key else []
        on = " AND ".join(f"target.{_name(up)} = sent.{_name(own)}" for own, up in pairs)
        given = " AND ".join(f"sent.{_name(own)} IS NOT NULL" for own, _ in pairs)
        parent = _table(key.referred_table) if key else ""
        test = f"{given} AND NOT EXISTS (SELECT FROM {parent} AS target WHERE {on})"
        if key and key.referred_table is table and {up for _, up in pairs} <= {*sent}:
            on = " AND ".join(f"parent.{_name(up)} = sent.{_name(own)}" for own, up in pairs)
            test += f" AND NOT EXISTS (SELECT FROM {_SENT} AS parent WHERE {on})"
        if op == "merge":  # without its row it changes nothing
            existing = f"SELECT FROM {_table(table)} AS target WHERE {_on_key(resource)}"
            test += f" AND EXISTS ({existing})"
    if not columns or not set(columns) <= set(sent):
        return ""
    named = ", ".join(f"sent.{_name(column)}" for column in columns)
    told = _quoted(", ".join(column.name for column in columns))
    return f"""
        WITH {_SENT} AS MATERIALIZED (
            SELECT *, row_number() OVER (PARTITION BY {named} ORDER BY {_PLACE}) AS {_NTH}
            FROM {_rows(sent)})
        SELECT ({_PLACE} - 1)::int, {told}, format('Key (%%s)', concat_ws(', ', {named})),
            {certain}
        FROM {_SENT} AS sent WHERE {test}
    """


def unique_columns(resource: Resource) -> str:
    """A query for the columns of the unique index %(name)s, if it is one of plain columns."""
    return f"""
        SELECT attname::text
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid,
            unnest(indkey[0:indnkeyatts - 1]) AS number
            JOIN pg_attribute ON attnum = number
        WHERE relname = %(name)s AND indrelid = to_regclass({_quoted(_plain_name(resource.table))})
            AND attrelid = indrelid AND indisunique AND indpred IS NULL AND indexprs IS NULL
    """


@cache
def unfit_values(resource: Resource, members: tuple[str, ...]) -> str:
    """A query for the sent rows with a value that its type does not take: place from 0, column,
    reason, and that this is certain. Empty where halving has to find them: arrays and JSON are
    written in another way than the types' own.
    """
    columns = _columns(resource, members)
    plain = [c for c in columns if not isinstance(postgres_type(c.type), ARRAY | JSON)]
    if not plain:
        return ""
    texts = ", ".join(f"{_name(column)} text" for column in plain)
    values = ", ".join(
        f"({_quoted(c.name)}, sent.{_name(c)}, {_quoted(recordset_type(c).split(' COLLATE ')[0])})"
        for c in plain
    )
    names = ", ".join([*map(_name, plain), _PLACE])
    return f"""
        SELECT DISTINCT ON ({_PLACE}) ({_PLACE} - 1)::int, given.member, fault.message,
            true
        FROM ROWS FROM (json_to_recordset(%(rows)s::json) AS ({texts}))
            WITH ORDINALITY AS sent ({names}),
            LATERAL (VALUES {values}) AS given (member, value, kind),
            LATERAL pg_input_error_info(given.value, given.kind) AS fault
        WHERE fault.message IS NOT NULL
    """


def foreign_key(table: Table, name: str | None) -> ForeignKeyConstraint | None:
    """The table's foreign key of that name, or of the one that Postgres gives to a nameless one."""
    for key in table.foreign_key_constraints:
        columns = "_".join(element.parent.name for element in key.elements)
        if name == str(key.name or f"{table.name}_{columns}_fkey"):
            return key
    return None


@cache
def row_query(resource: Resource) -> str:
    """One row as JSON text, by its key: %(rows)s is an array of one object."""
    columns = ", ".join(f"target.{_name(column)}" for column in resource.table.columns)
    table = _table(resource.table)
    return (
        f'SELECT row_to_json("decanter:row")::text FROM (SELECT {columns} FROM {table} AS target'
        f' JOIN {_rows(resource.key)} ON {_on_key(resource)}) AS "decanter:row"'
    )


def _delete(resource: Resource, sent: Sequence[Column[Any]]) -> Statement:
    return _change(
        resource, sent, f"DELETE FROM {_table(resource.table)} AS target USING {_SENT} AS sent"
    )


def _merge(resource: Resource, sent: Sequence[Column[Any]]) -> Statement:
    touched = [c for c in resource.table.columns if c.onupdate is not None and c not in {*sent}]
    computed = {c: c.onupdate for c in touched if _is_sql(c.onupdate)}
    once = [c for c in touched if c not in computed]
    changes = {c: _patched(c) for c in sent if not c.primary_key}
    changes |= {c: _sql(default) for c, default in computed.items()}
    changes |= {c: f"once.{_name(c)}" for c in once}
    tables = ", ".join([f"{_SENT} AS sent", *_record(once)])
    assignments = ", ".join(f"{_name(column)} = {value}" for column, value in changes.items())
    change = f"UPDATE {_table(resource.table)} AS target SET {assignments} FROM {tables}"
    return _change(resource, sent, change, tuple((c.name, _maker(c, c.onupdate)) for c in once))


def _change(
    resource: Resource, sent: Sequence[Column[Any]], change: str, once: Makers = ()
) -> Statement:
    on_key = _on_key(resource)
    sql = _CHANGE.format(rows=_rows(sent), change=change, on_key=on_key, place=_PLACE, sent=_SENT)
    return Statement(sql, answers=True, once=once)


def _insert(resource: Resource, sent: Sequence[Column[Any]], overwrite: bool) -> Statement:
    absent = [c for c in resource.writable if c not in {*sent}]
    defaults = {c: c.default for c in absent if c.default is not None}
    computed = [c for c, default in defaults.items() if _is_sql(default)]
    each = [c for c, default in defaults.items() if default.is_callable]
    once = [c for c, default in defaults.items() if default.is_scalar]
    values = {c: f"sent.{_name(c)}" for c in (*sent, *each)}
    values |= {c: f"once.{_name(c)}" for c in once}
    values |= {c: _sql(c.default) for c in computed}
    columns = f" ({', '.join(map(_name, values))})" if values else ""
    sql = (
        f"INSERT INTO {_table(resource.table)} AS target{columns}"
        f" SELECT {', '.join(values.values())}"
        f" FROM {', '.join([_rows(sent, each), *_record(once)])}"
    )
    if resource.key and set(resource.key) <= set(sent):
        # Two drains that insert the same keys then wait for each other only one way: no deadlock.
        sql += f" ORDER BY {', '.join(f'sent.{_name(column)}' for column in resource.key)}"
    if overwrite:
        # EXCLUDED holds the defaults of absent members too: the whole row is overwritten.
        rest = [c for c in resource.writable if not c.primary_key]
        assignments = ", ".join(f"{_name(c)} = EXCLUDED.{_name(c)}" for c in rest)
        sql += f" ON CONFLICT ({', '.join(map(_name, resource.key))}) DO "
        sql += f"UPDATE SET {assignments}" if rest else "NOTHING"
    return Statement(
        sql,
        each=tuple((c.name, _maker(c, c.default)) for c in each),
        once=tuple((c.name, _maker(c, c.default)) for c in once),
    )


def _on_key(resource: Resource) -> str:
    return " AND ".join(f"target.{_name(c)} = sent.{_name(c)}" for c in resource.key)


def _rows(sent: Sequence[Column[Any]], each: Sequence[Column[Any]] = ()) -> str:
    """The rows as a table `sent`: their columns, those made for each row, their place."""
    functions = [_recordset("rows", sent)] if sent else ["json_array_elements(%(rows)s::json)"]
    functions += [_recordset("each", each)] if each else []
    names = [*(map(_name, sent) if sent else ['"-"']), *map(_name, each), _PLACE]
    return f"ROWS FROM ({', '.join(functions)}) WITH ORDINALITY AS sent ({', '.join(names)})"


def _record(once: Sequence[Column[Any]]) -> list[str]:
    return [f"json_to_record(%(once)s::json) AS once ({_typed(once)})"] if once else []


def _recordset(parameter: str, columns: Sequence[Column[Any]]) -> str:
    return f"json_to_recordset(%({parameter})s::json) AS ({_typed(columns)})"


def _typed(columns: Sequence[Column[Any]]) -> str:
    return ", ".join(f"{_name(c)} {_escaped(recordset_type(c))}" for c in columns)


def _patched(column: Column[Any]) -> str:
    """RFC 7396: a patch goes into a JSON document, and takes the place of anything else."""
    old, patch = f"target.{_name(column)}", f"sent.{_name(column)}"
    kind = recordset_type(column).lower()
    if kind == "jsonb":
        return f"decanter.merge_patch({old}, {patch})"
    if kind == "json":
        return f"decanter.merge_patch({old}::jsonb, {patch}::jsonb)::json"
    return patch


def _is_sql(default: Any) -> bool:
    return bool(default.is_clause_element or default.is_sequence)


def _sql(default: Any) -> str:
    expression = default.next_value() if default.is_sequence else default.arg
    compiled = expression.compile(dialect=_dialect, compile_kwargs={"literal_binds": True})
    return f"({_escaped(str(compiled))})"


def _maker(column: Column[Any], default: Any) -> Callable[[Any], Any]:
    argument = default.arg
    make = argument if default.is_callable else lambda _: argument
    bare = postgres_type(column.type)
    if not isinstance(bare, Enum):
        return make
    label: Any = bare.bind_processor(_dialect)  # type: ignore[no-untyped-call]
    return lambda context: label(make(context))


def _made(makers: Makers) -> dict[str, Any]:
    return {name: make(None) for name, make in makers}


def _json(value: Any) -> str:
    return json.dumps(value, default=_json_form)


def _json_form(made: Any) -> str:
    return f"\\x{made.hex()}" if isinstance(made, bytes) else str(made)


def _columns(resource: Resource, members: Sequence[str]) -> tuple[Column[Any], ...]:
    named = {column.name: column for column in resource.table.columns}  # not by SQLAlchemy's keys
    return tuple(named[name] for name in members)


def _table(table: Table) -> str:
    return _escaped(_plain_name(table))


def _plain_name(table: Table) -> str:
    return _dialect.identifier_preparer.format_table(table)


def _quoted(text: str) -> str:
    """A name as a string of SQL."""
    return _escaped("'" + text.replace("'", "''") + "'")


def _name(column: Column[Any]) -> str:
    return _escaped(_dialect.identifier_preparer.quote(column.name))


def _escaped(sql: str) -> str:
    return sql.replace("%", "%%")  # the driver takes % for a parameter
