"""One run of a fault: a database, containers, a queue between them, and what all of them did."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from decanter.local.postgres import Postgres
from decanter.proof import evidence
from decanter.proof.faults import load
from decanter.proof.faults.databases import Databases, ReusedDatabase
from decanter.proof.faults.host import ContainerProcess, Host
from decanter.proof.faults.load import ClientRequest
from decanter.proof.faults.queue import MemoryQueue, QueuedMessage
from decanter.proof.faults.steps import NOWHERE, Place
from decanter.proof.history import Attempt, History, Reading, Sample, Snapshot, Violation
from decanter.proof.relay import Relay
from decanter.proof.tables import QUEUED, key_text

INVOCATION_SECONDS = 6.0
"""The timeout of the drain function; its margin is 2 s."""

LONG = 120.0
"""Seconds; many times what anything takes on a slow and busy machine."""

_POLL_SECONDS = 0.05
_TICK_SECONDS = 0.5


class Flight(NamedTuple):
    """A batch that a container has. until: time.monotonic() at which Lambda kills it."""

    container: ContainerProcess
    batch: list[QueuedMessage]
    until: float


@dataclass
class FaultCase:
    """host, server, database: what it runs on; the relay is in front of the database.

    place: where a fault strikes. drain: the container that is invoked; started: all containers of
    the drain; drains: the most that may hold a connection. innocent: numbers of requests that
    nothing may delay. violations: found by the fault itself. patience_seconds: how long a row waits
    for its parent.
    """

    host: Host
    server: Postgres
    database: ReusedDatabase
    relay: Relay
    random: Random
    place: Place
    api: ContainerProcess
    reader: ContainerProcess
    started: list[ContainerProcess] = field(default_factory=list)
    queue: MemoryQueue = field(default_factory=MemoryQueue)
    attempts: list[Attempt] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    innocent: set[int] = field(default_factory=set)
    violations: list[Violation] = field(default_factory=list)
    patience_seconds: int = 0
    drain: ContainerProcess = field(init=False)
    drains: int = 1
    _number: int = 0
    _ticked_at: float = 0.0

    def write(self, requests: Iterable[ClientRequest]) -> None:
        """Have clients send requests, and put their messages on the queue."""
        for each in requests:
            sent_at = time.time()
            answer = self.api.ask(
                "write", method=each.method, path=each.path, headers=each.headers, body=each.body
            )
            self.attempts.append(
                Attempt(
                    request=each.number,
                    client="client",
                    key=each.key,
                    writes=each.writes,
                    sent_at=sent_at,
                    answered_at=time.time(),
                    status=answer["status"],
                    receipt=answer["receipt"],
                    place=self.queue.send(answer["entries"]),
                )
            )
            self._number = max(self._number, each.number)

    def request(self, op: Any, resource: str, *rows: dict[str, Any]) -> ClientRequest:
        """A request with the next number."""
        self._number += 1
        return load.request(self._number, op, resource, rows)

    def write_first_rows(self) -> None:
        """Write the rows that other writes find, and pour them."""
        for resource, rows in load.first_rows().items():
            self.write([self.request("create", resource, *rows)])
        self.drain_to_the_end()

    def write_some(self, count: int) -> None:
        """Write seeded requests."""
        self.write(load.requests(self.random, self._number + 1, count))

    def start_drain(self) -> ContainerProcess:
        """A new container of the drain, behind the relay."""
        started = self.host.start(
            self.relay.url, DECANTER_PARENT_PATIENCE_SECONDS=str(self.patience_seconds)
        )
        self.started.append(started)
        return started

    def replace_drain(self) -> None:
        """Have a new container serve in place of this one."""
        self.drain.close()
        self.drain = self.start_drain()

    def dispatch(self, batch: list[QueuedMessage]) -> Flight:
        """Invoke the drain with a batch, empty for a schedule's event."""
        event = {"Records": [each.record() for each in batch]} if batch else {}
        self.drain.send("drain", event=event, seconds=INVOCATION_SECONDS)
        return Flight(self.drain, batch, time.monotonic() + INVOCATION_SECONDS)

    def settle(self, flight: Flight, seconds: float | None = None) -> bool:
        """Wait for the answer to a batch, and act on it as Lambda does: a container that is late is
        killed, one that has ended is replaced. With `seconds`, wait only so long, kill nothing, and
        return whether there was an answer."""
        end = flight.until if seconds is None else time.monotonic() + seconds
        try:
            while (answer := flight.container.answer(_POLL_SECONDS)) is None:
                self.sample()
                if time.monotonic() > end:
                    if seconds is not None:
                        return False
                    raise EOFError
        except EOFError:
            flight.container.kill()
            self.queue.give_back(flight.batch)
            if flight.container is self.drain:
                self.replace_drain()
            return True
        self.sample()
        self.queue.answer(flight.batch, answer)
        return True

    def deliver(self) -> bool:
        """Have the drain pour the next batch; returns whether there was one."""
        if not (batch := self.queue.receive()):
            return False
        self.settle(self.dispatch(batch))
        return True

    def tick(self) -> None:
        """Invoke the drain as its schedule does."""
        self._ticked_at = time.monotonic()
        self.settle(self.dispatch([]))

    def drain_to_the_end(self) -> None:
        """Deliver until the queue is empty and nothing waits, or it takes far too long."""
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            if not self.deliver():
                if not self.queue.messages and not self.waiting():
                    return
                if self.waiting() and time.monotonic() > self._ticked_at + _TICK_SECONDS:
                    self.tick()
                time.sleep(_POLL_SECONDS)

    def waiting(self) -> int:
        """How many writes wait in the database."""
        return int(self.execute("SELECT count(*) FROM decanter.waiting")[0][0])

    def execute(self, statement: str, *parameters: Any) -> list[Any]:
        return self.database.execute(statement, parameters or None)

    def sample(self) -> None:
        """Count the connections of all drains."""
        self.samples.append(Sample(time.time(), "drain", self.relay.connections))

    def read_some(self, count: int) -> None:
        """Have clients read the statuses of some requests."""
        accepted = [each.receipt for each in self.attempts if each.receipt]
        for receipt in self.random.sample(accepted, min(count, len(accepted))):
            if reading := self._read(receipt):
                self.readings.append(reading)

    def is_done(self, receipt: str) -> bool:
        """Whether a client is told that its request is done."""
        if reading := self._read(receipt):
            self.readings.append(reading)
        return reading is not None and reading.state != "pending"

    def history(self, allowed: frozenset[str]) -> History:
        """What happened, once nothing is on its way any more. allowed: types of rejections that the
        fault explains."""
        finals = {each.receipt: self._read(each.receipt) for each in self.attempts if each.receipt}
        with (
            closing(self.database.connected()) as connection,
            connection.cursor() as cursor,
        ):
            return History(
                attempts=tuple(self.attempts),
                readings=tuple(self.readings),
                finals={receipt: found for receipt, found in finals.items() if found},
                effects=tuple(evidence.effects(cursor)),
                rows={(name, key): row for name in QUEUED for key, row in _rows(cursor, name)},
                samples=tuple(self.samples),
                budget={"drain": self.drains},
                is_ordered=True,
                left=len(self.queue.messages) + self.waiting(),
                innocent=frozenset(self.innocent),
                bound_seconds=LONG / 2,
                allowed=allowed,
            )

    def _read(self, receipt: str) -> Reading | None:
        before, asked_at = self._snapshot(), time.time()
        status = self.reader.ask("read", receipt=receipt, seconds=INVOCATION_SECONDS)
        if not status:
            return None
        rejections = {each["item"]: each["type"] for each in status["rejections"]}
        return Reading(
            receipt, asked_at, time.time(), status["state"], rejections, before, self._snapshot()
        )

    def _snapshot(self) -> Snapshot:
        return Snapshot.parse(self.execute("SELECT pg_current_snapshot()::text")[0][0])


def _rows(cursor: Any, resource: str) -> Iterator[tuple[str, dict[str, Any]]]:
    cursor.execute(f"SELECT * FROM {resource}")
    names = [column.name for column in cursor.description]
    for values in cursor.fetchall():
        row = dict(zip(names, values, strict=True))
        yield key_text(resource, row), row


@contextmanager
def case(
    host: Host,
    databases: Databases,
    random: Random,
    place: Place = NOWHERE,
    patience_seconds: int = 0,
) -> Iterator[FaultCase]:
    """A case on an empty database. patience_seconds: how long a row waits for its parent."""
    with databases.database() as database:
        relay = Relay(database.drain_url)
        made = FaultCase(
            host=host,
            server=databases.server,
            database=database,
            relay=relay,
            random=random,
            place=place,
            api=host.start(),
            reader=host.start(database.drain_url),
            patience_seconds=patience_seconds,
        )
        try:
            made.drain = made.start_drain()
            yield made
        finally:
            for each in (made.api, made.reader, *made.started):
                each.close()
            relay.close()
