"""A container: a process that runs the real functions of app.py, in virtual time.

It stops before each step that the world outside can see or disturb: statements, connections, calls
of AWS, pauses. The simulation decides when it goes on, and what goes wrong. Time-outs of Postgres
are taken off its statements and kept by the simulation, as they are in virtual time too.
"""

import gc
import importlib
import logging
import os
import random
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import IO, Any, NoReturn, cast

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, cursor

from chalicelib.postgres.connecting import connection as connecting
from chalicelib.postgres.engine import OpenedConnection
from decanter.contract import RULES
from decanter.proof import tables
from decanter.proof.simulation import citus, dsql
from decanter.proof.simulation.link import Link, pair
from decanter.proof.simulation.steps import Reply, Step, Work

EPOCH = 1_767_225_600.0
"""When virtual time begins: 2026-01-01."""

LATER_REVISION = "proof_later"
"""The revision that the later of two contracts brings."""

COPIED_ROWS = 2
"""Of a set that is copied: requests are small here."""

_CPU_SECONDS = 120
"""Of a container, which normally takes less than one: code that never ends is ended."""

_LATE = (
    "chalicelib.api.front.read",
    "chalicelib.api.front.write",
    "chalicelib.api.http.path",
    "chalicelib.api.reads.calls",
    "chalicelib.api.writes.calls",
    "chalicelib.buffer.dynamodb.take",
    "chalicelib.buffer.sqs.take",
    "chalicelib.drain.handler",
    "chalicelib.reader.handler",
    "chalicelib.settle.handler",
    "chalicelib.sweep.handler",
    "decanter.deployment.reconcile",
    "botocore.exceptions",
    "botocore.parsers",
    "encodings.utf_8_sig",
)
"""What functions import when they first need it."""

_LIMIT = re.compile(rb"SET LOCAL (statement|lock|transaction)_timeout = (\d+)")
_SET = re.compile(
    rb"\b(?:INSERT INTO|UPDATE|DELETE FROM|COPY) (?:accounts|entries|events|marks|notes|tags)\b"
)
_SAVEPOINT = b"SAVEPOINT rows"  # sets are tried again, row by row
_AHEAD = re.compile(
    rb"(?:(?:BEGIN|SET|SAVEPOINT|RELEASE|ROLLBACK TO|DELETE FROM decanter.two_phase)\b[^;']*;\s*)*"
)
_NOW = re.compile(rb"\bnow\(\)")
_COMMIT = b"COMMIT"
_ENDS = (_COMMIT, b"ROLLBACK")
_CANCELLED = {"lock": "55P03", "deadlock": "40P01", "conflict": dsql.CONFLICT}
_LOST = "server closed the connection unexpectedly"


@dataclass
class Clock:
    """The container's end of the link, and the virtual time of its last reply."""

    link: Link
    now: float = 0.0

    def step(self, kind: str, **detail: Any) -> Reply:
        self.link.send(Step(kind, detail))
        return self._reply()

    def _reply(self) -> Reply:
        reply: Reply = self.link.recv()
        self.now = reply.now
        return reply

    def reason(self) -> str | None:
        """Return why a running statement was cancelled."""
        return self._reply().verdict if self.link.poll() else None

    def monotonic(self) -> float:
        return self.now + 1_000.0

    def time(self) -> float:
        return EPOCH + self.now

    def sleep(self, seconds: float) -> None:
        self.step("sleep", seconds=seconds)


_clock: Clock


class _Datetime(datetime):
    """What code of the API takes for the class: it asks for the time of day alone."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.fromtimestamp(_clock.time(), tz)


class _Cursor(cursor):
    """Stops before each round trip."""

    def execute(self, query: Any, variables: Any = None) -> None:
        self._send(self.mogrify(query, variables), None)

    def copy_expert(self, sql: Any, file: Any, *_size: int) -> None:
        self._send(sql, file)

    def _send(self, text: bytes, copied: IO[bytes] | None) -> None:
        """Send statements, and the lines that the last COPY among them asks for."""
        own: Any = self.connection  # a _Connection
        if own.rules and (refusal := own.rules.refusal(text)):
            _clock.step("unsupported", reason=refusal)
        known: dict[bytes, float | None] = own.limits
        for kind, milliseconds in _LIMIT.findall(text):
            known[kind] = int(milliseconds) / 1000 or None  # 0 is no limit
        found = own.count_sets(text)
        reply = _clock.step(
            "statement",
            ends=text.endswith(_ENDS),
            limit=known.get(b"statement"),
            lock=known.get(b"lock"),
            sets=own.sets,
            writes=found > 0,
        )
        if reply.verdict == "cut" or own.is_late():
            raise _lost(self.connection)
        text = _LIMIT.sub(rb"SET LOCAL \1_timeout = 0", _NOW.sub(b"proof.now()", text))
        self._run(text, copied, reply)
        if reply.verdict == "lose":
            raise _lost(self.connection)

    def _run(self, text: bytes, copied: IO[bytes] | None, reply: Reply) -> None:
        own: Any = self.connection
        refusal = None if reply.verdict in (None, "lose") else str(reply.verdict)
        if refusal:
            ahead: Any = _AHEAD.match(text)  # what travels with a statement is done before it fails
            text, copied = ahead[0] + b"SELECT proof.fail('" + refusal.encode() + b"')", None
        if self.connection.info.transaction_status == TRANSACTION_STATUS_IDLE:
            text = b"SET proof.now = '%r'; " % _clock.time() + text
        try:
            if own.rules and text.endswith(_COMMIT):
                text = self._counted(text)
            elif own.is_distributed and own.has_written and text.endswith(_COMMIT):
                text = text.removesuffix(_COMMIT) + citus.NOTE.encode() + _COMMIT
            if copied is None:
                super().execute(text)
            else:
                super().copy_expert(text, copied)
            if own.rules and text.endswith(_ENDS):
                super().execute(dsql.FORGET)
        except psycopg2.Error as error:
            if refusal:  # not as if a trigger had raised it
                raise _error(refusal) from None
            reason = _clock.reason()  # a node that is cancelled may say something else
            if not isinstance(error, errors.QueryCanceled):
                raise
            raise _explained(error, reason) from None

    def _counted(self, text: bytes) -> bytes:
        """Run all but the COMMIT, and count the rows that the transaction has written."""
        super().execute(text.removesuffix(_COMMIT) + dsql.WRITTEN.encode())
        ((count,),) = self.fetchall()
        if count > dsql.MOST_ROWS:
            _clock.step("unsupported", reason=f"a transaction has written {count} rows")
        return _COMMIT


class _Connection(OpenedConnection):
    """A connection whose statements stop before each round trip."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.limits: dict[bytes, float | None] = {}
        self.sets: int | None = 0
        self.has_written = False
        self.rules = dsql.Rules() if os.environ.get("DECANTER_ENGINE") == dsql.NAME else None
        self.is_distributed = os.environ.get("DECANTER_ENGINE") == citus.NAME

    def is_late(self) -> bool:
        """Whether a server without timeouts was waited for until the connection was cut."""
        until = connecting._due.get(self)
        late = until is not None and _clock.monotonic() > until + connecting._LATE_SECONDS
        return late and self.rules is not None

    def count_sets(self, text: bytes) -> int:
        """Count the sets that the transaction has written; None: some in parts. Returns those of
        this text."""
        found = len(_SET.findall(text))
        if text.startswith(b"BEGIN"):
            self.sets, self.has_written = 0, False
        self.has_written |= found > 0
        if _SAVEPOINT in text:
            self.sets = None
        elif self.sets is not None:
            self.sets += found
        return found

    def close(self) -> None:
        """Close the connection, and go on once Postgres has rolled back."""
        was_open = not self.closed
        super().close()
        if was_open:
            _clock.step("closed")

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        return super().cursor(*arguments, cursor_factory=_Cursor, **options)

    def commit(self) -> None:
        self._end(super().commit)

    def rollback(self) -> None:
        self._end(super().rollback)

    def _end(self, end: Callable[[], None]) -> None:
        """The driver ends a transaction without a cursor; only peers have it do so."""
        if self.closed or self.info.transaction_status == TRANSACTION_STATUS_IDLE:
            return end()
        step = _clock.step("statement", ends=True, limit=None, lock=None, sets=None, writes=False)
        verdict = step.verdict
        if verdict == "cut":
            raise _lost(self)
        if verdict not in (None, "lose"):
            cursor(self).execute("SELECT proof.fail(%s)", [verdict])
        end()
        if verdict == "lose":
            raise _lost(self)
        return None


def _lost(held: connection) -> psycopg2.OperationalError:
    held.close()
    return psycopg2.OperationalError(_LOST)


def _explained(error: psycopg2.Error, reason: str | None) -> psycopg2.Error:
    """Return the error that Postgres gives for the reason of a cancellation."""
    return _error(_CANCELLED[reason]) if reason in _CANCELLED else error


def _error(state: str) -> psycopg2.Error:
    """Return an error of the server with this SQLSTATE."""
    made: Any = errors.lookup(state)("by the simulation")  # __setstate__ alone can set its state
    made.__setstate__({"pgcode": state, "pgerror": str(made)})
    return cast(psycopg2.Error, made)


class _Aws:
    """A client of one AWS service; each call is a step."""

    def __init__(self, service: str) -> None:
        self._service = service

    def get_paginator(self, operation: str) -> "_Pages":
        return _Pages(getattr(self, operation))

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            from botocore.exceptions import ClientError, ReadTimeoutError

            reply = _clock.step(
                "call", service=self._service, operation=operation, parameters=parameters
            )
            if reply.verdict == "time-out":
                raise ReadTimeoutError(endpoint_url=self._service)
            if reply.verdict == "error":
                raise ClientError(reply.value, operation)
            return {
                name: _Payload(value) if name == "Payload" else value
                for name, value in reply.value.items()
            }

        return call


class _Pages:
    """A paginator of boto3, for what comes in one page."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def paginate(self, **parameters: Any) -> list[Any]:
        return [self._call(**parameters)]


class _Payload:
    """A body of an answer of Lambda."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self) -> bytes:
        return self._content


def start(settings: Mapping[str, str], seed: str, mutate: Callable[[], None]) -> tuple[int, Link]:
    """Fork a container; return its process ID and the simulation's end of the link.

    settings: environment variables, LANES, the FORMAT of messages, the CONTRACT, and whether the
    database was MIGRATED for a later one. mutate: changes the code that it runs.
    """
    ours, theirs = pair()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    try:
        ours.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
        _prepare(theirs, settings, seed)
        mutate()
        _serve()
    except BaseException:  # the simulation has ended, or the link is broken
        logging.getLogger("decanter.proof").debug("a container ends", exc_info=True)
    finally:
        os._exit(0)


def try_out(mutate: Callable[[], None]) -> None:
    """Change the code of a process, and end it. Raises RuntimeError if it cannot be changed: a
    container would end without a word."""
    pid = os.fork()
    if not pid:
        try:
            mutate()
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("the code cannot be changed like that; the error is above")


def _prepare(link: Link, settings: Mapping[str, str], seed: str) -> None:
    global _clock
    from chalicelib import aws
    from chalicelib.api.writes import calls
    from chalicelib.drain import pour_fast
    from chalicelib.messages import split
    from chalicelib.postgres import revisions

    _clock = Clock(link)
    numbers = random.Random(seed)
    random.seed(seed)
    os.urandom = numbers.randbytes
    _replace(split, LANES=int(settings["LANES"]))
    _replace(pour_fast, _COPIED_ROWS=COPIED_ROWS)
    if int(settings["FORMAT"]):
        _write_newer_messages()
    if not int(settings["CONTRACT"]):
        _serve_earlier_contract()
    elif settings["MIGRATED"]:
        known = revisions._known()
        _replace(revisions, _known=lambda: (*known, LATER_REVISION))
    own = ("LANES", "FORMAT", "CONTRACT", "MIGRATED")
    os.environ.update({name: text for name, text in settings.items() if name not in own})
    _replace(
        time,
        monotonic=_clock.monotonic,
        time=_clock.time,
        time_ns=lambda: int(_clock.time() * 1e9),
        sleep=_clock.sleep,
    )
    _replace(calls, datetime=_Datetime)
    if settings.get("DECANTER_ENGINE") == dsql.NAME:
        dsql.narrow()
    _replace(connecting, _watcher=lambda: None)
    _replace(aws, client=lambda service, **_: _Aws(service), within=lambda _deadline, call: call())
    _replace(psycopg2, connect=_connect)


def _serve_earlier_contract() -> None:
    """Have the container be of a version that has fewer tables."""
    import chalicelib
    from chalicelib.contract import resources

    _replace(resources, _FILE=earlier_contract(resources._FILE))
    _replace(chalicelib, models=tables.models(tables.earlier()))
    sys.modules["chalicelib.models"] = chalicelib.models


def earlier_contract(contract: Path) -> Path:
    """Where the contract of the version without entries is, beside the other."""
    return contract.parent / "earlier" / contract.name


def _write_newer_messages() -> None:
    """Have the container write messages that only such containers can read."""
    from chalicelib.api.front import transactions
    from chalicelib.api.writes import calls
    from chalicelib.drain import pour_isolating
    from chalicelib.messages import message

    encode = message.encode
    message.VERSION += 1

    def newer(each: message.Message) -> str:
        return re.sub(r'^\{"v":\d+', f'{{"v":{message.VERSION}', encode(each))

    for module in (calls, transactions, pour_isolating):
        setattr(module, "encode", newer)  # noqa: B010


def _replace(module: ModuleType, **values: Any) -> None:
    for name, value in values.items():
        setattr(module, name, value)


_real_connect = psycopg2.connect


def _connect(**given: Any) -> Any:
    if _clock.step("connect").verdict == "refuse":
        raise psycopg2.OperationalError("FATAL:  sorry, too many clients already")
    made = _real_connect(**{**given, "connection_factory": _Connection})
    _clock.step("connected", pid=made.info.backend_pid)
    return made


class _Context:
    """Lambda's context."""

    aws_request_id = "1"
    function_name = "proof"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:proof"

    def __init__(self, until: float) -> None:
        self._until = until

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._until - _clock.now) * 1000))


def _serve() -> NoReturn:
    import app

    while True:
        work: Work = _clock.link.recv()
        _clock.now = work.now
        try:
            function = _reconcile if work.function == "reconcile" else getattr(app, work.function)
            result = function(dict(work.event), _Context(work.now + work.seconds))
            _clock.link.send(Step("done", {"result": result}))
        except Exception as error:
            _clock.link.send(Step("failed", {"error": f"{type(error).__name__}: {error}"}))


def _reconcile(_event: Mapping[str, Any], _context: _Context) -> None:
    """Run the operator's command to its end."""
    from decanter.deployment.reconcile import reconcile

    for _ in reconcile(_Aws, "front", "drain_stream"):
        pass


def preload(contract: Path) -> None:
    """Import what containers use, so that a fork has it; send its log lines nowhere.

    contract: the file of the compiled contract of the proof's tables, which take the place of the
    project's.
    """
    import chalicelib
    from chalicelib import stage
    from chalicelib.contract import resources

    resources._FILE = contract
    stage._RULES = contract.with_name(RULES)
    chalicelib.models = sys.modules["chalicelib.models"] = tables.models(tables.with_front())
    import app

    for name in _LATE:
        importlib.import_module(name)
    app.app.log.setLevel("CRITICAL")
    logging.getLogger().handlers[:] = []
    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(10_000)
    gc.collect()
    gc.freeze()  # a collection would copy the pages that a fork shares
