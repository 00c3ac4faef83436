"""A batch that has something bad, slow or waiting in it: that is set aside, the rest is poured.

Bad writes are rejected; writes that have to wait are kept in decanter.waiting. A message's ledger
row commits together with the outcome of all its writes: applied, rejected, or waiting.
"""

import logging
import time
from collections.abc import Callable, Collection, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from chalicelib.buffer.delivery import Delivery
from chalicelib.drain import reject, superseded
from chalicelib.drain.compatibility import is_expired, mismatch
from chalicelib.drain.deferred_constraints import run_committed
from chalicelib.drain.outcome import RETRY_IN_PARTS, TimeLimit, WaitingRow, WaveOutcome
from chalicelib.drain.sets import digests_of, without
from chalicelib.drain.waves import pour_waves
from chalicelib.messages.message import Message, encode
from chalicelib.postgres import ledger, made_keys, outbox, waiting
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.engine import Engine
from chalicelib.postgres.rejections import Rejection
from chalicelib.postgres.revisions import is_ahead
from chalicelib.settings import LEDGER_DAYS

logger = logging.getLogger("decanter.drain")

_ROWS_SHARE = 0.5  # for the rows of the batch; the rest is for waiting writes
_COMMIT_LIMIT = 0.85  # until it is committed
_KEEP_SECONDS = 200e-6  # to keep a write that is not reached, on a slow day
_TRIES_OF_ROWS = 6  # deliveries of a message until all of its time is for keeping its writes
_MOST_WRITES = 20_000  # in a transaction: all may have to be kept
_MOST_UNDONE = 16  # times that a transaction is done again; half of it does less again each time
_OWN_ROWS = 3  # of a message: its claim, that of its request, and its request in the outbox
_STORED = 2  # bytes of a row, at most, for each byte of a message: numbers are short as texts
_COMMIT_SHARE = 0.15  # for one lock of the claim, and for what is deferred to COMMIT
_LEAST_SECONDS = 0.3
_NO_TIME = TimeLimit(0.0)  # all rows wait, for the next part of this invocation or for another one


class NewerVersionNeeded(Exception):
    """Messages that only a version deployed after this one can pour."""

    def __init__(self, dedup_ids: set[str]) -> None:
        super().__init__(dedup_ids)
        self.dedup_ids = dedup_ids


@dataclass(frozen=True)
class Poured:
    """unclaimed: dedup IDs of messages that were not reached. waits: whether any write waits, of
    whatever message."""

    unclaimed: frozenset[str] = frozenset()
    waits: bool = False

    def __or__(self, other: "Poured") -> "Poured":
        return Poured(self.unclaimed | other.unclaimed, self.waits or other.waits)


def pour_isolating(
    connection: Connection,
    deliveries: Sequence[Delivery],
    batch: Sequence[Delivery],
    deadline: float,
) -> Poured:
    """Set bad and slow writes apart, row by row; and message by message where only the claim or
    COMMIT shows that something takes long.

    batch: all deliveries of the invocation, of which these are some.
    """
    seconds = deadline - time.monotonic()
    if seconds < _LEAST_SECONDS:
        return Poured(frozenset(delivery.dedup_id for delivery in deliveries))
    halve = partial(pour_isolating, connection, batch=batch, deadline=deadline)
    writes = sum(delivery.message.writes for delivery in deliveries if delivery.message)
    is_one = len(deliveries) == 1
    if writes > _MOST_WRITES and not is_one:
        return pour_halves(deliveries, halve)
    to_keep = seconds * _COMMIT_LIMIT - writes * _KEEP_SECONDS
    limit = TimeLimit(time.monotonic() + min(seconds * _ROWS_SHARE, to_keep))
    limits = (limit, _NO_TIME) if is_one else (limit,)
    for each in limits[min(deliveries[0].attempt // _TRIES_OF_ROWS, len(limits) - 1) :]:
        with suppress(*RETRY_IN_PARTS):
            return run_committed(
                connection,
                time.monotonic() + seconds * _COMMIT_LIMIT,
                partial(_pour_part, deliveries=deliveries, batch=batch, limit=each),
                seconds=seconds * _COMMIT_SHARE,
                most_undone=None if is_one else _MOST_UNDONE,
            )
    if is_one:
        return Poured(frozenset([deliveries[0].dedup_id]))
    return pour_halves(deliveries, halve)


def fits(deliveries: Sequence[Delivery], engine: Engine) -> bool:
    """Whether all that becomes of the messages fits into one transaction of the server: a row for
    each write, be it poured, kept or rejected; and for each message its own rows in the ledger and
    the outbox, and one for the keys of each of its sets."""
    if engine.most_rows is None or engine.most_bytes is None:
        return True
    rows = size = 0
    for each in deliveries:
        sets = each.message.sets if each.message else ()
        rows += _OWN_ROWS + len(sets) + sum(len(part.items) for part in sets)
        size += _STORED * len(each.body.encode("utf-8", "replace"))
    return rows <= engine.most_rows and size <= engine.most_bytes


def pour_halves(
    deliveries: Sequence[Delivery], pour: Callable[[Sequence[Delivery]], Poured]
) -> Poured:
    """Pour the first half of several deliveries, and then the other one."""
    middle = len(deliveries) // 2
    first = pour(deliveries[:middle])
    # A message that shares a key with one that is not reached is not reached either.
    missed = digests_of(
        each.message for each in deliveries[:middle] if each.dedup_id in first.unclaimed
    )
    rest = [each for each in deliveries[middle:] if missed.isdisjoint(digests_of([each.message]))]
    behind = frozenset(each.dedup_id for each in deliveries[middle:] if each not in rest)
    found = first | Poured(behind)
    return found | pour(rest) if rest else found


def _pour_part(
    running: Transaction,
    deliveries: Sequence[Delivery],
    batch: Sequence[Delivery],
    limit: TimeLimit,
) -> Poured:
    outcome, others_wait = claim_and_pour(running, deliveries, batch, limit)
    return Poured(waits=others_wait or bool(outcome.waiting))


def claim_and_pour(
    running: Transaction,
    deliveries: Sequence[Delivery],
    batch: Sequence[Delivery],
    limit: TimeLimit,
) -> tuple[WaveOutcome, bool]:
    """Pour each message once, and only if nobody has poured it; returns what became of its writes,
    as it is kept, and whether writes of others wait.

    batch: all known messages: the request that was accepted first gets its Idempotency-Key.
    """
    once, reusing = _claim_requests(running, deliveries, batch)
    own = _without_poured(running, once)
    fresh = ledger.claim_fresh(running, map(_entry, own)) if own else set[str]()
    claimed = [delivery for delivery in own if delivery.dedup_id in fresh]
    waits = waiting.exist(running)  # after the claim, which waits for other drains
    blocked = waiting.keys(running, digests_of(d.message for d in claimed)) if waits else set[int]()
    rejections = [reject.unreadable(d) for d in claimed if d.message is None]
    late = {d.dedup_id for d in claimed if d.message and superseded.is_late(d, d.message)}
    parted = superseded.part(running, [d.message for d in claimed if d.message], late, fresh)
    messages, refused = _compatible(running, parted.messages)
    outcome = WaveOutcome([*rejections, *parted.rejections, *refused])
    outcome.add(pour_waves(running, messages, limit, blocked))
    outcome.waiting.extend(WaitingRow(row, waiting.Reason.KEY) for row in parted.behind)
    made_keys.keep(running, outcome.made)
    reject.keep(running, outcome.rejections)
    waiting.keep(running, [_waiting_entry(each, late) for each in outcome.waiting])
    entered = [each.message for each in (*reusing, *claimed)]
    # Of a message that has nothing left, others have entered what they poured.
    outbox.enter(running, [message for message in entered if message and message.sets])
    return outcome, waits


def _claim_requests(
    running: Transaction, deliveries: Sequence[Delivery], batch: Sequence[Delivery]
) -> tuple[list[Delivery], list[Delivery]]:
    """Each delivery once, and those of a reused Idempotency-Key apart."""
    own = {ledger.claim_id(each.dedup_id) for each in deliveries}
    known = [each for each in batch if each.message and ledger.claim_id(each.dedup_id) in own]
    reused = ledger.claim_requests(running, map(_entry, known))
    if reused:
        logger.warning("refused %d messages of a reused Idempotency-Key", len(reused))
    once: dict[str, Delivery] = {}
    reusing: list[Delivery] = []
    for each in deliveries:
        if _entry(each) in reused:
            reusing.append(each)
        else:
            once.setdefault(each.dedup_id, each)
    return [*once.values()], reusing


def _without_poured(running: Transaction, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The deliveries without items that messages of another split of their request have poured, or
    have earlier in the list: two deployments may split in two ways, and each row counts once.

    A message that has nothing left has no sets; it is to be claimed all the same. deliveries: all
    different, and none of a request that is refused.
    """
    entries = [_entry(each) for each in deliveries if each.message]
    poured = ledger.poured_in_another_split(running, entries)
    return [_without_items(each, poured.get(each.dedup_id)) for each in deliveries]


def _without_items(delivery: Delivery, poured: Sequence[Container[int]] | None) -> Delivery:
    if delivery.message is None or poured is None:
        return delivery
    left, _ = without(delivery.message, lambda item, _digest: any(item in each for each in poured))
    return delivery._replace(message=left)


def _compatible(
    running: Transaction, messages: Sequence[Message]
) -> tuple[list[Message], list[Rejection]]:
    """The messages that are recent enough and match the models, and rejections of the others."""
    found: list[Message] = []
    rejections: list[Rejection] = []
    mismatches: dict[str, str] = {}
    for message in messages:
        if is_expired(message):
            reason = f"accepted more than {LEDGER_DAYS} days ago: it may have been poured before"
            rejections += reject.whole(message, "expired", reason)
        elif reason := mismatch(message):
            mismatches[message.dedup_id] = reason
            rejections += reject.whole(message, "schema-mismatch", reason)
        else:
            found.append(message)
    if mismatches and is_ahead(running):
        logger.error(
            "%d messages are for tables or columns of a version that was deployed after this one,"
            " for example: %s; they stay queued, and so does everything behind them in their lanes."
            " Deploy that version again, or a later one.",
            len(mismatches),
            next(iter(mismatches.values())),
        )
        raise NewerVersionNeeded({*mismatches})
    return found, rejections


def _waiting_entry(kept: WaitingRow, late: Collection[str]) -> waiting.WaitingEntry:
    """late: dedup IDs of late messages."""
    row, dedup_id = kept.row, kept.row.message.dedup_id
    message = encode(row.alone)
    is_late = dedup_id in late
    return waiting.WaitingEntry(dedup_id, row.item, row.digest, kept.reason, message, is_late)


def _entry(delivery: Delivery) -> ledger.LedgerEntry:
    if delivery.message is None:
        return ledger.LedgerEntry(delivery.dedup_id, '""', 0, 0)
    return ledger.entry(delivery.message)
