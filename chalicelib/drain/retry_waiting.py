"""Writes that wait, tried again: apart from their messages, and each only with those of its key.

Every drain does this when it is done with its own messages, so that a write is poured soon after
what it waits for has come, whoever brought it.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from chalicelib.drain import reject
from chalicelib.drain.bad_rows import slow
from chalicelib.drain.compatibility import mismatch
from chalicelib.drain.deferred_constraints import run_committed
from chalicelib.drain.outcome import TimeLimit, WaveOutcome
from chalicelib.drain.sets import message_rows
from chalicelib.drain.waves import pour_waves
from chalicelib.errors import (
    ForeignMessage,
    InternalError,
    LockNotAvailable,
    NewerMessage,
    OutOfTime,
    StatementTimedOut,
)
from chalicelib.messages.message import Message, decode
from chalicelib.postgres import made_keys, waiting
from chalicelib.postgres.connecting.connection import Transaction, transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.rejections import Rejection
from chalicelib.postgres.revisions import is_ahead
from chalicelib.postgres.waiting import Reason, WaitingEntry
from chalicelib.settings import SLOW_TRIES, parent_patience_seconds

_WRITES_AT_ONCE = 2_000
_LEAST_SECONDS = 0.5
_STEP_SHARE = 0.5  # of the time that is left: for one transaction
_ROWS_SHARE = 0.3  # likewise: for its rows
_COMMIT_SHARE = 0.15  # likewise: for what is deferred to COMMIT
_QUICK_SECONDS = 1.0


@dataclass(frozen=True)
class Turn:
    """One invocation's. own: dedup IDs of messages that have come again. began: in Postgres' time;
    deadline: time.monotonic(). others: whether it is the turn of other messages' writes too."""

    connection: Connection
    own: Collection[str]
    began: str
    deadline: float
    others: bool = True

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()


def retry(
    connection: Connection,
    own: Collection[str],
    deadline: float,
    slow_seconds: float,
    is_all: bool = True,
) -> None:
    """Try what is due until nothing is, or no time is left. deadline: time.monotonic().

    own: dedup IDs of messages that have come again; their writes are due. slow_seconds: writes that
    need much time are tried, one by one, while there is as much. is_all: not only one transaction
    of other messages' writes, as many as may wait: the lanes of a batch are closed meanwhile.
    Raises DatabaseUnavailable.
    """
    if deadline - time.monotonic() < _LEAST_SECONDS:
        return
    with transaction(connection, deadline) as running:
        whole = turn = Turn(connection, own, waiting.time(running), deadline)
    limit = _WRITES_AT_ONCE
    while turn.left > _LEAST_SECONDS:
        try:
            done = run_committed(
                connection,
                time.monotonic() + turn.left * _STEP_SHARE,
                partial(_pour, turn=turn, limit=limit),
                seconds=turn.left * _COMMIT_SHARE,
            )
            if done is None:
                break
            limit = limit if done else max(1, limit // 10)
        except (StatementTimedOut, LockNotAvailable, InternalError, OutOfTime) as error:
            # At COMMIT, where no single row shows: fewer at once, and in the end each alone.
            if limit == 1 and isinstance(error, OutOfTime):
                break
            if limit == 1:
                _set_apart(turn)
            limit = max(1, limit // 50)
        turn = replace(turn, others=is_all)
    while turn.left > slow_seconds and _pour_slow(whole):
        pass


def _pour(running: Transaction, turn: Turn, limit: int) -> int | None:
    """How many writes were done, or are known to wait for something; None: there were none."""
    kept = waiting.take(running, turn.own, limit, turn.began, others=turn.others)
    if not kept:
        return None
    given = TimeLimit(time.monotonic() + turn.left * _ROWS_SHARE)
    outcome = _try(running, kept, given)
    return len(kept) - sum(each.reason == Reason.TIME for each in outcome.waiting)


def _try(
    running: Transaction, kept: Sequence[WaitingEntry], given: TimeLimit, is_alone: bool = False
) -> WaveOutcome:
    """Pour what this version can read and its models can take, and note what became of it. The rest
    waits for the version that has kept it, if that is a newer one, or is rejected.

    is_alone: the writes have an invocation for themselves.
    """
    fitting: list[Message] = []
    rejections: list[Rejection] = []
    later: list[WaitingEntry] = []
    for each in kept:
        try:
            message = decode(each.message)
        except (NewerMessage, ForeignMessage):
            later.append(each)
            continue
        if not (reason := mismatch(message)):
            fitting.append(message)
        elif is_ahead(running):
            later.append(each)
        else:
            rejections += reject.whole(message, "schema-mismatch", reason)
    blocked = [each.digest for each in later if each.digest is not None]
    outcome = pour_waves(running, fitting, given, blocked)
    outcome.rejections.extend(rejections)
    _note(running, [each for each in kept if each not in later], outcome, is_alone)
    waiting.again(running, [(each.dedup_id, each.item, Reason.SCHEMA, False) for each in later])
    return outcome


def _set_apart(turn: Turn) -> None:
    """The next write is slow where nothing but COMMIT shows it."""
    with transaction(turn.connection, turn.deadline) as running:
        kept = waiting.take(running, turn.own, 1, turn.began, others=turn.others)
        waiting.again(running, [(each.dedup_id, each.item, Reason.SLOW, False) for each in kept])


def _pour_slow(turn: Turn) -> bool:
    """Give one write the rest of the invocation, if there is one. It counts as a try where the
    server is quick."""

    def alone(running: Transaction) -> bool:
        started = time.monotonic()
        kept = waiting.take(running, turn.own, 1, turn.began, slow=True)
        if not kept or time.monotonic() - started > _QUICK_SECONDS:
            return False
        given = TimeLimit(turn.deadline - _LEAST_SECONDS, share=1.0)
        _try(running, kept, given, is_alone=True)
        return True

    try:
        return run_committed(turn.connection, turn.deadline, alone)
    except (StatementTimedOut, LockNotAvailable, InternalError, OutOfTime) as error:  # at COMMIT
        is_locked = isinstance(error, LockNotAvailable)
        with transaction(turn.connection, turn.deadline + _LEAST_SECONDS) as running:
            kept = waiting.take(running, turn.own, 1, turn.began, slow=True)
            rows = [row for each in kept for row in message_rows(decode(each.message))]
            found = WaveOutcome(waiting=[slow(row, error) for row in rows])
            _note(running, kept, found, is_alone=not is_locked)
        return False


def _note(
    running: Transaction, kept: Sequence[WaitingEntry], outcome: WaveOutcome, is_alone: bool = False
) -> None:
    """What became of the writes; those that were not tried stay as they are. is_alone: they had an
    invocation for themselves."""
    before = {(each.dedup_id, each.item): each for each in kept}
    rejections = [*outcome.rejections]
    left: list[tuple[str, int, Reason, bool]] = []
    patience = _patience(running, outcome)
    untried: set[tuple[str, int]] = set()
    for each in outcome.waiting:
        place = each.row.message.dedup_id, each.row.item
        if each.reason in (Reason.TIME, Reason.KEY):
            untried.add(place)
            continue
        earlier = before[place]
        tried = is_alone and each.reason == Reason.SLOW
        is_over = (
            earlier.tries + 1 >= SLOW_TRIES
            if tried
            else each.reason == Reason.PARENT and earlier.waited >= patience
        )
        if each.rejection and is_over:
            rejections.append(each.rejection)
        else:
            left.append((*place, each.reason, tried))
    waiting.done(running, [*before.keys() - untried - {(*each[:2],) for each in left}])
    waiting.again(running, left)
    made_keys.keep(running, outcome.made, is_late=True)
    reject.keep(running, rejections)


def _patience(running: Transaction, outcome: WaveOutcome) -> float:
    """Seconds that a parent is waited for. Where writes come late, their parents do as well."""
    seconds = parent_patience_seconds()
    if not seconds or not any(each.reason == Reason.PARENT for each in outcome.waiting):
        return seconds
    return seconds + waiting.lag(running)
