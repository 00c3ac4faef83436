"""Waves of sets → the database: each set at once, or all of it but rows that are bad or wait."""

from collections.abc import Iterable, Sequence

from chalicelib.drain import reject
from chalicelib.drain.bad_rows import Refusal, pour_apart, wait_for_schema
from chalicelib.drain.outcome import TimeLimit, WaitingRow, WaveOutcome
from chalicelib.drain.set_statement import SetStatement, TableTraits, keys_made, ranks, run, traits
from chalicelib.drain.sets import BROKEN, Set, separate_rows, single_rows, waves
from chalicelib.errors import (
    InternalError,
    LockNotAvailable,
    RefusedByDatabase,
    SchemaMismatch,
    StatementTimedOut,
)
from chalicelib.messages.message import Message
from chalicelib.postgres.connecting.connection import Transaction, savepoint
from chalicelib.postgres.waiting import Reason


def pour_waves(
    running: Transaction, messages: Sequence[Message], limit: TimeLimit, blocked: Iterable[int] = ()
) -> WaveOutcome:
    """Pour what can be poured of these messages; returns the rest.

    Rows that are not tried within the time limit wait, and so does every later row of the key of a
    waiting one. blocked: digests of keys with rows that wait already.
    """
    outcome = WaveOutcome()
    keys = {*blocked}
    known = traits(running, {message.resource for message in messages})
    for wave in waves(messages, ranks()):
        poured = _pour_wave(running, wave, limit, keys, known)
        keys |= {each.row.digest for each in poured.waiting if each.row.digest is not None}
        outcome.add(poured)
    return outcome


def _pour_wave(
    running: Transaction,
    wave: Iterable[Set],
    limit: TimeLimit,
    blocked: set[int],
    known: TableTraits,
) -> WaveOutcome:
    outcome = WaveOutcome()
    early: list[tuple[SetStatement, list[Refusal]]] = []
    for whole in wave:
        rows, behind = whole.split(blocked)
        outcome.waiting.extend(WaitingRow(row, Reason.KEY) for row in behind)
        if rows.parts:
            target = SetStatement.of(rows, known)
            poured, refused = _pour_set(running, target, rows, limit)
            outcome.add(poured)
            early.append((target, refused))
    # The other rows may have been written with the rest of the wave: try again for as long as that
    # helps.
    before, count = 0, _count(early)
    while count != before:
        tried, early = early, []
        for target, refused in tried:
            poured, refused = pour_apart(running, target, [row for row, _ in refused], limit)
            outcome.add(poured)
            early.append((target, refused))
        before, count = count, _count(early)
    for target, refused in early:
        for row, error in refused:
            rejection = reject.refused(target.resource, row, error)
            if row.message.is_patient:
                outcome.waiting.append(WaitingRow(row, Reason.OTHER_ROW, rejection))
            else:
                outcome.rejections.append(rejection)
    return outcome


def _pour_set(
    running: Transaction, target: SetStatement, rows: Set, limit: TimeLimit
) -> tuple[WaveOutcome, list[Refusal]]:
    """Pour a set: at once, and if that is refused or takes too long, all of it but the bad rows.

    Returns the outcome, and refused rows that another row's write may still help.
    """
    why, mismatch = BROKEN, None
    if rows.count > 1 and not rows.conditions and not limit.is_over:
        try:
            with savepoint(running):
                places, keys = run(running, target, rows.rows, rows.count, limit)
                apart = single_rows(rows) if places else []
            return WaveOutcome(reject.by_places(apart, places), made=keys_made(rows, keys)), []
        except SchemaMismatch as error:
            mismatch = error
        except RefusedByDatabase as error:
            why = error
        except (StatementTimedOut, LockNotAvailable, InternalError):
            pass  # single rows show which
    apart, broken = separate_rows(rows)
    outcome = WaveOutcome([reject.broken(message, item, why) for message, item in broken])
    if mismatch:
        outcome.add(wait_for_schema(running, target, apart, mismatch))
        return outcome, []
    poured, refused = pour_apart(running, target, apart, limit)
    outcome.add(poured)
    return outcome, refused


def _count(early: Iterable[tuple[SetStatement, list[Refusal]]]) -> int:
    return sum(len(refused) for _, refused in early)
