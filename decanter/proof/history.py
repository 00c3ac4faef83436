"""What clients did and saw, and what the database recorded: the input of the checker.

Times are seconds by one clock, which all records of a history share: of virtual time in the
simulation, of the machine in a run against a deployed stack.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chalicelib.ops import Op

Values = Mapping[str, int | str | None]
"""The columns of a row, by name."""


class Write(NamedTuple):
    """One write, to one row.

    item: its place in the request. key: of the row, as text (see `tables.key_text`). values: the
    members that are sent, with the key. token: the value of its member `token`, which no other
    write has; empty for a delete.
    """

    item: int
    resource: str
    op: Op
    key: str
    values: Values

    @property
    def token(self) -> str:
        return str(self.values.get("token", ""))


class Attempt(NamedTuple):
    """One HTTP request. Retries of one request share its number, its writes and its
    Idempotency-Key.

    answered_at: None if no answer came: then the outcome is unknown. status: of the answer.
    receipt: of a 202. place: of its first message in the queue's order of acceptance; None if the
    queue is not known to have any, or nobody knows the order.
    """

    request: int
    client: str
    is_keyed: bool
    writes: tuple[Write, ...]
    sent_at: float
    answered_at: float | None = None
    status: int | None = None
    receipt: str | None = None
    place: int | None = None

    @property
    def is_accepted(self) -> bool:
        return self.status == 202


class Snapshot(NamedTuple):
    """Which transactions had committed at a moment: `pg_current_snapshot()`."""

    oldest: int
    next: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        oldest, following, running = text.split(":")
        return cls(
            int(oldest), int(following), frozenset(map(int, filter(None, running.split(","))))
        )

    def sees(self, transaction: int) -> bool:
        return transaction < self.oldest or (
            transaction < self.next and transaction not in self.running
        )


class Reading(NamedTuple):
    """A status that a client read.

    state, rejections: of the answer; rejections: types by item. before, after: snapshots taken
    before the question and after the answer, if any were.
    """

    receipt: str
    asked_at: float
    answered_at: float
    state: str
    rejections: Mapping[int, str] = {}
    before: Snapshot | None = None
    after: Snapshot | None = None


class Effect(NamedTuple):
    """A change of one row, as its trigger recorded it in the same transaction.

    number: in the order of changes to one key. transaction: its ID. before, after: columns of the
    row; None where there is none. at: when the transaction began.
    """

    number: int
    transaction: int
    at: float
    resource: str
    key: str
    before: Values | None
    after: Values | None


class Sample(NamedTuple):
    """Connections that the functions of one kind held at a moment."""

    at: float
    kind: str
    connections: int


@dataclass(frozen=True)
class History:
    """One run.

    finals: the last status of each receipt, read when nothing was on its way any more. rows: final
    rows by resource and key. budget: the most connections by kind. is_ordered: whether `place` is
    known for each accepted attempt. left: messages that were never poured, however long the run
    waited. innocent: requests that no fault and no other write of their keys may delay, and
    bound_seconds: how long each of their writes may take until it is done.
    """

    attempts: Sequence[Attempt]
    readings: Sequence[Reading]
    finals: Mapping[str, Reading]
    effects: Sequence[Effect]
    rows: Mapping[tuple[str, str], Values]
    samples: Sequence[Sample] = ()
    budget: Mapping[str, int] = field(default_factory=dict)
    left: int = 0
    innocent: frozenset[int] = frozenset()
    bound_seconds: float | None = None
    rejected_at: Mapping[tuple[str, int], float] = field(default_factory=dict)
    """When each rejected write (receipt, item) was rejected."""


class Violation(NamedTuple):
    """A promise that was broken. kind: one of `checker.KINDS`."""

    kind: str
    text: str
