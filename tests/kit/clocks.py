"""Clocks that replace `time` in modules of functions."""

import re
import sys
import threading
import time
from typing import Any

import pytest

from chalicelib.postgres.connecting.connection import Transaction

_MODULES = ("chalicelib.drain.", "chalicelib.postgres.connecting.connection")
_ENDLESS = 100_000


class Skipping:
    """A clock whose pauses end at once, and advance it by their length."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.skipped = 0.0
        _replace(monkeypatch, self, ("chalicelib.drain.handler",))

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        self.skipped += seconds
        assert self.skipped < _ENDLESS, "it retries for ever"


class ByPauses:
    """A clock that advances with pauses, by their length, and with nothing else. modules: prefixes
    of the names of those that have it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
        self.now = 1_000.0
        _replace(monkeypatch, self, modules)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class ByStatements:
    """A clock that advances with each statement that waits for its result, and with nothing else:
    an invocation gets equally far on every machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.now = time.monotonic()
        execute = Transaction.execute

        def timed(running: Transaction, *arguments: Any, **limits: Any) -> list[Any]:
            try:
                return execute(running, *arguments, **limits)
            finally:
                self.now += seconds

        monkeypatch.setattr(Transaction, "execute", timed)
        _replace(monkeypatch, self, _MODULES)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            self.now += seconds
        else:
            time.sleep(seconds)  # the thread that watches connections


class Granted:
    """Records until when the last statement may run, by time.monotonic(). On a busy machine
    Postgres may end it later than that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.until = 0.0
        ahead = Transaction.ahead

        def noted(running: Transaction, sql: str, values: Any = None) -> None:
            if given := re.fullmatch(r"SET LOCAL statement_timeout = (\d+)", sql):
                self.until = max(self.until, time.monotonic() + int(given[1]) / 1000)
            ahead(running, sql, values)

        monkeypatch.setattr(Transaction, "ahead", noted)


def _replace(monkeypatch: pytest.MonkeyPatch, clock: object, modules: tuple[str, ...]) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith(modules) and getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", clock)
