"""A queue in memory with the habits of SQS, in real time.

A batch has at most ten messages, all with a lane or all without. A lane is closed while one of its
messages is in flight. What is not deleted is visible again after its time.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

BATCH = 10
VISIBILITY_SECONDS = 8.0
AGAIN_SECONDS = 0.1  # after which unfinished messages are delivered again


@dataclass
class QueuedMessage:
    """place: in the order of acceptance. free_at: time.monotonic() from which it is visible."""

    place: int
    dedup_id: str
    lane: str | None
    body: str
    sent_ms: int
    receives: int = 0
    free_at: float = 0.0

    def record(self) -> dict[str, Any]:
        """A record of an event as Lambda gives it."""
        attributes = {
            "ApproximateReceiveCount": str(self.receives),
            "SentTimestamp": str(self.sent_ms),
        }
        lane = {} if self.lane is None else {"MessageGroupId": self.lane}
        return {
            "messageId": str(self.place),
            "body": self.body,
            "attributes": attributes | lane,
        }


@dataclass
class MemoryQueue:
    """deliveries: how many messages were handed over, redeliveries included."""

    messages: list[QueuedMessage] = field(default_factory=list)
    deliveries: int = 0
    _next: int = 0

    def send(self, entries: Iterable[Sequence[str]]) -> int | None:
        """Accept messages; returns the place of the first one."""
        first = self._next
        for dedup_id, lane, body, *_ in entries:
            now_ms = time.time_ns() // 1_000_000
            self.messages.append(QueuedMessage(self._next, dedup_id, lane, body, now_ms))
            self._next += 1
        return first if self._next > first else None

    def receive(self) -> list[QueuedMessage]:
        """The next batch, which is empty if nothing is visible now."""
        now = time.monotonic()
        batch: list[QueuedMessage] = []
        closed: set[str] = set()
        for each in self.messages:
            if each.free_at > now:
                closed |= {each.lane} if each.lane is not None else set()
            elif each.lane not in closed and (
                not batch or (each.lane is None) == (batch[0].lane is None)
            ):
                batch.append(each)
            if len(batch) == BATCH:
                break
        for each in batch:
            each.receives += 1
            each.free_at = now + VISIBILITY_SECONDS
        self.deliveries += len(batch)
        return batch

    def give_back(self, batch: Iterable[QueuedMessage], seconds: float = AGAIN_SECONDS) -> None:
        """Make messages visible again after so many seconds, if they are still queued."""
        for each in batch:
            each.free_at = time.monotonic() + seconds

    def answer(self, batch: Iterable[QueuedMessage], answer: dict[str, Any]) -> None:
        """Delete what a drain has finished. A late answer counts too: it deletes messages that were
        delivered again meanwhile."""
        failed = {each["itemIdentifier"] for each in answer.get("batchItemFailures", ())}
        finished = {
            each.place for each in batch if "raised" not in answer and str(each.place) not in failed
        }
        self.messages[:] = [each for each in self.messages if each.place not in finished]
        self.give_back(each for each in batch if each.place not in finished)
