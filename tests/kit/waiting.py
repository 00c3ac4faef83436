"""Waiting for a condition, with a limit that is long enough for any machine."""

import time
from collections.abc import Callable
from typing import TypeVar

LONG = 180.0
"""Seconds; many times what anything takes on a slow and busy machine."""

Found = TypeVar("Found")


def until(find: Callable[[], Found], what: str = "it", seconds: float = LONG) -> Found:
    """Call a function until its result is true, and return that. what: names it in the failure."""
    end = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < end, f"{what} did not happen in {seconds:g} s"
        time.sleep(0.05)
    return found
