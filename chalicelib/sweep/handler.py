"""The sweep function: deletes records of messages that can no longer be redelivered."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from chalicelib.errors import LockNotAvailable, SchemaMismatch
from chalicelib.postgres import retention
from chalicelib.postgres.connecting.conflicts import Result, redone
from chalicelib.postgres.connecting.connection import Transaction, connection, transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.engine import POSTGRES, Engine, engine_of
from chalicelib.postgres.errors import translated
from chalicelib.settings import LEDGER_DAYS, DatabaseSettings

logger = logging.getLogger("decanter.sweep")

_ROLE = "sweep"
_STEP = 5_000  # rows a transaction: short enough to hold nobody up
_MARGIN_SECONDS = 5.0
_CLOCK_DAYS = 1  # clocks may differ: the ledger keeps messages longer than the drain needs
_DAYS = LEDGER_DAYS + _CLOCK_DAYS
# A key may be sent again for as long, and a write accepted on the last day may wait as long again.
_KEYED_DAYS = LEDGER_DAYS + _DAYS
_LOCK_SECONDS = 0.1  # for a leaf, which only queries by time and by key look at


@dataclass(frozen=True)
class _Steps:
    """The transactions of a sweep, until out of time."""

    url: str
    deadline: float

    @property
    def has_time(self) -> bool:
        return time.monotonic() < self.deadline

    @property
    def engine(self) -> Engine:
        with translated():
            return engine_of(redone(self._opened, self.deadline))

    def _opened(self) -> Connection:
        return connection(self.url, _ROLE, self.deadline)

    def take(
        self, work: Callable[[Transaction], Result], lock_seconds: float | None = None
    ) -> Result:
        """What work returns, which is given a transaction."""

        def step() -> Result:
            with transaction(self._opened(), self.deadline, lock_seconds=lock_seconds) as running:
                return work(running)

        return redone(step, self.deadline)


def sweep(context: Any) -> dict[str, int]:
    """Empty the leaves of the ledger that are old as a whole; then delete other rows that are older
    than the ledger's days, in steps, until done or out of time.

    Returns {"deleted": rows, one by one, "emptied": leaves}. No drain touches any of it, so it
    never holds one up. Raises DatabaseUnavailable, with everything until then committed.
    """
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _MARGIN_SECONDS
    steps = _Steps(DatabaseSettings.from_environment().url, deadline)
    engine = steps.engine if steps.has_time else POSTGRES
    has_leaves = steps.has_time and engine.partitions
    deleted, emptied = _sweep_leaves(steps) if has_leaves else (0, 0)
    end = "out of time"
    while steps.has_time:
        step = steps.take(
            lambda running: retention.sweep(running, _DAYS, _KEYED_DAYS, _STEP, engine)
        )
        deleted += step
        if not step:
            end = "done"
            break
    # A metric filter reads this line.
    logger.info("swept %d rows, %s", deleted, end)
    return {"deleted": deleted, "emptied": emptied}


def _sweep_leaves(steps: _Steps) -> tuple[int, int]:
    """Returns the number of rows that were deleted one by one, and of leaves that were emptied."""
    deleted = emptied = 0
    with suppress(LockNotAvailable):
        steps.take(retention.undo_unfinished, _LOCK_SECONDS)
    for leaf in steps.take(retention.leaves):
        try:
            deleted += _delete_keyed(steps, leaf)
            emptied += steps.has_time and _empty(steps, leaf)
        except SchemaMismatch as error:  # a deployment drops what is long over
            logger.info("leaf %s is gone: %s", leaf, error)
    return deleted, emptied


def _delete_keyed(steps: _Steps, leaf: str) -> int:
    deleted = 0
    while steps.has_time:
        step = steps.take(
            lambda running: retention.sweep_leaf_keyed(running, leaf, _KEYED_DAYS, _STEP)
        )
        deleted += step
        if not step:
            break
    return deleted


def _empty(steps: _Steps, leaf: str) -> bool:
    if not steps.take(lambda running: retention.can_empty(running, leaf, _DAYS)):
        return False
    try:
        is_empty = steps.take(lambda running: retention.empty(running, leaf, _DAYS), _LOCK_SECONDS)
    except LockNotAvailable:
        logger.info("leaf %s is in use, and stays until the next sweep", leaf)
        return False
    if is_empty:
        logger.info("emptied leaf %s", leaf)
    else:
        logger.warning("leaf %s keeps too many rows to be emptied", leaf)
    return is_empty
