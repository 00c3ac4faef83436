"""SQS in virtual time, with the habits that AWS documents.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html
"""

import random
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple
from uuid import UUID

DEDUPLICATION_SECONDS = 300.0


@dataclass
class Message:
    """A message. place: in the order in which the queues accepted messages. lane: its message
    group, which has an order on a FIFO queue alone. handle: number of the receive that may delete
    it."""

    id: str
    body: str
    place: int
    lane: str | None
    sent_at: float
    receives: int = 0
    visible_at: float = 0.0
    handle: int = 0


class Received(NamedTuple):
    """A message as one receive got it."""

    message: Message
    handle: int
    receives: int


@dataclass
class Queue:
    """A queue with its dead-letter queue. doubles: the share of deletions that the standard queue
    forgets, so that the message comes again. archive: body and lane of all that was sent."""

    is_fifo: bool
    visibility: float
    most_receives: int
    numbers: random.Random
    places: "count[int]"
    doubles: float = 0.0
    messages: list[Message] = field(default_factory=list)
    dead: list[Message] = field(default_factory=list)
    seen: dict[str, tuple[float, Message]] = field(default_factory=dict)
    handles: "count[int]" = field(default_factory=lambda: count(1))
    archive: list[tuple[str, str | None]] = field(default_factory=list)

    def send(self, body: str, lane: str | None, dedup: str | None, now: float) -> Message:
        """Accept a message; return it, or the one within five minutes that it repeats."""
        if dedup in self.seen and now - self.seen[dedup][0] < DEDUPLICATION_SECONDS:
            return self.seen[dedup][1]
        message = self._accept(body, lane, now)
        self.archive.append((body, lane))
        if dedup is not None:
            self.seen[dedup] = now, message
        return message

    def receive(self, now: float, most: int) -> list[Received]:
        """Return the next batch; its messages are invisible until the visibility time-out. One that
        was received too often goes to the dead-letter queue instead."""
        self._bury(now)
        batch = self._available(now)
        if not self.is_fifo:
            self.numbers.shuffle(batch)
        received = []
        for message in batch[:most]:
            message.receives += 1
            message.visible_at = now + self.visibility
            message.handle = next(self.handles)
            received.append(Received(message, message.handle, message.receives))
        return received

    def delete(self, each: Received, now: float) -> None:
        """Delete a message, unless that is too late: after the time-out a FIFO queue refuses it."""
        is_late = each.message.handle != each.handle or each.message.visible_at <= now
        if self.is_fifo and is_late:
            return
        if not self.is_fifo and self.numbers.random() < self.doubles:
            return
        if each.message in self.messages:
            self.messages.remove(each.message)

    def redrive(self, now: float) -> None:
        """Send dead letters again: as new messages, with other IDs and deduplication IDs."""
        dead, self.dead = self.dead, []
        for message in dead:
            self._accept(message.body, message.lane, now)

    def resend(self, now: float) -> None:
        """Send all messages again, as new ones."""
        for body, lane in self.archive:
            self._accept(body, lane, now)

    def next_visible(self, now: float) -> float | None:
        """Return when the next message in flight becomes visible."""
        return min((m.visible_at for m in self.messages if m.visible_at > now), default=None)

    def counts(self, now: float) -> tuple[int, int]:
        """Return how many messages are visible, and how many are in flight."""
        hidden = sum(message.visible_at > now for message in self.messages)
        return len(self.messages) - hidden, hidden

    def _accept(self, body: str, lane: str | None, now: float) -> Message:
        id_ = str(UUID(int=self.numbers.getrandbits(128)))
        message = Message(id_, body, next(self.places), lane, now)
        self.messages.append(message)
        return message

    def _available(self, now: float) -> list[Message]:
        """Return the visible messages; a lane is blocked while one of its messages is in flight."""
        found, blocked = [], set()
        for message in self.messages:
            if self.is_fifo and message.lane in blocked:
                continue
            if message.visible_at > now:
                blocked.add(message.lane)
            else:
                found.append(message)
        return found

    def _bury(self, now: float) -> None:
        for message in self._available(now):
            if message.receives >= self.most_receives:
                self.messages.remove(message)
                self.dead.append(message)
