"""The pace of the buffers now, for estimates. Many clients may ask for the status of writes that
are pending, so a container remembers it for some seconds."""

import logging
import math
import time
from collections.abc import Sequence
from functools import cache

from chalicelib.errors import StatementTimedOut
from chalicelib.messages.pace import Pace
from chalicelib.postgres.connecting.connection import Transaction, savepoint
from chalicelib.postgres.ops import overview, pace

logger = logging.getLogger("decanter.reader")

_REMEMBERED_SECONDS = 5.0
_QUERY_SECONDS = 1.0


@cache
def _remembered() -> dict[str, tuple[Sequence[Pace], float]]:
    """The last paces, and the time.monotonic() when they were read."""
    return {}


def now(transaction: Transaction) -> Sequence[Pace]:
    """The pace of each buffer, some seconds old; none if the ledger is too busy to be asked."""
    paces, read_at = _remembered().get("now", ((), -math.inf))
    if time.monotonic() - read_at > _REMEMBERED_SECONDS:
        paces = _read(transaction)
        _remembered()["now"] = paces, time.monotonic()
    return paces


def _read(transaction: Transaction) -> Sequence[Pace]:
    try:
        with savepoint(transaction):
            moment = math.ceil(overview.now(transaction))
            return pace.paces(transaction, moment, seconds=_QUERY_SECONDS)
    except StatementTimedOut as error:
        logger.warning("the pace of the buffers is not known: %s", error)
        return ()
