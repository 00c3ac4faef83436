"""What became of a replay, predicted or measured: messages with their times, and the comparison."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

TOLERANCE = 0.2
"""By how much a measured figure may differ from the predicted one."""

PERCENTILES = (50, 95, 99)


class PouredMessage(NamedTuple):
    """A message. accepted, poured: its acceptance and its COMMIT, in seconds since the replay
    began. batch: tells the batches of a buffer apart."""

    buffer: str
    accepted: float
    poured: float
    batch: str

    @property
    def lag(self) -> float:
        return self.poured - self.accepted


class Run(NamedTuple):
    """A replay. connections: the most that drains held at once."""

    messages: tuple[PouredMessage, ...]
    connections: int

    def of(self, buffer: str) -> list[PouredMessage]:
        """The messages of a buffer, in the order of their COMMIT."""
        found = [each for each in self.messages if each.buffer == buffer]
        return sorted(found, key=lambda each: each.poured)

    def batches(self, buffer: str) -> int:
        return len({each.batch for each in self.messages if each.buffer == buffer})


class Figure(NamedTuple):
    """A figure of a profile. buffer: empty for all."""

    profile: str
    buffer: str
    name: str
    predicted: float
    measured: float

    @property
    def ratio(self) -> float:
        """What was measured, by what was predicted."""
        if self.predicted == self.measured:
            return 1.0
        return self.measured / self.predicted if self.predicted else float("inf")

    @property
    def is_near(self) -> bool:
        return abs(self.ratio - 1) <= TOLERANCE


def compare(profile: str, predicted: Run, measured: Run) -> Iterator[Figure]:
    """Each figure of a profile."""
    for buffer in sorted({each.buffer for each in predicted.messages}):
        lags = [sorted(each.lag for each in run.of(buffer)) for run in (predicted, measured)]
        for percent in PERCENTILES:
            values = [percentile(each, percent) for each in lags]
            yield Figure(profile, buffer, f"lag p{percent} (s)", *values)
        counts = [float(run.batches(buffer)) for run in (predicted, measured)]
        yield Figure(profile, buffer, "batches", *counts)
    yield Figure(
        profile, "", "connections", float(predicted.connections), float(measured.connections)
    )


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The least value that so many percent of the values do not exceed; 0 for none."""
    if not ordered:
        return 0.0
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def backlog(messages: Sequence[PouredMessage]) -> list[tuple[float, float]]:
    """Over time, how many messages wait."""
    changes = sorted(
        change for each in messages for change in ((each.accepted, 1), (each.poured, -1))
    )
    found, waiting = [(0.0, 0.0)], 0
    for second, change in changes:
        waiting += change
        found.append((second, float(waiting)))
    return found
