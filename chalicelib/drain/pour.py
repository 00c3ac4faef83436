"""A batch → Postgres: all of it at once, or with bad writes set aside. Then waiting writes, of this
batch and of others, are tried again."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from chalicelib.buffer.delivery import Delivery
from chalicelib.drain.outcome import RETRY_IN_PARTS
from chalicelib.drain.pour_fast import plain_messages, pour_fast
from chalicelib.drain.pour_isolating import (
    NewerVersionNeeded,
    Poured,
    fits,
    pour_halves,
    pour_isolating,
)
from chalicelib.drain.retry_waiting import retry
from chalicelib.errors import DatabaseUnavailable, OutOfTime
from chalicelib.postgres import ledger, settling
from chalicelib.postgres.connecting.connection import SURVIVED
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.engine import engine_of

_LEAST_SECONDS = 0.3


def pour(
    connection: Connection, deliveries: Sequence[Delivery], deadline: float, at_once: bool = True
) -> list[Delivery]:
    """Pour a batch, and writes that wait; returns the deliveries that have to come again.

    These were not reached, are of a newer version, or follow such a message in its lane: their own
    writes may be applied, and do nothing when they come again. A message with a write that waits
    does not come again: its lane would be closed until then, and the database has the write.
    deadline: time.monotonic(). at_once: whether to try the whole batch first. Raises
    DatabaseUnavailable, with everything poured until then committed; and SchemaMismatch if the
    ledger itself is not as it should be.

    Before the first rejection, what was committed is settled, where the engine needs that, and all
    is poured once more.
    """
    try:
        return _pour(connection, deliveries, deadline, at_once)
    except settling.Unsettled:
        settling.settle(connection, deadline)
    try:
        return _pour(connection, deliveries, deadline, at_once)
    finally:
        settling.unsettle(connection)


def _pour(
    connection: Connection, deliveries: Sequence[Delivery], deadline: float, at_once: bool
) -> list[Delivery]:
    newer: set[str] = set()
    while True:
        ready = _ready(deliveries, newer)
        try:
            poured = _pour_ready(connection, ready, deadline, at_once)
            break
        except NewerVersionNeeded as more:
            newer |= more.dedup_ids
    if deliveries and len(ready) == len(deliveries) and poured == Poured():
        return []
    own = {delivery.dedup_id for delivery in ready}
    if poured.waits or not deliveries:
        with suppress(*RETRY_IN_PARTS):
            retry(connection, own, deadline, is_all=not deliveries)
    done = own - poured.unclaimed
    return _partition_lanes(deliveries, lambda each: each.dedup_id not in done)[1]


def _ready(deliveries: Sequence[Delivery], newer: set[str]) -> list[Delivery]:
    """The deliveries to pour now: none that only a newer version can pour, nor any behind it in its
    lane."""
    if not newer and not any(delivery.is_newer for delivery in deliveries):
        return [*deliveries]
    return _partition_lanes(deliveries, lambda each: each.is_newer or each.dedup_id in newer)[0]


def _pour_ready(
    connection: Connection, deliveries: Sequence[Delivery], deadline: float, at_once: bool
) -> Poured:
    if deadline - time.monotonic() < _LEAST_SECONDS:
        raise DatabaseUnavailable("there is no time left")
    engine = engine_of(connection)
    at_once &= fits(deliveries, engine) or not _reuse_a_key(deliveries)

    def poured(part: Sequence[Delivery]) -> Poured:
        is_whole = fits(part, engine)
        if not is_whole and len(part) > 1:
            return pour_halves(part, poured)
        if at_once and is_whole and (messages := plain_messages(part)):
            with suppress(*SURVIVED, OutOfTime):
                return Poured(waits=pour_fast(connection, messages, deadline))
        return pour_isolating(connection, part, deliveries, deadline)

    return poured(deliveries) if deliveries else Poured()


def _reuse_a_key(deliveries: Sequence[Delivery]) -> bool:
    """Whether two requests have one Idempotency-Key: part of them does not tell which was first."""
    claims = {
        (ledger.claim_id(each.dedup_id), each.message.fingerprint)
        for each in deliveries
        if each.message
    }
    return len({claim for claim, _ in claims}) < len(claims)


def _partition_lanes(
    deliveries: Sequence[Delivery], stays: Callable[[Delivery], bool]
) -> tuple[list[Delivery], list[Delivery]]:
    """Deliveries that need not stay; and those that do, with everything behind them in their lanes:
    a buffer keeps the order of a lane only if it gets all of that back."""
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
