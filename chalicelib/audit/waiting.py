"""What may still wait in a buffer: nothing is said to be missing that may be on its way."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from chalicelib import aws
from chalicelib.buffer import mappings
from chalicelib.buffer.mappings import MappingState
from chalicelib.buffer.sqs import counts
from chalicelib.settings import metric_namespace, queue_url

_SETTLED_MILLISECONDS = 300_000
"""SQS' counts and CloudWatch's metrics are that late at most."""

_LAG_WINDOW = timedelta(minutes=45)
"""Within this time, each message of a queue that is not paused is delivered, or one that is older:
twice the longest visibility timeout."""

_STREAM_MILLISECONDS = 25 * 3_600_000
"""A stream keeps a record for 24 hours."""

_NO_COUNTS: tuple[type[Exception], ...] = (KeyError, ValueError)


class MayWait(NamedTuple):
    """since: what was accepted before that time, in milliseconds since the epoch, does not wait in
    the buffer any more; None: any of it may. why: a sentence, where that is so."""

    since: int | None
    why: str = ""

    def includes(self, accepted_at: int) -> bool:
        """Whether what was accepted then may still wait."""
        return self.since is None or accepted_at >= self.since


def of_buffers(deadline: float) -> Mapping[str, MayWait]:
    """What may wait in each buffer now. To be asked before the database is: what is poured in
    between is then found there. deadline: a time.monotonic()."""
    now = time.time_ns() // 1_000_000
    lag = _lag(deadline)
    found: dict[str, MayWait] = {}
    for each in mappings.states(deadline):
        if each.buffer == "stream":
            found["stream"] = _in_stream(each, lag, now)
        else:
            found[each.buffer] = _on_queue(each, lag, now)
    return found


def _in_stream(state: MappingState, lag: int | None, now: int) -> MayWait:
    dropped = now - _STREAM_MILLISECONDS
    if state.paused is not False or lag is None:
        return MayWait(dropped)
    return MayWait(max(dropped, _delivered_since(lag, now)))


def _on_queue(state: MappingState, lag: int | None, now: int) -> MayWait:
    if state.paused is None:
        return MayWait(None, state.why)
    try:
        found = counts.counts(queue_url(is_ordered=state.buffer == "ordered"))
        dead = counts.dead_letters(found)
    except _NO_COUNTS + aws.failures() as error:
        return MayWait(None, f"SQS did not tell how many messages wait: {type(error).__name__}")
    if dead:
        return MayWait(
            None, f"{dead:,} dead letters wait, and which ones is not known: redrive them"
        )
    if not found.queued and not found.in_flight:
        return MayWait(now - _SETTLED_MILLISECONDS - (lag or 0))
    if state.paused:
        return MayWait(None, "it is paused, and messages wait")
    if lag is None:
        return MayWait(None, "messages wait, and CloudWatch does not know for how long")
    return MayWait(_delivered_since(lag, now))


def _delivered_since(lag: int, now: int) -> int:
    """What was accepted before was delivered, if it was there: no delivery was as late."""
    return now - lag - int(_LAG_WINDOW.total_seconds() * 1_000)


def _lag(deadline: float) -> int | None:
    """The longest time, in milliseconds, between acceptance and a delivery of late; None if it is
    not known, or nothing was delivered."""
    now = datetime.now(UTC)
    try:
        client = _client()
        reply = aws.within(
            deadline,
            lambda: client.get_metric_statistics(
                Namespace=metric_namespace(),
                MetricName="Lag",
                StartTime=now - _LAG_WINDOW,
                EndTime=now,
                Period=60,
                Statistics=["Maximum"],
            ),
        )
    except aws.failures():
        return None
    found = [each["Maximum"] for each in reply.get("Datapoints", [])]
    return int(max(found) * 1_000) if found else None


@cache
def _client() -> Any:
    return aws.client("cloudwatch", tries=2, read_timeout=5)
