"""A day of a stage, simulated: requests arrive at random, wait in their buffers, and are poured.

All events of the day happen in the order of their time. What is random comes from a seed: the same
profile, stage and seed give the same figures. Requests arrive independently of each other (Poisson)
at the rate of the profile; a batch takes what `service` says, always the same.

A stretch of the day with one rate is simulated in pieces. Once each source of each buffer was empty
at some time of a piece, and then of the next one, the stage keeps up and what was before is over:
that next piece stands for most of the rest of the stretch, which is skipped.
"""

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random
from typing import NamedTuple

from chalicelib.contract.resources import Resource
from decanter.planning.buffers import Buffer, Clock, Down
from decanter.planning.capacity import Capacity
from decanter.planning.outcome import BufferOutcome, Outcome, ResourceOutcome
from decanter.planning.profile import DAY_SECONDS, Profile
from decanter.planning.requests import (
    RequestKind,
    SentMessage,
    SentRequest,
    buffer_of,
    kinds,
)
from decanter.planning.service import Service
from decanter.planning.tallies import Lags, Tally

PIECE_REQUESTS, PIECE_SECONDS = 8_000, 10.0
"""The least that a piece of a stretch has of both."""

_TABLE = 1 << 13
"""Entries of the table that requests are drawn from."""

_POINT_SECONDS = 60.0
_POINTS = 20  # of a short stretch
_METRIC_SECONDS = 60.0  # CloudWatch has the age of the oldest message once a minute
_MOST_EXTRA_SECONDS = float(DAY_SECONDS)
_LATE_SHARE = 0.01  # of the messages of a buffer, with which its goal is still met
_ENOUGH_REQUESTS = 1_500_000  # of a day whose goal is missed for certain


_NEVER = Down()


class _Ended(Exception):
    """Enough of the day is simulated."""


class Stretch(NamedTuple):
    """A part of the day with one rate, from a second to another. may_skip: whether the figures of a
    part of it may stand for all of it."""

    begin: float
    end: float
    requests_per_second: float
    may_skip: bool


def stretches(profile: Profile, times: float) -> list[Stretch]:
    """The day in parts. times: how many times its traffic."""
    bursts = [(each.second, each.second + each.seconds, each) for each in profile.bursts]
    outage = profile.outage
    span = (outage.second, outage.second + outage.seconds) if outage else (DAY_SECONDS, DAY_SECONDS)
    edges = {0.0, float(DAY_SECONDS), *span}
    edges |= {each.second for each in profile.rates}
    edges |= {edge for begin, end, _ in bursts for edge in (begin, end)}
    ordered = sorted(each for each in edges if each <= DAY_SECONDS)
    found = []
    seconds = [each.second for each in profile.rates]
    for begin, end in pairwise(ordered):
        rate = profile.rates[bisect(seconds, begin) - 1].requests_per_second
        rate += sum(each.requests_per_second for b, e, each in bursts if b <= begin < e)
        found.append(Stretch(begin, end, times * rate, not span[0] <= begin < span[1]))
    return found


@dataclass(frozen=True)
class Setting:
    """What is simulated: a profile in a stage.

    kinds: of its requests. buffers: that each resource of the profile waits in. services: times of
    each drain, by its buffer.
    """

    profile: Profile
    capacity: Capacity
    kinds: Sequence[RequestKind]
    buffers: Sequence[str]
    services: Mapping[str, Service]


def setting(
    profile: Profile,
    capacity: Capacity,
    service: Service,
    resources: Mapping[str, Resource],
    seed: int,
) -> Setting:
    """Prepare what is simulated. resources: of the contract, by name."""
    buffers = [buffer_of(resources[each.resource]) for each in profile.resources]
    drains = [capacity.drains[each] for each in buffers]
    own = {
        name: service.at(name, drain.megabytes, profile.round_trip_seconds)
        for name, drain in capacity.drains.items()
    }
    lanes, services = [each.lanes for each in drains], [own[each] for each in buffers]
    return Setting(
        profile,
        capacity,
        kinds(profile, buffers, lanes, services, seed),
        buffers,
        own,
    )


def simulate(
    given: Setting, seed: int, times: float = 1.0, stops_when_missed: bool = False
) -> Outcome:
    """A day of a stage. It ends early where the goal is missed and the stage is so far behind that
    nothing can be skipped.

    times: how many times the profile's traffic arrives. stops_when_missed: end as soon as it is
    certain that the goal is missed; the figures are then of that part.
    """
    return _Day(given, seed, times, stops_when_missed).run()


class _Entry(NamedTuple):
    """A request to draw. messages: its messages. resource: its place in the profile. buffer,
    accept: that takes them."""

    request: SentRequest
    messages: tuple[SentMessage, ...]
    resource: int
    buffer: str
    accept: Callable[[SentMessage], None]


class _Day:
    """The state of a simulation."""

    def __init__(self, given: Setting, seed: int, times: float, stops_when_missed: bool) -> None:
        self._given = given
        self._clock = Clock()
        self._skipped = 0.0
        self._draw = Random(f"{seed}/arrivals")
        pauses = Random(f"{seed}/pauses")
        self._buffers = {
            name: Buffer(drain, given.services[name], self._clock, pauses, self._down)
            for name, drain in given.capacity.drains.items()
        }
        self._stretches = stretches(given.profile, times)
        self._table = self._drawn_from()
        self._sent = [0] * _TABLE
        self._total, self._current = self._empty(), self._empty()
        self._point_seconds = _POINT_SECONDS
        self._curves: dict[str, list[tuple[float, float, float]]] = {n: [] for n in self._buffers}
        self._skips = [(0.0, 0.0)]
        self._turn = 0
        self._refusing: set[str] = set()
        self._drawn = 0
        self._stops_when_missed = stops_when_missed
        self._late_allowed = {name: _LATE_SHARE * self._messages(name) for name in self._buffers}
        self._count_in(self._current)

    def _drawn_from(self) -> list[_Entry]:
        """The table of requests: each kind as often as its share is, with samples from its first to
        its last, which are in the order of their keys."""
        kinds, found = self._given.kinds, []
        ends = [*accumulate(each.share for each in kinds)]
        for place in range(_TABLE):
            at = (place + 0.5) / _TABLE * ends[-1]
            kind = kinds[bisect(ends, at)]
            within = 1 - (ends[bisect(ends, at)] - at) / kind.share
            request = kind.samples[int(within * len(kind.samples))]
            accept = self._buffers[kind.buffer].accept
            found.append(_Entry(request, request.messages, kind.resource, kind.buffer, accept))
        return found

    def run(self) -> Outcome:
        if self._given.capacity.refuses_after_seconds is not None:
            self._clock.at(_METRIC_SECONDS, self._measure)
        with suppress(_Ended):
            for each in self._stretches:
                self._run(each)
            self._finish()
        self._weigh(1.0)
        return self._outcome()

    def _run(self, stretch: Stretch) -> None:
        """Simulate a stretch, in part if the stage keeps up."""
        length = stretch.end - stretch.begin
        self._point_seconds = min(_POINT_SECONDS, length / _POINTS)
        self._turn += 1
        self._point(self._turn)
        rate = stretch.requests_per_second
        piece = max(PIECE_SECONDS, PIECE_REQUESTS / rate) if rate else PIECE_SECONDS
        end, is_settled = stretch.begin, False
        while stretch.may_skip and stretch.end - end > 3 * piece:
            for buffer in self._buffers.values():
                buffer.forget_emptiness()
            end += piece
            self._arrive(rate, self._clock_of(end))
            keeps_up = all(each.was_empty() for each in self._buffers.values())
            if keeps_up and is_settled:
                skipped = stretch.end - end - piece
                self._weigh(1.0 + skipped / piece)
                self._skip(skipped)
                break
            self._weigh(1.0)
            is_settled = keeps_up
        self._arrive(rate, self._clock_of(stretch.end))
        self._weigh(1.0)

    def _clock_of(self, second: float) -> float:
        """The clock's time at a second of the day."""
        return second - self._skipped

    def _second(self, time: float) -> float:
        """The second of the day at a time of the clock."""
        return time + self._skips[bisect(self._skips, (time, float("inf"))) - 1][1]

    def _skip(self, seconds: float) -> None:
        self._note()
        self._skipped += seconds
        self._skips.append((self._clock.now, self._skipped))
        self._note()

    def _down(self) -> Down:
        outage = self._given.profile.outage
        if outage is None:
            return _NEVER
        begin = self._clock_of(outage.second)
        return Down(begin, begin + outage.seconds)

    def _arrive(self, rate: float, until: float) -> None:
        """Have requests arrive at a rate up to a time, and everything else happen up to then."""
        clock, draw = self._clock, self._draw
        arrival = clock.now + draw.expovariate(rate) if rate else float("inf")
        while True:
            coming = clock.next()
            if arrival <= coming and arrival < until:
                clock.now = arrival
                self._accept()
                arrival += draw.expovariate(rate)
            elif coming < until:
                clock.step()
            else:
                clock.now = until
                return

    def _accept(self) -> None:
        place = int(self._draw.random() * _TABLE)
        entry = self._table[place]
        self._drawn += 1
        if self._refusing and entry.buffer in self._refusing:
            self._current.refused += 1
            return
        self._sent[place] += 1
        accept = entry.accept
        for message in entry.messages:
            accept(message)

    def _finish(self) -> None:
        """After the day, pour what is left, for as long as another day takes."""
        last = self._clock.now + _MOST_EXTRA_SECONDS
        self._turn += 1  # no more points
        waiting = self._buffers.values()
        while any(each.waiting for each in waiting) and self._clock.next() < last:
            self._clock.step()
        for each in waiting:
            each.count_rest()

    def _measure(self) -> None:
        """Find out in which buffers writes are refused, as the API function does."""
        limit = self._given.capacity.refuses_after_seconds or float("inf")
        self._refusing = {
            name
            for name, each in self._buffers.items()
            if each.drain.visibility_seconds
            and (oldest := each.oldest()) is not None
            and self._clock.now - oldest > limit
        }
        self._clock.at(self._clock.now + _METRIC_SECONDS, self._measure)

    def _point(self, turn: int) -> None:
        """Take points of the curves, as often as suits the stretch that began as the turn says."""
        if turn == self._turn:
            self._note()
            self._clock.at(self._clock.now + self._point_seconds, self._point, turn)
            is_enough = self._stops_when_missed or self._drawn > _ENOUGH_REQUESTS
            if is_enough and any(map(self._is_late, self._buffers)):
                raise _Ended

    def _note(self) -> None:
        """Take a point of each curve."""
        second = self._clock.now + self._skipped
        for name, each in self._buffers.items():
            self._curves[name].append((second, each.waiting, each.longest_lag))
            each.longest_lag = 0.0

    def _empty(self) -> Tally:
        profile = self._given.profile
        return Tally.empty(len(profile.resources), self._buffers, profile.lag_p99_seconds)

    def _count_in(self, tally: Tally) -> None:
        self._current = tally
        lags = [tally.resources[each.resource].lags for each in self._given.kinds]
        for name, buffer in self._buffers.items():
            buffer.tally, buffer.lags = tally.drains[name], lags

    def _weigh(self, weight: float) -> None:
        """Add what was counted since the last time, with this weight."""
        for entry, times in zip(self._table, self._sent, strict=True):
            if times:
                self._current.resources[entry.resource].sent(entry.request, times)
        self._sent = [0] * _TABLE
        self._total.add(self._current, weight)
        self._count_in(self._empty())

    def _messages(self, buffer: str) -> float:
        """How many messages a buffer gets in the day."""
        a_request = sum(
            each.share * sum(len(sent.messages) for sent in each.samples) / len(each.samples)
            for each in self._given.kinds
            if each.buffer == buffer
        )
        requests = sum((e.end - e.begin) * e.requests_per_second for e in self._stretches)
        return requests * a_request / sum(each.share for each in self._given.kinds)

    def _is_late(self, buffer: str) -> bool:
        """Whether more messages of a buffer were late than the goal allows for the whole day."""
        late = sum(
            each.lags.late
            for tally in (self._total, self._current)
            for each, of in zip(tally.resources, self._given.buffers, strict=True)
            if of == buffer
        )
        return late > self._late_allowed[buffer]

    def _outcome(self) -> Outcome:
        given, total = self._given, self._total
        names = [each.resource for each in given.profile.resources]
        resources = tuple(
            ResourceOutcome(
                name, buffer, each.requests, each.messages, each.rows, each.bytes, each.puts,
                each.lags.quantiles(),
            )
            for name, buffer, each in zip(names, given.buffers, total.resources, strict=True)
        )  # fmt: skip
        buffers = tuple(self._of_buffer(name) for name in self._buffers)
        return Outcome(
            seconds=min(DAY_SECONDS, self._clock.now + self._skipped),
            simulated_requests=self._drawn,
            requests=sum(each.requests for each in total.resources) + total.refused,
            refused=total.refused,
            buffers=buffers,
            resources=resources,
            connections={
                **{each.function: self._connections(each) for each in buffers},
                **given.capacity.others,
            },
        )

    def _connections(self, drained: BufferOutcome) -> int:
        """Most connections of a drain. A schedule may start one more container."""
        drain = self._given.capacity.drains[drained.name]
        return min(drain.connections, drained.containers + drain.has_clock)

    def _of_buffer(self, name: str) -> BufferOutcome:
        buffer, drained = self._buffers[name], self._total.drains[name]
        own = [
            each
            for each, of in zip(self._total.resources, self._given.buffers, strict=True)
            if of == name
        ]
        lags = Lags()
        for each in own:
            lags.add(each.lags, 1.0)
        curve = self._curves[name]
        return BufferOutcome(
            name=name,
            function=buffer.drain.function,
            requests=sum(each.requests for each in own),
            messages=sum(each.messages for each in own),
            rows=sum(each.rows for each in own),
            bytes=sum(each.bytes for each in own),
            batches=drained.batches,
            busy_seconds=drained.busy_seconds,
            receives=drained.receives,
            cold_starts=drained.cold_starts,
            containers=buffer.most_containers,
            is_late=lags.late > _LATE_SHARE * lags.total or self._is_late(name),
            lag=lags.quantiles(),
            backlog=tuple((second, waiting) for second, waiting, _ in curve),
            lags=tuple((second, lag) for second, _, lag in curve),
            peak_backlog=buffer.peak,
            peak_second=self._second(buffer.peak_at),
            clear_seconds=(buffer.cleared_at or self._clock.now) - buffer.peak_at,
        )
