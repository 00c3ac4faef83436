"""A batch → Postgres: fast if nothing is wrong with it, and else with what is wrong set aside.

Then what waits is tried, of this batch and of others.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from chalicelib.buffer.delivery import Delivery
from chalicelib.drain.pour_fast import plain_messages, pour_fast
from chalicelib.drain.pour_isolating import Ahead, Poured, pour_isolating
from chalicelib.drain.retry_waiting import retry
from chalicelib.errors import (
    DatabaseUnavailable,
    InternalError,
    LockNotAvailable,
    OutOfTime,
    StatementTimedOut,
)
from chalicelib.postgres import waiting
from chalicelib.postgres.connecting.connection import SURVIVED, transaction
from chalicelib.postgres.connecting.session import Connection

_SLOW_SHARE = 0.5  # of the whole: what a slow write has to itself
_LEAST_SECONDS = 0.3
_TO_ASK_SECONDS = 0.5  # beyond the deadline, within the margin of the handler
_FULL_BATCH = 10  # messages that an ordered buffer hands over at most


def pour(
    connection: Connection,
    deliveries: Sequence[Delivery],
    deadline: float,
    at_once: bool = True,
) -> list[Delivery]:
    """Pour a batch, and what waits; returns the deliveries that have to come again.

    These have a write that waits or were not reached, are of a newer version, or follow such a
    message in its lane: their own writes may be applied, and then do nothing when they come again.
    deadline: time.monotonic(). at_once: whether to try the whole batch first. Raises
    DatabaseUnavailable; what was poured until then is committed. Raises SchemaMismatch where the
    ledger itself is not as it should be.
    """
    seconds = deadline - time.monotonic()
    ahead: set[str] = set()
    while True:
        ready = _ready(deliveries, ahead)
        try:
            poured = _pour(connection, ready, deadline, at_once)
            break
        except Ahead as more:
            ahead |= more.dedup_ids
    if deliveries and len(ready) == len(deliveries) and poured == Poured():
        return []
    own = {delivery.dedup_id for delivery in ready}
    waits: set[str] = set()
    if poured.waits or not deliveries:
        is_patient = not deliveries or any(delivery.attempt > 1 for delivery in ready)
        slow_seconds = seconds * _SLOW_SHARE if is_patient else seconds
        with suppress(StatementTimedOut, LockNotAvailable, InternalError, OutOfTime):
            retry(connection, own, deadline, slow_seconds, is_all=not deliveries)
        with transaction(connection, deadline + _TO_ASK_SECONDS) as running:
            waits, others_wait = waiting.messages(running, own)
        if _stop_the_queue(deliveries, waits, others_wait):
            waits = set()
    done = own - poured.unclaimed - waits
    return _partition_lanes(deliveries, lambda each: each.dedup_id not in done)[1]


def _ready(deliveries: Sequence[Delivery], ahead: set[str]) -> list[Delivery]:
    """What to pour now: not what a newer version has to read, and what follows it in its lane."""
    if not ahead and not any(delivery.is_newer for delivery in deliveries):
        return [*deliveries]
    return _partition_lanes(deliveries, lambda each: each.is_newer or each.dedup_id in ahead)[0]


def _partition_lanes(
    deliveries: Sequence[Delivery], stays: Callable[[Delivery], bool]
) -> tuple[list[Delivery], list[Delivery]]:
    """Those that need not stay; and those that do, with all that follows them in their lanes: a
    buffer keeps the order of a lane only if it gets back all that comes behind."""
    going: list[Delivery] = []
    staying: list[Delivery] = []
    blocked: set[str | None] = set()
    for delivery in deliveries:
        is_behind = delivery.lane is not None and delivery.lane in blocked
        if is_behind or stays(delivery):
            staying.append(delivery)
            blocked.add(delivery.lane)
        else:
            going.append(delivery)
    return going, staying


def _pour(
    connection: Connection, deliveries: Sequence[Delivery], deadline: float, at_once: bool
) -> Poured:
    """Nearly always nothing is wrong with a batch: all of it at once, or what is wrong apart."""
    if deadline - time.monotonic() < _LEAST_SECONDS:
        raise DatabaseUnavailable("there is no time left")
    if at_once and (messages := plain_messages(deliveries)):
        with suppress(*SURVIVED, OutOfTime):
            return Poured(waits=pour_fast(connection, messages, deadline))
    return pour_isolating(connection, deliveries, deliveries, deadline) if deliveries else Poured()


def _stop_the_queue(deliveries: Sequence[Delivery], waits: set[str], others_wait: bool) -> bool:
    """Whether messages that wait would keep others from coming, for which they may wait: a full
    batch says that there are more, and each message that comes again closes its lane meanwhile.
    Then they are let go, their writes wait without them.
    """
    count = sum(delivery.dedup_id in waits for delivery in deliveries)
    is_ordered = all(delivery.lane is not None for delivery in deliveries)
    is_full = is_ordered and len(deliveries) >= _FULL_BATCH
    return is_full and (others_wait or 2 * count > len(deliveries))
