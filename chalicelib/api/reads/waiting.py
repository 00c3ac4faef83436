"""Waiting for an outcome, without database connections while nothing can have happened."""

import random
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from chalicelib import aws
from chalicelib.buffer.sqs import put

_Answer = TypeVar("_Answer")

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.6
_LAST_SECONDS = 0.25  # enough for a last question to a healthy reader
_COUNTS_SECONDS = 1.0


def until(
    question: Callable[[], _Answer | None], deadline: float, queue_url: str | None
) -> _Answer | None:
    """The first answer to the question that is not None; None at the deadline, a time.monotonic().
    The question keeps the deadline itself.

    Each question costs a database connection for its duration. So it is not asked while messages
    wait in the queue and no drain has taken any, when nothing can have happened. The counts of SQS
    are approximate, so the question is always asked at the last moment. queue_url: None if they are
    on none.
    """
    last = deadline - _LAST_SECONDS
    pause = _FIRST_PAUSE_SECONDS
    counted = queue_url
    while (left := last - time.monotonic()) > pause:
        # Many clients wait for the same drain, and should not all ask at the same moment.
        time.sleep(pause * random.uniform(0.75, 1))  # noqa: S311
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        try:
            counted_by = min(last, time.monotonic() + _COUNTS_SECONDS)
            if counted and aws.within(counted_by, partial(put.lies_still, counted)):
                continue
        except aws.Late:
            counted = None  # another try would delay each further question
        if (answer := question()) is not None:
            return answer
    time.sleep(max(0.0, left))
    return question()
