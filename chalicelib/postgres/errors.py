"""The one border where driver errors are translated: what each SQLSTATE says to a caller.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2

from chalicelib.errors import (
    DatabaseError,
    DatabaseUnavailable,
    InternalError,
    LockNotAvailable,
    RefusedByDatabase,
    SchemaMismatch,
)

CANCELED = "57014"
"""Of a statement timeout, and of somebody who cancels."""

_LOCKED = "55P03"

# Another connection, or another time, is all it takes.
_UNAVAILABLE = (
    "08",
    "25",  # state of the transaction, which a pooler may have mixed up; a server that is read only
    "26", "42P05",  # prepared statements behind a pooler, which has others
    "3B",
    "40",
    "53",
    "55006", _LOCKED,
    "57",
    "58",
    "72",
    "F0",
    "HV001", "HV00L", "HV00M", "HV00N",  # the server of a foreign table is away
)  # fmt: skip

_INTERNAL = "XX"

# All other classes of Postgres say something of the data. Those it does not have are triggers'.
_MISMATCH = ("0", "24", "28", "2B", "2D", "34", "3D", "3F", "42", "55", "HV")

NO_RIGHT = "42501"
"""Of a role that lacks one, and of a row-level policy, which is told apart."""

_POLICY = "ExecWithCheckOptions"  # where a row-level policy says no to a row

_RAISED = "exec_stmt_raise"  # by RAISE in a function, which may use any SQLSTATE
_LIMIT = "54000"
_NO_NUMBERS_LEFT = ("varsup.c", "multixact.c")  # for transactions: somebody has to vacuum first
_MEMORY = "mcxt.c"  # that a value asked for more than a gigabyte of


@contextmanager
def translated() -> Iterator[None]:
    """Driver errors → DatabaseError."""
    try:
        yield
    except psycopg2.Error as error:
        raise _translate(error) from error


def kind(
    sqlstate: str, *, lost: bool = False, function: str = "", file: str = ""
) -> type[DatabaseError]:
    """What an error of the server says.

    lost: the connection is. function, file: of the server's source, where the error was raised.
    """
    if lost:
        return DatabaseUnavailable
    if sqlstate == _LOCKED:
        return LockNotAvailable
    is_unavailable = sqlstate.startswith(_UNAVAILABLE) or (
        sqlstate == _LIMIT and file in _NO_NUMBERS_LEFT
    )
    if function == _RAISED:
        # It may raise what passes, and may do so for ever.
        return InternalError if is_unavailable else RefusedByDatabase
    if is_unavailable:
        return DatabaseUnavailable
    if sqlstate == NO_RIGHT and function == _POLICY:
        return RefusedByDatabase
    if sqlstate.startswith(_INTERNAL):
        return RefusedByDatabase if file == _MEMORY else InternalError
    return SchemaMismatch if sqlstate.startswith(_MISMATCH) else RefusedByDatabase


def _translate(error: psycopg2.Error) -> DatabaseError:
    diagnostics: Any = error.diag
    return _kind(error, diagnostics)(
        (diagnostics.message_primary or str(error)).strip(),
        sqlstate=error.pgcode or "",
        schema=diagnostics.schema_name,
        table=diagnostics.table_name,
        constraint=diagnostics.constraint_name,
        column=diagnostics.column_name,
        detail=diagnostics.message_detail,
    )


def _kind(error: psycopg2.Error, diagnostics: Any) -> type[DatabaseError]:
    if not error.pgcode:  # the connection was refused or cut, or is closed already
        lost = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return DatabaseUnavailable if lost else SchemaMismatch
    return kind(
        error.pgcode,
        # Whatever the last words were: a server that closes the connection is going down.
        lost=error.cursor is not None and bool(error.cursor.connection.closed),
        function=diagnostics.source_function or "",
        file=diagnostics.source_file or "",
    )
