"""Databases with the tables of the proof, each cloned from one template."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import psycopg2

from chalicelib.migrate.handler import upgrade
from decanter.local.postgres import Postgres
from decanter.local.server import scratch_embedded
from decanter.proof import evidence
from decanter.proof.simulation.database import create_tables

ROLE = "proof_drain"
"""Of the drains; no superuser."""

SLOW = 777
"""The value of `a` with which a row of accounts takes as many seconds as its `b` says."""

_TEMPLATE = "proof_template"
_PASSWORD = "proof"  # noqa: S105 - of a server that only this process knows, on loopback

_SLOW_ROWS = f"""
    CREATE FUNCTION proof.take_time() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.a = {SLOW} THEN PERFORM pg_sleep(NEW.b / 1000.0); END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER take_time BEFORE INSERT OR UPDATE ON accounts
        FOR EACH ROW EXECUTE FUNCTION proof.take_time()
"""

# One round of hashing makes thousands of connections cheap.
_MAKE_ROLE = f"""
    SET scram_iterations = 1;
    CREATE ROLE {ROLE} LOGIN PASSWORD '{_PASSWORD}'
"""
_GRANT = f"""
    GRANT USAGE ON SCHEMA decanter, proof TO {ROLE};
    GRANT ALL ON ALL TABLES IN SCHEMA public, decanter TO {ROLE};
    GRANT ALL ON ALL SEQUENCES IN SCHEMA public, decanter TO {ROLE};
"""


# Rows before their parents; the evidence of this last. The ledger has no leaves here.
_EMPTY = "; ".join(
    f"DELETE FROM {name}"
    for name in (
        "decanter.ledger_rest", "decanter.rejection", "decanter.waiting", "decanter.made_key",
        "entries", "accounts", "events", "proof.effect",
    )
)  # fmt: skip
_END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_PAUSE_SECONDS = 0.005


class ReusedDatabase:
    """A database, with a connection of its owner. drain_url: what drains log in with."""

    def __init__(self, server: Postgres, name: str) -> None:
        self._url = server.url(name)
        self.drain_url = f"postgresql://{ROLE}:{_PASSWORD}@{server.address}/{name}?sslmode=disable"
        self._connection: Any = None

    def execute(self, statement: str, parameters: Sequence[Any] | None = None) -> list[Any]:
        """Execute a statement as the owner, in autocommit, and return its rows. A connection that
        is lost is made again."""
        for is_last in (False, True):
            try:
                return self._execute(statement, parameters)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                self.close()
                if is_last:
                    raise
        raise AssertionError("unreachable")

    def connected(self) -> Any:
        """Another connection of the owner, which the caller closes."""
        return psycopg2.connect(self._url)

    def empty(self) -> None:
        """End all other sessions, and delete all rows."""
        while self.execute(_END_OTHERS):
            time.sleep(_PAUSE_SECONDS)
        self.execute(_EMPTY)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _execute(self, statement: str, parameters: Sequence[Any] | None) -> list[Any]:
        if self._connection is None:
            self._connection = self.connected()
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


@dataclass(frozen=True)
class Databases:
    """The databases of a server, which are used again."""

    server: Postgres
    _free: list[ReusedDatabase] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def prepare(self) -> None:
        """Make the template."""
        with closing(ReusedDatabase(self.server, "postgres")) as owner:
            # The data need to survive Postgres' end, not the machine's.
            owner.execute("ALTER SYSTEM SET fsync = off")
            owner.execute("ALTER SYSTEM SET full_page_writes = off")
            owner.execute("SELECT pg_reload_conf()")
        self.server.ensure_database(_TEMPLATE)
        url = self.server.url(_TEMPLATE)
        upgrade(url, "decanter@head")
        with closing(psycopg2.connect(url)) as connection:
            cursor = connection.cursor()
            # The role has the name of the ledger's schema.
            cursor.execute("SET search_path = public")
            create_tables(cursor)
            evidence.install(cursor)
            for statements in (_SLOW_ROWS, _MAKE_ROLE, _GRANT):
                cursor.execute(statements)
            connection.commit()

    def create(self) -> ReusedDatabase:
        """A new database."""
        name = f"proof_{next(self._numbers)}"
        with closing(ReusedDatabase(self.server, "postgres")) as owner:
            owner.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return ReusedDatabase(self.server, name)

    @contextmanager
    def database(self) -> Iterator[ReusedDatabase]:
        """An empty database, which is used again afterwards unless the block fails."""
        found = self._free.pop() if self._free else self.create()
        try:
            yield found
            found.empty()
            self._free.append(found)
        except BaseException:
            found.close()
            raise


@contextmanager
def databases() -> Iterator[Databases]:
    """Databases on a server of their own, which is removed with them."""
    with scratch_embedded("faults") as server:
        made = Databases(server)
        made.prepare()
        try:
            yield made
        finally:
            for each in made._free:
                each.close()
