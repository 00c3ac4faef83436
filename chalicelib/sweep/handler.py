"""The sweep function: deletes records of messages that can no longer be redelivered."""

import logging
import time
from typing import Any

from chalicelib.postgres import retention
from chalicelib.postgres.connecting.connection import connection, transaction
from chalicelib.settings import LEDGER_DAYS, DatabaseSettings

logger = logging.getLogger("decanter.sweep")

_ROLE = "sweep"
_STEP = 5_000  # rows a transaction: short enough to hold nobody up
_MARGIN_SECONDS = 5.0
_CLOCK_DAYS = 1  # clocks may differ: the ledger keeps messages longer than the drain needs
_DAYS = LEDGER_DAYS + _CLOCK_DAYS
# A key may be sent again for as long, and a write accepted on the last day may wait as long again.
_KEYED_DAYS = LEDGER_DAYS + _DAYS


def sweep(context: Any) -> dict[str, int]:
    """Delete rows that are older than the ledger's days, in steps, until done or out of time.

    Returns {"deleted": rows}. No drain touches these rows, so it never holds one up. Raises
    DatabaseUnavailable, with everything deleted until then committed.
    """
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _MARGIN_SECONDS
    url = DatabaseSettings.from_environment().url
    deleted, end = 0, "out of time"
    while time.monotonic() < deadline:
        with transaction(connection(url, _ROLE, deadline), deadline) as running:
            step = retention.sweep(running, _DAYS, _KEYED_DAYS, _STEP)
        deleted += step
        if not step:
            end = "done"
            break
    # A metric filter reads this line.
    logger.info("swept %d rows, %s", deleted, end)
    return {"deleted": deleted}
