"""SQL that statements and queries share: names, and rows that travel as one JSON text.

No value ever becomes part of a statement. Names and types come from the models.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Column, Table

from chalicelib.postgres.resources import DIALECT, ResourceTable, recordset_type

PLACE = '"decanter:place"'
"""The place of each row sent, from 1: a name that no column of the user's has."""

_NOTHING = '"decanter:nothing"'
"""Likewise: rows without members."""


def sent_rows(sent: Sequence[Column[Any]], each: Sequence[Column[Any]] = ()) -> str:
    """The rows as a table `sent`: their columns, those made for each row, their place.

    Binds %(rows)s, a JSON array, and %(each)s if there are columns made for each row.
    """
    functions = [recordset("rows", sent)] if sent else ["json_array_elements(%(rows)s::json)"]
    functions += [recordset("each", each)] if each else []
    names = [
        *(map(column_name, sent) if sent else [_NOTHING]),
        *map(column_name, each),
        PLACE,
    ]
    return f"ROWS FROM ({', '.join(functions)}) WITH ORDINALITY AS sent ({', '.join(names)})"


def recordset(parameter: str, columns: Sequence[Column[Any]]) -> str:
    """A JSON array that is bound as that parameter, with typed columns."""
    return f"json_to_recordset(%({parameter})s::json) AS ({typed(columns)})"


def typed(columns: Sequence[Column[Any]]) -> str:
    """The columns as a column list: names and types."""
    return ", ".join(f"{column_name(c)} {escaped(recordset_type(c))}" for c in columns)


def same_key(resource: ResourceTable) -> str:
    """Whether the row `target` of the table has the key of the row `sent`."""
    return equal((column, column) for column in resource.key)


def equal(pairs: Iterable[tuple[Column[Any], Column[Any]]], alias: str = "target") -> str:
    """Whether columns of the row with this alias equal those of the row `sent`."""
    return " AND ".join(f"{alias}.{column_name(c)} = sent.{column_name(own)}" for c, own in pairs)


def exists(table: Table, test: str) -> str:
    """Whether the table has a row `target` that passes the test."""
    return f"EXISTS (SELECT FROM {table_name(table)} AS target WHERE {test})"


def table_name(table: Table) -> str:
    """The table's name, quoted where it has to be, for a statement."""
    return escaped(plain_name(table))


def plain_name(table: Table) -> str:
    """The table's name, quoted where it has to be, as Postgres reads it from a text."""
    return DIALECT.identifier_preparer.format_table(table)


def column_name(column: Column[Any]) -> str:
    """The column's name, quoted where it has to be, for a statement."""
    return escaped(DIALECT.identifier_preparer.quote(column.name))


def constraint_name(schema: str | None, name: str | None) -> str:
    """The constraint's name with its schema, for a statement without values; empty where
    one of them is not known."""
    quote = DIALECT.identifier_preparer.quote_identifier
    return f"{quote(schema)}.{quote(name)}" if schema and name else ""


def quoted(text: str) -> str:
    """A name as a string of SQL."""
    return escaped("'" + text.replace("'", "''") + "'")


def escaped(sql: str) -> str:
    """Text of a statement that is no parameter: the driver takes % for one."""
    return sql.replace("%", "%%")
