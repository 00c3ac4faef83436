"""What a stage makes of a profile: whether the goal is met, what breaks first, and what would help.

Each question is answered by simulating the day again: with more traffic, with one more connection
or lane, or with other caps.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from chalicelib.contract.resources import Resource
from decanter.deployment.budget import OVERLAP
from decanter.planning.capacity import SHARDS, Capacity, DrainCapacity
from decanter.planning.outcome import BufferOutcome, Outcome
from decanter.planning.profile import Profile
from decanter.planning.service import Service
from decanter.planning.simulation import Setting, setting, simulate

MOST_TIMES = 16.0
"""More traffic than that is not looked at."""

_PRECISION = 1.05  # between traffic that the stage takes and traffic that breaks it
_LEAST_CAP = {"ordered": 2, "unordered": 2, "stream": 1}  # AWS accepts no lower MaximumConcurrency
_CAPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64)


class Gain(NamedTuple):
    """What a change of the stage would give. change: in words. buffer: that it is about. lag_p99:
    of that buffer, in seconds."""

    change: str
    buffer: str
    lag_p99: float


class Limit(NamedTuple):
    """Where the stage breaks.

    times: how many times the profile's traffic it takes at least; MOST_TIMES if nothing breaks
    before. what: that breaks then, in words; empty if nothing does. at: how many times the traffic
    was when it broke. lag_p99: of each buffer then, in seconds. gains: what would help then.
    """

    times: float
    what: str
    at: float
    lag_p99: Mapping[str, float]
    gains: tuple[Gain, ...]


@dataclass(frozen=True)
class Plan:
    """The answer.

    objections: what is wrong with the stage for this profile, in words; none: it takes it. caps:
    the lowest cap of each drain with which the goal is met, by buffer; None: there is no such cap.
    """

    profile: Profile
    capacity: Capacity
    outcome: Outcome
    objections: tuple[str, ...]
    limit: Limit
    caps: Mapping[str, int | None]


class Planner:
    """Simulates a profile in a stage and in variants of it. say: gets a line for each question."""

    def __init__(
        self,
        profile: Profile,
        capacity: Capacity,
        service: Service,
        resources: Mapping[str, Resource],
        seed: int,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._profile = profile
        self._capacity = capacity
        self._service = service
        self._resources = resources
        self._seed = seed
        self._say = say
        self._given = self._setting(capacity)

    def plan(self) -> Plan:
        """The answers to all questions."""
        self._say("a day of this traffic")
        outcome = simulate(self._given, self._seed)
        self._say("what breaks first")
        limit = self._limit(outcome)
        self._say("the lowest caps")
        return Plan(
            self._profile,
            self._capacity,
            outcome,
            (*self._objections(outcome),),
            limit,
            {name: self._cap(each) for name, each in self._capacity.drains.items()},
        )

    def _setting(self, capacity: Capacity) -> Setting:
        return setting(self._profile, capacity, self._service, self._resources, self._seed)

    def _with(self, drain: DrainCapacity) -> Setting:
        """The setting with another drain; its messages are made anew only for other lanes."""
        capacity = self._capacity.with_drain(drain)
        if drain.lanes != self._capacity.drains[drain.buffer].lanes:
            return self._setting(capacity)
        return replace(self._given, capacity=capacity)

    def _objections(self, outcome: Outcome) -> Iterator[str]:
        profile, capacity = self._profile, self._capacity
        for each in outcome.buffers:
            if fault := self._fault(each):
                yield fault
        if outcome.refused:
            yield _refused(outcome)
        wanted = OVERLAP * capacity.budget
        if profile.connections is not None and wanted > profile.connections:
            yield (
                f"the functions may hold {capacity.budget} connections, and {wanted} while two"
                f" versions run side by side; the database grants {profile.connections}"
            )
        outage = profile.outage
        if outage and outage.seconds > capacity.dead_after_seconds:
            yield (
                f"an outage of {outage.seconds / 60:g} minutes makes dead letters of messages:"
                f" they are tried for {capacity.dead_after_seconds / 60:g} minutes"
            )

    def _fault(self, drained: BufferOutcome) -> str:
        """How a buffer misses the goal; empty if it does not."""
        goal = self._profile.lag_p99_seconds
        if not drained.is_late:
            return ""
        return f"lag p99 of {drained.name} is {drained.lag.p99:.3g} s; the goal is {goal:g} s"

    def _limit(self, outcome: Outcome) -> Limit:
        """Look for the least traffic that breaks the stage."""
        good, bad, broken = (1.0, 0.0, None) if self._is_well(outcome) else (0.0, 1.0, outcome)
        while broken is None and good < MOST_TIMES:
            found = self._at(2 * good)
            if self._is_well(found):
                good *= 2
            else:
                bad, broken = 2 * good, found
        if broken is None:
            return Limit(good, "", good, {}, ())
        while bad > _PRECISION * good and bad > 1 / MOST_TIMES:
            middle = (good + bad) / 2 if good else bad / 2
            found = self._at(middle)
            if self._is_well(found):
                good = middle
            else:
                bad, broken = middle, found
        whole = simulate(self._given, self._seed, bad)
        worst = max(whole.buffers, key=lambda each: each.lag.p99)
        what = self._fault(worst) or _refused(whole)
        lags = {each.name: each.lag.p99 for each in whole.buffers}
        return Limit(good, what, bad, lags, (*self._gains(whole, bad),))

    def _at(self, times: float) -> Outcome:
        return simulate(self._given, self._seed, times, stops_when_missed=True)

    def _is_well(self, outcome: Outcome) -> bool:
        return not outcome.refused and not any(map(self._fault, outcome.buffers))

    def _gains(self, outcome: Outcome, times: float) -> Iterator[Gain]:
        """What one more connection or lane gives at this traffic, to each buffer that is used."""
        for each in outcome.buffers:
            if not each.messages:
                continue
            drain = self._capacity.drains[each.name]
            for change, other in _enlarged(drain):
                found = simulate(self._with(other), self._seed, times)
                [lag] = [one.lag.p99 for one in found.buffers if one.name == each.name]
                yield Gain(change, each.name, lag)

    def _cap(self, drain: DrainCapacity) -> int | None:
        """The lowest cap of a drain with which its buffer meets the goal. Buffers do not know each
        other, so only its own traffic is simulated."""
        own = [
            each if each.buffer == drain.buffer else each._replace(share=0.0)
            for each in self._given.kinds
        ]
        share = sum(each.share for each in own)
        possible = [*self._possible(drain)]
        if not share:
            return possible[0]

        def is_well(cap: int) -> bool:
            capacity = self._capacity.with_drain(_with_cap(drain, cap))
            given = replace(self._given, capacity=capacity, kinds=own)
            found = simulate(given, self._seed, share, stops_when_missed=True)
            return self._is_well(found)

        place = bisect_left(possible, True, key=is_well)
        return possible[place] if place < len(possible) else None

    def _possible(self, drain: DrainCapacity) -> Iterator[int]:
        most = drain.lanes or max(_CAPS)  # more than one batch of each lane there never is
        least = _LEAST_CAP[drain.buffer]
        yield from (each for each in _CAPS if least <= each <= most)


def _enlarged(drain: DrainCapacity) -> Iterator[tuple[str, DrainCapacity]]:
    """A drain with one more connection, and with one more lane."""
    if drain.buffer != "stream" or drain.cap < SHARDS:
        yield f"one more connection of {drain.function}", _with_cap(drain, drain.cap + 1)
    if drain.mixes_lanes:
        lanes = drain.lanes + 1
        yield f"one more lane of the {drain.buffer} queue", replace(drain, lanes=lanes)


def _with_cap(drain: DrainCapacity, cap: int) -> DrainCapacity:
    return replace(drain, cap=cap, connections=cap)


def _refused(outcome: Outcome) -> str:
    return (
        f"{outcome.refused:,.0f} of {outcome.requests:,.0f} requests are refused, as the backlog is"
        " older than DECANTER_BACKLOG_LIMIT_SECONDS"
    )
