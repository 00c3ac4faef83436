"""The limits on the backlog: writes are refused rather than queued for too long.

Of age: CloudWatch has the age of a queue's oldest message as a metric, once a minute. A container
remembers its last reading, so that only one request every half minute makes a call.

Of one caller: all callers share the lanes of the ordered queue, so that all wait for what one of
them has there. SQS tells how many messages a queue has, and nobody tells whose they are. So each
container counts whose messages it has accepted lately. Requests reach all containers alike, and the
share that a caller has in one of them is about the share that it has in the queue.
"""

import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, NamedTuple

from chalicelib import aws
from chalicelib.errors import Problem
from chalicelib.settings import CallerLimits, backlog_limit_seconds, caller_limits

logger = logging.getLogger("decanter.intake")

_REMEMBERED_SECONDS = 30.0
_READ_SECONDS = 2.0
_RETRY_AFTER_SECONDS = 60
_LOOK_BACK = timedelta(minutes=5)  # a metric comes late, and not at all where nothing is queued

_HALF_LIFE_SECONDS = 120.0
"""After this time, a message that a container has accepted counts half: most of what is queued when
a caller is refused came in some minutes."""

_UNSEEN = 30
"""Messages of others that a container adds to those it has accepted, as it sees but a part of all.
Of a caller with no more than that, it neither asks nor refuses any."""

_RENEWED_SECONDS = 5.0
_CALM_SECONDS = 30.0
_CALM = 0.1
"""The part of a limit below which the messages of a queue are counted only every _CALM_SECONDS,
unless more than _UNSEEN were accepted meanwhile."""

_LOGGED_SECONDS = 60.0

_MOST_CALLERS = 1_000
_FORGOTTEN = 30
"""Half-lives: after one hour, nothing is left of a message."""

_SOONEST, _UNKNOWN, _LATEST = 5, 30, 300
"""Seconds of Retry-After. _UNKNOWN: while the backlog does not become smaller."""

_NO_COUNTS: tuple[type[Exception], ...] = (KeyError, ValueError)

_readings: dict[str, tuple[float, float]] = {}
"""By queue URL: an age in seconds, and the time.monotonic() when it was read."""


def check(queue_url: str) -> None:
    """Raises Problem 429 if the queue's oldest message is older than the stage's limit."""
    limit = backlog_limit_seconds()
    if limit is None:
        return
    age = _age(queue_url)
    if age > limit:
        raise Problem(
            "backlog",
            f"the oldest write in the queue has waited {age:.0f} s, and this deployment allows"
            f" {limit} s. This request was not accepted; send it again later",
            headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
        )


def admit(queue_url: str, caller: str, messages: int) -> None:
    """Count messages that a caller is about to put on the ordered queue. Raises Problem 429 if too
    many of its messages wait there."""
    if limits := caller_limits():
        if queue_url not in _gates:
            _gates[queue_url] = Gate(partial(_waiting, queue_url))
        _gates[queue_url].admit(caller, messages, limits, time.monotonic())


class _Count(NamedTuple):
    """How many messages wait in a queue; None: it is not known. at: the time of the count. is_calm:
    whether it is good for longer. falling: by how many messages a second there were fewer than at
    the count before; 0 if there were not."""

    messages: int | None
    at: float
    is_calm: bool
    falling: float


class Gate:
    """The way into a queue, as one container guards it. All times are a time.monotonic()."""

    def __init__(self, count: Callable[[], int]) -> None:
        """count: how many messages wait in the queue. It may raise one of `aws.failures()`,
        KeyError or ValueError."""
        self._count = count
        self._counted = _Count(0, -math.inf, False, 0.0)
        self._taken_since = 0
        self._logged_at = -math.inf
        self._taken: dict[str, float] = {}
        self._total = 0.0
        # Instead of all that was taken becoming less, what is taken now weighs more.
        self._since = 0.0

    def admit(self, caller: str, messages: int, limits: CallerLimits, now: float) -> None:
        """Count messages of a caller. Raises Problem 429 if too many of them wait."""
        weight = self._weight(now)
        taken = self._taken.get(caller, 0.0)
        if taken > _UNSEEN * weight:
            limit = limits.alone if len(self._taken) == 1 else limits.among_others
            if limit is not None:
                share = taken / (self._total + _UNSEEN * weight)
                self._refuse_beyond(limit, share, caller, now)
        self._taken[caller] = taken + messages * weight
        self._total += messages * weight
        self._taken_since += messages
        if len(self._taken) > _MOST_CALLERS:
            largest = sorted(self._taken, key=self._taken.__getitem__)[-_MOST_CALLERS // 2 :]
            self._taken = {name: self._taken[name] for name in largest}

    def _weight(self, now: float) -> float:
        """What a message of now weighs, where one of the beginning weighs 1."""
        half_lives = (now - self._since) / _HALF_LIFE_SECONDS
        if half_lives > _FORGOTTEN:
            left = 2.0**-half_lives
            least = 2.0**-_FORGOTTEN
            kept = {name: taken * left for name, taken in self._taken.items()}
            self._taken = {name: taken for name, taken in kept.items() if taken > least}
            self._total *= left
            self._since, half_lives = now, 0.0
        return float(2.0**half_lives)

    def _refuse_beyond(self, limit: int, share: float, caller: str, now: float) -> None:
        """Raises Problem 429 if this share of the messages that wait is more than the limit."""
        messages, _, _, falling = self._count_of(limit, now)
        if messages is None or messages * share <= limit:
            return
        waiting = round(messages * share)
        seconds = math.ceil((messages - limit / share) / falling) if falling else _UNKNOWN
        seconds = min(max(_SOONEST, seconds), _LATEST)
        if now - self._logged_at > _LOGGED_SECONDS:
            self._logged_at = now
            logger.warning(
                "refused: some %d of the %d messages in the ordered queue are of the caller %r, who"
                " may have %d there",
                waiting,
                messages,
                caller,
                limit,
            )
        raise Problem(
            "too-many-waiting",
            f"some {waiting:,} messages with writes of this caller wait in the queue, and this"
            f" deployment lets one caller have {limit:,} there. Nothing of this request was"
            f" accepted; send it again after {seconds} s",
            headers={"Retry-After": str(seconds)},
        )

    def _count_of(self, limit: int, now: float) -> _Count:
        """The messages that wait, as they were counted some seconds ago at most. If they cannot be,
        writes are accepted: refused ones may be lost."""
        last = self._counted
        is_calm = last.is_calm and self._taken_since <= _UNSEEN
        if now - last.at < (_CALM_SECONDS if is_calm else _RENEWED_SECONDS):
            return last
        self._taken_since = 0
        try:
            messages = self._count()
        except _NO_COUNTS + aws.failures() as error:
            if last.messages is not None:
                logger.warning("cannot count the messages of a queue, none is refused: %r", error)
            self._counted = _Count(None, now, True, 0.0)
        else:
            falling = ((last.messages or 0) - messages) / (now - last.at)
            self._counted = _Count(messages, now, messages < _CALM * limit, max(0.0, falling))
        return self._counted


_gates: dict[str, Gate] = {}
"""By queue URL."""


def _waiting(queue_url: str) -> int:
    """How many messages wait in a queue, or are being poured."""
    from chalicelib.buffer.sqs import counts

    found = counts.counts(queue_url)
    return found.queued + found.in_flight


def _age(queue_url: str) -> float:
    now = time.monotonic()
    age, read_at = _readings.get(queue_url, (0.0, -math.inf))
    if now - read_at > _REMEMBERED_SECONDS:
        age = _read(queue_url.rsplit("/", 1)[-1])
        _readings[queue_url] = age, now
    return age


def _read(queue_name: str) -> float:
    """The age of the queue's oldest message. If unknown, writes are accepted: refused ones may be
    lost."""
    try:
        return oldest_seconds(queue_name) or 0.0
    except aws.failures() as error:
        logger.warning("cannot read the age of %s, writes are accepted: %r", queue_name, error)
        return 0.0


def oldest_seconds(queue_name: str) -> float | None:
    """The age of the queue's oldest message, up to some minutes ago; None where CloudWatch has none
    of the last minutes. Raises one of `aws.failures()`."""
    return _latest("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue_name)


def stream_seconds(function_name: str) -> float | None:
    """The age of the last record of a stream that its function has taken, likewise."""
    milliseconds = _latest("AWS/Lambda", "IteratorAge", "FunctionName", function_name)
    return None if milliseconds is None else milliseconds / 1000


def _latest(*metric: str) -> float | None:
    client = _client()
    found = aws.within(time.monotonic() + _READ_SECONDS, lambda: _datapoints(client, *metric))
    latest = max(found, key=lambda point: point["Timestamp"], default=None)
    return float(latest["Maximum"]) if latest else None


def _datapoints(client: Any, namespace: str, metric: str, dimension: str, value: str) -> Any:
    now = datetime.now(UTC)
    return client.get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": dimension, "Value": value}],
        StartTime=now - _LOOK_BACK,
        EndTime=now,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]


@cache
def _client() -> Any:
    return aws.client("cloudwatch", tries=1, connect_timeout=1, read_timeout=_READ_SECONDS)
