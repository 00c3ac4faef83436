"""The only place where driver errors are translated: the meaning of each SQLSTATE.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2

from chalicelib.errors import (
    DatabaseError,
    DatabaseUnavailable,
    ErrorKind,
    InternalError,
    LockNotAvailable,
    RefusedByDatabase,
    SchemaMismatch,
    TransactionConflict,
)

LEDGER_EXTENDED = "ledger_rest_ahead"
"""The constraint that refuses a message while partitions are added to the ledger: as if it had met
a lock, so it is poured when it comes again. See `partitions`."""

_LOCKED = "55P03"
_CONFLICTS = ("40001", "OC")  # the codes of Aurora DSQL begin with OC

# Errors that another connection, or another try later, may avoid.
_UNAVAILABLE = (
    "08",
    "25",  # the transaction's state, which a pooler may have mixed up; a read-only server
    "26", "42P05",  # prepared statements of other clients of a pooler
    "3B",
    "40",
    "53",
    "55006", _LOCKED,
    "57",
    "58",
    "72",
    "F0",
    "HV001", "HV00L", "HV00M", "HV00N",  # the server of a foreign table is unavailable
)  # fmt: skip

_INTERNAL = "XX"

# All other classes are about the data. Classes that Postgres does not have are triggers'.
_MISMATCH = ("0", "24", "28", "2B", "2D", "34", "3D", "3F", "42", "55", "HV")

_NO_RIGHT = "42501"
_POLICY = "ExecWithCheckOptions"  # where a row-level policy refuses a row

_RAISED = "exec_stmt_raise"  # RAISE in a function, which may use any SQLSTATE
_LIMIT = "54000"
_TOO_MUCH = re.compile(r"transaction\b.*\blimit\b")
"""A message of Aurora DSQL, where a transaction changes more than it may, or takes longer: parts of
it may do less."""
_NO_NUMBERS_LEFT = ("varsup.c", "multixact.c")  # for transactions: somebody has to vacuum first
# What a worker of Citus has refused says where it was in its message alone.
_REPORTED, _OF_POLICY = "ReportResultError", "row-level security policy"
_MEMORY = "mcxt.c"  # where a value needs more than a gigabyte
_INTERNAL_ERROR, _NO_MEMORY = "XX000", "invalid memory alloc request size"

_KINDS: Mapping[str, ErrorKind] = {
    "23001": "still-referenced",  # ON DELETE RESTRICT, since Postgres 18
    "23502": "null",
    "23503": "missing-parent",  # or still referenced
    "23505": "conflict",
    "23P01": "exclusion",  # a conflict as well
    "25001": "outside-transaction",  # a statement that runs only there
    _NO_RIGHT: "no-right",
    "42725": "no-operator",  # there is no such comparison or order, or not one alone
    "42883": "no-operator",
    _LIMIT: "too-large",  # a text of a gigabyte
    "55P04": "new-label",  # of an enum, used in the transaction that adds it
    "57014": "cancelled",  # by a timeout, or by somebody
}
_KINDS_BY_CLASS: Mapping[str, ErrorKind] = {
    "21": "unsupported",
    "22": "value",
    "23": "check",
    "42": "unsupported",
    "44": "check",
    "54": "unsupported",
}
_SHOWS_A_ROW = ("23502", "23514", "23P01")  # in the detail: a whole row, or another client's

_CHANGED_BEFORE = frozenset(
    {
        *("42P06", "42P07", "42701", "42710", "42723"),  # a schema, relation, column, …, function
        "55000",  # an index that is that of its constraint
        *("42P01", "42703", "42704", "42883"),  # what is gone
    }
)
_NOT_SUPPORTED = "0A000"


@contextmanager
def translated() -> Iterator[None]:
    """Driver errors → DatabaseError."""
    try:
        yield
    except psycopg2.Error as error:
        raise _translate(error) from error


def changed_before(error: DatabaseError) -> bool:
    """Whether a statement that changes the schema was refused because what it makes is there, or
    what it drops is gone."""
    return error.sqlstate in _CHANGED_BEFORE


def is_unsupported(error: DatabaseError) -> bool:
    """Whether the server has no such statement."""
    return error.sqlstate == _NOT_SUPPORTED


def invalid_value(reason: str) -> RefusedByDatabase:
    """The error of Postgres for an invalid value that does not reach Postgres."""
    return RefusedByDatabase(reason, kind="value", sqlstate="22023")


def kind(error: BaseException | None) -> ErrorKind:
    """The kind of an error of the driver."""
    sqlstate = getattr(error, "pgcode", None) or ""
    if sqlstate == _INTERNAL_ERROR and str(error).startswith(_NO_MEMORY):
        return "out-of-memory"
    return _KINDS.get(sqlstate) or _KINDS_BY_CLASS.get(sqlstate[:2], "other")


def error_class(
    sqlstate: str, *, lost: bool = False, function: str = "", file: str = "", message: str = ""
) -> type[DatabaseError]:
    """The class of an error of the server. lost: whether the connection is lost. function, file: of
    the server's source, where the error was raised."""
    if lost:
        return DatabaseUnavailable
    if sqlstate == _LOCKED:
        return LockNotAvailable
    if sqlstate == _LIMIT and _TOO_MUCH.match(message):
        return InternalError
    is_unavailable = sqlstate.startswith(_UNAVAILABLE) or (
        sqlstate == _LIMIT and file in _NO_NUMBERS_LEFT
    )
    if function == _RAISED:
        # It may raise a transient error for ever.
        return InternalError if is_unavailable else RefusedByDatabase
    if sqlstate.startswith(_CONFLICTS):
        return TransactionConflict
    if is_unavailable:
        return DatabaseUnavailable
    if sqlstate == _NO_RIGHT and function == _POLICY:
        return RefusedByDatabase
    if sqlstate.startswith(_INTERNAL):
        return RefusedByDatabase if file == _MEMORY else InternalError
    return SchemaMismatch if sqlstate.startswith(_MISMATCH) else RefusedByDatabase


def _translate(error: psycopg2.Error) -> DatabaseError:
    found = _translated(error)
    engine = getattr(error.cursor.connection, "engine", None) if error.cursor else None
    if engine is None or engine.names_in_errors:
        return found
    from chalicelib.postgres import shard_names  # which needs the models

    return shard_names.restored(found)


def _raised_in(diagnostics: Any) -> str:
    """The function of the server's source that raised an error."""
    function = str(diagnostics.source_function or "")
    if function == _REPORTED and _OF_POLICY in (diagnostics.message_primary or ""):
        return _POLICY
    return function


def _translated(error: psycopg2.Error) -> DatabaseError:
    diagnostics: Any = error.diag
    sqlstate = error.pgcode or ""
    # Whatever the error: a server that closes the connection is going down.
    lost = error.cursor is not None and bool(error.cursor.connection.closed)
    function, file = _raised_in(diagnostics), diagnostics.source_file or ""
    found: type[DatabaseError]
    if diagnostics.constraint_name == LEDGER_EXTENDED:
        found = LockNotAvailable
    elif sqlstate:
        message = diagnostics.message_primary or ""
        found = error_class(sqlstate, lost=lost, function=function, file=file, message=message)
    elif isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        found = DatabaseUnavailable  # the connection was refused or cut, or is closed already
    else:
        found = SchemaMismatch
    return found(
        (diagnostics.message_primary or str(error)).strip(),
        kind=kind(error),
        sqlstate=sqlstate,
        schema=diagnostics.schema_name,
        table=diagnostics.table_name,
        constraint=diagnostics.constraint_name,
        column=diagnostics.column_name,
        detail=None if sqlstate in _SHOWS_A_ROW else diagnostics.message_detail,
    )
