"""Settling: to make visible what was committed, on servers that may show it later than they answer.

A COMMIT on several workers of Citus is decided by the coordinator. A worker that was not reached
shows its part once that is recovered, which Citus does by itself each minute.
"""

from chalicelib.postgres.connecting.connection import Transaction, transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.engine import engine_of

MADE = """
    CREATE OR REPLACE FUNCTION decanter.settle() RETURNS int
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
    AS 'SELECT pg_catalog.recover_prepared_transactions()'
"""
"""The function, which runs with the rights of the owner: only a superuser may recover. Who may use
the schema may call it; it changes nothing that was not committed."""

_SETTLE = "SELECT decanter.settle()"

_settled: set[Connection] = set()


class Unsettled(Exception):
    """A rejection is due, but what was committed before may not be visible yet."""


def require(running: Transaction) -> None:
    """Raises Unsettled where a rejection would be premature."""
    if running.engine.settles_before_rejecting and running.connection not in _settled:
        raise Unsettled


def settle(connection: Connection, deadline: float) -> None:
    """Make visible what was committed; after that, rejections may be kept until `unsettle`. Raises
    DatabaseError."""
    with transaction(connection, deadline) as running:
        running.execute(_SETTLE)
    _settled.add(connection)


def unsettle(connection: Connection) -> None:
    """What is committed from now on may again be visible late."""
    _settled.discard(connection)


def make(connection: Connection) -> None:
    """Make the function, if the engine needs it."""
    if engine_of(connection).settles_before_rejecting:
        with connection.cursor() as cursor:
            cursor.execute(MADE)
