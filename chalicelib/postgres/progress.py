"""How far a migration has come, and who runs it, on an engine without advisory locks and where each
change of the schema is a transaction of its own. All SQL about it is here.

The lease is a row that one migration holds until it expires, and renews at every step. The steps
are those of the revision that is under way: each is noted as begun, and again once it is done, so
that the next run goes on where this one has stopped.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from chalicelib.errors import LockNotAvailable, MigrationRefused
from chalicelib.postgres.connecting.conflicts import redone
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.errors import translated

_MAKE = (
    ("decanter.lease", "(name text PRIMARY KEY, holder uuid NOT NULL, until timestamptz NOT NULL)"),
    (
        "decanter.migration_step",
        "(number integer PRIMARY KEY, statement text NOT NULL, job text,"
        " is_done boolean NOT NULL DEFAULT false)",
    ),
)

_TAKE = """
    INSERT INTO decanter.lease (name, holder, until)
    VALUES ('migrate', %(holder)s, now() + %(seconds)s * interval '1 s')
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE lease.until < now() OR lease.holder = excluded.holder
    RETURNING true
"""
_RELEASE = "DELETE FROM decanter.lease WHERE name = 'migrate' AND holder = %s"
_UNTIL = "SELECT until::text FROM decanter.lease WHERE name = 'migrate'"

_STEPS = "SELECT number, statement, job, is_done FROM decanter.migration_step ORDER BY number"
_BEGIN = "INSERT INTO decanter.migration_step (number, statement) VALUES (%s, %s)"
_JOB = "UPDATE decanter.migration_step SET job = %s WHERE number = %s"
_DONE = "UPDATE decanter.migration_step SET is_done = true WHERE number = %s"
_FORGET = "DELETE FROM decanter.migration_step"

_STATE = "SELECT status, details FROM sys.jobs WHERE job_id = %s"
_JOBS = "SELECT job_id, object_name FROM sys.jobs"
_IS_VALID = "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = to_regclass(%s)"
_SCHEMA = """
    SELECT quote_ident(nspname) FROM pg_catalog.pg_class
        JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE pg_class.oid = to_regclass(%s)
"""

_LEASE_SECONDS = 330
"""Longer than a transaction may take, in which no lease is renewed."""

_WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 1.0


class TakenStep(NamedTuple):
    """A statement of the revision that is under way. job: of an index that is made meanwhile."""

    number: int
    statement: str
    job: str | None
    is_done: bool


class Lease:
    """The right to migrate. connection: in autocommit, with cursors that do again what has met
    another transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._holder = str(uuid4())

    def take(self, wait_seconds: float = _WAIT_SECONDS) -> None:
        """Take it, once nobody else holds it. Raises LockNotAvailable if somebody does for
        longer."""
        deadline = time.monotonic() + wait_seconds
        while not self._take():
            if time.monotonic() >= deadline:
                until = _value(self._connection, _UNTIL)
                raise LockNotAvailable(
                    f"another migration runs, or ran and was cut off: its lease ends at {until}."
                    " Migrate again then"
                )
            time.sleep(_PAUSE_SECONDS)

    def renew(self) -> None:
        """Hold it for longer. Raises MigrationRefused if another migration has taken it."""
        if not self._take():
            raise MigrationRefused(
                "Another migration runs: it has taken the lease, which had expired here. What this"
                " one has done is noted, and the other one goes on from there."
            )

    def release(self) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(_RELEASE, (self._holder,))

    def _take(self) -> bool:
        bound = {"holder": self._holder, "seconds": _LEASE_SECONDS}
        with translated():
            return bool(_value(self._connection, _TAKE, bound))


def prepare(connection: Connection) -> None:
    """Make the tables of lease and steps. connection: of the owner, in autocommit."""
    for table, columns in _MAKE:
        # Another migration may make it just now, and IF NOT EXISTS needs the right to make tables.
        if _value(connection, "SELECT to_regclass(%s)::text", (table,)) is None:
            with translated(), connection.cursor() as cursor:
                cursor.execute(f"CREATE TABLE IF NOT EXISTS {table} {columns}")


def taken(cursor: Any) -> list[TakenStep]:
    """The steps of the revision that is under way, in order."""
    cursor.execute(_STEPS)
    return [TakenStep(*row) for row in cursor.fetchall()]


def begin(cursor: Any, number: int, statement: str) -> None:
    """Note that a step begins."""
    cursor.execute(_BEGIN, (number, statement))


def note_job(cursor: Any, number: int, job: str | None) -> None:
    """Note the job that a step has started; None: that it has to start another one."""
    cursor.execute(_JOB, (job, number))


def done(cursor: Any, number: int) -> None:
    """Note that a step is done."""
    cursor.execute(_DONE, (number,))


def run(connection: Connection, sql: str, values: Any = None) -> list[Any]:
    """Run a statement by itself; returns its rows. Raises DatabaseError."""
    with translated(), connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def together(connection: Connection, work: Callable[[Any], None]) -> None:
    """Do the work, which is given a cursor, in one transaction. Raises DatabaseError."""

    def run() -> None:
        with translated(), connection.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                work(cursor)
                cursor.execute("COMMIT")
            except BaseException:
                if not connection.closed:
                    cursor.execute("ROLLBACK")
                raise

    redone(run)


def job_state(cursor: Any, job: str) -> tuple[str, str] | None:
    """Status and details of a job; None once the server has forgotten it."""
    cursor.execute(_STATE, (job,))
    found = cursor.fetchone()
    return (str(found[0]), str(found[1] or "")) if found else None


def index_name(cursor: Any, table: str, index: str) -> str:
    """The name of an index of a table, in SQL, with the schema of both."""
    cursor.execute(_SCHEMA, (table,))
    found = cursor.fetchone()
    return f"{found[0]}.{index}" if found else index


def job_of_index(cursor: Any, name: str) -> str | None:
    """The job that makes, or has made, an index; None if the server knows none."""
    cursor.execute(_JOBS)
    plain = name.replace('"', "")
    found = [job for job, own in cursor.fetchall() if str(own).replace('"', "") == plain]
    return str(found[-1]) if found else None


def is_valid(cursor: Any, name: str) -> bool:
    """Whether an index is complete."""
    cursor.execute(_IS_VALID, (name,))
    return bool(cursor.fetchone() == (True,))


def forget(cursor: Any) -> None:
    """Forget the steps, as their revision is applied."""
    cursor.execute(_FORGET)


def _value(connection: Connection, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        found = cursor.fetchone()
    return found[0] if found else None
