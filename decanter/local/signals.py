"""Ctrl-C and termination as an exception, but never while a process is being started."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class _Deferral:
    depth: int = 0
    waiting: bool = False


_deferral = _Deferral()


def listen() -> None:
    """Let SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread."""
    for number in _NUMBERS:
        signal.signal(number, _on_signal)


def ignore() -> None:
    """Ignore these signals from now on, to stop in order."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defer signals until the end of the block."""
    _deferral.depth += 1
    try:
        yield
    finally:
        _deferral.depth -= 1
    if _deferral.waiting and not _deferral.depth:
        _deferral.waiting = False
        raise KeyboardInterrupt


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Listen from now on, but defer signals in the block, which imports libraries: some of them
    swallow exceptions then."""
    listen()
    with deferred():
        yield


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    if _deferral.depth:
        _deferral.waiting = True
    else:
        raise KeyboardInterrupt
