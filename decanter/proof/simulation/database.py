"""The database of a simulation: a real Postgres whose `now()` is virtual time."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy import MetaData, Table

from chalicelib.postgres.engine import engine_of
from decanter.proof import evidence, tables
from decanter.proof.history import Effect, Snapshot, Values
from decanter.proof.simulation import nearby
from decanter.proof.simulation.container import EPOCH, LATER_REVISION, earlier_contract

SCHEMA = """
    CREATE FUNCTION proof.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
        SELECT to_timestamp(current_setting('proof.now')::float8)
    $$;
    CREATE FUNCTION proof.fail(state text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'by the simulation' USING ERRCODE = state;
    END $$
"""
"""The functions of virtual time, and of faults."""

CLOCK = f"extract(epoch FROM proof.now()) - {EPOCH}"
"""Virtual time, an SQL expression."""

_DEFAULTS = """
    SELECT format(
        'ALTER TABLE %s ALTER COLUMN %I SET DEFAULT proof.now()', adrelid::regclass, attname)
    FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE pg_get_expr(adbin, adrelid) = 'now()'
"""
_TRUNCATE = f"""
    TRUNCATE {", ".join(tables.KEYS)}, decanter.ledger, decanter.rejection, decanter.waiting,
        decanter.made_key, proof.effect RESTART IDENTITY
"""
_MIGRATE = "INSERT INTO decanter.alembic_version VALUES (%s)"
_UNMIGRATE = "DELETE FROM decanter.alembic_version WHERE version_num = %s"
_BLOCKED = "SELECT pid FROM unnest(%s::int[]) AS pid WHERE pg_blocking_pids(pid) <> '{}'"
_GONE_SECONDS = 30.0


class Database:
    """The simulation's own connections: to look, to interfere, and to hold locks."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._own = psycopg2.connect(url)
        self._own.autocommit = True
        self.engine = engine_of(self._own)
        self._other = psycopg2.connect(url)
        for each in (self._own, self._other):
            nearby.join(each.info.backend_pid)

    def close(self) -> None:
        self._own.close()
        self._other.close()

    def execute(self, statement: str, *values: Any) -> list[Any]:
        with self._own.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def reset(self) -> None:
        """Empty all tables, and end what another history has left."""
        self.release()
        self.set_read_only(False)
        self.execute(_TRUNCATE)
        self.execute(_UNMIGRATE, LATER_REVISION)

    def migrate(self) -> None:
        """Note the revision of a later contract; its tables are there from the beginning."""
        self.execute(_MIGRATE, LATER_REVISION)

    def snapshot(self) -> Snapshot:
        ((text,),) = self.execute("SELECT pg_current_snapshot()::text")
        return Snapshot.parse(text)

    def blocked(self, pids: Sequence[int]) -> set[int]:
        """Return the backends of these that wait for a lock."""
        return {pid for (pid,) in self.execute(_BLOCKED, list(pids))} if pids else set()

    def limits_waiting(self, _pid: int) -> bool:
        """Whether the wait of a backend for a lock has the limit that its transaction has set."""
        return True

    def lose_commit(self, how: str) -> None:
        """Have the next commit on another node be lost."""
        raise NotImplementedError(f"{how}: there are no other nodes")

    def recover(self) -> None:
        """Finish what was not settled among nodes."""

    def blockers(self, pid: int) -> list[int]:
        ((found,),) = self.execute("SELECT pg_blocking_pids(%s)", pid)
        return list(found)

    def pause(self, pid: int) -> None:
        """Stop a backend that waits for a lock, so that of several that are released at once one
        goes on at a time."""
        self._signal(pid, signal.SIGSTOP)

    def resume(self, pid: int) -> None:
        self._signal(pid, signal.SIGCONT)

    def _signal(self, pid: int, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # of a server elsewhere
            os.kill(pid, number)

    def cancel(self, pid: int) -> None:
        self.execute("SELECT pg_cancel_backend(%s)", pid)

    def terminate(self, pid: int) -> None:
        """End a backend, and wait until its transaction is rolled back."""
        self.execute("SELECT pg_terminate_backend(%s)", pid)
        self.resume(pid)
        self.await_end(pid)

    def await_end(self, pid: int) -> None:
        """Wait until a backend whose client is gone has ended."""
        asked = "SELECT FROM pg_stat_activity WHERE pid = %s"
        self._await(lambda: bool(self.execute(asked, pid)), f"the backend {pid}")

    def _await(self, is_there: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + _GONE_SECONDS
        while is_there():
            if time.monotonic() > until:
                raise RuntimeError(f"{what} does not end")
            time.sleep(0.0005)

    def lock(self, resource: str, key: str) -> None:
        """Hold the lock of a row, or of an unordered one's key, if nobody else does, until
        `release`."""
        if resource in tables.UNORDERED:
            return self._lock_key(resource, key)
        columns = dict(zip(tables.KEYS[resource], key.split(","), strict=True))
        where = " AND ".join(f"{name} = {int(value)}" for name, value in columns.items())
        with self._other.cursor() as cursor:
            cursor.execute(f"SELECT FROM {resource} WHERE {where} FOR UPDATE SKIP LOCKED")
        return None

    def _lock_key(self, resource: str, key: str) -> None:
        """Insert a row that is never committed, unless the key is being inserted."""
        with self._other.cursor() as cursor:
            cursor.execute("SAVEPOINT key")
            cursor.execute("SET LOCAL lock_timeout = 1; SET LOCAL proof.now = 0")
            try:
                insert = f"INSERT INTO {resource} VALUES (%s, 'of somebody else')"
                cursor.execute(f"{insert} ON CONFLICT DO NOTHING", (int(key),))
            except psycopg2.errors.LockNotAvailable:
                cursor.execute("ROLLBACK TO SAVEPOINT key")

    def release(self) -> None:
        self._other.rollback()

    def set_read_only(self, is_read_only: bool) -> None:
        """Make new transactions of new sessions read only, or no longer, and end all sessions."""
        name = self._own.info.dbname
        value = "on" if is_read_only else "off"
        ((current,),) = self.execute(
            "SELECT coalesce(bool_or('default_transaction_read_only=on' = ANY (setconfig)), false)"
            " FROM pg_db_role_setting JOIN pg_database ON oid = setdatabase WHERE datname = %s",
            name,
        )
        if current == is_read_only:
            return
        self.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}')

    def waits(self) -> int:
        ((count,),) = self.execute("SELECT count(*) FROM decanter.waiting")
        return int(count)

    def refused_in_front(self) -> int:
        """The number of rejections of resources behind the front table."""
        names = [*tables.FRONTED]
        statement = "SELECT count(*) FROM decanter.rejection WHERE resource = ANY(%s)"
        ((count,),) = self.execute(statement, names)
        return int(count)

    def effects(self) -> list[Effect]:
        with self._own.cursor() as cursor:
            return list(evidence.effects(cursor))

    def rows(self) -> dict[tuple[str, str], Values]:
        """Return all rows of the user's tables."""
        found: dict[tuple[str, str], Values] = {}
        for name in tables.KEYS:
            for (row,) in self.execute(f"SELECT row_to_json({name}) FROM {name}"):
                found[name, tables.key_text(name, row)] = row
        return found


def prepare(url: str) -> None:
    """Create the tables of the proof, with evidence and virtual time, in a database that has the
    ledger."""
    with closing(psycopg2.connect(url)) as own:
        own.autocommit = True
        with own.cursor() as cursor:
            cursor.execute("SET search_path = public; CREATE SCHEMA proof")
            cursor.execute(SCHEMA)
            create_tables(cursor, tables.with_front())
            evidence.install(cursor, CLOCK, tables.KEYS)
            keep_virtual_time(cursor)


def keep_virtual_time(cursor: Any) -> None:
    """Have defaults be in virtual time."""
    cursor.execute(_DEFAULTS)
    for (statement,) in cursor.fetchall():
        cursor.execute(statement)


def find_no_deadlocks(cursor: Any, name: str) -> None:
    """Leave deadlocks in a database to the simulation."""
    cursor.execute(f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '1h'")


def create_tables(cursor: Any, own: MetaData = tables.metadata) -> None:
    """Create the tables of the proof, by default those behind SQS."""
    for table in own.sorted_tables:
        cursor.execute(created(table))
        for statement in referring(table):
            cursor.execute(statement)


def created(table: Table) -> str:
    """The statement that creates a table without its foreign keys."""
    from sqlalchemy.schema import CreateTable

    return _compiled(CreateTable(table, include_foreign_key_constraints=[]))


def referring(table: Table) -> Iterator[str]:
    """The statements that add its foreign keys."""
    from sqlalchemy.schema import AddConstraint

    for key in table.foreign_key_constraints:
        yield _compiled(AddConstraint(key, isolate_from_table=False))


def _compiled(statement: Any) -> str:
    from sqlalchemy.dialects import postgresql

    dialect: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
    return str(statement.compile(dialect=dialect))


def compile_contract(folder: Path) -> Path:
    """Write the contract of the proof's tables to a folder, and beside it that of the version
    without entries and notes; return its path."""
    path = folder / "contract.json"
    _write_contract(path, tables.with_front())
    _write_contract(earlier_contract(path), tables.earlier())
    return path


def _write_contract(path: Path, own: MetaData) -> None:
    from decanter.contract import RULES, compiled
    from decanter.contract.rules import rules

    document = compiled(tables.models(own))
    path.parent.mkdir(exist_ok=True)
    path.write_text(document, encoding="utf-8")
    (path.parent / RULES).write_text(rules(document), encoding="utf-8")
