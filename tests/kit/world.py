"""The path of a write without AWS: API function, a list as the queue, drain and reader."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import _lru_cache_wrapper
from itertools import count
from types import ModuleType
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from sqlalchemy import MetaData

import chalicelib.models
from chalicelib.api.http import idempotency
from chalicelib.api.http.caller import Caller
from chalicelib.api.http.request import Request
from chalicelib.api.writes import calls
from chalicelib.buffer.sqs import put, take
from chalicelib.buffer.sqs.put import QueueEntry
from chalicelib.contract import resources
from chalicelib.drain import handler as drain_handler
from chalicelib.messages.message import Message, decode, encode
from chalicelib.messages.receipt import verify
from chalicelib.operate import handler as operate_handler
from chalicelib.postgres.connecting import connection
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.engine import ENGINES, Engine
from chalicelib.postgres.sql.statements import TRIGGERED
from chalicelib.reader import handler as reader_handler
from tests.kit import engines
from tests.kit.contracts import contract_of
from tests.kit.databases import fresh, kept

RECEIPT_KEY = b"k" * 32
_numbers = count(1)


@dataclass(frozen=True)
class Context:
    """A Lambda context with the remaining time of a function."""

    seconds: float

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


@dataclass
class World:
    """A database with the tables of a MetaData, and all functions that write to it.

    engine_name: of its server, see `tests.kit.engines`. queued: entries on the queue that have not
    been drained.
    """

    url: str
    engine_name: str = "postgres"
    queued: list[QueueEntry] = field(default_factory=list)

    @property
    def engine(self) -> Engine:
        return ENGINES[self.engine_name]

    @property
    def sessions(self) -> str:
        """The view of all sessions, those on other nodes included."""
        return "citus_stat_activity" if self.engine.distributes else "pg_stat_activity"

    def post(self, resource: str, rows: Any, **headers: str) -> str:
        """Return the receipt. rows: a JSON value, or the bytes of a body."""
        return self._write(calls.create, "POST", resource, None, rows, headers)

    def put(self, resource: str, key: Any, row: Any, **headers: str) -> str:
        return self._write(calls.replace, "PUT", resource, key, row, headers)

    def patch(self, resource: str, key: Any, row: Any, **headers: str) -> str:
        return self._write(calls.merge, "PATCH", resource, key, row, headers)

    def delete(self, resource: str, key: Any, **headers: str) -> str:
        return self._write(calls.delete, "DELETE", resource, key, None, headers)

    def drain(
        self,
        entries: Sequence[QueueEntry | str] | None = None,
        receives: int = 1,
        seconds: float = 30,
    ) -> dict[str, Any]:
        """Drain these entries, or all queued ones, as one batch."""
        if entries is None:
            entries, self.queued = self.queued, []
        return drain_handler.drain(event(entries, receives), Context(seconds), take)

    def drain_by_schedule(self, seconds: float = 30) -> None:
        """Drain as the schedule does, without entries, when all that waits is due."""
        self.make_due()
        self.drain([], seconds=seconds)

    def make_due(self) -> None:
        """Let so much time pass that all that waits in the database is due."""
        self.execute(
            "UPDATE decanter.waiting SET since = since - interval '20 s',"
            " tried_at = tried_at - interval '20 s'"
        )

    def drain_to_the_end(self) -> None:
        """Drain all that is queued, until none waits for a parent."""
        self.drain()
        with without_patience():
            self.drain_by_schedule()

    def status(self, receipt: str, **more: Any) -> dict[str, Any]:
        """Return the reader's status of a request."""
        known = verify(receipt, RECEIPT_KEY, "me")
        assert known is not None
        answer = self.read(
            {
                "ask": "status",
                "id": str(known.id),
                "accepted_at": known.accepted_at,
                "messages": known.messages,
                "writes": known.writes,
                "fingerprint": known.fingerprint,
                **more,
            }
        )
        body: dict[str, Any] = json.loads(answer["body"])
        assert answer["pending"] == (body["state"] == "pending")
        return body

    def row(self, resource: str, **key: Any) -> Any:
        """Return a row from the reader: JSON text, or None."""
        return self.read({"ask": "row", "resource": resource, "key": json.dumps(key)})["body"]

    def read(self, question: Mapping[str, Any], seconds: float = 10) -> dict[str, Any]:
        return reader_handler.read(question, Context(seconds))

    def operate(self, act: Mapping[str, Any], seconds: float = 10) -> dict[str, Any]:
        return operate_handler.operate(act, Context(seconds))

    def execute(self, statement: str, *parameters: Any) -> list[Any]:
        engines.require_statement(self.engine_name, statement)
        # Sessions of other engines end for reasons of their own.
        connected = kept if self.engine_name == "postgres" else fresh
        with connected(self.url) as own, own.cursor() as cursor:
            try:
                cursor.execute(statement, parameters or None)
            except psycopg2.Error as error:
                engines.require_taken(self.engine_name, statement, error)
                raise
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *parameters: Any) -> Any:
        ((value,),) = self.execute(statement, *parameters)
        return value

    def rejections(self, columns: str = "item, type") -> list[Any]:
        return self.execute(f"SELECT {columns} FROM decanter.rejection ORDER BY dedup_id, item")

    def poured(self) -> int:
        return int(self.value("SELECT count(*) FROM decanter.ledger"))

    def _write(
        self,
        write: Callable[..., Any],
        method: str,
        resource: str,
        key: Any,
        body: Any,
        headers: Mapping[str, str],
    ) -> str:
        parts = key if isinstance(key, list | tuple) else () if key is None else (key,)
        segments = [quote(str(part), safe="") for part in parts]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(
            method=method,
            path="/".join(["", resource, *segments]),
            headers={name.replace("_", "-").lower(): value for name, value in headers.items()},
            body=b"" if body is None else content,
            caller=Caller("me", frozenset({"*:read", "*:write"})),
        )
        idempotency._accepted.clear()  # as if each request reached another container
        answer = write(request, resource, *([segments] if parts else []))
        if answer.status == 202:
            return str(answer.body["receipt"])
        link = str(answer.headers["Link"])  # of a resource in front
        return link[link.index("/writes/") + len("/writes/") : link.index(">")]


@contextmanager
def without_patience() -> Iterator[None]:
    """Have no write wait for its parent in the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECANTER_PARENT_PATIENCE_SECONDS", "0")
        yield


def event(entries: Sequence[QueueEntry | str], receives: int = 1) -> dict[str, Any]:
    """An SQS event as Lambda gives it. An entry that is text is a body without a lane."""
    records = []
    for entry in entries:
        lane = (
            {} if isinstance(entry, str) or entry.lane is None else {"MessageGroupId": entry.lane}
        )
        records.append(
            {
                "messageId": f"record-{next(_numbers)}",
                "body": entry if isinstance(entry, str) else entry.body,
                "attributes": {"ApproximateReceiveCount": str(receives), **lane},
            }
        )
    return {"Records": records}


def changed(entry: QueueEntry, change: Callable[[Message], Message]) -> QueueEntry:
    """Return an entry with a changed message."""
    message = change(decode(entry.body))
    return QueueEntry(message.dedup_id, entry.lane, encode(message))


@pytest.fixture
def make_world(
    make_database: Callable[[MetaData], str],
    engine_name: str,
    reach: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[MetaData], World]]:
    """`make_world(metadata)` returns a fresh database with these tables, and serves them."""

    def make(metadata: MetaData, url: str | None = None) -> World:
        if url and engine_name != "postgres":
            pytest.skip("did not run: it has a Postgres of its own")
        models = ModuleType("models")
        models.metadata = metadata  # type: ignore[attr-defined]
        monkeypatch.setattr(resources, "_FILE", contract_of(metadata))
        monkeypatch.setattr(chalicelib, "models", models)
        url = url or make_database(metadata)
        made = World(url, engine_name)
        serve(made, reach(url), monkeypatch)
        return made

    yield make
    _forget()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that waited for its result."""
    seen: list[str] = []
    execute = Transaction.execute

    def counted(self: Transaction, sql: str, values: Any = None, **limits: Any) -> list[Any]:
        if sql is not TRIGGERED:  # executed once in half a minute
            seen.append(sql)
        return execute(self, sql, values, **limits)

    monkeypatch.setattr(Transaction, "execute", counted)
    return seen


@pytest.fixture
def world(
    engine_name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A world with the sample models of chalicelib."""
    if engine_name == "postgres":
        made = World(request.getfixturevalue("database_url"))
        serve(made, made.url, monkeypatch)
    else:
        made = request.getfixturevalue("make_world")(chalicelib.models.Base.metadata)
    yield made
    _forget()


def serve(made: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all functions write to a database. url: by which they reach it."""
    _forget()
    monkeypatch.setenv("DECANTER_DATABASE_URL", url)
    monkeypatch.setenv("DECANTER_ENGINE", made.engine_name)
    monkeypatch.setenv("DECANTER_ORDERED_QUEUE_URL", "ordered")
    monkeypatch.setenv("DECANTER_UNORDERED_QUEUE_URL", "unordered")
    monkeypatch.setenv("DECANTER_READER_FUNCTION", "reader")
    monkeypatch.setenv("DECANTER_OPERATE_FUNCTION", "operate")
    monkeypatch.setenv("DECANTER_RECEIPT_KEY", RECEIPT_KEY.decode())
    monkeypatch.delenv("DECANTER_PARTIAL_RESPONSES", raising=False)
    monkeypatch.setattr(put, "send", lambda _, entries, *__: made.queued.extend(entries))


def _forget() -> None:
    """Clear all caches of models and connections."""
    connection.forget("drain")
    connection.forget("reader")
    connection.forget("operate")
    for name, module in list(sys.modules.items()):
        if name.startswith("chalicelib."):
            for value in list(vars(module).values()):
                if isinstance(value, _lru_cache_wrapper) and value is not put._client:
                    value.cache_clear()
