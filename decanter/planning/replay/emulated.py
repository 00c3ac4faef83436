"""What the local cloud makes of requests, simulated: its queues are polled by one thread.

MiniStack's poller looks at each mapping in turn and takes one batch of it, of up to ten messages,
if fewer run than the mapping allows: of the FIFO queue one, of the standard queue as many as its
cap. It waits for no window. After a round that has found something it goes on at once; else until
somebody sends a message, or a batch ends, which it hears of at once, but for 50 ms after a round
for which it was woken in vain.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from chalicelib.messages.message import Message, encode
from decanter.planning.buffers import Buffer, Clock, Down, Entry
from decanter.planning.capacity import DrainCapacity
from decanter.planning.replay.figures import PouredMessage, Run
from decanter.planning.replay.traffic import Planned
from decanter.planning.requests import SentMessage
from decanter.planning.service import Service
from decanter.planning.tallies import Lags

BATCH = 10
"""Most messages of a batch, of both queues."""

GAP_SECONDS = 0.05
"""How long the poller sleeps after it was woken in vain."""

_FINGERPRINT = "0" * 32
_ID = "00000000-0000-7000-8000-000000000000"
_MILLISECONDS = 1 << 40


def emulated(drain: DrainCapacity) -> DrainCapacity:
    """A drain of a stage as the local cloud has it."""
    is_fifo = drain.mixes_lanes
    return replace(
        drain,
        cap=1 if is_fifo else drain.cap,
        lanes=1 if is_fifo else 0,  # all groups wait for its one batch, so it is as one lane
        batch=min(BATCH, drain.batch),
        window_seconds=0.0,
    )


class Poller:
    """MiniStack's poller."""

    def __init__(self, clock: Clock) -> None:
        self.buffers: list[Buffer] = []
        self._clock = clock
        self._is_woken = False
        self._is_waiting = True

    def wake(self) -> None:
        """A message was sent, or a batch has ended."""
        self._is_woken = True
        if self._is_waiting:
            self._is_waiting = False
            self._clock.at(self._clock.now, self._pass, True)

    def _pass(self, was_woken: bool) -> None:
        self._is_woken = False
        found = [each.begin_one() for each in self.buffers]
        if any(found):
            self._clock.at(self._clock.now, self._pass, False)
        elif was_woken:
            self._clock.at(self._clock.now + GAP_SECONDS, self._wait)
        else:
            self._wait()

    def _wait(self) -> None:
        if self._is_woken:
            self._clock.at(self._clock.now, self._pass, True)
        else:
            self._is_waiting = True


class Times(NamedTuple):
    """What batches of a buffer take. spread: times of single batches, each by what the service
    says of it: a batch takes any of these."""

    service: Service
    spread: Sequence[float] = (1.0,)


class PolledBuffer(Buffer):
    """A buffer whose batches the poller begins. A cold start is the first batch of a container.
    poured: what it has poured."""

    def __init__(
        self, drain: DrainCapacity, times: Times, clock: Clock, poller: Poller, draw: Random
    ) -> None:
        super().__init__(drain, times.service, clock, draw, Down)
        self.poured: list[PouredMessage] = []
        self._spread = times.spread
        self._poller = poller
        self._batches = 0
        poller.buffers.append(self)

    def accept(self, message: SentMessage) -> None:
        super().accept(message)
        self._poller.wake()  # also for a message that has to wait for a batch

    def _begin(self) -> None:
        self._poller.wake()

    def _served(self, begun: float, seconds: float) -> tuple[float, bool]:
        return super()._served(begun, seconds * self._draw.choice(self._spread))

    def _count(self, batch: list[Entry]) -> None:
        super()._count(batch)
        self._batches += 1
        self.poured += [
            PouredMessage(self.drain.buffer, accepted, self._clock.now, str(self._batches))
            for accepted, _ in batch
        ]


def simulate(
    requests: Iterable[Planned],
    drains: Mapping[str, DrainCapacity],
    times: Mapping[str, Times],
    seed: int,
) -> Run:
    """What becomes of requests. drains: of the buffers that they are sent to, as `emulated` makes
    them; times: of their batches."""
    clock = Clock()
    poller = Poller(clock)
    buffers = {
        name: PolledBuffer(drain, times[name], clock, poller, Random(f"{seed}/{name}"))
        for name, drain in drains.items()
    }
    kinds: dict[tuple[str, str], int] = {}
    for each in requests:
        kind = kinds.setdefault((each.resource, each.op), len(kinds))
        for message in sent(each, times[each.buffer].service, kind):
            clock.at(each.second, buffers[each.buffer].accept, message)
    for buffer in buffers.values():
        buffer.lags = [Lags() for _ in kinds]
    while clock.next() < float("inf"):
        clock.step()
    poured = [each for buffer in buffers.values() for each in buffer.poured]
    connections = sum(each.most_containers for each in buffers.values())
    return Run(tuple(poured), connections)


def sent(request: Planned, service: Service, kind: int) -> Sequence[SentMessage]:
    """The messages of a request, with what they add to a batch."""
    known = service.op(request.op)
    found = []
    for each in request.messages:
        message = Message(_ID, _FINGERPRINT, _MILLISECONDS, request.resource, request.op, each.sets)
        size, rows = len(encode(message)), message.writes
        seconds = known.message_seconds + rows * known.row_seconds + size * known.byte_seconds
        found.append(SentMessage(0, rows, size, seconds, known.batch_seconds, kind))
    return found
