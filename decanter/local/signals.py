"""Ctrl-C and termination: an exception, but never in the middle of starting a process."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class _State:
    held: int = 0
    waiting: bool = False


_state = _State()


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
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
    if _state.waiting and not _state.held:
        _state.waiting = False
        raise KeyboardInterrupt


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    if _state.held:
        _state.waiting = True
    else:
        raise KeyboardInterrupt
