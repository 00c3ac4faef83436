"""The connection of a migration: the owner's, wrapped for SQLAlchemy and Alembic."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Connection, StaticPool, create_engine

from chalicelib.postgres import progress
from chalicelib.postgres.connecting import session
from chalicelib.postgres.connecting.conflicts import RedoingCursor
from chalicelib.postgres.engine import engine_of
from chalicelib.postgres.errors import translated

SCHEMA = "decanter"
"""Postgres schema of everything that is Decanter's own, the version table included."""

VERSION_TABLE = "alembic_version"
"""Of the revisions that a database has."""

_ADVISORY_LOCK = 0x6465_6361_6E74_6572  # "decanter" in ASCII
_WAIT_FOR_OTHER_MIGRATION = "60s"
_LOCK_TIMEOUT = "10s"
"""A pending table lock holds up every later query on that table: give up soon."""

_STATEMENT_TIMEOUT, _LONGEST = "14min", "15min"
"""A function ends at its timeout, after 15 minutes at most."""


@contextmanager
def locked(database_url: str) -> Iterator[Connection]:
    """A connection under a lock that only one migration can hold, with timeouts set.

    The lock is the session's, or a lease in `connection.info["lease"]`. Raises LockNotAvailable.
    """
    with connected(database_url, _prepare) as connection:
        own = driver(connection)
        if engine_of(own).advisory_locks:
            yield connection
            return
        lease = connection.info["lease"] = progress.Lease(own)
        lease.take()
        try:
            yield connection
        finally:
            if not own.closed:
                lease.release()


@contextmanager
def connected(
    database_url: str, prepare: Callable[[session.Connection], None] | None = None
) -> Iterator[Connection]:
    """A connection of the owner's, prepared by a function."""
    settings = {**session.SETTINGS, "idle_in_transaction_session_timeout": _LONGEST}
    own = session.opened(database_url, "decanter migrate", settings, cursor_factory=RedoingCursor)
    with closing(own) as connection:
        connection.autocommit = engine_of(connection).ddl_apart
        if prepare is not None:
            with translated():
                prepare(connection)
        # The engine knows no URL, so that no message of SQLAlchemy's can show it.
        engine = create_engine(
            "postgresql+psycopg2://",
            creator=lambda: connection,
            poolclass=StaticPool,
            use_native_hstore=False,  # else the driver looks for it, by a cursor of its own
        )
        with engine.connect() as wrapped:
            if connection.autocommit:
                wrapped = wrapped.execution_options(isolation_level="AUTOCOMMIT")
            yield wrapped


def driver(connection: Connection) -> session.Connection:
    """The driver's connection within SQLAlchemy's."""
    found: Any = connection.connection.dbapi_connection
    return found  # type: ignore[no-any-return]


def _prepare(connection: session.Connection) -> None:
    engine = engine_of(connection)
    connection.autocommit = True
    with connection.cursor() as cursor:
        if engine.advisory_locks:
            cursor.execute("SET lock_timeout = %s", (_WAIT_FOR_OTHER_MIGRATION,))
            cursor.execute("SELECT pg_advisory_lock(%s)", (_ADVISORY_LOCK,))
            cursor.execute("SET lock_timeout = %s", (_LOCK_TIMEOUT,))
            cursor.execute("SET statement_timeout = %s", (_STATEMENT_TIMEOUT,))
        # CREATE SCHEMA IF NOT EXISTS needs the right even if the schema exists.
        cursor.execute("SELECT to_regnamespace(%s) IS NULL", (SCHEMA,))
        if cursor.fetchone() == (True,):
            # Without a lock, another migration may create it just now.
            unless = "" if engine.advisory_locks else "IF NOT EXISTS "
            cursor.execute(f"CREATE SCHEMA {unless}{SCHEMA}")
            session.settle_path(connection)
    if not engine.advisory_locks:
        progress.prepare(connection)
    connection.autocommit = engine.ddl_apart
