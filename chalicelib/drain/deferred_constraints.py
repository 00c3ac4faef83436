"""Transactions whose deferred constraints are violated only at COMMIT."""

from collections.abc import Callable
from typing import TypeVar

from chalicelib.errors import RefusedByDatabase, SchemaMismatch
from chalicelib.postgres.connecting.connection import Transaction, transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.sql.names import constraint_name

_Found = TypeVar("_Found")
_ALL = ("ALL",)


def run_committed(
    connection: Connection,
    deadline: float,
    work: Callable[[Transaction], _Found],
    seconds: float | None = None,
) -> _Found:
    """What the work returns, once it is committed. It sets bad rows aside by itself; COMMIT cannot.

    A deferred constraint that turns out to be violated is checked at once the next time, so that it
    shows its row; the others are not, because rows that need each other across two tables violate
    one of theirs until both are there. deadline: time.monotonic(). seconds: for one lock, and for
    COMMIT, if less. Raises DatabaseError.
    """
    at_once: tuple[str, ...] = ()
    while True:
        try:
            with transaction(
                connection, deadline, lock_seconds=seconds, commit_seconds=seconds
            ) as running:
                if at_once:
                    running.ahead(f"SET CONSTRAINTS {', '.join(at_once)} IMMEDIATE")
                return work(running)
        except (RefusedByDatabase, SchemaMismatch) as error:
            if at_once == _ALL:
                raise
            name = constraint_name(error.schema, error.constraint)
            # A trigger may name a constraint that there is not, or none.
            is_new = name not in ("", *at_once) and isinstance(error, RefusedByDatabase)
            at_once = (*at_once, name) if is_new else _ALL
