"""What is watched while the load runs: connections, and the status of accepted requests."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psycopg2

from decanter.proof.history import Attempt, Reading, Sample, Snapshot
from decanter.proof.load.client import Calls
from decanter.proof.load.system import System

_SAMPLE_SECONDS = 0.2
_LATEST = 100
_STATUS_SECONDS = 15.0
_PREFIX = "decanter-"  # of the names of the functions' connections


@dataclass
class Session:
    """A cursor that is opened again when it is lost."""

    system: System
    database: str | None = None
    _open: ExitStack = field(default_factory=ExitStack)
    _cursor: Any = None

    def ask(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]] | None:
        """The rows, or None if there is no database now."""
        try:
            if self._cursor is None:
                self._cursor = self._open.enter_context(self.system.session(self.database))
            self._cursor.execute(statement, parameters)
            return list(self._cursor.fetchall())
        except psycopg2.Error:
            self.close()
            return None

    def close(self) -> None:
        self._cursor = None
        self._open.close()


@contextmanager
def sampled_connections(system: System, samples: list[Sample]) -> Iterator[None]:
    """Count the connections of the functions, by kind, all through the block."""
    ended = threading.Event()
    thread = threading.Thread(target=_sample, args=(system, samples, ended), name="samples")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _sample(system: System, samples: list[Sample], ended: threading.Event) -> None:
    session = Session(system, "postgres")
    while not ended.wait(_SAMPLE_SECONDS):
        found = session.ask(
            "SELECT application_name FROM pg_stat_activity"
            " WHERE datname = %s AND application_name LIKE 'decanter-%%'",
            (system.database,),
        )
        now = time.time()
        counts = Counter(name.removeprefix(_PREFIX) for (name,) in found or ())
        samples.extend(Sample(now, kind, count) for kind, count in counts.items())
    session.close()


@dataclass
class StatusReader:
    """A client that follows receipts, and sees what the database had before and after.

    attempts: of all clients, which it follows. readings: of all readers.
    """

    system: System
    calls: Calls
    attempts: Sequence[Attempt]
    readings: list[Reading]
    random: Random

    def run(self) -> None:
        """Read until the run ends."""
        session = Session(self.system)
        while not self.system.stopped.is_set():
            receipt = self._choose()
            if receipt is None:
                self.system.pause(0.1)
                continue
            with_snapshots = self.random.random() < 0.5
            before = _snapshot(session) if with_snapshots else None
            if (reading := read(self.calls, receipt)) is not None:
                after = _snapshot(session) if before else None
                self.readings.append(reading._replace(before=before, after=after))
        session.close()
        self.calls.close()

    def _choose(self) -> str | None:
        """A receipt: mostly one of the latest, whose outcome is open."""
        count = len(self.attempts)
        if not count:
            return None
        first = max(0, count - _LATEST) if self.random.random() < 0.8 else 0
        return self.attempts[self.random.randrange(first, count)].receipt


def read(calls: Calls, receipt: str) -> Reading | None:
    """The status of a receipt now, or None if there is no answer."""
    asked_at = time.time()
    answer = calls.call("GET", f"/writes/{receipt}", None, {}, _STATUS_SECONDS)
    if answer is None or answer.status != 200:
        return None
    body = json.loads(answer.body)
    return Reading(receipt, asked_at, time.time(), body["state"], dict(_rejections(body)))


def _rejections(status: dict[str, Any]) -> Iterator[tuple[int | None, str]]:
    assert not status.get("truncated"), "a status does not list all rejections"
    for each in status.get("rejections") or ():
        yield each.get("item"), str(each["type"])


def _snapshot(session: Session) -> Snapshot | None:
    found = session.ask("SELECT pg_current_snapshot()::text")
    return Snapshot.parse(found[0][0]) if found else None
