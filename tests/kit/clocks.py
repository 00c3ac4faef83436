"""Clocks that stand where a module of ours has `time`."""

import threading
import time
from typing import Any

import pytest

from chalicelib.database import connection
from chalicelib.database.connection import Transaction
from chalicelib.drain import handler

_ENDLESS = 10_000


class Skipping:
    """Pauses of the drain are over at once; its clock goes on by them as if they had been made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.skipped = 0.0
        monkeypatch.setattr(handler, "time", self)

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        self.skipped += seconds
        assert self.skipped < _ENDLESS, "it tries again for ever"


class ByStatements:
    """Time passes for the drain with each statement, and with nothing else that it does; so how
    far it gets is the same on every machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        """seconds: that each statement takes; many, since Postgres keeps the timeouts that are
        left in its own time."""
        self.now = time.monotonic()
        execute = Transaction.execute

        def timed(running: Transaction, *arguments: Any) -> list[Any]:
            found = execute(running, *arguments)
            self.now += seconds
            return found

        monkeypatch.setattr(Transaction, "execute", timed)
        monkeypatch.setattr(handler, "time", self)
        monkeypatch.setattr(connection, "time", self)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            self.now += seconds
        else:
            time.sleep(seconds)  # the one who watches the connections
