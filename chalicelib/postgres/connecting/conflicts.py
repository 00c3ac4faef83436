"""Transactions that have met another one: they are done again, a bounded number of times.

On an engine where nobody waits for a lock, any statement may be refused like that, COMMIT as well,
and then nothing of the transaction was done.
"""

import math
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from psycopg2 import Error
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, cursor

from chalicelib.errors import TransactionConflict
from chalicelib.postgres.errors import translated

Result = TypeVar("Result")

_MOST_TRIES = 20
_LONGEST_PAUSE_SECONDS = 1.0


def redone(work: Callable[[], Result], deadline: float = math.inf) -> Result:
    """What work returns, which runs one transaction, or several of which each may be done again.
    deadline: time.monotonic(), when no further one begins. Raises TransactionConflict if it has met
    others too often."""
    for tries in range(_MOST_TRIES - 1):
        try:
            return work()
        except TransactionConflict:
            pause = min(_LONGEST_PAUSE_SECONDS, 0.02 * 2.0**tries) * random.uniform(0.5, 1)  # noqa: S311
            if time.monotonic() + pause >= deadline:
                raise
        time.sleep(pause)
    return work()


class RedoingCursor(cursor):
    """A cursor whose statements are done again where each is a transaction by itself."""

    def execute(self, query: Any, vars: Any = None) -> None:
        held = self.connection
        if not held.autocommit or held.info.transaction_status != TRANSACTION_STATUS_IDLE:
            return super().execute(query, vars)

        def run() -> None:
            with translated():
                super(RedoingCursor, self).execute(query, vars)

        try:
            return redone(run)
        except Exception as error:
            if isinstance(error.__cause__, Error):
                raise error.__cause__ from None  # users of a cursor know the driver's errors
            raise
