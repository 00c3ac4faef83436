"""What clients did and saw, and what the database recorded: the input of the checker.

Times are seconds by one clock, which all records of a history share: of virtual time in the
simulation, of the machine in a run against a deployed stack.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chalicelib.ops import Op
from decanter.proof.front_history import FrontHistory

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
    Idempotency-Key; without a key, a second attempt is another request.

    key: its Idempotency-Key; two requests with one key are of one caller. answered_at: None if no
    answer came: then the outcome is unknown. status: of the answer. receipt: of an accepted one.
    place: of its messages in the queue's order of acceptance; None if the queue is not known to
    have any, or nobody knows the order. places: those of items whose message has another place.
    """

    request: int
    client: str
    key: str | None
    writes: tuple[Write, ...]
    sent_at: float
    answered_at: float | None = None
    status: int | None = None
    receipt: str | None = None
    place: int | None = None
    places: Mapping[int, int] = {}

    @property
    def is_accepted(self) -> bool:
        """202; or another success, if the client has waited for the outcome."""
        return self.answered_at is not None and self.status in range(200, 300)

    @property
    def is_refused(self) -> bool:
        """Whether the answer says that nothing was accepted. A timeout or a refusal of too many
        requests may come from what stands in between, which does not know."""
        return (
            self.answered_at is not None
            and self.status in range(400, 500)
            and self.status not in (408, 429)
        )

    def place_of(self, item: int) -> int | None:
        return self.places.get(item, self.place)


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

    state, rejections: of the answer; rejections: types by item, or by None for the request as a
    whole (`key-reused`). before, after: snapshots taken
    before the question and after the answer, if any were.
    """

    receipt: str
    asked_at: float
    answered_at: float
    state: str
    rejections: Mapping[int | None, str] = {}
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
    rows by resource and key. budget: the most connections by kind. is_ordered: whether all places
    are known, so that an attempt without one has put nothing on the queue. left: messages that were
    never poured, however long the run waited. innocent: requests that no fault and no other write
    of their keys may delay, and bound_seconds: how long each of their writes may take until it is
    done. rejected_at: when each rejected write (receipt, item) was rejected. allowed: types of
    rejections that faults of this run explain, whatever the write. dead_letters: requests of which
    a message became a dead letter, and so has lost its place. forgeries: statuses that somebody
    asked for with a receipt that was never issued to them; `unknown` if they were told nothing.
    needless_deadlocks: when drains had one although they had written one set each. commit_seconds:
    the longest time from a change to its commit. front: of resources behind the front table; None
    if the stage has none. front_bound_seconds: the bound of writes behind it. overtaken: requests
    of which the stream has dropped a write, and the table had a later one to its row: superseded.
    """

    attempts: Sequence[Attempt]
    readings: Sequence[Reading]
    finals: Mapping[str, Reading]
    effects: Sequence[Effect]
    rows: Mapping[tuple[str, str], Values]
    samples: Sequence[Sample] = ()
    budget: Mapping[str, int] = field(default_factory=dict)
    is_ordered: bool = False
    left: int = 0
    innocent: frozenset[int] = frozenset()
    bound_seconds: float | None = None
    rejected_at: Mapping[tuple[str, int], float] = field(default_factory=dict)
    allowed: frozenset[str] = frozenset()
    dead_letters: frozenset[int] = frozenset()
    forgeries: Sequence[Reading] = ()
    needless_deadlocks: Sequence[float] = ()
    commit_seconds: float = 0.0
    front: FrontHistory | None = None
    front_bound_seconds: float | None = None
    overtaken: frozenset[int] = frozenset()


class Violation(NamedTuple):
    """A promise that was broken. kind: one of `checker.KINDS`. row: resource and key, if it is
    about one."""

    kind: str
    text: str
    row: tuple[str, str] | None = None
