"""A Python process that talks with its parent in lines of JSON, and ends with its input."""

import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.harness import Json
from decanter.local import signals

END_SECONDS = 10


class ChildError(Exception):
    """A process of the benchmark ended before it was told to."""


class Child:
    """A running process, as its parent uses it."""

    def __init__(self, process: "subprocess.Popen[str]", module: str) -> None:
        self._process, self._module = process, module

    def tell(self, message: Json) -> None:
        """Send a message. Raise ChildError if the process has ended."""
        assert self._process.stdin is not None  # noqa: S101
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def hear(self) -> Any:
        """Wait for its next message. Raise ChildError if it ended instead."""
        assert self._process.stdout is not None  # noqa: S101
        if not (line := self._process.stdout.readline()):
            raise self._ended()
        return json.loads(line)

    def _ended(self) -> ChildError:
        return ChildError(f"{self._module} ended; what it wrote to stderr says why.")


@contextmanager
def started(module: str, settings: Json) -> Iterator[Child]:
    """Run a module as a process for the block, and tell it its settings."""
    with signals.deferred():
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            # Not ended by Ctrl-C in the terminal, but by its input.
            start_new_session=True,
        )
    try:
        child = Child(process, module)
        child.tell(settings)
        yield child
    finally:
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        with suppress(BrokenPipeError):  # it has ended
            process.stdin.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def serve(work: Callable[[Json, Callable[[], Json]], None]) -> None:
    """Be such a process: call `work(settings, hear)` in a thread, and end with the input, or when
    the work fails.

    hear: waits for the parent's next message.
    """
    settings = json.loads(sys.stdin.readline())
    told: list[Json] = []
    news = threading.Semaphore(0)

    def hear() -> Json:
        news.acquire()
        return told.pop(0)

    def run() -> None:
        try:
            work(settings, hear)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    threading.Thread(target=run, daemon=True).start()
    for line in sys.stdin:
        told.append(json.loads(line))
        news.release()
    os._exit(0)  # not waiting for threads with open requests


def say(message: Any) -> None:
    """Send a message to the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
