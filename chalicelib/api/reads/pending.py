"""When the writes of a request that is pending will be poured."""

import json
import logging
import math
import time
from uuid import UUID

from chalicelib import aws
from chalicelib.api.ops import estimate
from chalicelib.api.ops.estimate import Estimate
from chalicelib.buffer.sqs import counts
from chalicelib.messages.questions import StatusAnswer
from chalicelib.messages.receipt import is_of_front
from chalicelib.settings import IntakeSettings

logger = logging.getLogger("decanter.intake")

_REMEMBERED_SECONDS = 5.0
_NOT_COUNTED: tuple[type[Exception], ...] = (KeyError, ValueError)

_readings: dict[str, tuple[int | None, float]] = {}
"""By queue URL: how many messages wait, and the time.monotonic() when they were counted."""


def with_estimate(request_id: UUID, answer: StatusAnswer) -> str:
    """JSON text of a pending request's status, with the member `estimate`."""
    shown = json.dumps(_estimate(request_id, answer)._asdict())
    return f'{answer.body[:-1]},"estimate":{shown}}}'


def _estimate(request_id: UUID, answer: StatusAnswer) -> Estimate:
    if answer.queued is None:
        return estimate.unknown("the reader function is of an older version")
    if not answer.queued:
        return estimate.unknown(
            "all writes of the request have left the queue, and some wait in the database: for"
            " another row, a lock or the schema"
        )
    if is_of_front(request_id):
        return estimate.unknown("DynamoDB does not tell how many records of a stream wait")
    # A receipt does not tell which queue its messages are on.
    paces = {each.buffer: each for each in answer.paces}
    queues = [name for name in ("ordered", "unordered") if name in paces] or ["ordered"]
    now = time.time()
    return estimate.latest(
        [estimate.estimate(name, _messages(name), paces.get(name), False, now) for name in queues]
    )


def _messages(queue: str) -> int | None:
    """How many messages are on a queue or being poured, some seconds ago; None if unknown."""
    url = IntakeSettings.from_environment().queue_url(is_ordered=queue == "ordered")
    found, read_at = _readings.get(url, (None, -math.inf))
    if time.monotonic() - read_at > _REMEMBERED_SECONDS:
        found = _count(url)
        _readings[url] = found, time.monotonic()
    return found


def _count(url: str) -> int | None:
    try:
        found = counts.counts(url)
        return found.queued + found.in_flight
    except _NOT_COUNTED + aws.failures() as error:
        logger.warning("cannot count the messages of %s: %r", url, error)
        return None
