"""A stream of DynamoDB in virtual time, as an event source mapping reads it.

https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from decanter.proof.front_history import Entry

KEPT_SECONDS = 86_400.0
_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 3_600.0


class StreamRecord(NamedTuple):
    """A change of an entry. sequence: its number in the stream. number: of the write in the table's
    order. entry: None if it was removed."""

    sequence: str
    number: int
    pk: str
    entry: Entry | None
    at: float


@dataclass
class Lane:
    """Records that are delivered one batch after the other: of a shard, or of a part of one where
    several batches of a shard are delivered at once. All of an entry are in one lane.

    records: not finished. most: of the next batch, after a failure. ready_at: when it is.
    """

    records: list[StreamRecord] = field(default_factory=list)
    dropped: list[StreamRecord] = field(default_factory=list)
    most: int | None = None
    failures: int = 0
    ready_at: float = 0.0
    is_busy: bool = False

    def take(self, now: float, most: int) -> list[StreamRecord]:
        """The next batch, at most so many; none while there is one, or a pause after a failure."""
        if self.is_busy or now < self.ready_at:
            return []
        kept = [each for each in self.records if each.at > now - KEPT_SECONDS]
        self.dropped += [each for each in self.records if each.at <= now - KEPT_SECONDS]
        self.records = kept
        batch = kept[: most if self.most is None else min(most, self.most)]
        self.is_busy = bool(batch)
        return batch

    def end(self, batch: Sequence[StreamRecord], failed: Set[str] | None, now: float) -> None:
        """A batch has ended. failed: sequence numbers that it named; None if it failed as a whole.

        It goes on with the lowest of them. A batch that has not gone on at all comes again in two
        halves, after a pause.
        """
        self.is_busy = False
        places = [n for n, each in enumerate(batch) if failed is None or each.sequence in failed]
        done = places[0] if places else len(batch)
        del self.records[:done]
        if done:
            self.most, self.failures = None, 0
            return
        self.most = max(1, len(batch) // 2)
        pause = min(_LONGEST_PAUSE_SECONDS, _PAUSE_SECONDS * 2**self.failures)
        self.failures += 1
        self.ready_at = now + pause
