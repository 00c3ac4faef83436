"""The one connection of a container."""

import math
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from io import BytesIO
from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor

from chalicelib.errors import (
    DatabaseUnavailable,
    InternalError,
    LockNotAvailable,
    OutOfTime,
    RefusedByDatabase,
    SchemaMismatch,
    StatementTimedOut,
)
from chalicelib.postgres.connecting import session
from chalicelib.postgres.connecting.conflicts import Result, redone
from chalicelib.postgres.connecting.parts import Parts
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.engine import Engine, engine_of
from chalicelib.postgres.errors import translated

SURVIVED = (RefusedByDatabase, SchemaMismatch, StatementTimedOut, LockNotAvailable, InternalError)
"""Errors that leave the connection usable."""

_held: dict[str, Connection] = {}
_replaced_at: dict[str, float] = {}
"""When connections that may not live for ever are replaced, in seconds since the epoch."""

# Of the life of a connection. It may run a transaction to its end later, and those that were opened
# together are not to be replaced together.
_SHARE_OF_LIFE = 0.8, 0.95

# Postgres closes idle connections after this time, so that no idle container keeps one for ever.
_IDLE = "5min"

_WATCH_SECONDS = 0.25
_LATE_SECONDS = 1.0  # the server's own timeouts come first, their errors say more
_LATER_MILLISECONDS = 500
_BEGIN, _BEGIN_READ_ONLY = "BEGIN", "BEGIN READ ONLY"
# Unless a statement on another distributed table has come before, Citus commits what one node has
# written before the coordinator commits the ledger.
_IN_TWO_PHASES = "DELETE FROM decanter.two_phase WHERE false"
_COMMIT = "COMMIT"
_CHECK = "SET CONSTRAINTS ALL IMMEDIATE"
_CLOCKS = 0.98  # the server's clock may run faster by as much
_due: dict[Connection, float] = {}

_TRANSACTION_TIMEOUT = 170_000  # the first version of Postgres that has it


def connection(url: str, role: str, deadline: float) -> Connection:
    """The container's connection, opened on first use and after a loss. Raises DatabaseUnavailable.

    role: names the connection in pg_stat_activity as `decanter-{role}`.
    deadline: time.monotonic() by which the caller must be done.
    """
    if time.time() > _replaced_at.get(role, math.inf):
        forget(role)
    held = _held.get(role)
    if held is None or held.closed:
        held = _held[role] = _connect(url, role, deadline)
        if longest := engine_of(held).connection_seconds:
            # By the clock on the wall: a frozen container has no other.
            _replaced_at[role] = time.time() + longest * random.uniform(*_SHARE_OF_LIFE)  # noqa: S311
    return held


def forget(role: str) -> None:
    """Close the connection, whatever state it is in; the next use opens a new one."""
    _replaced_at.pop(role, None)
    held = _held.pop(role, None)
    if held is not None:
        held.close()


def reconnecting(
    url: str, role: str, deadline: float, work: Callable[[Connection], Result]
) -> Result:
    """What work returns, which is given the container's connection; and once more a new one, if
    that was lost, as when it was closed while idle. It is done again where it has met another
    transaction, see `redone`. Raises DatabaseUnavailable."""

    def attempt() -> Result:
        return work(connection(url, role, deadline))

    try:
        return redone(attempt, deadline)
    except DatabaseUnavailable:
        forget(role)
        if time.monotonic() >= deadline:
            raise
    try:
        return redone(attempt, deadline)
    except DatabaseUnavailable:
        forget(role)
        raise


class Transaction:
    """The statements of one transaction. Those without an answer travel with the next one, so that
    a batch costs only as many round trips as it has answers."""

    def __init__(
        self,
        cursor: Cursor,
        deadline: float,
        lock_seconds: float | None,
        engine: Engine,
        parts: Parts | None,
        read_only: bool,
    ) -> None:
        self.engine = engine
        self._read_only = read_only
        self._cursor = cursor
        self._deadline = deadline
        self._lock_seconds = lock_seconds
        self._parts = parts
        self._ahead: list[bytes] = []
        self._limits: list[float] = []  # seconds for the statements ahead, and last for the next
        self._lock: int | None = None

    @property
    def connection(self) -> Connection:
        return self._cursor.connection

    def ahead(self, sql: str, values: Any = None) -> None:
        """Run a statement just before the next one, which fails if this one does."""
        with translated(), _storable():
            text = sql.encode() if values is None else self._cursor.mogrify(sql, values)
            self._ahead.append(text)

    def execute(
        self,
        sql: str,
        values: Any = None,
        seconds: float | None = None,
        lock_seconds: float | None = None,
    ) -> list[Any]:
        """Run a statement with its values bound; returns its rows. Raises DatabaseError.

        No statement and no wait for a lock outlives the deadline; transaction_timeout does not
        suffice, as Postgres disables it at the first error. seconds: a shorter limit for the
        statement. lock_seconds: limit for one lock; None: that of the transaction.
        """
        self._prepare(sql, values, seconds, lock_seconds)
        return self._run(self._answer)

    def copy(self, sql: str, lines: str) -> int:
        """Run a COPY of these lines; returns how many rows it has written. Raises as `execute`."""
        with _storable():
            copied = lines.encode()
        self._prepare(sql, {})

        def run(statements: bytes) -> int:
            self._cursor.copy_expert(statements, BytesIO(copied), max(1, len(copied)))
            return self._cursor.rowcount

        return self._run(run)

    def _prepare(
        self,
        sql: str,
        values: Any,
        seconds: float | None = None,
        lock_seconds: float | None = None,
    ) -> None:
        """Add the next statement and its limits."""
        if self._parts:
            self._parts.send(sql, values)
        left = self._deadline - time.monotonic()
        if left * 1000 < 1:
            raise OutOfTime("there is no time left for the next statement")
        if sql != _COMMIT:
            given = left if seconds is None else min(left, seconds)
            self._limit(given, self._lock_seconds if lock_seconds is None else lock_seconds)
        self.ahead(sql, values)

    def _run(self, run: Callable[[bytes], Result]) -> Result:
        """Run all statements at once; returns the answer to the last one."""
        statements, self._ahead = b";".join(self._ahead), []
        started = time.monotonic()
        try:
            with translated():
                return run(statements)
        except DatabaseUnavailable as error:
            # An operator's cancellation has the same SQLSTATE: only the clock distinguishes them.
            if error.kind == "cancelled" and time.monotonic() - started >= min(self._limits):
                raise StatementTimedOut(error.message, **error.attributes) from error
            raise
        finally:
            del self._limits[:-1]

    def _answer(self, statements: bytes) -> list[Any]:
        self._cursor.execute(statements)
        return self._cursor.fetchall() if self._cursor.description else []

    def _limit(self, seconds: float, lock_seconds: float | None) -> None:
        """Limit the time of each later statement, and of its waits for a lock."""
        self._limits.append(seconds * _CLOCKS)
        if not self.engine.settings:
            return  # `_watched` ends the connection when the time of the transaction is over
        self.ahead(f"SET LOCAL statement_timeout = {_milliseconds(seconds)}")
        lock = 0 if lock_seconds is None else _milliseconds(lock_seconds)
        if lock != self._lock:
            self._lock = lock
            self.ahead(f"SET LOCAL lock_timeout = {lock}")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """See `savepoint`."""
        self.ahead("SAVEPOINT rows")
        try:
            yield
        except SURVIVED:
            self.ahead("ROLLBACK TO SAVEPOINT rows")
            self._lock = None  # the settings made since are gone
            raise
        finally:
            self.ahead("RELEASE SAVEPOINT rows")

    @contextmanager
    def part(self) -> Iterator[None]:
        """Instead of a savepoint: the first time that it is refused, the transaction is undone. One
        that only reads begins again."""
        before = len(self._ahead)
        try:
            with self._parts.part(SURVIVED) if self._parts else nullcontext():
                yield
        except SURVIVED:
            del self._ahead[before:]
            if self._read_only:
                self.ahead("ROLLBACK")
                self.ahead(_BEGIN_READ_ONLY)
            raise

    def commit(self, seconds: float | None = None) -> None:
        """Commit. Deferred constraints are checked before, within `seconds`: nothing limits the
        time of COMMIT itself."""
        if seconds is not None:
            left = max(0.0, self._deadline - time.monotonic())
            self._limit(min(left, seconds), self._lock_seconds)
        self.ahead(_CHECK)
        self.execute(_COMMIT)

    def check(self) -> None:
        """Check deferred constraints now, as COMMIT would."""
        self.execute(_CHECK)


@contextmanager
def transaction(
    connection: Connection,
    deadline: float,
    read_only: bool = False,
    lock_seconds: float | None = None,
    commit_seconds: float | None = None,
    parts: Parts | None = None,
) -> Iterator[Transaction]:
    """A transaction that commits at the end of the block and rolls back on any exception.

    No statement and no wait for a lock outlives the deadline. Shorter limits: lock_seconds for one
    lock, commit_seconds for deferred constraints at COMMIT. parts: of a transaction that is done
    again when it is Undone, on a server without savepoints. Raises DatabaseError.
    """
    with translated():
        engine = engine_of(connection)
    if engine.transaction_seconds:
        deadline = min(deadline, time.monotonic() + engine.transaction_seconds)
    if parts:
        parts.restart()
    left = _milliseconds(deadline - time.monotonic())
    with translated(), _watched(connection, deadline), connection.cursor() as cursor:
        running = Transaction(cursor, deadline, lock_seconds, engine, parts, read_only)
        # Not READ WRITE: a read-only database has to refuse.
        running.ahead(_BEGIN_READ_ONLY if read_only else _BEGIN)
        if engine.settings and connection.server_version >= _TRANSACTION_TIMEOUT:
            # It ends the connection, so a statement's own timeout has to come first.
            running.ahead(f"SET LOCAL transaction_timeout = {left + _LATER_MILLISECONDS}")
        running._limit(left / 1000, lock_seconds)
        if engine.distributes and not read_only:
            running.ahead(_IN_TWO_PHASES)
        try:
            yield running
            running.commit(commit_seconds)
        except BaseException:
            if not connection.closed:
                cursor.execute("ROLLBACK")
            raise


def savepoint(running: Transaction) -> AbstractContextManager[None]:
    """A block that is undone if it fails; the transaction goes on."""
    return running.savepoint() if running.engine.savepoints else running.part()


@contextmanager
def _storable() -> Iterator[None]:
    """A block that raises RefusedByDatabase for a text with U+0000 or half of a surrogate pair."""
    try:
        yield
    except ValueError as error:
        raise RefusedByDatabase(str(error), kind="value", sqlstate="22021") from error


def _connect(url: str, role: str, deadline: float) -> Connection:
    left = max(2, int(deadline - time.monotonic()))
    connection = session.connected(
        url,
        f"decanter-{role}",
        connect_timeout=min(left, 5),
        # A peer that vanishes is noticed in time to try again.
        keepalives_idle=30,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=10_000,
    )
    connection.autocommit = True  # transactions begin and end with statements of ours
    with _watched(connection, deadline):
        session.settle(connection, {**session.SETTINGS, "idle_session_timeout": _IDLE})
    return connection


@contextmanager
def _watched(connection: Connection, deadline: float) -> Iterator[None]:
    """A block in which no wait for the server outlives the deadline by much: a frozen server keeps
    none of its own timeouts."""
    _watcher()
    _due[connection] = deadline
    try:
        yield
    finally:
        _due.pop(connection, None)


@cache
def _watcher() -> threading.Thread:
    thread = threading.Thread(target=_watch, name="decanter-watch", daemon=True)
    thread.start()
    return thread


def _watch() -> None:
    while True:
        time.sleep(_WATCH_SECONDS)
        for connection, deadline in list(_due.items()):
            if time.monotonic() > deadline + _LATE_SECONDS:
                with (
                    suppress(OSError, psycopg2.Error),
                    socket.socket(fileno=os.dup(connection.fileno())) as own,
                ):
                    own.shutdown(socket.SHUT_RDWR)


def _milliseconds(seconds: float) -> int:
    """For the server's timeouts, of which 0 means no limit."""
    return max(1, int(seconds * 1000))
