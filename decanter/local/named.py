"""The Postgres of DECANTER_POSTGRES_URL, in place of the embedded one.

It may be shared. All that is created on it, roles included, has a unique mark in its name, and
nothing without that mark is ever altered or dropped.
"""

import re
import secrets
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from chalicelib.errors import NotConfigured
from chalicelib.settings import ROLES
from decanter import POSTGRES_URL

NAME = "local cloud"  # application_name of its connections
DATABASE = "decanter"
OLDEST = 16
"""Oldest version of Postgres that runs the statements of Decanter (pg_input_is_valid)."""

BUILTIN_LOCALE = 17
"""The first version of Postgres that needs no locale of the system."""

_CURES = {
    "authentication failed|no password|role .* does not exist|pg_hba": (
        "Correct role and password; percent-encode / @ : % in them."
    ),
    "does not support SSL|SSL|certificate": (
        "Set sslmode and sslrootcert to verify its certificate; for a server on this machine,"
        " sslmode=disable will do."
    ),
    "database .* does not exist": "Name an existing database, such as postgres.",
}
_CURE = "Start it, or correct the URL: postgresql://role:password@host:port/postgres."


class PostgresError(Exception):
    """Postgres cannot be used; the message says why, and what to do."""


@dataclass(frozen=True)
class NamedPostgres:
    """The server at a libpq URL. mark: suffix of the names of all that is created there."""

    server: str
    mark: str

    log = None  # not on this machine, or not known

    def url(self, database: str = DATABASE) -> str:
        """Return the libpq URL of a marked database."""
        return self._url(self._marked(database))

    def start(self) -> None:
        """Check that a local cloud can use it. Raise PostgresError with the cure."""
        self.check("CREATEROLE")
        self.ensure_database(DATABASE)

    def stop(self) -> None:
        """Leave it running, since others may use it."""

    def is_running(self) -> bool:
        try:
            self.check()
        except PostgresError:
            return False
        return True

    def check(self, *attributes: str) -> None:
        """Check its version, CREATEDB and other attributes of its role. Raise PostgresError."""
        with closing(self._connect()) as connection:
            version = connection.server_version
            if version < OLDEST * 10_000:
                raise PostgresError(
                    f"The Postgres of {POSTGRES_URL} is version {version // 10_000}, and Decanter"
                    f" needs {OLDEST} or newer. Name another one."
                )
            with connection.cursor() as cursor:
                for attribute in ("CREATEDB", *attributes):
                    cursor.execute(
                        f"SELECT current_user, rol{attribute} OR rolsuper FROM pg_roles"  # noqa: S608
                        " WHERE rolname = current_user"
                    )
                    role, has_it = cursor.fetchone()
                    if not has_it:
                        raise PostgresError(
                            f"The role {role} of {POSTGRES_URL} lacks {attribute}. Have a superuser"
                            f' run ALTER ROLE "{role}" {attribute}, or name another role.'
                        )

    def ensure_database(self, name: str = DATABASE) -> None:
        """Create an empty, marked database unless it exists."""
        with closing(self._connect()) as connection:
            create_database(connection, self._marked(name))

    def drop(self) -> None:
        """Drop every database with the mark, and the roles created for it."""
        from psycopg2 import sql

        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT datname FROM pg_database WHERE right(datname, %s) = %s",
                (len(self.mark) + 1, f"_{self.mark}"),
            )
            for (name,) in cursor.fetchall():
                drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
                cursor.execute(drop)
            # The names that role_names gives, in turn.
            kinds = "|".join(ROLES)
            cursor.execute(
                "SELECT rolname FROM pg_roles WHERE rolname ~ %s",
                (f"_{self.mark}_({kinds})(_2)?$",),
            )
            for (role,) in cursor.fetchall():
                cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))

    @property
    def address(self) -> str:
        """Host and port."""
        parts = self._parts()
        return f"{parts.get('host') or parts.get('hostaddr')}:{parts.get('port', '5432')}"

    def _marked(self, name: str) -> str:
        suffix = f"_{self.mark}"
        return name if name.endswith(suffix) else name[:40] + suffix

    def _url(self, database: str) -> str:
        split = urlsplit(self.server)
        query = [each for each in parse_qsl(split.query) if each[0] != "dbname"]
        kept = urlencode(query, quote_via=quote)
        return split._replace(path=f"/{quote(database, safe='')}", query=kept).geturl()

    def _parts(self) -> dict[str, str]:
        from chalicelib.postgres.connecting import access

        try:
            if not self.server.startswith(("postgresql://", "postgres://")):
                raise NotConfigured("DECANTER_DATABASE_URL is not a URL of libpq: " + _CURE)
            parts = access.url_parts(self.server)
        except NotConfigured as error:
            raise PostgresError(str(error).replace("DECANTER_DATABASE_URL", POSTGRES_URL)) from None
        if parts.keys().isdisjoint(("host", "hostaddr")) or "user" not in parts:
            raise PostgresError(f"{POSTGRES_URL} names no host or no role: {_CURE}")
        return parts

    def _connect(self) -> Any:
        """Connect to the database that the URL names, in autocommit. Raise PostgresError."""
        from chalicelib.errors import DatabaseError
        from chalicelib.postgres.connecting import session

        database = self._parts().get("dbname", "postgres")
        try:
            connection = session.opened(self._url(database), NAME, connect_timeout=10)
        except NotConfigured as error:
            raise PostgresError(f"{POSTGRES_URL}: {error}") from None
        except DatabaseError as error:
            message = _one_line(error)
            cure = next((cure for kind, cure in _CURES.items() if re.search(kind, message)), _CURE)
            raise PostgresError(
                f"The Postgres of {POSTGRES_URL} cannot be used: {message}. {cure}"
            ) from None
        connection.autocommit = True
        return connection


def execute(url: str, sql: str, values: tuple[Any, ...] | None = None) -> list[Any]:
    """Execute a statement in autocommit; return its rows. Raise DatabaseError."""
    from chalicelib.postgres.connecting import session

    with closing(session.opened(url, NAME)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []


def create_database(connection: Any, name: str) -> None:
    """Create an empty database unless it exists. connection: in autocommit. Raise PostgresError."""
    from psycopg2 import Error, errors, sql

    # Not from template1, in which there may be tables and extensions.
    create = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'"
    if connection.server_version >= BUILTIN_LOCALE * 10_000:
        create += " LOCALE_PROVIDER builtin LOCALE 'C' BUILTIN_LOCALE 'C.UTF-8'"
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
        if cursor.fetchone() is not None:
            return
        try:
            cursor.execute(sql.SQL(create).format(sql.Identifier(name)))
        except errors.DuplicateDatabase:
            return  # another process was faster
        except Error as error:
            raise PostgresError(f"{name} cannot be created: {_one_line(error)}") from error


def new_mark() -> str:
    return secrets.token_hex(4)


def load_mark(file: Path) -> str:
    """Return the mark in a file, which is created if it is missing. Raise PostgresError if the file
    is damaged: a truncated mark would match databases of others."""
    if not file.exists():
        beside = file.with_suffix(".new")
        beside.write_text(new_mark())
        beside.replace(file)
    mark = file.read_text().strip()
    if not re.fullmatch("[0-9a-f]{8}", mark):
        raise PostgresError(
            f"{file} should hold the eight hexadecimal digits that end the names of this folder's"
            f" databases, but holds {mark!r}. Write them there (psql --list shows them), or remove"
            " the file to start with new databases."
        )
    return mark


def _one_line(error: Exception) -> str:
    """Return the message of libpq or the server in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines).rstrip(".")
