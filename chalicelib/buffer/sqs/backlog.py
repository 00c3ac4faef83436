"""The limit on the backlog: writes are refused rather than queued for longer than is useful.

The age of a queue's oldest message is a metric of CloudWatch's, made every minute. A container
remembers what it last read, so that no request but one every half minute makes a call for it.
"""

import logging
import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Reading:
    """An age in seconds and the time.monotonic() when it was read."""

    age: float
    read_at: float


_readings: dict[str, _Reading] = {}


def check(queue_url: str) -> None:
    """Raises Problem 429 if the queue's oldest message is older than the stage's limit."""
    limit = backlog_limit_seconds()
    if limit is None:
        return
    age = _age(queue_url)
    if age > limit:
        raise Problem(
            "backlog",
            f"the oldest write in the queue has waited {age:.0f} s, more than the {limit} s that"
            " this deployment lets them wait. This request was not taken; send it again later",
            headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
        )


def _age(queue_url: str) -> float:
    now = time.monotonic()
    known = _readings.get(queue_url)
    if known is None or now - known.read_at > _REMEMBERED_SECONDS:
        known = _Reading(_read(queue_url.rsplit("/", 1)[-1]), now)
        _readings[queue_url] = known
    return known.age


def _read(queue_name: str) -> float:
    """Where the age is not known, writes are taken: to refuse them would lose them."""
    try:
        client = _client()
        found = aws.within(
            time.monotonic() + _READ_SECONDS, lambda: _datapoints(client, queue_name)
        )
    except aws.failures() as error:
        logger.warning("cannot read the age of %s, writes are taken: %r", queue_name, error)
        return 0.0
    latest = max(found, key=lambda point: point["Timestamp"], default=None)
    return float(latest["Maximum"]) if latest else 0.0


def _datapoints(client: Any, queue_name: str) -> Any:
    now = datetime.now(UTC)
    return client.get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": queue_name}],
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
