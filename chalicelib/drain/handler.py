"""The drain functions: an SQS event → the database, within the invocation's time."""

import gc
import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from chalicelib.database.connection import connection, forget
from chalicelib.drain.batch import Delivery, deliveries
from chalicelib.drain.pour import pour
from chalicelib.errors import DatabaseMisfit, DatabaseUnwell, Unfinished
from chalicelib.settings import DatabaseSettings, partial_responses

logger = logging.getLogger("decanter.drain")

_ROLE = "drain"
_MARGIN_SECONDS = 2.0  # to roll back, log and answer
_LONGEST_PAUSE_SECONDS = 4.0
_LEAST_SECONDS = 0.5  # for another attempt
_DELIVERIES_AT_ONCE = 3


def drain(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Pour a batch. Whatever is not finished is delivered again, and does nothing twice.

    Raises Unfinished unless the mapping is known to understand partial responses; DatabaseUnwell
    when the database did not come back in time; DatabaseMisfit when it is not as the models say.
    """
    started = time.monotonic()
    deadline = started + context.get_remaining_time_in_millis() / 1000 - _MARGIN_SECONDS
    with _no_search_for_cycles():
        batch = deliveries(event)
        _tell_of_newer(batch)
        unfinished = _pour_with_patience(batch, deadline)
    seconds = time.monotonic() - started
    poured = len(batch) - len(unfinished)
    # A metric filter reads this line.
    logger.info(
        "poured %d of %d messages in %.3f s, lag %.1f s", poured, len(batch), seconds, _lag(batch)
    )
    if unfinished and not partial_responses():
        raise Unfinished(f"{len(unfinished)} of {len(batch)} messages wait or follow one that does")
    return {"batchItemFailures": [{"itemIdentifier": each.record_id} for each in unfinished]}


def _lag(batch: Sequence[Delivery]) -> float:
    """Seconds since the oldest message of the batch was accepted."""
    accepted = [delivery.message.accepted_at for delivery in batch if delivery.message]
    return max(0.0, time.time() - min(accepted) / 1000) if accepted else 0.0


def _tell_of_newer(batch: Sequence[Delivery]) -> None:
    newer = [delivery for delivery in batch if delivery.is_newer]
    if newer:
        logger.error(
            "%d messages are of a newer version of Decanter, for example %s: %s; they stay queued,"
            " and what follows in their lanes. Deploy that version again, or a later one. What goes"
            " to the dead-letter queue before can be redriven then: an ordered message is kept"
            " there for 14 days, an unordered one until it is 14 days old.",
            len(newer),
            newer[0].record_id,
            newer[0].fault,
        )


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """A batch makes tens of thousands of small tuples and no cycles; to look for some among them
    takes a quarter of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _pour_with_patience(batch: Sequence[Delivery], deadline: float) -> list[Delivery]:
    url = DatabaseSettings.from_environment().url
    # What did not get done at once will not the next time.
    is_new = all(delivery.receives <= _DELIVERIES_AT_ONCE for delivery in batch)
    for attempt in count():
        try:
            return pour(connection(url, _ROLE, deadline), batch, deadline, is_new and not attempt)
        except DatabaseUnwell as error:
            forget(_ROLE)
            pause = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2**attempt) * random.uniform(0.5, 1)  # noqa: S311
            if time.monotonic() + pause + _LEAST_SECONDS >= deadline:
                logger.error("the database is unwell; the messages stay queued: %s", error)
                raise
            logger.warning("the database is unwell, trying again in %.1f s: %s", pause, error)
            time.sleep(pause)
        except DatabaseMisfit as error:
            forget(_ROLE)
            logger.error("the database is not as the models say; invoke migrate: %s", error)
            raise
    raise AssertionError("unreachable")
