"""The outcome of a transaction's writes, and its time limit."""

import time
from dataclasses import dataclass, field

from chalicelib.drain.sets import SetRow
from chalicelib.errors import InternalError, LockNotAvailable, OutOfTime, StatementTimedOut
from chalicelib.postgres.made_keys import Made
from chalicelib.postgres.rejections import Rejection
from chalicelib.postgres.waiting import Reason

RETRY_IN_PARTS = (StatementTimedOut, LockNotAvailable, InternalError, OutOfTime)
"""Errors of a transaction of which parts may succeed: fewer rows, or the same ones later."""

_LEAST_SECONDS = 0.2


@dataclass(frozen=True)
class TimeLimit:
    """The time limit of a transaction.

    until: time.monotonic() after which no more rows are tried. share: the part of the remaining
    time that one statement may take.
    """

    until: float
    share: float = 0.25

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.until

    @property
    def limits(self) -> dict[str, float]:
        """For the next statement. A wait for a lock ends first, so that it does not pass for a slow
        statement."""
        seconds = max(_LEAST_SECONDS, (self.until - time.monotonic()) * self.share)
        return {"seconds": seconds, "lock_seconds": seconds / 2}


@dataclass(frozen=True)
class WaitingRow:
    """A write that cannot be poured now. rejection: kept if it waits for too long."""

    row: SetRow
    reason: Reason
    rejection: Rejection | None = None


@dataclass(frozen=True)
class WaveOutcome:
    """Writes that were rejected or have to wait, and keys that were made for others."""

    rejections: list[Rejection] = field(default_factory=list)
    waiting: list[WaitingRow] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    def add(self, other: "WaveOutcome") -> None:
        self.rejections.extend(other.rejections)
        self.waiting.extend(other.waiting)
        self.made.extend(other.made)
