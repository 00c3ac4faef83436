"""Waits that end as soon as what they wait for is there, and late enough on any machine."""

import time
from collections.abc import Callable
from typing import TypeVar

LONG = 180.0
"""Seconds: many times what anything here takes on a slow machine that does other work as well."""

Found = TypeVar("Found")


def until(look: Callable[[], Found], what: str = "it", seconds: float = LONG) -> Found:
    """What a look finds that finds something true. what: for who reads that it did not come."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"{what} did not come about in {seconds:g} s"
        time.sleep(0.05)
    return found
