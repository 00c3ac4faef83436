"""Ctrl-C and termination: an exception, but never in the middle of starting a process."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class _Holding:
    depth: int = 0
    waiting: bool = False


_holding = _Holding()


def listen() -> None:
    """Let SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread."""
    for number in _NUMBERS:
        signal.signal(number, _on_signal)


def ignore() -> None:
    """From here on nothing interrupts; for stopping in order."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold signals back until the end of the block."""
    _holding.depth += 1
    try:
        yield
    finally:
        _holding.depth -= 1
    if _holding.waiting and not _holding.depth:
        _holding.waiting = False
        raise KeyboardInterrupt


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Listen from here on, and hold signals back in the block, which loads libraries: some of them
    pass over whatever is raised then."""
    listen()
    with held():
        yield


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    if _holding.depth:
        _holding.waiting = True
    else:
        raise KeyboardInterrupt
