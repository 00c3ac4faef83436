"""A flood of one caller beside others, in virtual time: how long the others' writes wait.

The API's containers are those of `chalicelib.buffer.sqs.backlog`, each with a gate of its own; the
queues, the drains and the callers are models. Nothing is measured: the same seed gives the same
figures everywhere.
"""

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import NamedTuple

from chalicelib.buffer.sqs.backlog import Gate
from chalicelib.errors import Problem
from chalicelib.settings import CallerLimits
from decanter.proof.flood.queues import Groups, Lanes, SharedQueue, Written

CONTAINERS = 20
_CONTAINER_REQUESTS = 2_000
"""After about so many requests, a container is replaced by a new one, which knows nothing."""

_COUNT_ERROR = 0.1
"""Part by which SQS' counts are too high or too low."""

CALLERS: Mapping[str, float] = {
    "busy": 5.0, "quiet-1": 0.2, "quiet-2": 0.2, "quiet-3": 0.2, "rare": 0.01,
}  # fmt: skip
"""The other callers, and their writes a second."""

FLOODER = "flooder"
WORKERS = 100
FLOOD = 20_000
"""Writes of the flooder. Each of its WORKERS sends one and, when it is accepted, the next a second
later; one that is refused is sent again after Retry-After."""

_PAUSE_SECONDS = 1.0
_BEGINS = 60.0
_ENDS = 600.0
_KEYS = 50
"""Rows that a caller writes to."""


class Drains(NamedTuple):
    """Drains of a queue. A batch takes `seconds`, and `seconds_each` for each message."""

    number: int
    batch: int
    seconds: float
    seconds_each: float

    @property
    def pace(self) -> float:
        """Messages a second with full batches."""
        return self.number * self.batch / (self.seconds + self.batch * self.seconds_each)


ORDERED = Drains(4, 10, 0.3, 0.05)
UNORDERED = Drains(2, 40, 0.4, 0.03)


class FloodCase(NamedTuple):
    """What is run. limits: on the ordered queue; None: there are none. is_fair: whether messages on
    the unordered queue have their caller as message group."""

    name: str
    is_ordered: bool
    has_flood: bool
    limits: CallerLimits | None = None
    is_fair: bool = False


LIMITS = CallerLimits(among_others=1_000, alone=100_000)
CASES = (
    FloodCase("ordered", True, False),
    FloodCase("ordered, flood", True, True),
    FloodCase("ordered, flood, limits", True, True, LIMITS),
    FloodCase("unordered", False, False),
    FloodCase("unordered, flood", False, True),
    FloodCase("unordered, flood, groups", False, True, None, True),
)


FACTOR = 4.0
"""By how many times a flood may make others wait longer on the unordered queue."""


class FloodOutcome(NamedTuple):
    """What became of it. Waits are in seconds from acceptance until a write is applied: the longest
    of the others' and of the flooder's. refused: 429s to others and to the flooder. applied: writes
    of both. misordered: writes that were applied before an earlier one of their key. waiting: the
    most messages that waited. flooded: seconds from the flood's first attempt until its last write
    was applied."""

    case: str
    seed: int
    others_wait: float
    flooder_wait: float
    others_refused: int
    flooder_refused: int
    others_applied: int
    flooder_applied: int
    misordered: int
    waiting: int
    flooded: float


def run(case: FloodCase, seed: int = 0) -> FloodOutcome:
    """Run a case to its end."""
    return _Run(case, seed).outcome()


class _Run:
    def __init__(self, case: FloodCase, seed: int) -> None:
        self.case, self.seed = case, seed
        self.random = random.Random(f"flood {seed}")
        self.queue: SharedQueue = Lanes() if case.is_ordered else Groups(case.is_fair)
        self.drains = ORDERED if case.is_ordered else UNORDERED
        self.gates = [self._gate() for _ in range(CONTAINERS)]
        self.now = 0.0
        self.idle = self.drains.number
        self.left = FLOOD if case.has_flood else 0
        self.places = count()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = count()
        self.waits: dict[bool, list[float]] = {False: [], True: []}
        self.refused = {False: 0, True: 0}
        self.last: dict[int, int] = {}
        self.misordered = 0
        self.most = 0
        self.flooded_at = _BEGINS
        for caller, rate in CALLERS.items():
            self._after(self.random.expovariate(rate), partial(self._write, caller))
        for _ in range(WORKERS if case.has_flood else 0):
            self._after(_BEGINS + self.random.random(), self._flood)

    def outcome(self) -> FloodOutcome:
        while self.events:
            self.now, _, event = heapq.heappop(self.events)
            event()
        others, flooder = self.waits[False], self.waits[True]
        return FloodOutcome(
            case=self.case.name,
            seed=self.seed,
            others_wait=max(others),
            flooder_wait=max(flooder, default=0.0),
            others_refused=self.refused[False],
            flooder_refused=self.refused[True],
            others_applied=len(others),
            flooder_applied=len(flooder),
            misordered=self.misordered,
            waiting=self.most,
            flooded=self.flooded_at - _BEGINS,
        )

    def _after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.order), event))

    def _gate(self) -> Gate:
        return Gate(self._count)

    def _count(self) -> int:
        """The messages of the queue, as nearly as SQS tells."""
        error = self.random.uniform(-_COUNT_ERROR, _COUNT_ERROR)
        return round(len(self.queue) * (1 + error))

    def _write(self, caller: str) -> None:
        """A write of one of the others, and the time of its next one."""
        self._send(caller, self.random.randrange(_KEYS), lambda: None)
        if self.now < _ENDS:
            self._after(self.random.expovariate(CALLERS[caller]), partial(self._write, caller))

    def _flood(self) -> None:
        """The next write of one of the flooder's workers."""
        if self.left:
            self.left -= 1
            key = self.random.randrange(_KEYS)
            self._send(FLOODER, key, lambda: self._after(_PAUSE_SECONDS, self._flood))

    def _send(self, caller: str, key: int, accepted: Callable[[], None]) -> None:
        """Send a write to any of the containers, again after Retry-After for as long as it is
        refused."""
        number = self.random.randrange(CONTAINERS)
        if not self.random.randrange(_CONTAINER_REQUESTS):
            self.gates[number] = self._gate()
        try:
            if self.case.limits:
                self.gates[number].admit(caller, 1, self.case.limits, self.now)
        except Problem as problem:
            self.refused[caller == FLOODER] += 1
            seconds = int(problem.headers["Retry-After"]) * self.random.uniform(1.0, 1.1)
            self._after(seconds, lambda: self._send(caller, key, accepted))
            return
        row = key + _KEYS * [FLOODER, *CALLERS].index(caller)
        self.queue.put(Written(next(self.places), caller, row, self.now))
        self.most = max(self.most, len(self.queue))
        self._wake()
        accepted()

    def _wake(self) -> None:
        """Have idle drains take what they can."""
        while self.idle and (batch := self.queue.take(self.drains.batch, self.now)):
            self.idle -= 1
            seconds = self.drains.seconds + len(batch) * self.drains.seconds_each
            self._after(seconds, partial(self._apply, batch))

    def _apply(self, batch: Sequence[Written]) -> None:
        for each in batch:
            self.misordered += self.last.get(each.key, -1) > each.place
            self.last[each.key] = each.place
            is_flood = each.caller == FLOODER
            self.waits[is_flood].append(self.now - each.accepted_at)
            if is_flood:
                self.flooded_at = self.now
        self.queue.delete(batch)
        self.idle += 1
        self._wake()


def violations(found: Mapping[str, FloodOutcome]) -> list[str]:
    """What a flood has done that it may not. found: the outcomes of CASES, by name."""
    broken = []
    for case in CASES:
        outcome = found[case.name]
        if outcome.flooder_applied != FLOOD * case.has_flood:
            broken.append(f"{case.name}: {outcome.flooder_applied} writes of the flooder applied")
        if outcome.others_refused:
            broken.append(f"{case.name}: {outcome.others_refused} refused that flood nothing")
        if case.is_ordered and outcome.misordered:
            broken.append(f"{case.name}: {outcome.misordered} writes before an earlier one")
    for name, most in bounds(found).items():
        if found[name].others_wait > most:
            broken.append(
                f"{name}: others wait for {found[name].others_wait:.1f} s, not {most:.1f}"
            )
    return broken


def bounds(found: Mapping[str, FloodOutcome]) -> dict[str, float]:
    """The longest that others may wait, in seconds: on the ordered queue, until twice the limit is
    poured; on the unordered one, FACTOR times as long as without a flood."""
    return {
        "ordered, flood, limits": 2 * LIMITS.among_others / ORDERED.pace,
        "unordered, flood, groups": FACTOR * found["unordered"].others_wait,
    }


def table(found: Mapping[str, FloodOutcome]) -> str:
    """The outcomes of CASES as a table for people."""
    lines = [f"{'':26}{'others wait':>12}{'refused':>9}{'waiting':>9}{'flood poured after':>20}"]
    for name, each in found.items():
        poured = f"{each.flooded:,.0f} s" if each.flooder_applied else ""
        lines.append(
            f"{name:26}{each.others_wait:>10,.1f} s{each.flooder_refused:>9,}{each.waiting:>9,}"
            f"{poured:>20}"
        )
    return "\n".join(lines)
