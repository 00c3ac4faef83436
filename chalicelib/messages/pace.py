"""How fast a buffer was poured at a moment, as the reader tells the API function."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

PACE_SECONDS = 60
"""The time whose writes say how fast a buffer is poured."""


class Pace(NamedTuple):
    """How fast a buffer was poured at a moment.

    at: the moment, seconds since the epoch. writes, messages: poured in the PACE_SECONDS before it.
    busy: for how many of these seconds something waited that was poured. idle: seconds since the
    last pour. waiting: writes that waited at that moment and were poured since; last: when the last
    of them was poured, seconds since the epoch.
    """

    buffer: str
    at: int
    writes: int
    messages: int
    busy: float
    idle: float
    waiting: int
    last: float | None


def read(paces: Iterable[Sequence[Any]]) -> list[Pace]:
    """Paces from their JSON, which a newer version may have made longer. Raises TypeError."""
    return [Pace._make(each[: len(Pace._fields)]) for each in paces]
