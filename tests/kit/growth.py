"""How work grows with its input. A machine may be slow and busy: seconds say nothing by themselves,
and processor time is compared with processor time of the same minute only."""

import sys
import time
from collections.abc import Callable

TIMES = 8
"""How much larger the larger input is."""

LINEAR = 3 * TIMES
"""Growth below this is that of linear work, caches and garbage collector included; quadratic work
grows TIMES * TIMES."""


def growth(prepared: Callable[[int], Callable[[], object]]) -> float:
    """How many times the processor time TIMES the input takes, each at its best of three tries.

    prepared: makes the work for once or so many times the input; to make it does not count.
    """
    small, large = prepared(1), prepared(TIMES)
    rounds = [(_seconds(small), _seconds(large)) for _ in range(3)]
    return min(each for _, each in rounds) / min(each for each, _ in rounds)


def _seconds(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def calls(work: Callable[[], object], in_c: bool = True) -> int:
    """How many functions a work calls. in_c: those in C as well."""
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
