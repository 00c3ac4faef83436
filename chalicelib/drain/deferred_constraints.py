"""Transactions that are done again: where deferred constraints are violated only at COMMIT, and
where a server without savepoints has refused a part."""

from collections.abc import Callable
from typing import TypeVar

from chalicelib.errors import OutOfTime, RefusedByDatabase, SchemaMismatch
from chalicelib.postgres.connecting.connection import Transaction, transaction
from chalicelib.postgres.connecting.parts import Parts, Undone
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.engine import engine_of
from chalicelib.postgres.sql.names import constraint_name

_Result = TypeVar("_Result")
_ALL = ("ALL",)


def run_committed(
    connection: Connection,
    deadline: float,
    work: Callable[[Transaction], _Result],
    seconds: float | None = None,
    most_undone: int | None = None,
) -> _Result:
    """Do the work in a transaction; returns its result once that is committed.

    The work sets bad rows aside; COMMIT cannot. So the work is done again where COMMIT finds that a
    deferred constraint is violated, with this constraint checked at once, so that the row shows.
    Others stay deferred: of two rows that refer to each other, one is without the other for a
    while. On a server without savepoints, the work is done again without what was refused, too.

    deadline: time.monotonic(). seconds: for one lock, and for COMMIT, if less. most_undone: how
    often parts of it may be refused. Raises DatabaseError; OutOfTime if that was too often.
    """
    at_once: tuple[str, ...] = ()
    parts = None if engine_of(connection).savepoints else Parts()
    undone = 0
    while True:
        try:
            with transaction(
                connection, deadline, lock_seconds=seconds, commit_seconds=seconds, parts=parts
            ) as running:
                if at_once:
                    running.ahead(f"SET CONSTRAINTS {', '.join(at_once)} IMMEDIATE")
                return work(running)
        except Undone:
            undone += 1
            if undone == most_undone:
                raise OutOfTime("less of it is done again in less time") from None
        except (RefusedByDatabase, SchemaMismatch) as error:
            if at_once == _ALL:
                raise
            name = constraint_name(error.schema, error.constraint)
            # A trigger may name a constraint that does not exist, or none.
            is_new = name not in ("", *at_once) and isinstance(error, RefusedByDatabase)
            at_once = (*at_once, name) if is_new else _ALL
