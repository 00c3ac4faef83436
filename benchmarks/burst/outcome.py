"""What became of the writes of a burst: its figures, and what is drawn of it."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from benchmarks.burst.client import ACCEPTED, Attempts
from benchmarks.burst.observer import Sample

Series = list[tuple[float, float]]
"""Points: seconds since the burst began, and a value that holds until the next one."""


class Outcome(NamedTuple):
    """One burst. rows: how many each write has at the end, by its number."""

    attempts: Attempts
    samples: Sequence[Sample]
    rows: Mapping[int, int]

    @property
    def began(self) -> float:
        return min(tries[0].started for tries in self.attempts.values())

    @property
    def accepted(self) -> dict[int, float]:
        """When each write was accepted, by its number."""
        return {
            write: tries[-1].ended
            for write, tries in self.attempts.items()
            if tries[-1].outcome == ACCEPTED
        }

    @property
    def most_connections(self) -> int:
        return max((each.connections for each in self.samples), default=0)

    @property
    def lost(self) -> int:
        """Writes that were accepted and are not stored."""
        return len(self.accepted.keys() - self.rows.keys())

    @property
    def doubled(self) -> int:
        """Writes that are stored more than once."""
        return sum(rows > 1 for rows in self.rows.values())

    @property
    def open_at_once(self) -> int:
        """The most requests that were open at the same time."""
        changes = sorted(
            change
            for tries in self.attempts.values()
            for each in tries
            for change in ((each.started, 1), (each.ended, -1))
        )
        most = now = 0
        for _, change in changes:
            now += change
            most = max(most, now)
        return most

    @property
    def missing(self) -> dict[int, float]:
        """When each write was last seen to be missing, by its number, if it is stored."""
        return {
            write: before.at for before, sample in pairwise(self.samples) for write in sample.new
        }

    @property
    def lags(self) -> list[float]:
        """Seconds from acceptance until its row was last missing, of each write that is stored; 0
        if it never was."""
        missing = self.missing
        return [
            max(0.0, missing[write] - at) for write, at in self.accepted.items() if write in missing
        ]

    def failures(self) -> Counter[str]:
        """Count the attempts that were not accepted, by what went wrong."""
        outcomes = Counter(each.outcome for tries in self.attempts.values() for each in tries)
        del outcomes[ACCEPTED]
        return outcomes

    def figures(self) -> dict[tuple[str, str], float]:
        """Return each figure by its name and unit; the names are those of every burst."""
        latencies = _percentiles([at - self.began for at in self.accepted.values()])
        first = sum(tries[0].outcome == ACCEPTED for tries in self.attempts.values())
        stored = [each.at for each in self.samples if each.new]
        return {
            ("open at once", "requests"): self.open_at_once,
            ("accepted", "writes"): len(self.accepted),
            ("accepted at the first attempt", "writes"): first,
            ("failed after all attempts", "writes"): len(self.attempts) - len(self.accepted),
            ("rows", "rows"): sum(self.rows.values()),
            ("lost", "writes"): self.lost,
            ("doubled", "writes"): self.doubled,
            ("most connections", "connections"): self.most_connections,
            **{(f"latency {name}", "s"): value for name, value in latencies.items()},
            ("all rows stored after", "s"): max(stored, default=self.began) - self.began,
            ("lag, median", "s"): statistics.median(self.lags or [0.0]),
            ("lag, longest", "s"): max(self.lags, default=0.0),
        }

    def connections(self) -> Series:
        """Return the connections over time."""
        return _steps((each.at - self.began, each.connections) for each in self.samples)

    def lag(self) -> Series:
        """Return over time how long the oldest write has been accepted and not yet stored."""
        missing = self.missing
        spans = [(at, missing.get(write, float("inf"))) for write, at in self.accepted.items()]
        return _steps(
            (
                now - self.began,
                max((now - at for at, missing in spans if at <= now <= missing), default=0.0),
            )
            for now in (each.at for each in self.samples)
        )


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    several = [*values, *values] if len(values) == 1 else values or [0.0, 0.0]
    cuts = statistics.quantiles(several, n=100, method="inclusive")
    return {f"p{percent}": cuts[percent - 1] for percent in (50, 95, 99)}


def _steps(points: Iterable[tuple[float, float]]) -> Series:
    """Leave out points before the burst, and those that repeat the value before and after."""
    kept: Series = []
    for at, value in points:
        if at < 0:
            continue
        if len(kept) > 1 and kept[-1][1] == kept[-2][1] == value:
            kept.pop()
        kept.append((at, value))
    return kept
