"""The sweep function: deletes records of messages that can no longer be redelivered."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from chalicelib.errors import LockNotAvailable, SchemaMismatch
from chalicelib.postgres import retention
from chalicelib.postgres.connecting.connection import Transaction, connection, transaction
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
            return engine_of(connection(self.url, _ROLE, self.deadline))

    @contextmanager
    def step(self, lock_seconds: float | None = None) -> Iterator[Transaction]:
        opened = connection(self.url, _ROLE, self.deadline)
        with transaction(opened, self.deadline, lock_seconds=lock_seconds) as running:
            yield running


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
        with steps.step() as running:
            step = retention.sweep(running, _DAYS, _KEYED_DAYS, _STEP, engine)
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
    with suppress(LockNotAvailable), steps.step(_LOCK_SECONDS) as running:
        retention.undo_unfinished(running)
    with steps.step() as running:
        leaves = retention.leaves(running)
    for leaf in leaves:
        try:
            deleted += _delete_keyed(steps, leaf)
            emptied += steps.has_time and _empty(steps, leaf)
        except SchemaMismatch as error:  # a deployment drops what is long over
            logger.info("leaf %s is gone: %s", leaf, error)
    return deleted, emptied


def _delete_keyed(steps: _Steps, leaf: str) -> int:
    deleted = 0
    while steps.has_time:
        with steps.step() as running:
            step = retention.sweep_leaf_keyed(running, leaf, _KEYED_DAYS, _STEP)
        deleted += step
        if not step:
            break
    return deleted


def _empty(steps: _Steps, leaf: str) -> bool:
    with steps.step() as running:
        if not retention.can_empty(running, leaf, _DAYS):
            return False
    try:
        with steps.step(_LOCK_SECONDS) as running:
            is_empty = retention.empty(running, leaf, _DAYS)
    except LockNotAvailable:
        logger.info("leaf %s is in use, and stays until the next sweep", leaf)
        return False
    if is_empty:
        logger.info("emptied leaf %s", leaf)
    else:
        logger.warning("leaf %s keeps too many rows to be emptied", leaf)
    return is_empty
