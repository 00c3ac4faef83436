"""Where a fault strikes: the steps of a batch, found by a first run without faults."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from random import Random
from typing import NamedTuple

from decanter.proof.relay import Direction, Passed, Point, Traffic

_SPAN = 60  # bytes of one case
_SAMPLED_BYTES = 8  # in each direction
_SAMPLED_MESSAGES = 3


class Batch(StrEnum):
    """plain: poured in one go. mixed: some writes are rejected or wait, so that it is poured in
    parts. small: one message."""

    PLAIN = "plain"
    MIXED = "mixed"
    SMALL = "small"


class Span(NamedTuple):
    """Bytes in one direction, from first to last; each is struck in a batch of its own."""

    direction: Direction
    numbers: Sequence[int]

    def __str__(self) -> str:
        return f"{len(self.numbers)} bytes from {self.numbers[0]} {self.direction}"


Step = Point | Span | None
"""None: the fault has only one."""


class Place(NamedTuple):
    """A step of a batch."""

    batch: Batch | None
    step: Step = None

    @property
    def strikes(self) -> int:
        """How many times the relay is to strike."""
        return len(self.step.numbers) if isinstance(self.step, Span) else int(bool(self.step))

    def __str__(self) -> str:
        return ", ".join(str(each) for each in (self.batch and self.batch.value, self.step) if each)


NOWHERE = Place(None)


class Points(StrEnum):
    """Which steps a fault has. statements: each message to the server. steps: these, and the end of
    each answer. messages: all, in both directions."""

    ONCE = "once"
    FEW = "few"
    STATEMENTS = "statements"
    STEPS = "steps"
    MESSAGES = "messages"
    BYTES = "bytes"


FirstRuns = Mapping[Batch, Traffic]
"""What passed the relay in the first run of each batch."""


def places(points: Points, passed: FirstRuns, random: Random, is_short: bool) -> list[Place]:
    """The places of a fault. is_short: only a few of them, by chance."""
    few = _few(passed[Batch.PLAIN])
    match points:
        case Points.ONCE:
            return [NOWHERE]
        case Points.FEW:
            return [few.decisive] if is_short else [*few]
        case Points.BYTES:
            return _bytes(passed[Batch.SMALL], random, is_short)
    every = [
        Place(batch, Point(direction, number))
        for batch in (Batch.PLAIN, Batch.MIXED)
        for direction in Direction
        for number in _numbers(points, direction, passed[batch][direction])
    ]
    return [few.decisive, *random.sample(every, _SAMPLED_MESSAGES)] if is_short else every


def _numbers(points: Points, direction: Direction, passed: Passed) -> Sequence[int]:
    if direction == Direction.TO_SERVER or points == Points.MESSAGES:
        return range(1, passed.messages + 1)
    return passed.ready if points == Points.STEPS else ()


class _Few(NamedTuple):
    """When the connection is made, before the last statements are sent, and at their answer."""

    first: Place
    decisive: Place
    last: Place


def _few(traffic: Traffic) -> _Few:
    sent, answered = (traffic[direction].messages for direction in Direction)
    return _Few(
        Place(Batch.PLAIN, Point(Direction.TO_SERVER, 1)),
        Place(Batch.PLAIN, Point(Direction.TO_SERVER, sent)),
        Place(Batch.PLAIN, Point(Direction.TO_CLIENT, answered)),
    )


def _bytes(traffic: Traffic, random: Random, is_short: bool) -> list[Place]:
    found = []
    for direction in Direction:
        every = range(traffic[direction].bytes + 1)
        numbers = sorted(random.sample(every, _SAMPLED_BYTES)) if is_short else every
        found += [
            Place(Batch.SMALL, Span(direction, numbers[first : first + _SPAN]))
            for first in range(0, len(numbers), _SPAN)
        ]
    return found
