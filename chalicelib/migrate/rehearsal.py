"""Rehearsals: revisions applied in a transaction that is rolled back, to see what they change.

A statement that runs only outside of a transaction is left out if it changes no table (an index
that is built or dropped CONCURRENTLY); a revision with any other cannot be rehearsed.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError

from chalicelib.errors import ErrorKind, MigrationRefused
from chalicelib.postgres.errors import kind
from chalicelib.postgres.relations import Relation, tables

_LOCK_TIMEOUT = "5s"
_STATEMENT_TIMEOUT = "1min"

_INDEX = re.compile(
    r"\s*(CREATE\s+(UNIQUE\s+)?INDEX|DROP\s+INDEX|REINDEX)\b.*\bCONCURRENTLY\b", re.I
)
_ENDS = re.compile(
    r"(^|;)\s*(COMMIT|ROLLBACK(?!\s+TO)|ABORT|PREPARE\s+TRANSACTION|START\s+TRANSACTION"
    r"|BEGIN(?!\s+ATOMIC))\b",
    re.IGNORECASE,
)
_TEXTS = re.compile(
    r"\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL
)
_REASONS: Mapping[ErrorKind, str] = {
    "outside-transaction": "it has a statement that runs only outside of a transaction",
    "new-label": "it uses an enum label that it adds: add the label in a deployment before",
    "cancelled": f"it takes more than {_STATEMENT_TIMEOUT}",
}


def rehearse(
    connection: Connection, apply: Callable[[], None]
) -> tuple[list[Relation], list[Relation]]:
    """The tables before and after the revisions that `apply` applies to this connection.

    Nothing of that stays, but tables are locked meanwhile, as they will be by the migration. Raises
    MigrationRefused if revisions cannot be rehearsed, and the error of a revision.
    """
    left_out = False

    def before_statement(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> tuple[str, Any]:
        nonlocal left_out
        bare = _TEXTS.sub("''", statement)
        if _ENDS.search(bare):
            raise _cannot_rehearse("it ends its transaction")
        if _INDEX.match(bare):
            left_out = True
            return "SELECT", ()
        return statement, parameters

    def before_commit(_connection: Any) -> None:
        raise _cannot_rehearse("it ends its transaction")

    with connection.begin() as transaction:
        event.listen(connection, "before_cursor_execute", before_statement, retval=True)
        event.listen(connection, "commit", before_commit)
        try:
            cursor = connection.connection.cursor()
            cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            cursor.execute(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'")
            before = tables(cursor)
            apply()
            return before, tables(cursor)
        except DBAPIError as error:
            reason = _REASONS.get(kind(error.orig))
            if reason is None and left_out:
                reason = f"it needs an index that it builds concurrently ({error.orig})".strip()
            if reason is None:
                raise
            raise _cannot_rehearse(reason) from error
        finally:
            event.remove(connection, "before_cursor_execute", before_statement)
            event.remove(connection, "commit", before_commit)
            transaction.rollback()


def _cannot_rehearse(why: str) -> MigrationRefused:
    return MigrationRefused(
        "Messages are queued, and a revision cannot be rehearsed to see its effect on them:"
        f" {why}. Let the queues and dead-letter queues run empty, or force it."
    )
