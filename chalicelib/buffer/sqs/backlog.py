"""The limit on the backlog: writes are refused rather than queued for too long.

CloudWatch has the age of a queue's oldest message as a metric, once a minute. A container remembers
its last reading, so that only one request every half minute makes a call.
"""

import logging
import math
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from chalicelib import aws
from chalicelib.errors import Problem
from chalicelib.settings import backlog_limit_seconds

logger = logging.getLogger("decanter.intake")

_REMEMBERED_SECONDS = 30.0
_READ_SECONDS = 2.0
_RETRY_AFTER_SECONDS = 60
_LOOK_BACK = timedelta(minutes=5)  # a metric comes late, and not at all where nothing is queued


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
    return aws.client(
        "cloudwatch",
        connect_timeout=1,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
