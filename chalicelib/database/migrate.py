"""What the migrate function does: bring a database to the newest revisions.

Two branches of revisions, independent of each other, share one version table: `decanter` (the
ledger, shipped) and `models` (the tables of `chalicelib/models.py`, written by `make migration`).
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alembic.config import Config
    from psycopg2.extensions import connection as PsycopgConnection
    from sqlalchemy import Connection

SCHEMA = "decanter"
"""Postgres schema of everything that is Decanter's own, the version table included."""

VERSION_TABLE = "alembic_version"
FOLDER = Path(__file__).parent / "migrations"

_ADVISORY_LOCK = 0x6465_6361_6E74_6572  # "decanter" in ASCII
_WAIT_FOR_OTHER_MIGRATION = "60s"
_LOCK_TIMEOUT = "10s"
"""A table lock that is waited for holds up every later query on that table: give up soon."""

_STATEMENT_TIMEOUT = "14min"
"""A Lambda function ends after 15 minutes; a statement that it leaves behind would run on."""


def upgrade(database_url: str, target: str = "heads") -> dict[str, list[str]]:
    """Apply the revisions that are missing, one transaction each; only one caller at a time.

    database_url: libpq URL; it is neither logged nor part of an error. target: revision or branch,
    such as `decanter@head`.
    Returns {"applied": [revisions of this run, in order], "revisions": [where the database is]}.
    Raises psycopg2.OperationalError when the database is out of reach, and what a revision raises;
    those before it stay applied.
    """
    from alembic import command
    from alembic.migration import MigrationContext

    applied: list[str] = []

    def note(step: Any, **_: Any) -> None:
        applied.append(str(step.up_revision_id))

    with locked(database_url) as connection:
        command.upgrade(alembic_config(connection, on_version_apply=note), target)
        connection.rollback()
        context = MigrationContext.configure(
            connection,
            opts={"version_table": VERSION_TABLE, "version_table_schema": SCHEMA},
        )
        revisions = sorted(context.get_current_heads())
        connection.rollback()
    return {"applied": applied, "revisions": revisions}


def alembic_config(
    connection: "Connection | None" = None,
    *,
    folder: Path = FOLDER,
    on_version_apply: Callable[..., None] | None = None,
    **options: Any,
) -> "Config":
    """Alembic's configuration, for a folder laid out like `migrations/`. options: for env.py."""
    from alembic.config import Config

    config = Config()
    for name, value in {
        "script_location": str(folder),
        "path_separator": "newline",
        "version_locations": "\n".join(
            str(folder / "versions" / branch) for branch in ("decanter", "models")
        ),
    }.items():
        config.set_main_option(name, value.replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["options"] = {
        **options,
        **({"on_version_apply": on_version_apply} if on_version_apply else {}),
    }
    return config


@contextmanager
def locked(database_url: str) -> "Iterator[Connection]":
    """A connection that no other migration has: under a session lock, with timeouts set."""
    import psycopg2
    from sqlalchemy import StaticPool, create_engine

    with closing(psycopg2.connect(database_url, application_name="decanter migrate")) as connection:
        _prepare(connection)
        # The engine has no URL of its own, so that no message of SQLAlchemy's can tell it.
        engine = create_engine(
            "postgresql+psycopg2://", creator=lambda: connection, poolclass=StaticPool
        )
        with engine.connect() as wrapped:
            yield wrapped


def _prepare(connection: "PsycopgConnection") -> None:
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = %s", (_WAIT_FOR_OTHER_MIGRATION,))
        cursor.execute("SELECT pg_advisory_lock(%s)", (_ADVISORY_LOCK,))
        cursor.execute("SET lock_timeout = %s", (_LOCK_TIMEOUT,))
        cursor.execute("SET statement_timeout = %s", (_STATEMENT_TIMEOUT,))
        # Asked first: CREATE SCHEMA IF NOT EXISTS needs the privilege even when there is one.
        cursor.execute("SELECT to_regnamespace(%s) IS NULL", (SCHEMA,))
        if cursor.fetchone() == (True,):
            cursor.execute(f"CREATE SCHEMA {SCHEMA}")
        # The default search path begins with the schema that is named like the role: a role called
        # decanter would make the user's tables beside the ledger.
        cursor.execute("SELECT current_schema() = %s", (SCHEMA,))
        if cursor.fetchone() == (True,):
            cursor.execute("SET search_path = public")
    connection.autocommit = False
