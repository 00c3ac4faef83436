"""A Postgres that the user names, with DECANTER_POSTGRES_URL, in place of the embedded one.

It may be shared. What is made on it has a mark in its name that nobody else has, roles of databases
included, and nothing without that mark is ever altered or dropped.
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

NAME = "local cloud"  # of its connections
DATABASE = "decanter"
OLDEST = 16
"""Version of Postgres that has all that our statements use; pg_input_is_valid is the youngest."""

_BUILTIN_LOCALE = 170_000  # the version that brought it
_CURES = {
    "authentication failed|no password|role .* does not exist|pg_hba": (
        "Correct its role and password; / @ : % in them are percent-encoded."
    ),
    "does not support SSL|SSL|certificate": (
        "Say with sslmode and sslrootcert how its certificate is verified; a server on this machine"
        " may have sslmode=disable."
    ),
    "database .* does not exist": "Name a database that is there, such as postgres.",
}
_CURE = "Start it, or correct the URL: postgresql://role:password@host:port/postgres."


class PostgresError(Exception):
    """Postgres cannot be used: why, and what to do."""


@dataclass(frozen=True)
class NamedPostgres:
    """The server at a URL of libpq. mark: ends the names of what is made there."""

    server: str
    mark: str

    log = None  # its own, somewhere

    def url(self, database: str = DATABASE) -> str:
        """The libpq URL of a database of ours."""
        return self._url(self._marked(database))

    def start(self) -> None:
        """See that it can be used by a local cloud. Raises PostgresError with the cure."""
        self.check("rolcreaterole", "CREATEROLE")
        self.ensure_database(DATABASE)

    def stop(self) -> None:
        """It goes on; others use it."""

    def is_running(self) -> bool:
        try:
            self.check()
        except PostgresError:
            return False
        return True

    def check(self, power: str = "rolcreatedb", word: str = "CREATEDB") -> None:
        """Whether it is there, new enough, and lets us make databases. Raises PostgresError."""
        with closing(self._opened()) as connection:
            version = connection.server_version
            if version < OLDEST * 10_000:
                raise PostgresError(
                    f"The Postgres of {POSTGRES_URL} is version {version // 10_000}, and Decanter"
                    f" needs {OLDEST} or newer. Name another one."
                )
            with connection.cursor() as cursor:
                for column, needed in {"rolcreatedb": "CREATEDB", power: word}.items():
                    cursor.execute(
                        f"SELECT current_user, {column} OR rolsuper FROM pg_roles"  # noqa: S608
                        " WHERE rolname = current_user"
                    )
                    role, may = cursor.fetchone()
                    if not may:
                        raise PostgresError(
                            f"The role {role} of {POSTGRES_URL} lacks {needed}. Have a superuser"
                            f' run ALTER ROLE "{role}" {needed}, or name another role.'
                        )

    def ensure_database(self, name: str = DATABASE) -> None:
        """Create a database of ours unless it exists, with nothing in it."""
        from psycopg2 import Error, errors, sql

        with closing(self._opened()) as connection, connection.cursor() as cursor:
            marked = self._marked(name)
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (marked,))
            if cursor.fetchone() is not None:
                return
            # Not template1, in which others may have put tables and extensions.
            create = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'"
            if connection.server_version >= _BUILTIN_LOCALE:
                create += " LOCALE_PROVIDER builtin LOCALE 'C' BUILTIN_LOCALE 'C.UTF-8'"
            try:
                cursor.execute(sql.SQL(create).format(sql.Identifier(marked)))
            except errors.DuplicateDatabase:
                return  # another process was faster
            except Error as error:
                raise PostgresError(f"{marked} cannot be made there: {_said(error)}") from error

    def drop(self) -> None:
        """Drop every database with our mark, and the roles that were made for it."""
        from psycopg2 import sql

        with closing(self._opened()) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT datname FROM pg_database WHERE right(datname, %s) = %s",
                (len(self.mark) + 1, f"_{self.mark}"),
            )
            for (name,) in cursor.fetchall():
                gone = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
                cursor.execute(gone)
            # As role_names calls them, by turns.
            kinds = "|".join(ROLES)
            cursor.execute(
                "SELECT rolname FROM pg_roles WHERE rolname ~ %s",
                (f"_{self.mark}_({kinds})(_2)?$",),
            )
            for (role,) in cursor.fetchall():
                cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))

    @property
    def place(self) -> str:
        """Host and port."""
        parts = self._parts()
        return f"{parts.get('host') or parts.get('hostaddr')}:{parts.get('port', '5432')}"

    def _marked(self, name: str) -> str:
        end = f"_{self.mark}"
        return name if name.endswith(end) else name[:40] + end

    def _url(self, database: str) -> str:
        split = urlsplit(self.server)
        query = [each for each in parse_qsl(split.query) if each[0] != "dbname"]
        kept = urlencode(query, quote_via=quote)
        return split._replace(path=f"/{quote(database, safe='')}", query=kept).geturl()

    def _parts(self) -> dict[str, str]:
        from chalicelib.postgres.connecting import access

        try:
            if not self.server.startswith(("postgresql://", "postgres://")):
                raise NotConfigured("DECANTER_DATABASE_URL is no URL of libpq: " + _CURE)
            parts = access.url_parts(self.server)
        except NotConfigured as error:
            raise PostgresError(str(error).replace("DECANTER_DATABASE_URL", POSTGRES_URL)) from None
        if parts.keys().isdisjoint(("host", "hostaddr")) or "user" not in parts:
            raise PostgresError(f"{POSTGRES_URL} names no host, or no role: {_CURE}")
        return parts

    def _opened(self) -> Any:
        """A connection to the database that the URL names, in autocommit."""
        from chalicelib.errors import DatabaseError
        from chalicelib.postgres.connecting import session

        database = self._parts().get("dbname", "postgres")
        try:
            connection = session.opened(self._url(database), NAME, connect_timeout=10)
        except NotConfigured as error:
            raise PostgresError(f"{POSTGRES_URL}: {error}") from None
        except DatabaseError as error:
            said = _said(error)
            cure = next((cure for kind, cure in _CURES.items() if re.search(kind, said)), _CURE)
            raise PostgresError(
                f"The Postgres of {POSTGRES_URL} cannot be used: {said}. {cure}"
            ) from None
        connection.autocommit = True
        return connection


def new_mark() -> str:
    return secrets.token_hex(4)


def kept_mark(file: Path) -> str:
    """The mark in a file, made if there is none. Raises PostgresError: with half a mark, databases
    of others would be taken for ours."""
    if not file.exists():
        beside = file.with_suffix(".new")
        beside.write_text(new_mark())
        beside.replace(file)
    mark = file.read_text().strip()
    if not re.fullmatch("[0-9a-f]{8}", mark):
        raise PostgresError(
            f"{file} should hold the eight hexadecimal digits in which the names of the databases"
            f" of this folder end, and holds {mark!r}. Write them into it (psql --list shows them),"
            " or remove it to begin with new databases."
        )
    return mark


def _said(error: Exception) -> str:
    """What libpq or the server says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines).rstrip(".")
