"""How work grows with its input. Seconds alone mean nothing on a slow or busy machine, so processor
time is compared only with that of the same minute."""

import math
import sys
import time
from collections.abc import Callable

TIMES = 8
"""Factor between the two inputs."""

LINEAR = 3 * TIMES
"""Limit for linear work, including effects of caches and the garbage collector; quadratic work
grows by TIMES * TIMES."""


def growth(prepared: Callable[[int], Callable[[], object]]) -> float:
    """Return the factor by which processor time grows for TIMES the input, the best of three each;
    of fewer, where it is far from the limit.

    prepared: returns the work for that many times the input; preparing it does not count.
    """
    small, large = prepared(1), prepared(TIMES)
    once = many = math.inf
    for _ in range(3):
        once, many = min(once, _seconds(small)), min(many, _seconds(large))
        if many < LINEAR / 2 * once:
            break
    return many / once


def _seconds(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def calls(work: Callable[[], object], in_c: bool = True) -> int:
    """Return the number of function calls. in_c: whether to include those in C."""
    counted = ("call", "c_call") if in_c else ("call",)
    count = 0

    def noted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in counted

    sys.setprofile(noted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count
