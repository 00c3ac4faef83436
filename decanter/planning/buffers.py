"""A buffer and its drain in simulated time.

Messages wait in sources: the lanes of the ordered queue, the shards of the stream, or one source of
the unordered queue. A source that has an order is poured one batch at a time, and is locked until
that is poured, or is to be delivered again. A batch begins as soon as a source has messages and a
container is free; where the mapping has a window, when that is over or a batch is full.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, NamedTuple

from chalicelib.drain.handler import LEAST_SECONDS, pause_seconds
from decanter.planning.capacity import DrainCapacity
from decanter.planning.requests import SentMessage
from decanter.planning.service import Service
from decanter.planning.tallies import DrainTally, Lags

WARM_SECONDS = 300.0
"""How long an idle container is kept: an assumption, as AWS does not say. Its connection is closed
by Postgres after as long, see `idle_session_timeout`."""

_AT_FIRST = 5
_MORE_PER_SECOND = 300 / 60
"""Batches at once of a standard queue: so many at first, and so many more for as long as messages
wait. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html (read on 2026-11-26)"""

Entry = tuple[float, SentMessage]
"""A message, and when it was accepted."""


class Clock:
    """What happens when, in the order of time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = count()
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, second: float, call: Callable[..., None], *given: Any) -> None:
        """Have something happen at a second."""
        heappush(self._events, (second, next(self._order), call, given))

    def next(self) -> float:
        """The second of the next event; infinite if there is none."""
        return self._events[0][0] if self._events else float("inf")

    def step(self) -> None:
        """Have the next event happen."""
        self.now, _, call, given = heappop(self._events)
        call(*given)


class Down(NamedTuple):
    """From when to when the database is unavailable, by the clock."""

    begin: float = float("inf")
    end: float = float("inf")


@dataclass
class Source:
    """Messages of which one batch is poured after the other.

    bytes: of its messages. is_locked: its last batch is not finished. is_collecting: its window is
    open. is_ready: it waits for a container. turn: tells a window from earlier ones. was_empty:
    whether it was, at some time since somebody asked last.
    """

    place: int
    messages: deque[Entry] = field(default_factory=deque)
    bytes: int = 0
    is_locked: bool = False
    is_collecting: bool = False
    is_ready: bool = False
    turn: int = 0
    was_empty: bool = True


class Buffer:
    """A buffer with its drain.

    waiting: messages that were accepted and are not poured. most_containers: that were alive at
    once. tally, lags: where batches and lags are counted; the latter by kind of request. peak: most
    that waited; peak_at: when; cleared_at: when all of these were poured; None: not yet.
    longest_lag: since somebody asked last.
    """

    def __init__(
        self,
        drain: DrainCapacity,
        service: Service,
        clock: Clock,
        draw: Random,
        down: Callable[[], Down],
    ) -> None:
        self.drain = drain
        self.waiting = 0
        self.most_containers = 0
        self.tally = DrainTally()
        self.lags: Sequence[Lags] = ()
        self.peak = 0
        self.peak_at = 0.0
        self.cleared_at: float | None = None
        self.longest_lag = 0.0
        self._cold_start_seconds = service.cold_start_seconds
        self._further_op_seconds = service.further_op_seconds
        self._return_seconds = service.return_seconds
        self._clock = clock
        self._draw = draw
        self._down = down
        self._has_order = drain.lanes > 0
        self._sources = [Source(place) for place in range(max(1, drain.lanes))]
        self._ready: list[tuple[float, int]] = []
        self._busy = 0
        self._idle: deque[float] = deque()
        self._busy_since = 0.0
        self._newest_at = 0.0
        self._left_of_peak = 0

    def accept(self, message: SentMessage) -> None:
        """Take a message."""
        source = self._sources[message.lane]
        source.messages.append((self._clock.now, message))
        source.bytes += message.bytes
        if not self.waiting:
            self._busy_since = self._clock.now
        self.waiting += 1
        self._newest_at = self._clock.now
        if source.is_locked or source.is_ready:
            return
        if not source.is_collecting or self._is_full(source):
            self._list(source)
            self._begin()

    def oldest(self) -> float | None:
        """When the oldest message was accepted that waits for a batch; None if there is none."""
        return min((each.messages[0][0] for each in self._sources if each.messages), default=None)

    def forget_emptiness(self) -> None:
        """Begin to watch whether its sources get empty."""
        for each in self._sources:
            each.was_empty = not each.messages

    def was_empty(self) -> bool:
        """Whether each source was empty at some time since `forget_emptiness`."""
        return all(each.was_empty for each in self._sources)

    def count_rest(self) -> None:
        """Count the messages that still wait, with their lag so far."""
        for source in self._sources:
            for accepted_at, message in source.messages:
                self.lags[message.kind].count([self._clock.now - accepted_at])

    def _list(self, source: Source) -> None:
        """Have a source with messages wait for a container, now or at the end of its window."""
        if source.is_ready:
            return
        if not self.drain.window_seconds or self._is_full(source):
            self._make_ready(source)
        elif not source.is_collecting:
            source.is_collecting = True
            over = self._clock.now + self.drain.window_seconds
            self._clock.at(over, self._close, source, source.turn)

    def _close(self, source: Source, turn: int) -> None:
        """End a window, unless it has ended before because a batch was full."""
        if source.turn == turn:
            self._make_ready(source)
            self._begin()

    def _make_ready(self, source: Source) -> None:
        source.turn += 1
        source.is_collecting, source.is_ready = False, True
        heappush(self._ready, (source.messages[0][0], source.place))

    def _is_full(self, source: Source) -> bool:
        return len(source.messages) >= self.drain.batch or source.bytes >= self.drain.batch_bytes

    def _begin(self) -> None:
        """Begin as many batches as possible."""
        while self.begin_one():
            pass

    def begin_one(self) -> bool:
        """Begin a batch; return whether there was one to begin."""
        if not self._ready or self._busy >= self._limit():
            return False
        batch: list[Entry] = []
        sources: list[Source] = []
        bytes_ = 0
        while self._ready and len(batch) < self.drain.batch:
            source = self._sources[self._ready[0][1]]
            if batch and bytes_ + source.messages[0][1].bytes > self.drain.batch_bytes:
                break
            heappop(self._ready)
            source.is_ready = False
            source.is_locked = self._has_order
            bytes_ = self._take(source, batch, bytes_)
            sources.append(source)
            if not self.drain.mixes_lanes:
                break
        self._pour(batch, sources)
        if not self._has_order and sources[0].messages:
            self._list(sources[0])
        return True

    def _take(self, source: Source, batch: list[Entry], bytes_: int) -> int:
        """Move messages of a source into a batch; return the bytes of that."""
        messages, drain = source.messages, self.drain
        while messages and len(batch) < drain.batch:
            size = messages[0][1].bytes
            if batch and bytes_ + size > drain.batch_bytes:
                return bytes_
            batch.append(messages.popleft())
            source.bytes -= size
            bytes_ += size
        source.was_empty = source.was_empty or not messages
        return bytes_

    def _limit(self) -> int:
        """Most batches at once. The mapping of a standard queue begins with a few."""
        if self._has_order or self.drain.cap <= _AT_FIRST:
            return self.drain.cap
        waited = self._clock.now - self._busy_since
        return min(self.drain.cap, int(_AT_FIRST + _MORE_PER_SECOND * waited))

    def _pour(self, batch: list[Entry], sources: list[Source]) -> None:
        now = self._clock.now
        begun = now + (0.0 if self._takes_warm() else self._cold_start_seconds)
        seconds = max([message.batch_seconds for _, message in batch])
        seconds += sum([message.seconds for _, message in batch])
        seconds += self._further_op_seconds * (len({message.kind for _, message in batch}) - 1)
        end, is_poured = self._served(begun, seconds)
        tally = self.tally
        tally.batches += 1
        tally.busy_seconds += end - now
        if self.drain.receive:
            tally.receives += -(-len(batch) // self.drain.receive)
        self._clock.at(end, self._end, batch, sources, is_poured, now)

    def _takes_warm(self) -> bool:
        """Take a container that is idle, the one that was busy last; or start one."""
        while self._idle and self._clock.now - self._idle[0] > WARM_SECONDS:
            self._idle.popleft()
        self._busy += 1
        if self._idle:
            self._idle.pop()
            return True
        self.tally.cold_starts += 1
        self.most_containers = max(self.most_containers, self._busy)
        return False

    def _served(self, begun: float, seconds: float) -> tuple[float, bool]:
        """When a batch ends that begins to be poured then, and whether it is poured. While the
        database is unavailable, the drain tries again, until its time is over."""
        down = self._down()
        if begun + seconds <= down.begin:
            return begun + seconds, True
        now, deadline = begun, begun + self.drain.seconds
        for attempt in count():
            if not down.begin <= now < down.end:
                end = now + seconds
                if not now < down.begin < end:
                    return end, True
                now = down.begin  # its connection is lost
            pause = pause_seconds(attempt, self._draw.uniform)
            if now + pause + LEAST_SECONDS >= deadline:
                break
            now += pause
        return now, False

    def _end(
        self, batch: list[Entry], sources: list[Source], is_poured: bool, received_at: float
    ) -> None:
        if is_poured:
            self._count(batch)
        if self._return_seconds:
            free = self._clock.now + self._return_seconds
            self._clock.at(free, self._free, batch, sources, is_poured, received_at)
        else:
            self._free(batch, sources, is_poured, received_at)

    def _free(
        self, batch: list[Entry], sources: list[Source], is_poured: bool, received_at: float
    ) -> None:
        now = self._clock.now
        self._busy -= 1
        self._idle.append(now)
        if is_poured:
            for source in sources:
                self._unlock(source)
        elif self.drain.visibility_seconds:
            visible = max(now, received_at + self.drain.visibility_seconds)
            self._clock.at(visible, self._return, batch, sources)
        else:
            self._return(batch, sources)
        self._begin()

    def _count(self, batch: list[Entry]) -> None:
        now = self._clock.now
        if self.waiting > self.peak:
            self.peak, self.peak_at, self.cleared_at = self.waiting, self._newest_at, None
            self._left_of_peak = self.waiting
        if self.cleared_at is None:
            self._left_of_peak -= sum(accepted_at <= self.peak_at for accepted_at, _ in batch)
            if not self._left_of_peak:
                self.cleared_at = now
        self.waiting -= len(batch)
        found: dict[int, list[float]] = {}
        for accepted_at, message in batch:
            if message.kind not in found:
                found[message.kind] = []
            found[message.kind].append(now - accepted_at)
        for kind, seconds in found.items():
            self.lags[kind].count(seconds)
            self.longest_lag = max(self.longest_lag, *seconds)

    def _return(self, batch: list[Entry], sources: list[Source]) -> None:
        """Have the messages of a batch that was not poured delivered again, before all others."""
        for entry in reversed(batch):
            source = self._sources[entry[1].lane]
            source.messages.appendleft(entry)
            source.bytes += entry[1].bytes
        for source in sources:
            self._unlock(source)
        self._begin()

    def _unlock(self, source: Source) -> None:
        source.is_locked = False
        if source.messages:
            self._list(source)
        else:
            source.was_empty = True
