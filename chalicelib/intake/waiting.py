"""Waiting for an outcome, without a connection to the database while nothing has happened."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from chalicelib.intake import queue

_Answer = TypeVar("_Answer")

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.6


def until(question: Callable[[], _Answer | None], seconds: float, queue_url: str) -> _Answer | None:
    """What the question answers as soon as it is not None; None after that many seconds.

    The question costs a database connection, for as long as it takes to answer. It is not asked
    while the queue says that its messages lie there and no drain is at work on any: then nothing
    can have happened. SQS' counts are approximate, so the last moment asks in any case.
    """
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while (left := deadline - time.monotonic()) > pause:
        # Many wait for the same drain: they do not all ask at the same moment.
        time.sleep(pause * random.uniform(0.75, 1))  # noqa: S311
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        if not queue.lies_still(queue_url) and (answer := question()) is not None:
            return answer
    time.sleep(max(0.0, left))
    return question()
