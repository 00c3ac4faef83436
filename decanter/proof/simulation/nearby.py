"""A history's processes take turns. On one processor they hand over in a tenth of the time."""

import os
from contextlib import suppress


def keep(pid: int, number: int) -> None:
    """Keep a process, and those that it starts, on one processor, the nth of ours."""
    if hasattr(os, "sched_setaffinity"):
        own = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(pid, {own[number % len(own)]})


def join(pid: int) -> None:
    """Have another process run where we do, if we may say so."""
    if hasattr(os, "sched_setaffinity"):
        with suppress(ProcessLookupError, PermissionError):  # of a server elsewhere
            os.sched_setaffinity(pid, os.sched_getaffinity(0))
