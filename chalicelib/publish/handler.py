"""The publish function: every minute, and for most of it, events from the outbox to a topic or bus.

It holds no connection, and asks the operate function. An event is taken out of the outbox with the
question after it was sent: at least once, and in the same order if it is repeated.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib import stage
from chalicelib.asking import Busy
from chalicelib.errors import NotConfigured, Problem
from chalicelib.publish import bus, outbox, topic
from chalicelib.publish.outbox import Taken
from chalicelib.publish.sending import Sender
from chalicelib.stage import Destination

logger = logging.getLogger("decanter.publish")

_MARGIN_SECONDS = 10.0
"""For a batch that is being sent when the time is over, and for the last question."""

_LAST_SECONDS = 2.0
_PAUSE_SECONDS = 2.0
_LIMIT = 200
"""Rows of the outbox in an answer: enough for operate to be asked seldom, and few to be repeated
when this function ends between two questions."""

_TOO_SHORT = "the lambda_timeout of publish leaves no time to publish anything: set it to 60"
_LEAST = 1  # of no rows, operate would not tell the age


@dataclass
class _Run:
    """One invocation. finished: places that operate has not been told of. last: its last answer."""

    sender: Sender
    finished: Sequence[int] = ()
    last: Taken | None = None

    def take(self, limit: int, deadline: float) -> Taken:
        """Ask operate, and tell it what is finished. Raises Problem."""
        self.last = outbox.take(self.finished, limit, deadline)
        self.finished = ()
        return self.last

    def publish(self, taken: Taken) -> None:
        """Send what was taken. Raises Unpublishable."""
        self.finished = taken.until(0)
        for done in self.sender.finish(taken.events):
            self.finished = taken.until(done)


def publish(context: Any) -> dict[str, int]:
    """Publish events until the time is nearly over; returns how many were published and refused.

    Where operate is busy, or the service takes nothing for now, they wait. Raises Problem if
    operate did not answer once, Unpublishable for what does not pass by itself, and NotConfigured.
    """
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _LAST_SECONDS
    until = deadline - _MARGIN_SECONDS + _LAST_SECONDS
    run = _Run(_sender(until))
    try:
        busy = _publish_until(run, until)
    finally:
        _end(run, deadline)
    if run.last is None:
        raise busy or NotConfigured(_TOO_SHORT)
    return {"published": run.sender.published, "refused": run.sender.refused}


def _publish_until(run: _Run, until: float) -> Busy | None:
    """Returns why operate did not answer the last time, if it did not."""
    busy = None
    while time.monotonic() < until:
        try:
            taken = run.take(_LIMIT, until + _MARGIN_SECONDS / 2)
        except Busy as problem:
            busy = problem
        else:
            busy = None
            run.publish(taken)
            if taken.places:
                continue
        time.sleep(min(_PAUSE_SECONDS, max(0.0, until - time.monotonic())))
    return busy


def _end(run: _Run, deadline: float) -> None:
    """Tell operate what is finished, and log what is left."""
    if run.last is None:
        return
    try:
        run.take(_LEAST, deadline)
    except Problem as problem:
        logger.warning(
            "operate was not told of %d rows whose events are published, which are published"
            " again: %s",
            len(run.finished),
            problem.detail,
        )
    oldest = run.last.oldest_at
    # Metric filters read this line.
    logger.info(
        "published %d events, %d refused; %d rows left, the oldest for %.1f s",
        run.sender.published,
        run.sender.refused,
        len(run.last.places) + run.last.behind,
        0.0 if oldest is None else time.monotonic() - oldest,
    )


def _sender(until: float) -> Sender:
    destination = stage.events()
    if destination is None:
        raise NotConfigured("DECANTER_EVENTS is not set, so there is nowhere to publish to")
    return Sender(destination, _service(destination).send, until)


def _service(destination: Destination) -> Any:
    return topic if destination.is_topic else bus
