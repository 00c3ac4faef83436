"""One batch → Postgres: claim, waves of sets, rejections, COMMIT.

Nearly always one transaction does it all. Where something is refused or takes too long, the batch
is poured with care: bad writes are rejected, and writes that have to wait are kept in
decanter.waiting, so that the others are applied. A message's ledger row commits together with what
becomes of all its writes: applied, rejected, or kept waiting.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from chalicelib.buffer.delivery import Delivery
from chalicelib.drain import isolation, reject, resplit, superseded
from chalicelib.drain.compatibility import fit, is_expired, kinds, mismatch
from chalicelib.drain.deferred_constraints import committed
from chalicelib.drain.isolation import (
    SURVIVED,
    Habits,
    Time,
    Waiting,
    pour_rows,
    ranks,
    told,
)
from chalicelib.drain.retry_waiting import settle
from chalicelib.drain.sets import Row, Set, all_apart, folded, waves
from chalicelib.errors import (
    DatabaseUnavailable,
    InternalError,
    LockNotAvailable,
    OutOfTime,
    RefusedByDatabase,
    StatementTimedOut,
)
from chalicelib.messages.message import Message, RowSet, encode
from chalicelib.ops import OPS
from chalicelib.postgres import ledger, made_keys, waiting
from chalicelib.postgres.connecting.connection import Transaction, transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.ledger import Rejection
from chalicelib.postgres.resources import resources
from chalicelib.postgres.revisions import is_ahead
from chalicelib.postgres.sql.preconditions import judgement
from chalicelib.postgres.sql.statements import NOTED, Statement, overwritable, statement
from chalicelib.settings import LEDGER_DAYS

logger = logging.getLogger("decanter.drain")

_AT_ONCE_SHARE = 0.25  # of the time that is left: for the whole batch at once
_CAREFUL_SHARE = 0.5  # for the rows of the batch with care; the rest is for what waits
_CAREFUL_LIMIT = 0.85  # until it is committed
_KEEP_SECONDS = 200e-6  # to keep a write that is not reached, on a slow day
_TRIES_OF_ROWS = 6  # deliveries of a message until all of its time is for keeping its writes
_MOST_WRITES = 20_000  # in a transaction with care: all may have to be kept
_COMMIT_SHARE = 0.15  # for one lock of the claim, and for what is deferred to COMMIT
_SLOW_SHARE = 0.5  # of the whole: what a slow write has to itself
_LEAST_SECONDS = 0.3
_TO_ASK_SECONDS = 0.5  # beyond the deadline, within the margin of the handler
_NO_TIME = Time(0.0)  # all rows wait, for the next part of this invocation or for another one
_MOST_SETS = 500  # at once: Postgres times each statement, and nothing their sum
_HABITS_SECONDS = 30.0
_FULL_BATCH = 10  # messages of the ordered queue


class _Ahead(Exception):
    """Messages that only a version deployed after this one can pour."""

    def __init__(self, dedup_ids: set[str]) -> None:
        super().__init__(dedup_ids)
        self.dedup_ids = dedup_ids


@dataclass(frozen=True)
class _Poured:
    """unclaimed: dedup IDs of messages that were not reached. waits: some write waits, of whatever
    message."""

    unclaimed: frozenset[str] = frozenset()
    waits: bool = False

    def __or__(self, other: "_Poured") -> "_Poured":
        return _Poured(self.unclaimed | other.unclaimed, self.waits or other.waits)


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
        except _Ahead as more:
            ahead |= more.dedup_ids
    if deliveries and len(ready) == len(deliveries) and poured == _Poured():
        return []
    own = {delivery.dedup_id for delivery in ready}
    waits: set[str] = set()
    if poured.waits or not deliveries:
        is_patient = not deliveries or any(delivery.attempt > 1 for delivery in ready)
        slow_seconds = seconds * _SLOW_SHARE if is_patient else seconds
        with suppress(StatementTimedOut, LockNotAvailable, InternalError, OutOfTime):
            settle(connection, own, deadline, slow_seconds, is_all=not deliveries)
        with transaction(connection, deadline + _TO_ASK_SECONDS) as running:
            waits, others_wait = waiting.messages(running, own)
        if _stop_the_queue(deliveries, waits, others_wait):
            waits = set()
    return _unfinished(deliveries, own - poured.unclaimed - waits)


def _ready(deliveries: Sequence[Delivery], ahead: set[str]) -> list[Delivery]:
    """What to pour now: not what a newer version has to read, and what follows it in its lane."""
    if not ahead and not any(delivery.is_newer for delivery in deliveries):
        return [*deliveries]
    ready: list[Delivery] = []
    blocked: set[str] = set()
    for delivery in deliveries:
        if delivery.is_newer or delivery.dedup_id in ahead or delivery.lane in blocked:
            blocked.update([delivery.lane] if delivery.lane is not None else [])
        else:
            ready.append(delivery)
    return ready


def _unfinished(deliveries: Sequence[Delivery], done: set[str]) -> list[Delivery]:
    """What is not done, and what follows it in its lane: a buffer keeps the order of a lane
    only if it gets back all that comes behind."""
    unfinished: list[Delivery] = []
    blocked: set[str] = set()
    for delivery in deliveries:
        if delivery.dedup_id not in done or delivery.lane in blocked:
            unfinished.append(delivery)
            blocked.update([delivery.lane] if delivery.lane is not None else [])
    return unfinished


def _stop_the_queue(deliveries: Sequence[Delivery], waits: set[str], others_wait: bool) -> bool:
    """Whether messages that wait would keep others from coming, for which they may wait: a full
    batch says that there are more, and each message that comes again closes its lane meanwhile.
    Then they are let go, their writes wait without them.
    """
    count = sum(delivery.dedup_id in waits for delivery in deliveries)
    is_ordered = all(delivery.lane is not None for delivery in deliveries)
    is_full = is_ordered and len(deliveries) >= _FULL_BATCH
    return is_full and (others_wait or 2 * count > len(deliveries))


def _pour(
    connection: Connection, deliveries: Sequence[Delivery], deadline: float, at_once: bool
) -> _Poured:
    """Nearly always nothing is wrong with a batch: first all of it at once, then with care."""
    if deadline - time.monotonic() < _LEAST_SECONDS:
        raise DatabaseUnavailable("there is no time left")
    if at_once and (messages := _plain(deliveries)):
        with suppress(*SURVIVED, OutOfTime):
            return _Poured(waits=_pour_at_once(connection, messages, deadline))
    return (
        _pour_with_care(connection, deliveries, deliveries, deadline) if deliveries else _Poured()
    )


def _plain(deliveries: Sequence[Delivery]) -> list[Message]:
    """The messages of a batch, if all can be read, are new enough, fit, are there once, and make
    few sets."""
    messages = [delivery.message for delivery in deliveries if delivery.message]
    if len({message.dedup_id for message in messages}) < len(deliveries):
        return []
    sent = kinds(messages)
    odd = len(sent) > _MOST_SETS or any(map(is_expired, messages))
    odd |= any(superseded.is_late(each, each.message) for each in deliveries if each.message)
    return [] if odd or not fit(sent) else messages


def _pour_at_once(connection: Connection, messages: Sequence[Message], deadline: float) -> bool:
    """No savepoints, and no waiting for answers that nobody needs. Returns whether any write waits,
    of whatever message. Raises DatabaseError if something is refused, was poured before, has to
    wait or takes long; then nothing of this is done."""
    try:
        _pour_plainly(connection, messages, deadline)
    except RefusedByDatabase as error:
        if not waiting.is_refusal(error):
            raise
    else:
        return False
    digests = _digests(messages)
    _pour_plainly(connection, messages, deadline, lambda run: waiting.refuse_keys(run, digests))
    return True


def _pour_plainly(
    connection: Connection,
    messages: Sequence[Message],
    deadline: float,
    guard: Callable[[Transaction], None] | None = None,
) -> None:
    """guard: refuses the transaction where a write that waits stands in its way. None: if any does,
    which costs least to ask."""
    seconds = (deadline - time.monotonic()) * _AT_ONCE_SHARE
    until = time.monotonic() + seconds
    with transaction(connection, until, lock_seconds=seconds / 2) as running:
        ledger.claim(running, [ledger.entry(message) for message in messages], guard is None)
        if guard:
            guard(running)  # behind the claim, which waits for another drain that has a message
        rejections: list[Rejection] = []
        noted: list[Set] = []
        known = _habits(connection, running)
        for wave in waves(_folded(running, messages), ranks()):
            for rows in wave:
                resource = resources()[rows.resource]
                if rows.conditions:
                    unmet = _unmet(running, judgement(resource, rows.op), rows)
                    rejections += map(reject.unmet, unmet)
                    rows = rows.without(unmet)
                if not rows.parts:
                    continue
                compiled = statement(resource, rows.op, rows.members)
                bound = compiled.bound(rows.rows, rows.count, note=len(noted))
                if known.make(rows.resource, compiled):
                    running.ahead(compiled.keeping, {**bound, **_places(rows)})
                    continue
                is_plain = rows.resource not in known.triggered or compiled.ignores
                running.ahead(compiled.sql if is_plain else compiled.watchful, bound)
                if compiled.answers:
                    noted.append(rows)
        reject.keep(running, [*rejections, *_noted(running, noted)])


def _places(rows: Set) -> dict[str, str]:
    return made_keys.places(
        rows.resource, [(each.dedup_id, part.items) for each, part in rows.parts]
    )


_known_habits: dict[Connection, tuple[float, Habits]] = {}


def _habits(connection: Connection, running: Transaction) -> Habits:
    """As they were half a minute ago, or are now. To ask each time would cost a round trip."""
    asked_at, known = _known_habits.get(connection, (0.0, None))
    if known is None or time.monotonic() - asked_at > _HABITS_SECONDS:
        known = isolation.habits(running, resources())
        _known_habits.clear()
        _known_habits[connection] = time.monotonic(), known
    return known


def _folded(running: Transaction, messages: Sequence[Message]) -> list[Message]:
    """The messages without rows that later ones of the same message overwrite, where that makes no
    difference: a thousand rows of one key would be a thousand statements."""
    found = []
    for message in messages:
        if not OPS[message.op].upserts or len(message.sets) == 1:
            found.append(message)
            continue
        shorter, dropped = folded(message)
        later = _by_members(shorter.sets) if dropped else {}
        for members, rows in _by_members(dropped).items():
            query = overwritable(resources()[message.resource], members)
            bound = {"rows": rows, "later": later[members]}
            if running.execute(query, bound) != [(True,)]:
                shorter = message
        found.append(shorter)
    return found


def _by_members(sets: Sequence[RowSet]) -> dict[tuple[str, ...], str]:
    """JSON arrays of the rows."""
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for rows in sets:
        found[rows.members].append(rows.rows)
    return {members: f"[{','.join(texts)}]" for members, texts in found.items()}


def _unmet(running: Transaction, judge: Statement, rows: Set) -> list[Row]:
    """The rows whose conditions do not hold."""
    ((places,),) = running.execute(judge.sql, judge.bound(rows.rows, rows.count, rows.conditions))
    return _rows_at(rows, places)


def _noted(running: Transaction, sets: Sequence[Set]) -> list[Rejection]:
    """Of the rows that these sets' statements have not changed."""
    if not sets:
        return []
    answers = running.execute(NOTED, (len(sets),))
    pairs = zip(sets, answers, strict=True)
    return [
        each
        for rows, (places,) in pairs
        for each in (told(all_apart(rows), places) if places else ())
    ]


def _rows_at(rows: Set, places: Sequence[int]) -> list[Row]:
    apart = all_apart(rows) if places else []
    return [apart[place] for place in places]


def _pour_with_care(
    connection: Connection,
    deliveries: Sequence[Delivery],
    batch: Sequence[Delivery],
    deadline: float,
) -> _Poured:
    """What is bad or slow is told from the rest row by row. Where only the claim or COMMIT shows
    that something takes long, message by message."""
    seconds = deadline - time.monotonic()
    if seconds < _LEAST_SECONDS:
        return _Poured(frozenset(delivery.dedup_id for delivery in deliveries))
    writes = sum(delivery.message.writes for delivery in deliveries if delivery.message)
    if writes > _MOST_WRITES and len(deliveries) > 1:
        return _pour_in_halves(connection, deliveries, batch, deadline)
    to_keep = seconds * _CAREFUL_LIMIT - writes * _KEEP_SECONDS
    given = Time(time.monotonic() + min(seconds * _CAREFUL_SHARE, to_keep))
    ways = (given, _NO_TIME) if len(deliveries) == 1 else (given,)
    for each in ways[min(deliveries[0].attempt // _TRIES_OF_ROWS, len(ways) - 1) :]:
        with suppress(StatementTimedOut, LockNotAvailable, InternalError, OutOfTime):
            return committed(
                connection,
                time.monotonic() + seconds * _CAREFUL_LIMIT,
                partial(_pour_carefully, deliveries=deliveries, batch=batch, given=each),
                seconds=seconds * _COMMIT_SHARE,
            )
    if len(deliveries) == 1:
        return _Poured(frozenset([deliveries[0].dedup_id]))
    return _pour_in_halves(connection, deliveries, batch, deadline)


def _pour_in_halves(
    connection: Connection,
    deliveries: Sequence[Delivery],
    batch: Sequence[Delivery],
    deadline: float,
) -> _Poured:
    middle = len(deliveries) // 2
    first = _pour_with_care(connection, deliveries[:middle], batch, deadline)
    # What shares a key with a message that is not reached is not reached either.
    missed = _digests(
        each.message for each in deliveries[:middle] if each.dedup_id in first.unclaimed
    )
    rest = [each for each in deliveries[middle:] if missed.isdisjoint(_digests([each.message]))]
    behind = frozenset(each.dedup_id for each in deliveries[middle:] if each not in rest)
    found = first | _Poured(behind)
    return found | _pour_with_care(connection, rest, batch, deadline) if rest else found


def _digests(messages: Iterable[Message | None]) -> set[int]:
    """Of the keys that the messages write to; one that cannot be read is None."""
    sets = [part for message in messages if message for part in message.sets]
    return {digest for part in sets for digest in part.digests}


def _pour_carefully(
    running: Transaction, deliveries: Sequence[Delivery], batch: Sequence[Delivery], given: Time
) -> _Poured:
    """Each message once and only if it is fresh; each set in a savepoint, in parts if need be.

    batch: all that is known, of which the request that was accepted first has its key.
    """
    reused = ledger.claim_requests(running, [_entry(d.message) for d in batch if d.message])
    if reused:
        logger.warning("refused %d messages of a reused Idempotency-Key", len(reused))
    theirs = [d for d in deliveries if not (d.message and _entry(d.message) in reused)]
    once = {delivery.dedup_id: delivery for delivery in reversed(theirs)}
    in_order = [delivery for delivery in theirs if once[delivery.dedup_id] is delivery]
    in_order = resplit.without_poured(running, in_order)
    fresh = (
        ledger.claim_fresh(running, [_entry(d.message, d.dedup_id) for d in in_order])
        if in_order
        else set[str]()
    )
    claimed = [delivery for delivery in in_order if delivery.dedup_id in fresh]
    waits = waiting.exist(running)  # behind the claim, see above
    rejections = [reject.unreadable(d) for d in claimed if d.message is None]
    timely, late = superseded.without_superseded(running, claimed)
    messages, refused = _fitting(running, timely)
    rejections += [*late, *refused]
    blocked = (
        waiting.keys(running, _digests(each.message for each in claimed)) if waits else set[int]()
    )
    outcome = pour_rows(running, messages, given, blocked)
    made_keys.keep(running, outcome.made)
    reject.keep(running, [*rejections, *outcome.rejections])
    waiting.keep(running, map(_kept, outcome.waiting))
    return _Poured(waits=waits or bool(outcome.waiting))


def _fitting(
    running: Transaction, messages: Sequence[Message]
) -> tuple[list[Message], list[Rejection]]:
    """The messages that are new enough and fit the models, and rejections of the others."""
    fitting: list[Message] = []
    rejections: list[Rejection] = []
    unfit: dict[str, str] = {}
    for message in messages:
        if is_expired(message):
            reason = f"accepted more than {LEDGER_DAYS} days ago: it may have been poured before"
            rejections += reject.whole(message, "expired", reason)
        elif reason := mismatch(message):
            unfit[message.dedup_id] = reason
            rejections += reject.whole(message, "schema-mismatch", reason)
        else:
            fitting.append(message)
    if unfit and is_ahead(running):
        logger.error(
            "%d messages are for tables or columns of a version that was deployed after this one,"
            " for example: %s; they stay queued, and what follows in their lanes. Deploy that"
            " version again, or a later one.",
            len(unfit),
            next(iter(unfit.values())),
        )
        raise _Ahead({*unfit})
    return fitting, rejections


def _kept(each: Waiting) -> waiting.WaitingEntry:
    message = each.row.message
    return waiting.WaitingEntry(
        message.dedup_id, each.row.item, each.row.digest, each.reason, encode(each.row.alone)
    )


def _entry(message: Message | None, dedup_id: str = "") -> ledger.LedgerEntry:
    if message is None:
        return ledger.LedgerEntry(dedup_id, '""', 0, 0)
    return ledger.entry(message)
