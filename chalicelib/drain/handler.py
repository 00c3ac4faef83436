"""The drain functions: an event of a buffer → the database, within the invocation's time."""

import gc
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

from chalicelib.buffer.delivery import Buffer, Delivery
from chalicelib.drain.pour import pour
from chalicelib.errors import DatabaseUnavailable, SchemaMismatch
from chalicelib.postgres import ledger, settling, waiting
from chalicelib.postgres.connecting.conflicts import redone
from chalicelib.postgres.connecting.connection import (
    connection,
    forget,
    reconnecting,
    transaction,
)
from chalicelib.postgres.connecting.session import Connection
from chalicelib.settings import DatabaseSettings

logger = logging.getLogger("decanter.drain")

_ROLE = "drain"
MARGIN_SECONDS = 2.0
"""What an invocation keeps of its time to roll back, log and answer."""

LEAST_SECONDS = 0.5
"""Time that is left for another attempt; with less, there is none."""

_LONGEST_PAUSE_SECONDS = 4.0
_DELIVERIES_AT_ONCE = 3


def drain(event: Mapping[str, Any], context: Any, buffer: Buffer) -> dict[str, Any]:
    """Pour a batch. Unfinished messages are delivered again, and nothing is done twice. Or, for an
    event `{"reconciled": ms}`, remember that nothing accepted before that time is on its way.

    buffer: the one that the event comes from. Raises what its answer raises; DatabaseUnavailable if
    the database was not reached in time; SchemaMismatch if it does not match the models.
    """
    started = time.monotonic()
    deadline = started + context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
    if "reconciled" in event:
        return _keep_reconciled(int(event["reconciled"]), deadline)
    with _garbage_collection_paused():
        batch = buffer.deliveries(event)
        if not batch and event.get("Records"):  # nothing of it is a write
            return buffer.answer([], [])
        _log_lag(batch)
        _log_newer(batch)
        unfinished = _pour_with_retries(batch, deadline)
    seconds = time.monotonic() - started
    poured = len(batch) - len(unfinished)
    logger.info("poured %d of %d messages in %.3f s", poured, len(batch), seconds)
    return buffer.answer(batch, unfinished)


def pause_seconds(attempt: int, draw: Callable[[float, float], float]) -> float:
    """How long to pause after an attempt, counted from 0, for which the database was unavailable.

    draw: a number between two others.
    """
    return min(_LONGEST_PAUSE_SECONDS, 0.1 * 2.0**attempt) * draw(0.5, 1)


def _keep_reconciled(before: int, deadline: float) -> dict[str, Any]:
    """The answer tells that this version knows such events. before: milliseconds since the
    epoch."""

    def keep(opened: Connection) -> None:
        with transaction(opened, deadline) as running:
            ledger.keep_reconciled(running, before)

    reconnecting(DatabaseSettings.from_environment().url, _ROLE, deadline, keep)
    return {"reconciled": before}


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """A batch makes tens of thousands of small tuples and no reference cycles; looking for cycles
    takes a quarter of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _log_lag(batch: Sequence[Delivery]) -> None:
    """Log how long ago the oldest message of the batch was accepted: before it is poured, and at
    each delivery, so that the lag of messages that are never poured grows too."""
    if batch:
        times = [each.message.accepted_at if each.message else each.buffered_at for each in batch]
        known = [at for at in times if at is not None]
        lag = time.time() - min(known) / 1000 if known else 0.0
        # A metric filter reads this line.
        logger.info("received %d messages, lag %.1f s", len(batch), lag)


def _log_newer(batch: Sequence[Delivery]) -> None:
    newer = [delivery for delivery in batch if delivery.is_newer]
    if newer:
        logger.error(
            "%d messages are of a newer version of Decanter, for example %s: %s; they stay queued,"
            " and so does everything behind them in their lanes. Deploy that version again, or a"
            " later one. Messages that reach the dead-letter queue before can be redriven then: an"
            " ordered message is kept there for 14 days, an unordered one until it is 14 days old."
            " A stream keeps them for 24 hours.",
            len(newer),
            newer[0].place,
            newer[0].fault,
        )


def _pour_with_retries(batch: Sequence[Delivery], deadline: float) -> list[Delivery]:
    url = DatabaseSettings.from_environment().url
    # A batch that was not poured at once before will not be the next time.
    at_once = all(delivery.attempt <= _DELIVERIES_AT_ONCE for delivery in batch)
    for attempt in count():
        try:
            opened = connection(url, _ROLE, deadline)
            if attempt:
                settling.recover(opened, deadline)
            if not batch:  # a schedule's event
                _log_waiting(opened, deadline)
            return redone(partial(pour, opened, batch, deadline, at_once), deadline)
        except DatabaseUnavailable as error:
            at_once = False
            forget(_ROLE)
            pause = pause_seconds(attempt, random.uniform)
            if time.monotonic() + pause + LEAST_SECONDS >= deadline:
                logger.error("the database is unavailable; the messages stay queued: %s", error)
                raise
            logger.warning("the database is unavailable, trying again in %.1f s: %s", pause, error)
            time.sleep(pause)
        except SchemaMismatch as error:
            forget(_ROLE)
            logger.error("the database does not match the models; invoke migrate: %s", error)
            raise
    raise AssertionError("unreachable")


def _log_waiting(connection: Connection, deadline: float) -> None:
    with transaction(connection, deadline, read_only=True) as running:
        writes, seconds = waiting.oldest(running)
    # A metric filter reads this line.
    logger.info("waiting %d writes, the oldest for %.1f s", writes, seconds)
