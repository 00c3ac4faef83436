"""Columns whose values the server makes, and statements that have a sequence catch up.

Postgres does not move a sequence for rows that come with a number: from a write, an import, a
restore.
"""

import re
from typing import Any

from sqlalchemy import Column, DefaultClause, Sequence

from chalicelib.postgres.resources import DIALECT, sql_of
from chalicelib.postgres.sql.names import plain_name

_NEXT = re.compile(r"\bnextval\(\s*('(?:[^']|'')+')", re.IGNORECASE)


def plain(column: Column[Any]) -> str:
    """The column's name in messages of Postgres."""
    return DIALECT.identifier_preparer.quote(column.name)


def catch_up(column: Column[Any]) -> str:
    """The statement for an operator; empty for a column without a sequence."""
    if not (sequence := _sequence(column)):
        return ""
    last = "min" if _descends(column) else "max"
    furthest = f"SELECT {last}({plain(column)}) FROM {plain_name(column.table)}"  # noqa: S608
    return f"SELECT setval({sequence}, ({furthest}))"


def made_value(column: Column[Any]) -> str:
    """The expression by which the server makes a value of the column, as far as the model says;
    empty for a column without one."""
    made = column.server_default
    if isinstance(made, DefaultClause):
        return _text(made.arg) if isinstance(made.arg, str) else f"({sql_of(made.arg)})"
    sequence = _sequence(column)
    return f"nextval({sequence})" if sequence else ""


def _descends(column: Column[Any]) -> bool:
    """Whether the sequence descends, if the model says so: a default may only name a sequence."""
    numbered = column.identity or column.default
    return (getattr(numbered, "increment", None) or 1) < 0


def _sequence(column: Column[Any]) -> str:
    """The sequence's name, as an expression of SQL."""
    made = column.default if column.default is not None else column.server_default
    is_serial = made is None and column is column.table.autoincrement_column
    if column.identity is not None or is_serial:
        return f"pg_get_serial_sequence({_text(plain_name(column.table))}, {_text(column.name)})"
    if isinstance(made, Sequence):
        return _text(DIALECT.identifier_preparer.format_sequence(made))
    if not isinstance(made, DefaultClause):
        return ""
    text = made.arg if isinstance(made.arg, str) else sql_of(made.arg)
    called = _NEXT.search(text)
    return called[1] if called else ""


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
