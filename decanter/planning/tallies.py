"""What is counted while a day is simulated.

A quiet stretch of the day is simulated in part, and what is counted there is added with the weight
of the whole stretch. Lags are counted by size, in steps of one percent.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log

from decanter.planning.outcome import Quantiles
from decanter.planning.requests import SentRequest

_STEPS = 100  # in a factor of e
_LEAST_SECONDS = 1e-6


class Lags:
    """Lags of messages, each counted in the step of its size.

    goal: the longest lag that is not late, in seconds.
    """

    def __init__(self, goal: float = math.inf) -> None:
        self.goal = goal
        self.late = 0.0
        self.counts: defaultdict[int, float] = defaultdict(float)
        self.sum = 0.0
        self.longest = 0.0

    def count(self, seconds: Sequence[float]) -> None:
        """Count the lags of a batch."""
        counts, goal = self.counts, self.goal
        for each in seconds:
            counts[int(log(each / _LEAST_SECONDS) * _STEPS) if each > _LEAST_SECONDS else 0] += 1
            if each > goal:
                self.late += 1
        self.sum += sum(seconds)
        self.longest = max(self.longest, *seconds)

    def add(self, others: "Lags", weight: float) -> None:
        for step, count in others.counts.items():
            self.counts[step] += weight * count
        self.sum += weight * others.sum
        self.late += weight * others.late
        self.longest = max(self.longest, others.longest)

    @property
    def total(self) -> float:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float:
        """Their mean, in seconds; 0 if there are none."""
        return self.sum / total if (total := self.total) else 0.0

    def quantiles(self) -> Quantiles:
        """Upper bounds of the steps with the quantiles; zeros if there are no lags."""
        steps = sorted(self.counts.items())
        p50, p95, p99 = (self._quantile(steps, share) for share in (0.5, 0.95, 0.99))
        return Quantiles(p50, p95, p99, self.longest)

    def _quantile(self, steps: Iterable[tuple[int, float]], share: float) -> float:
        left = share * self.total
        for step, count in steps:
            left -= count
            if left <= 0:
                return min(self.longest, _LEAST_SECONDS * math.exp((step + 1) / _STEPS))
        return self.longest


@dataclass
class ResourceTally:
    """Writes of a resource that were accepted, their messages, and the lags of those poured."""

    requests: float = 0
    messages: float = 0
    rows: float = 0
    bytes: float = 0
    puts: float = 0
    lags: Lags = field(default_factory=Lags)

    def sent(self, request: SentRequest, times: float) -> None:
        """Count a request that was accepted so many times."""
        self.requests += times
        self.messages += times * len(request.messages)
        self.rows += times * request.rows
        self.bytes += times * request.bytes
        self.puts += times * request.puts

    def add(self, other: "ResourceTally", weight: float) -> None:
        self.requests += weight * other.requests
        self.messages += weight * other.messages
        self.rows += weight * other.rows
        self.bytes += weight * other.bytes
        self.puts += weight * other.puts
        self.lags.add(other.lags, weight)


@dataclass
class DrainTally:
    """Batches of a drain; see `outcome.BufferOutcome`."""

    batches: float = 0
    busy_seconds: float = 0
    receives: float = 0
    cold_starts: float = 0

    def add(self, other: "DrainTally", weight: float) -> None:
        self.batches += weight * other.batches
        self.busy_seconds += weight * other.busy_seconds
        self.receives += weight * other.receives
        self.cold_starts += weight * other.cold_starts


@dataclass
class Tally:
    """All that is counted. refused: requests that were answered with 429."""

    resources: list[ResourceTally]
    drains: Mapping[str, DrainTally]
    refused: float = 0

    @classmethod
    def empty(cls, resources: int, buffers: Iterable[str], goal: float) -> "Tally":
        """One that has counted nothing. resources: how many there are. goal: see Lags."""
        return cls(
            [ResourceTally(lags=Lags(goal)) for _ in range(resources)],
            {buffer: DrainTally() for buffer in buffers},
        )

    def add(self, other: "Tally", weight: float) -> None:
        for own, counted in zip(self.resources, other.resources, strict=True):
            own.add(counted, weight)
        for buffer, tally in self.drains.items():
            tally.add(other.drains[buffer], weight)
        self.refused += weight * other.refused
