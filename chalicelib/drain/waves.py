"""Waves of sets → the database: each set at once, or all of it but what is bad or has to wait."""

from collections.abc import Iterable, Sequence

from chalicelib.drain import reject
from chalicelib.drain.bad_rows import RefusedRow, pour_apart, wait_for_schema
from chalicelib.drain.outcome import TimeLimit, WaitingRow, WaveOutcome
from chalicelib.drain.set_statement import SetStatement, keys_made, run
from chalicelib.drain.sets import BROKEN, Set, separate_rows, single_rows, waves
from chalicelib.drain.table_traits import TableTraits, ranks, traits
from chalicelib.errors import (
    InternalError,
    LockNotAvailable,
    RefusedByDatabase,
    SchemaMismatch,
    StatementTimedOut,
)
from chalicelib.messages.message import Message
from chalicelib.postgres.connecting.connection import Transaction, savepoint
from chalicelib.postgres.rejections import Rejection
from chalicelib.postgres.resources import ResourceTable, resources
from chalicelib.postgres.sql.statements import statement
from chalicelib.postgres.waiting import Reason


def pour_waves(
    running: Transaction, messages: Sequence[Message], given: TimeLimit, blocked: Iterable[int] = ()
) -> WaveOutcome:
    """Pour what can be poured of these messages; returns the rest.

    What is not tried in the time that is given waits, and so does all that follows a waiting row of
    its key. blocked: digests of keys that wait already.
    """
    found = WaveOutcome()
    keys = {*blocked}
    known = traits(running, {message.resource for message in messages})
    for wave in waves(messages, ranks()):
        outcome = _pour_wave(running, wave, given, keys, known)
        keys |= outcome.digests
        found.add(outcome)
    return found


def _pour_wave(
    running: Transaction,
    wave: Iterable[Set],
    given: TimeLimit,
    blocked: set[int],
    known: TableTraits,
) -> WaveOutcome:
    found = WaveOutcome()
    orphans: list[tuple[SetStatement, list[RefusedRow]]] = []
    for whole in wave:
        rows, behind = whole.split(blocked)
        found.waiting.extend(WaitingRow(row, Reason.KEY) for row in behind)
        if not rows.parts:
            continue
        resource = resources()[rows.resource]
        compiled = statement(resource, rows.op, rows.members)
        target = SetStatement(
            resource,
            rows.op,
            rows.members,
            compiled,
            rows.resource in known.triggered,
            known.make(rows.resource, compiled),
        )
        outcome, waiting = _pour_set(running, target, rows, given)
        found.add(outcome)
        if waiting:
            orphans.append((target, waiting))
    left, outcome = _adopted(running, orphans, given)
    found.add(outcome)
    for target, refused in left:
        for each in refused:
            rejection = reject.refused(target.resource, each.row, each.error)
            if each.row.message.is_patient:
                found.waiting.append(WaitingRow(each.row, Reason.PARENT, rejection))
            else:
                found.rejections.append(rejection)
    return found


def _pour_set(
    running: Transaction, target: SetStatement, rows: Set, given: TimeLimit
) -> tuple[WaveOutcome, list[RefusedRow]]:
    """Pour a set: at once, and if that is refused or takes too long, all of it but what is bad.

    Returns what was not poured, and rows whose parent may still come.
    """
    why, mismatch = BROKEN, None
    if rows.count > 1 and not rows.conditions and not given.is_over:
        try:
            with savepoint(running):
                places, keys = run(running, target, rows.rows, rows.count, given)
                apart = single_rows(rows) if places else []
            return WaveOutcome(reject.by_places(apart, places), made=keys_made(rows, keys)), []
        except SchemaMismatch as error:
            mismatch = error
        except RefusedByDatabase as error:
            why = error
        except (StatementTimedOut, LockNotAvailable, InternalError):
            pass  # row by row it shows which
    apart, broken = separate_rows(rows)
    found = WaveOutcome([reject.broken(message, item, why) for message, item in broken])
    if mismatch:
        found.add(wait_for_schema(running, target, apart, mismatch))
        return found, []
    outcome, refused = pour_apart(running, target, apart, given)
    found.add(outcome)
    waiting, rejections = _parentless(target.resource, refused)
    found.rejections.extend(rejections)
    return found, waiting


def _parentless(
    resource: ResourceTable, refused: Iterable[RefusedRow]
) -> tuple[list[RefusedRow], list[Rejection]]:
    """Rows whose parent may still come, and rejections of the others."""
    rejections: list[Rejection] = []
    waiting: list[RefusedRow] = []
    for each in refused:
        if reject.is_missing_parent(resource, each.row, each.error):
            waiting.append(each)
        else:
            rejections.append(reject.refused(resource, each.row, each.error))
    return waiting, rejections


def _adopted(
    running: Transaction, orphans: list[tuple[SetStatement, list[RefusedRow]]], given: TimeLimit
) -> tuple[list[tuple[SetStatement, list[RefusedRow]]], WaveOutcome]:
    """Parents may have come with the rest of the wave: try again for as long as that helps.

    Returns what is still without a parent, and what became of the others.
    """
    found = WaveOutcome()
    while orphans:
        left = []
        for target, refused in orphans:
            outcome, again = pour_apart(running, target, [each.row for each in refused], given)
            found.add(outcome)
            waiting, rejections = _parentless(target.resource, again)
            found.rejections.extend(rejections)
            if waiting:
                left.append((target, waiting))
        if _size(left) == _size(orphans):
            break
        orphans = left
    return orphans, found


def _size(orphans: Iterable[tuple[SetStatement, list[RefusedRow]]]) -> int:
    return sum(len(refused) for _, refused in orphans)
