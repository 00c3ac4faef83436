"""A queue that behaves like SQS, in virtual time, in front of the real drain and a real Postgres.

Each lane is first in, first out, and blocked while one of its messages is in flight. A batch has at
most ten messages. Messages that the drain hands back are visible again after the visibility
timeout; if the handler raises, that is the whole batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from chalicelib.buffer.sqs import put, take
from chalicelib.drain import handler
from chalicelib.errors import DatabaseUnavailable, Unfinished
from tests.kit.world import Context, World, event

VISIBILITY_SECONDS = 45
BATCH = 10


@dataclass
class Sent:
    """A message on the queue. free_at: virtual time from which it can be received."""

    entry: put.QueueEntry
    sent_at: float
    receives: int = 0
    free_at: float = 0.0
    is_out: bool = False


@dataclass
class Queue:
    """now: seconds of virtual time. invocation: seconds that a drain has, of real time."""

    world: World
    invocation: float = 6.0
    now: float = 0.0
    messages: list[Sent] = field(default_factory=list)
    deliveries: dict[str, int] = field(default_factory=dict)

    def send(self) -> None:
        """Put the accepted writes on the queue."""
        self.messages += [Sent(entry, self.now) for entry in self.world.queued]
        self.world.queued = []

    def receive(self) -> list[Sent]:
        """Return the next batch, which is empty if nothing can be received now."""
        batch: list[Sent] = []
        closed: set[str | None] = set()
        for each in self.messages:
            lane = each.entry.lane
            if lane in closed or len(batch) == BATCH:
                continue
            if each.free_at > self.now:
                closed |= {lane} if lane is not None else set()
            else:
                batch.append(each)
        return batch

    def deliver(self) -> bool:
        """Have the drain pour one batch; return whether there was one."""
        batch = self.receive()
        if not batch:
            return False
        for each in batch:
            each.receives += 1
            each.free_at = self.now + VISIBILITY_SECONDS
        records = [
            record for each in batch for record in event([each.entry], each.receives)["Records"]
        ]
        try:
            answer = handler.drain({"Records": records}, Context(self.invocation), take)
            failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
        except (Unfinished, DatabaseUnavailable):
            failed = {record["messageId"] for record in records}
        for each, record in zip(batch, records, strict=True):
            self.deliveries[each.entry.dedup_id] = each.receives
            if record["messageId"] not in failed:
                self.messages.remove(each)
        return True

    def tick(self) -> None:
        """Invoke the drain as its schedule does once a minute."""
        handler.drain({}, Context(self.invocation), take)

    def wait(self, seconds: float) -> None:
        """Advance virtual time for the queue and for writes that wait in the database."""
        self.now += seconds
        self.world.execute(
            "UPDATE decanter.waiting SET since = since - %s * interval '1 s',"
            " tried_at = tried_at - %s * interval '1 s'",
            seconds,
            seconds,
        )

    def run(self, seconds: float, step: Callable[[], None] = lambda: None) -> None:
        """Deliver for so many seconds, each of which begins with the step."""
        end = self.now + seconds
        while self.now < end:
            step()
            self.send()
            while self.deliver():
                pass
            self.wait(1)
            if int(self.now) % 60 == 0:
                self.tick()

    def run_to_the_end(self, seconds: float = 600) -> None:
        """Deliver until the queue is empty and nothing waits. Fail if that takes longer."""
        end = self.now + seconds
        while self.messages or self.world.value("SELECT count(*) FROM decanter.waiting"):
            assert self.now < end, (
                len(self.messages),
                self.world.execute("TABLE decanter.waiting"),
            )
            while self.deliver():
                pass
            self.wait(5)
            if int(self.now) % 60 < 5:
                self.tick()
