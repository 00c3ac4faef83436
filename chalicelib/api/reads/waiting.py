"""Waiting for an outcome, without a connection to the database while nothing has happened."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from chalicelib import aws
from chalicelib.buffer.sqs import put

_Answer = TypeVar("_Answer")

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.6
_LAST_SECONDS = 0.25  # enough for the last question to a reader that is well
_COUNTS_SECONDS = 1.0


def until(
    question: Callable[[], _Answer | None], deadline: float, queue_url: str
) -> _Answer | None:
    """What the question answers as soon as it is not None; None at the deadline, a
    time.monotonic() by which the question has to answer by itself.

    The question costs a database connection, for as long as it takes to answer. It is not asked
    while the queue says that its messages lie there and no drain is at work on any: then nothing
    can have happened. SQS' counts are approximate, so the last moment asks in any case.
    """
    last = deadline - _LAST_SECONDS
    pause = _FIRST_PAUSE_SECONDS
    counted = True
    while (left := last - time.monotonic()) > pause:
        # Many wait for the same drain: they do not all ask at the same moment.
        time.sleep(pause * random.uniform(0.75, 1))  # noqa: S311
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        try:
            if counted and _lies_still(queue_url, last):
                continue
        except aws.Late:
            counted = False  # it would cost each further question its time
        if (answer := question()) is not None:
            return answer
    time.sleep(max(0.0, left))
    return question()


def _lies_still(queue_url: str, deadline: float) -> bool:
    deadline = min(deadline, time.monotonic() + _COUNTS_SECONDS)
    return aws.within(deadline, lambda: put.lies_still(queue_url))
