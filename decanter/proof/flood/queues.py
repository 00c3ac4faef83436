"""The two queues as SQS hands out their messages, in virtual time.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues-detailed.html
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from chalicelib.settings import LANES

_NOISY_SHARE = 0.1
_NOISY_MESSAGES = 30
_QUIET_SECONDS = 300.0


class Written(NamedTuple):
    """One write, in a message of its own. place: in the order of acceptance. accepted_at: the time
    of it, in seconds."""

    place: int
    caller: str
    key: int
    accepted_at: float


class SharedQueue(Protocol):
    """A queue. Its length is the number of messages that wait or are in flight."""

    def __len__(self) -> int: ...

    def put(self, message: Written) -> None:
        """Accept a message."""

    def take(self, most: int, now: float) -> Sequence[Written]:
        """Hand out a batch; it is in flight from now on."""

    def delete(self, batch: Iterable[Written]) -> None:
        """Delete a batch that was handed out."""


class Lanes:
    """The ordered queue: a message group for each lane, closed while it has messages in flight."""

    def __init__(self) -> None:
        self._lanes: list[deque[Written]] = [deque() for _ in range(LANES)]
        self._closed: set[int] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, message: Written) -> None:
        self._lanes[message.key % LANES].append(message)
        self._count += 1

    def take(self, most: int, now: float) -> list[Written]:  # noqa: ARG002
        """As many messages of a lane as there are, from the lane whose first has waited longest."""
        batch: list[Written] = []
        for number, lane in sorted(self._open(), key=lambda each: each[1][0].place):
            self._closed.add(number)
            while lane and len(batch) < most:
                batch.append(lane.popleft())
            if len(batch) == most:
                break
        return batch

    def delete(self, batch: Iterable[Written]) -> None:
        for each in batch:
            self._closed.discard(each.key % LANES)
            self._count -= 1

    def _open(self) -> list[tuple[int, deque[Written]]]:
        lanes = enumerate(self._lanes)
        return [(number, lane) for number, lane in lanes if lane and number not in self._closed]


class Groups:
    """The unordered queue: a message group for each caller.

    is_fair: whether the groups are known to SQS. A group is noisy from when it has 30 messages in
    flight that are more than a tenth of all, until nothing of it waits or it has sent nothing for
    five minutes. Messages of quiet groups are handed out first; then those of the noisy group with
    the fewest in flight. Without groups, the oldest comes first.
    """

    def __init__(self, is_fair: bool) -> None:
        self._is_fair = is_fair
        self._waiting: defaultdict[str, deque[Written]] = defaultdict(deque)
        self._in_flight: Counter[str] = Counter()
        self._sent_at: dict[str, float] = {}
        self._noisy: set[str] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, message: Written) -> None:
        self._waiting[message.caller].append(message)
        self._sent_at[message.caller] = message.accepted_at
        self._count += 1

    def take(self, most: int, now: float) -> list[Written]:
        total = self._in_flight.total()
        self._noisy = {
            each
            for each, waiting in self._waiting.items()
            if waiting and now - self._sent_at[each] < _QUIET_SECONDS
            if each in self._noisy
            or (self._in_flight[each] >= max(_NOISY_MESSAGES, _NOISY_SHARE * total))
        }
        batch: list[Written] = []
        while len(batch) < most and (callers := self._with_messages()):
            caller = self._next(callers)
            batch.append(self._waiting[caller].popleft())
            self._in_flight[caller] += 1
        return batch

    def delete(self, batch: Iterable[Written]) -> None:
        for each in batch:
            self._in_flight[each.caller] -= 1
            self._count -= 1

    def _with_messages(self) -> list[str]:
        return [caller for caller, waiting in self._waiting.items() if waiting]

    def _next(self, callers: Sequence[str]) -> str:
        def first(caller: str) -> int:
            return self._waiting[caller][0].place

        quiet = [each for each in callers if each not in self._noisy]
        if quiet or not self._is_fair:
            return min(quiet if self._is_fair else callers, key=first)
        return min(callers, key=lambda caller: self._in_flight[caller])
