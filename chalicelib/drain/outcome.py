"""What becomes of the writes of a transaction, and the time that there is for it."""

import time
from dataclasses import dataclass, field

from chalicelib.drain.sets import SetRow
from chalicelib.postgres.made_keys import Made
from chalicelib.postgres.rejections import Rejection
from chalicelib.postgres.waiting import Reason

_LEAST_SECONDS = 0.2


@dataclass(frozen=True)
class TimeLimit:
    """What there is for a transaction.

    until: time.monotonic() after which no more rows are tried. share: of the time that is left,
    what one statement may take.
    """

    until: float
    share: float = 0.25

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.until

    @property
    def limits(self) -> dict[str, float]:
        """Of the next statement. Waiting for a lock ends first: it is not taken for slowness."""
        seconds = max(_LEAST_SECONDS, (self.until - time.monotonic()) * self.share)
        return {"seconds": seconds, "lock_seconds": seconds / 2}


@dataclass(frozen=True)
class WaitingRow:
    """A write that cannot be poured now.

    rejection: what becomes of it if it waits too long.
    """

    row: SetRow
    reason: Reason
    rejection: Rejection | None = None


@dataclass(frozen=True)
class WaveOutcome:
    """What became of writes that were not simply poured; and what keys were made for others."""

    rejections: list[Rejection] = field(default_factory=list)
    waiting: list[WaitingRow] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    def add(self, other: "WaveOutcome") -> None:
        self.rejections.extend(other.rejections)
        self.waiting.extend(other.waiting)
        self.made.extend(other.made)

    @property
    def digests(self) -> set[int]:
        """Of the keys of what waits."""
        return {each.row.digest for each in self.waiting if each.row.digest is not None}
