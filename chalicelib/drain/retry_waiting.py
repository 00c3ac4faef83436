"""Retries of writes that wait: apart from their messages, and each only with those of its key.

Every drain does this when it is done with its own messages, so that a write is poured soon after
whatever it waits for has come, whoever brought it.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from chalicelib.drain import reject, superseded
from chalicelib.drain.bad_rows import slow
from chalicelib.drain.compatibility import mismatch
from chalicelib.drain.deferred_constraints import run_committed
from chalicelib.drain.outcome import RETRY_IN_PARTS, TimeLimit, WaitingRow, WaveOutcome
from chalicelib.drain.sets import message_rows
from chalicelib.drain.waves import pour_waves
from chalicelib.errors import ForeignMessage, LockNotAvailable, NewerMessage, OutOfTime
from chalicelib.messages.message import Message, decode
from chalicelib.postgres import made_keys, outbox, waiting
from chalicelib.postgres.connecting.connection import Transaction, transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.engine import engine_of
from chalicelib.postgres.rejections import Rejection
from chalicelib.postgres.revisions import is_ahead
from chalicelib.postgres.waiting import Reason, WaitingEntry
from chalicelib.settings import SLOW_TRIES, parent_patience_seconds

_WRITES_AT_ONCE = 2_000
_LEAST_SECONDS = 0.5
_SLOW_SHARE = 0.5  # of the whole time: for one slow write
_STEP_SHARE = 0.5  # of the remaining time: for one transaction
_ROWS_SHARE = 0.3  # likewise: for its rows
_COMMIT_SHARE = 0.15  # likewise: for what is deferred to COMMIT
_QUICK_SECONDS = 1.0

_Kept = tuple[WaitingEntry, Message]


@dataclass(frozen=True)
class Turn:
    """The retries of one invocation. own: dedup IDs of its messages. began: by Postgres' clock;
    deadline: time.monotonic()."""

    connection: Connection
    own: Collection[str]
    began: str
    deadline: float

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()


def retry(
    connection: Connection, own: Collection[str], deadline: float, is_all: bool = True
) -> None:
    """Retry due writes until there are none, or no time is left. deadline: time.monotonic().

    own: dedup IDs of the invocation's messages; their writes are due. is_all: the invocation has
    none. Then writes of other messages may take more than one transaction, and slow ones are tried,
    one by one, while half of the time is left: the lanes of a batch would be closed meanwhile.
    Raises DatabaseUnavailable.
    """
    seconds = deadline - time.monotonic()
    if seconds < _LEAST_SECONDS:
        return
    with transaction(connection, deadline) as running:
        turn = Turn(connection, own, waiting.time(running), deadline)
    # Of a write, its row, its place among those that wait, its key and its request may be written.
    most_rows = engine_of(connection).most_rows
    limit = min(_WRITES_AT_ONCE, most_rows // 4) if most_rows else _WRITES_AT_ONCE
    others = True
    while turn.left > _LEAST_SECONDS:
        try:
            done = run_committed(
                connection,
                time.monotonic() + turn.left * _STEP_SHARE,
                partial(_pour, turn=turn, limit=limit, others=others),
                seconds=turn.left * _COMMIT_SHARE,
            )
            if done is None:
                break
            limit = limit if done else max(1, limit // 10)
        except RETRY_IN_PARTS as error:
            # At COMMIT, where no single row shows: fewer at once, and in the end each alone.
            if limit == 1 and isinstance(error, OutOfTime):
                break
            if limit == 1:
                _mark_slow(turn, others)
            limit = max(1, limit // 50)
        others = is_all
    while is_all and turn.left > seconds * _SLOW_SHARE and _pour_slow(turn):
        pass


def _pour(running: Transaction, turn: Turn, limit: int, others: bool) -> int | None:
    """Returns how many writes were done, or are known to wait; None if none was due."""
    kept = waiting.take(running, turn.own, limit, turn.began, others=others)
    if not kept:
        return None
    outcome = _try(running, kept, TimeLimit(time.monotonic() + turn.left * _ROWS_SHARE))
    return len(kept) - sum(each.reason == Reason.TIME for each in outcome.waiting)


def _try(
    running: Transaction, kept: Sequence[WaitingEntry], limit: TimeLimit, is_alone: bool = False
) -> WaveOutcome:
    """Pour the writes that this version can read and its models allow, and record the outcome. The
    rest waits for the newer version that has kept it, if there is one, or is rejected.

    is_alone: the writes have the invocation to themselves.
    """
    compatible: list[Message] = []
    rejections: list[Rejection] = []
    tried: list[_Kept] = []
    later: list[WaitingEntry] = []
    blocked: set[int | None] = set()
    for each in kept:
        if each.digest in blocked:  # behind one of `later`, in the order of its key
            continue
        message, reason = _readable(each)
        if message is None or (reason and is_ahead(running)):
            later.append(each)
            blocked |= {each.digest} - {None}  # without a digest, there is no order
            continue
        tried.append((each, message))
        if reason:
            rejections += reject.whole(message, "schema-mismatch", reason)
        else:
            compatible.append(message)
    late = {each.dedup_id for each, _ in tried if each.is_late}
    parted = superseded.part(running, compatible, late, ())
    outcome = pour_waves(running, parted.messages, limit)
    outcome.rejections.extend([*rejections, *parted.rejections])
    outcome.waiting.extend(WaitingRow(row, Reason.KEY) for row in parted.behind)
    _record(running, tried, outcome, is_alone)
    waiting.put_back(running, [(each.dedup_id, each.item, Reason.SCHEMA, False) for each in later])
    return outcome


def _readable(entry: WaitingEntry) -> tuple[Message | None, str]:
    """The message of a write, and why the models do not allow it, empty if they do; None if only
    another version can read it."""
    try:
        message = decode(entry.message)
    except (NewerMessage, ForeignMessage):
        return None, ""
    return message, mismatch(message)


def _mark_slow(turn: Turn, others: bool) -> None:
    """The next write is slow where only COMMIT shows it."""
    with transaction(turn.connection, turn.deadline) as running:
        kept = waiting.take(running, turn.own, 1, turn.began, others=others)
        waiting.put_back(running, [(each.dedup_id, each.item, Reason.SLOW, False) for each in kept])


def _pour_slow(turn: Turn) -> bool:
    """Give one write the rest of the invocation, if one is slow. It counts as a try if the server
    is quick."""

    def pour_alone(running: Transaction) -> bool:
        started = time.monotonic()
        kept = waiting.take(running, turn.own, 1, turn.began, slow=True)
        if not kept or time.monotonic() - started > _QUICK_SECONDS:
            return False
        _try(running, kept, TimeLimit(turn.deadline - _LEAST_SECONDS, share=1.0), is_alone=True)
        return True

    try:
        return run_committed(turn.connection, turn.deadline, pour_alone)
    except RETRY_IN_PARTS as error:  # at COMMIT
        with transaction(turn.connection, turn.deadline + _LEAST_SECONDS) as running:
            kept = waiting.take(running, turn.own, 1, turn.began, slow=True)
            tried = [(each, decode(each.message)) for each in kept]
            rows = [row for _, message in tried for row in message_rows(message)]
            outcome = WaveOutcome(waiting=[slow(row, error) for row in rows])
            _record(running, tried, outcome, is_alone=not isinstance(error, LockNotAvailable))
        return False


def _record(
    running: Transaction, kept: Sequence[_Kept], outcome: WaveOutcome, is_alone: bool
) -> None:
    """Record the outcome of writes; those that were not tried stay as they are."""
    before = {(each.dedup_id, each.item): each for each, _ in kept}
    rejections = [*outcome.rejections]
    left: list[tuple[str, int, Reason, bool]] = []
    untried: set[tuple[str, int]] = set()
    # Where writes come late, so do those that they wait for.
    patience = parent_patience_seconds()
    if patience and any(each.reason == Reason.OTHER_ROW for each in outcome.waiting):
        patience += waiting.lag(running)
    for each in outcome.waiting:
        place = each.row.message.dedup_id, each.row.item
        if each.reason in (Reason.TIME, Reason.KEY):
            untried.add(place)
            continue
        earlier = before[place]
        is_try = is_alone and each.reason == Reason.SLOW
        if is_try:
            is_over = earlier.tries + 1 >= SLOW_TRIES
        else:
            is_over = each.reason == Reason.OTHER_ROW and earlier.waited >= patience
        if each.rejection and is_over:
            rejections.append(each.rejection)
        else:
            left.append((*place, each.reason, is_try))
    done = before.keys() - untried - {each[:2] for each in left}
    waiting.remove(running, [*done])
    waiting.put_back(running, left)
    made_keys.keep(running, outcome.made, is_late=True)
    reject.keep(running, rejections)
    messages = {
        message.dedup_id: message for write, message in kept if (write.dedup_id, write.item) in done
    }
    outbox.enter(running, messages.values())
