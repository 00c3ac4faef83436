"""Revisions on an engine where each change of the schema is a transaction of its own.

Nothing rolls a revision back that stops half way, so its steps are noted as they are taken, and the
next run takes those that are left. A step that had begun may have been done, and only its note be
missing: what it makes exists then, or what it drops is gone.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

from chalicelib.errors import DatabaseError, MigrationRefused
from chalicelib.migrate.adapted import adapted, job_of
from chalicelib.migrate.connection import VERSION_TABLE, driver
from chalicelib.postgres import progress
from chalicelib.postgres.engine import Engine, engine_of
from chalicelib.postgres.errors import changed_before, is_unsupported
from chalicelib.postgres.progress import Lease, TakenStep

logger = logging.getLogger("decanter.migrate")

_POLL_SECONDS = 1.0

_OF_VERSIONS = "SELECT ''"
"""Returns one row of one value, as a change of Alembic's versions does."""

_QUERY = re.compile(r"\s*(SELECT|SHOW|WITH|EXPLAIN)\b", re.IGNORECASE)
_ROWS = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
_ASYNC = re.compile(r"(CREATE\s+(UNIQUE\s+)?INDEX|ALTER\s+TABLE)\s+ASYNC\b", re.IGNORECASE)
_COMMENT = re.compile(r"\s*COMMENT\b", re.IGNORECASE)

_MADE = re.compile(r"CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\S+)", re.IGNORECASE)
_ALTERED = re.compile(r"ALTER\s+TABLE\s+(?:ASYNC\s+)?(\S+)\s+(.*)", re.IGNORECASE | re.DOTALL)
_CONSTRAINT = re.compile(r"ADD\s+(CONSTRAINT\b.*)", re.IGNORECASE | re.DOTALL)
_HARMLESS = re.compile(
    r"CREATE|COMMENT|ANALYZE|DROP\s+(INDEX|VIEW)|ALTER\s+TABLE\s+(ASYNC\s+)?\S+\s+"
    r"(ADD|VALIDATE|DROP\s+CONSTRAINT|ALTER\s+(COLUMN\s+)?\S+\s+(SET\s+DEFAULT|DROP\s+NOT\s+NULL))\b",
    re.IGNORECASE,
)


@contextmanager
def steps_taken(connection: Connection, lease: Lease) -> Iterator[None]:
    """A block in which the statements of revisions are taken as steps, one by one, where an earlier
    run has not taken them. connection: in autocommit."""
    with _listening(connection, _Taker(connection, lease).before):
        yield


@contextmanager
def statements_seen(connection: Connection) -> Iterator[list[str]]:
    """A block in which revisions change nothing, and the list of their statements."""
    seen: list[str] = []
    engine = engine_of(driver(connection))

    def before(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> tuple[str, Any]:
        if _QUERY.match(statement):
            return statement, parameters
        if not _is_of_versions(statement):
            plain = statement if parameters else statement.replace("%%", "%")
            seen.extend(adapted(plain, engine))
        return _OF_VERSIONS, ()

    with _listening(connection, before):
        yield seen


def breaks(statements: list[str]) -> tuple[list[str], list[str]]:
    """Statements that may break queued messages or the version that still runs; and the new
    constraints of existing tables, each in a sentence."""
    made = {found[1] for each in statements if (found := _MADE.match(each))}
    breaking, constraints = [], []
    for each in statements:
        altered = _ALTERED.match(each)
        if altered and altered[1] in made:
            continue
        if altered and (found := _CONSTRAINT.match(altered[2])):
            constraints.append(f"{altered[1]} has a new constraint: {found[1]}")
        elif not _HARMLESS.match(each):
            breaking.append(" ".join(each.split()))
    return breaking, constraints


class _Taker:
    """Takes the steps. number: of the last step of the revision that is under way."""

    def __init__(self, connection: Connection, lease: Lease) -> None:
        self._own = driver(connection)
        self._engine: Engine = engine_of(self._own)
        self._lease = lease
        self._number = 0
        with self._own.cursor() as cursor:
            self._known = {each.number: each for each in progress.taken(cursor)}

    def before(
        self,
        _connection: Any,
        _cursor: Any,
        statement: str,
        parameters: Any,
        _context: Any,
        many: bool,
    ) -> tuple[str, Any]:
        if _QUERY.match(statement):
            return statement, parameters
        if _is_of_versions(statement):
            if not _ROWS.match(statement):
                return statement, parameters
            self._end(statement, parameters)
            return _OF_VERSIONS, ()
        for each in adapted(statement, self._engine):
            self._take(each, parameters, many)
        return "SELECT", ()

    def _end(self, statement: str, parameters: Any) -> None:
        """A revision is applied together with the end of its steps."""

        def work(cursor: Any) -> None:
            cursor.execute(statement, parameters)
            progress.forget(cursor)

        progress.together(self._own, work)
        self._number, self._known = 0, {}

    def _take(self, statement: str, parameters: Any, many: bool) -> None:
        self._number += 1
        known = self._known.get(self._number)
        if known and known.statement != statement:
            raise MigrationRefused(
                "A revision has stopped half way, and is another one now: statement"
                f" {self._number} of it was {known.statement!r}, and is {statement!r}. Restore the"
                " revision; or undo by hand what it has done, empty the table"
                " decanter.migration_step, and migrate again."
            )
        if known and known.is_done:
            return
        self._lease.renew()
        if _ROWS.match(statement):
            self._change_rows(statement, parameters, many, known)
        else:
            self._change_schema(statement, parameters, known)

    def _change_rows(
        self, statement: str, parameters: Any, many: bool, known: TakenStep | None
    ) -> None:
        """Rows change together with the note that they have changed."""

        def work(cursor: Any) -> None:
            (cursor.executemany if many else cursor.execute)(statement, parameters)
            if not known:
                progress.begin(cursor, self._number, statement)
            progress.done(cursor, self._number)

        progress.together(self._own, work)

    def _change_schema(self, statement: str, parameters: Any, known: TakenStep | None) -> None:
        with self._own.cursor() as cursor:
            if not known:
                progress.begin(cursor, self._number, statement)
            job = known.job if known else None
            if job is None:
                job = self._started(cursor, statement, parameters, bool(known))
            if job is not None:
                progress.note_job(cursor, self._number, job)
                self._await(cursor, statement, job)
            progress.done(cursor, self._number)

    def _started(self, cursor: Any, statement: str, parameters: Any, had_begun: bool) -> str | None:
        """Run a statement; returns its job, if it has one."""
        is_async = _ASYNC.match(statement)
        try:
            rows = progress.run(self._own, statement, parameters)
            return str(rows[0][0]) if is_async and rows else None
        except DatabaseError as error:
            if _COMMENT.match(statement) and is_unsupported(error):
                logger.info("left out, as the engine has no comments: %s", statement)
                return None
            if not had_begun or not changed_before(error):
                raise
        logger.info("had been done before: %s", statement)
        index = job_of(statement)
        if index is None:
            return None
        name = progress.index_name(cursor, *index)
        job = progress.job_of_index(cursor, name)
        if job is None and not progress.is_valid(cursor, name):
            self._drop(statement)
            raise MigrationRefused(
                f"The index {name} could not be made, and was dropped. Migrate again."
            )
        return job

    def _await(self, cursor: Any, statement: str, job: str) -> None:
        """Wait until a job is done."""
        while (state := progress.job_state(cursor, job)) and state[0] != "completed":
            status, details = state
            if status in ("failed", "cancelled"):
                progress.note_job(cursor, self._number, None)
                self._drop(statement)
                raise MigrationRefused(
                    f"{statement} has {status}: {details or 'the server does not say why'}. Where"
                    " rows are in the way, correct them; then migrate again: it goes on from there."
                )
            self._lease.renew()
            time.sleep(_POLL_SECONDS)

    def _drop(self, statement: str) -> None:
        """Drop the incomplete index of a statement, if it is one that makes an index."""
        if index := job_of(statement):
            with self._own.cursor() as cursor:
                name = progress.index_name(cursor, *index)
            progress.run(self._own, f"DROP INDEX IF EXISTS {name}")


def _is_of_versions(statement: str) -> bool:
    return VERSION_TABLE in statement


@contextmanager
def _listening(connection: Connection, before: Callable[..., Any]) -> Iterator[None]:
    event.listen(connection, "before_cursor_execute", before, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", before)
