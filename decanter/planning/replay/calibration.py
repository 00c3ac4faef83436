"""How long batches take on the local cloud, measured there: what the simulation of a replay uses.

Batches of one to ten messages are sent to an idle queue: the time from then to COMMIT has a fixed
part, which is the poller's and the emulator's as well, and parts of messages, rows and bytes.

A machine is not as fast in traffic as after a pause. So a part of the profile's own traffic is sent
too: what its requests take that find everything idle sets the pace, and what those wait that come
right after a COMMIT tells when the next batch can begin. Where the traffic is too dense to tell,
more than ten messages that are sent at once do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from chalicelib.messages.message import Message, encode
from chalicelib.ops import Op
from decanter.planning.capacity import DrainCapacity
from decanter.planning.documents import PlanningError
from decanter.planning.fit import Fit, Point, fit
from decanter.planning.profile import Profile
from decanter.planning.replay.emulated import BATCH, GAP_SECONDS, Times
from decanter.planning.replay.figures import PouredMessage, Run
from decanter.planning.replay.stage import Replayed, ReplayStage
from decanter.planning.replay.traffic import Maker, Planned
from decanter.planning.service import OpService, Service

SIZES = (1, 2, 5, 10)
"""Messages of a batch."""

_ROUNDS = 10
_PAUSE_SECONDS = 0.35  # between batches, so that the queue is idle
_BACKLOG = 8  # full batches that wait for each other
_WARM = 1  # rounds that do not count
_IDLE_SECONDS = 2 * GAP_SECONDS  # after the last COMMIT
_SOON_SECONDS = 0.6 * GAP_SECONDS  # after it: the poller has not looked again
_ENOUGH = 10  # requests of the traffic, to go by them

_TOO_BUSY = (
    "The machine is too busy: no batch was poured before the next one was sent, so nothing can be"
    " predicted. Try again when other programs are done"
)


class _Measured(NamedTuple):
    """A first batch on an idle queue, and those that had to wait for one: seconds from COMMIT to
    COMMIT."""

    first: Point
    others: list[Point]


@dataclass
class Calibration:
    """What was measured so far, before and after a replay.

    firsts: batches of an idle queue, by buffer and op. others: those that had to wait, of buffers
    with one batch at a time. started: seconds of the first batches, of one message, of containers,
    which connect then, by buffer. idle: requests of the traffic that found everything idle. looks:
    seconds from a COMMIT until the poller looks again, by requests that came between.
    """

    firsts: dict[tuple[str, Op], list[Point]] = field(default_factory=dict)
    idle: dict[tuple[str, Op], list[Point]] = field(default_factory=dict)
    looks: list[float] = field(default_factory=list)
    others: dict[tuple[str, Op], list[Point]] = field(default_factory=dict)
    started: dict[str, list[float]] = field(default_factory=dict)

    def start(self, stage: ReplayStage, profile: Profile, makers: Mapping[str, Maker]) -> None:
        """Have new containers of each buffer pour their first batch."""
        for traffic in profile.resources:
            request = makers[traffic.resource].request(0.0, next(iter(traffic.ops)))
            one = request._replace(messages=request.messages[:1])
            [poured] = stage.send([one]).run.messages
            self.started.setdefault(one.buffer, []).append(poured.lag)

    def measure(
        self,
        stage: ReplayStage,
        profile: Profile,
        makers: Mapping[str, Maker],
        drains: Mapping[str, DrainCapacity],
    ) -> None:
        """Send batches of each kind of the profile's requests. makers: of requests, by resource."""
        for traffic in profile.resources:
            for op in traffic.ops:
                buffer, found = _op(stage, makers[traffic.resource], op)
                self.firsts.setdefault((buffer, op), [])
                for each in found:
                    self._add((buffer, op), each, drains[buffer].cap)

    def rehearse(self, replayed: Replayed) -> None:
        """Take what the profile's traffic took."""
        idle, soon = _in_traffic(replayed)
        for kind, point in idle:
            self.idle.setdefault(kind, []).append(point)
        usual = {
            kind: median(each.seconds for each in points) for kind, points in self.idle.items()
        }
        self.looks += [seconds - usual[kind] for kind, seconds in soon if kind in usual]

    def _add(self, kind: tuple[str, Op], found: _Measured, cap: int) -> None:
        """Add what was sent at one moment. Batches at once slow each other down: those that were
        not alone count only where each has to wait for the one before."""
        if cap == 1:
            self.firsts[kind].append(found.first)
            self.others.setdefault(kind, []).extend(found.others)
        elif not found.others:
            self.firsts[kind].append(found.first)

    def times(self) -> dict[str, Times]:
        """The times of each buffer. Raises PlanningError if nothing could be measured."""
        if not all(self.firsts.values()):
            raise PlanningError(_TOO_BUSY)
        fits = {kind: fit(_medians(points)) for kind, points in self.firsts.items()}
        gaps = [
            each.seconds - fits[kind].seconds(each)
            for kind, points in self.others.items()
            for each in points
        ]
        if len(self.looks) >= _ENOUGH:
            gaps = [each - GAP_SECONDS for each in self.looks]
        gap = max(0.0, median(gaps)) if gaps else 0.0
        return {buffer: self._of(buffer, fits, gap) for buffer, _ in self.firsts}

    def _of(self, buffer: str, fits: Mapping[tuple[str, Op], Fit], gap: float) -> Times:
        own = {op: fitted for (name, op), fitted in fits.items() if name == buffer}
        points = {op: self.firsts[buffer, op] for op in own}
        alone = [each.seconds for some in points.values() for each in some if each.messages == 1]
        first = max(0.0, median(self.started[buffer]) - median(alone or [0.0]))
        ops: dict[str, OpService] = {}
        spread: list[float] = []
        for op, fitted in own.items():
            in_traffic = self.idle.get((buffer, op), [])
            known = in_traffic if len(in_traffic) >= _ENOUGH else points[op]
            ratios = [each.seconds / fitted.seconds(each) for each in known]
            pace = median(ratios)
            ops[op] = _service(fitted).scaled(pace)
            spread += [each / pace for each in ratios]
        return Times(Service(first, ops, return_seconds=gap), sorted(spread))


def _medians(points: Sequence[Point]) -> list[Point]:
    """Of the batches with so many messages each."""
    by_size: dict[int, list[Point]] = {}
    for each in points:
        by_size.setdefault(each.messages, []).append(each)
    return [
        same[0]._replace(seconds=median(each.seconds for each in same)) for same in by_size.values()
    ]


def _service(fitted: Fit) -> OpService:
    return OpService(fitted.fixed, fitted.message, fitted.row, fitted.byte)


def _op(stage: ReplayStage, maker: Maker, op: Op) -> tuple[str, list[_Measured]]:
    """Buffer and batches of writes of one op."""
    requests: list[Planned] = []
    second = 0.0
    for _ in range(_WARM + _ROUNDS):
        for size in SIZES:
            requests += [maker.request(second, op) for _ in range(size)]
            second += _PAUSE_SECONDS
    second += _PAUSE_SECONDS
    requests += [maker.request(second, op) for _ in range(_BACKLOG * BATCH)]
    joined = [*_together(requests)]
    run, buffer = stage.send(joined).run, requests[0].buffer
    counted = _PAUSE_SECONDS * _WARM * len(SIZES)
    return buffer, [*_batches(run, buffer, counted, _sizes(joined))]


def _together(requests: Sequence[Planned]) -> Iterator[Planned]:
    """Requests of the same second as one, so that their messages are sent in one call."""
    by_second: dict[float, list[Planned]] = {}
    for each in requests:
        by_second.setdefault(each.second, []).append(each)
    for same in by_second.values():
        messages = tuple(message for each in same for message in each.messages)
        yield same[0]._replace(messages=messages)


def _in_traffic(
    replayed: Replayed,
) -> tuple[list[tuple[tuple[str, Op], Point]], list[tuple[tuple[str, Op], float]]]:
    """Requests that were batches of their own: those that found everything idle; and of those that
    came right after a COMMIT, the seconds from that to their own."""
    requests = {(each.buffer, each.second): each for each in replayed.requests}
    batches: dict[tuple[str, str], list[PouredMessage]] = {}
    for each in replayed.run.messages:
        batches.setdefault((each.buffer, each.batch), []).append(each)
    idle, soon = [], []
    ended = float("-inf")
    for (buffer, _), messages in sorted(
        batches.items(), key=lambda item: min(each.accepted for each in item[1])
    ):
        accepted, poured = min(each.accepted for each in messages), messages[0].poured
        request = requests[buffer, accepted]
        if {each.accepted for each in messages} == {accepted}:
            kind, after = (buffer, request.op), accepted - ended
            if after > _IDLE_SECONDS:
                idle.append((kind, _point(request, len(messages), poured - accepted)))
            elif 0 < after < _SOON_SECONDS:
                soon.append((kind, poured - ended))
        ended = max(ended, poured)
    return idle, soon


def _point(request: Planned, count: int, seconds: float) -> Point:
    rows, bytes_ = _sizes([request])[request.buffer]
    return Point(count, round(count * rows), round(count * bytes_), seconds)


def _sizes(requests: Sequence[Planned]) -> dict[str, tuple[float, float]]:
    """Rows and bytes of a message, on average, by the buffer: all are alike."""
    found: dict[str, list[tuple[int, int]]] = {}
    for each in requests:
        for one in each.messages:
            message = Message("0" * 36, "0" * 32, 1 << 40, each.resource, each.op, one.sets)
            found.setdefault(each.buffer, []).append((message.writes, len(encode(message))))
    return {
        name: (sum(a for a, _ in sizes) / len(sizes), sum(b for _, b in sizes) / len(sizes))
        for name, sizes in found.items()
    }


def _batches(
    run: Run, buffer: str, since: float, sizes: Mapping[str, tuple[float, float]]
) -> Iterator[_Measured]:
    """What was sent at each moment, by its batches, where the queue was idle then."""
    rows, bytes_ = sizes[buffer]
    idle = 0.0  # since when
    groups: dict[float, dict[str, list[PouredMessage]]] = {}
    for each in run.of(buffer):
        groups.setdefault(each.accepted, {}).setdefault(each.batch, []).append(each)
    for accepted, batches in sorted(groups.items()):
        was_idle, idle = idle < accepted, max(idle, *(each[-1].poured for each in batches.values()))
        ended, first, others = 0.0, None, []
        for messages in batches.values():
            count, poured = len(messages), messages[0].poured
            begun = messages[0].accepted if first is None else ended
            point = Point(count, round(count * rows), round(count * bytes_), poured - begun)
            if first is None:
                first = point
            else:
                others.append(point)
            ended = poured
        if first and was_idle and accepted >= since:
            yield _Measured(first, others)
