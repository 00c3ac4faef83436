"""When the writes of a request that is pending will be poured."""

import json
import logging
import math
import time
from uuid import UUID

from chalicelib import aws
from chalicelib.api.reads import estimate
from chalicelib.api.reads.estimate import Estimate
from chalicelib.buffer import mappings
from chalicelib.buffer.sqs import counts
from chalicelib.messages.questions import StatusAnswer
from chalicelib.messages.receipt import is_of_front
from chalicelib.settings import IntakeSettings

logger = logging.getLogger("decanter.intake")

_REMEMBERED_SECONDS = 5.0
_STATE_SECONDS = 2.0
_NOT_COUNTED: tuple[type[Exception], ...] = (KeyError, ValueError)

_readings: dict[str, tuple[int | None, bool, float]] = {}
"""By queue: how many messages wait, whether its drain is paused, and the time.monotonic() when that
was read."""


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
    readings = {name: _reading(name) for name in queues}
    return estimate.latest(
        [
            estimate.estimate(name, messages, paces.get(name), is_paused, now)
            for name, (messages, is_paused, _) in readings.items()
        ]
    )


def _reading(queue: str) -> tuple[int | None, bool, float]:
    """How many messages are on a queue or being poured, and whether its drain is paused, some
    seconds ago. None: nobody counts them."""
    found = _readings.get(queue, (None, False, -math.inf))
    now = time.monotonic()
    if now - found[-1] > _REMEMBERED_SECONDS:
        url = IntakeSettings.from_environment().queue_url(is_ordered=queue == "ordered")
        is_paused = bool(mappings.state(queue, now + _STATE_SECONDS).paused)
        found = _readings[queue] = _count(url), is_paused, now
    return found


def _count(url: str) -> int | None:
    try:
        found = counts.counts(url)
        return found.queued + found.in_flight
    except _NOT_COUNTED + aws.failures() as error:
        logger.warning("cannot count the messages of %s: %r", url, error)
        return None
