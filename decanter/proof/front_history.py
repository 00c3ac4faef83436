"""What the front table took, and what its clients were told: the part of a history that the checker
needs for resources behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Entry = Mapping[str, Mapping[str, Any]]
"""An entry of the table, as DynamoDB's API has it."""


class TableWrite(NamedTuple):
    """What one call changed in the table, all of it at once.

    number: in the table's order. attempt: position in the history's attempts; None of what no
    client asked for. entries: by name, as they are then; None: removed.
    """

    number: int
    at: float
    attempt: int | None
    entries: Mapping[str, Entry | None]


class FrontAnswer(NamedTuple):
    """What an attempt was answered. problem: its type; empty for a success. body: JSON. condition:
    that was sent with it, see `simulation.plan.Request`."""

    problem: str
    body: Any
    etag: str
    condition: str


class FrontRead(NamedTuple):
    """A row that a client read by its key."""

    row: tuple[str, str]
    asked_at: float
    answered_at: float
    status: int
    body: Any


@dataclass(frozen=True)
class FrontHistory:
    """writes: in the table's order. answers: by the position of their attempt. dropped: numbers of
    writes that the stream has dropped, as they were too old."""

    writes: Sequence[TableWrite] = ()
    answers: Mapping[int, FrontAnswer] = field(default_factory=dict)
    reads: Sequence[FrontRead] = ()
    dropped: frozenset[int] = frozenset()
