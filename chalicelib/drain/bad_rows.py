"""Rows of a set that cannot be poured: they are found and set aside, and the rest is poured.

Rows with a value that does not fit, those that violate the same key or foreign key, and those that
somebody else has locked, are found with one query each; any others by halving, where one bad row
among n costs about 2 log2(n) statements.
"""

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from chalicelib.drain import reject
from chalicelib.drain.compatibility import withdrawn_op
from chalicelib.drain.outcome import TimeLimit, WaitingRow, WaveOutcome
from chalicelib.drain.set_statement import SetStatement, run
from chalicelib.drain.sets import SetRow
from chalicelib.errors import (
    DatabaseError,
    InternalError,
    LockNotAvailable,
    RefusedByDatabase,
    RightMissing,
    SchemaMismatch,
    StatementTimedOut,
)
from chalicelib.postgres.connecting.connection import SURVIVED, Transaction, savepoint
from chalicelib.postgres.made_keys import Made
from chalicelib.postgres.resources import resources
from chalicelib.postgres.revisions import is_ahead
from chalicelib.postgres.sql.violations import locked, unfit_values, unique_columns, violators
from chalicelib.postgres.waiting import Reason

logger = logging.getLogger("decanter.drain")


@dataclass(frozen=True)
class RefusedRow:
    """A row that the database did not take, and why."""

    row: SetRow
    error: RefusedByDatabase


@dataclass(frozen=True)
class _Parted:
    """Rows of a set that were not simply poured. missing: not as the write needs them. untouched:
    a trigger left them as they were."""

    missing: list[SetRow] = field(default_factory=list)
    untouched: list[SetRow] = field(default_factory=list)
    refused: list[RefusedRow] = field(default_factory=list)
    outcome: WaveOutcome = field(default_factory=WaveOutcome)


def pour_apart(
    running: Transaction, target: SetStatement, rows: Sequence[SetRow], given: TimeLimit
) -> tuple[WaveOutcome, list[RefusedRow]]:
    """Judge and pour all rows but the bad ones. Returns what became of those that are not as the
    write needs them or have to wait, and the refused."""
    found = WaveOutcome()
    if any(row.message.condition for row in rows):
        judged = _parts(running, target.condition_check, rows, given)
        found.rejections.extend(map(reject.unmet, judged.missing))
        # A key that cannot be read, or a row that cannot: nobody knows whether the condition holds.
        found.rejections.extend(
            reject.refused(target.resource, each.row, each.error) for each in judged.refused
        )
        found.add(judged.outcome)
        gone = {rejection.dedup_id for rejection in found.rejections}
        gone |= {each.row.message.dedup_id for each in found.waiting}
        rows = [row for row in rows if row.message.dedup_id not in gone]
    parted = _parts(running, target, rows, given)
    found.rejections.extend(map(reject.missing, parted.missing))
    found.rejections.extend(map(reject.untouched, parted.untouched))
    found.add(parted.outcome)
    return found, parted.refused


def _parts(
    running: Transaction, target: SetStatement, rows: Sequence[SetRow], given: TimeLimit
) -> _Parted:
    """Pour all rows but those that are bad or have to wait; returns these."""
    found = _Parted()
    parts = deque([rows])
    while parts:
        part = parts.popleft()
        if not part:
            continue
        if given.is_over:
            found.outcome.waiting.extend(WaitingRow(row, Reason.TIME) for row in part)
            continue
        array = f"[{','.join([row.text for row in part])}]"
        conditions = [row.message.condition for row in part]
        try:
            with savepoint(running):
                places, keys = run(running, target, array, len(part), given, conditions)
            found.missing.extend(part[place] for place in places if place >= 0)
            found.untouched.extend(part[-1 - place] for place in places if place < 0)
            found.outcome.made.extend(
                Made(row.message.dedup_id, row.message.resource, (row.item,), (key,))
                for row, key in zip(part, keys, strict=bool(keys))
            )
        except SchemaMismatch as error:
            found.outcome.add(wait_for_schema(running, target, part, error))
        except RefusedByDatabase as error:
            more = _without_violators(running, target, part, array, error, given, found)
            parts.extendleft(reversed(more))  # earlier rows come first where one is taken only once
        except LockNotAvailable:
            parts.extend(_without_locked(running, target, part, array, given, found))
        except (StatementTimedOut, InternalError) as error:
            if len(part) == 1:
                found.outcome.waiting.append(slow(part[0], error))
            else:
                parts.extend(_halves(part))  # last, after all that has not been tried yet
    return found


def _without_violators(
    running: Transaction,
    target: SetStatement,
    rows: Sequence[SetRow],
    array: str,
    error: RefusedByDatabase,
    given: TimeLimit,
    found: _Parted,
) -> list[Sequence[SetRow]]:
    """Parts of what is left to pour of rows that are refused; adds the bad ones to the found."""
    if isinstance(error, RightMissing):
        if len(rows) > 1:
            return _halves(rows)
        found.outcome.add(wait_for_schema(running, target, rows, error))
        return []
    bad, doubtful = _violators(running, target, array, error, given)
    if len(rows) == 1:
        found.refused.append(RefusedRow(rows[0], bad.get(0, error)))
        return []
    if not bad and not doubtful:
        return _halves(rows)
    found.refused.extend(RefusedRow(rows[place], bad[place]) for place in sorted(bad))
    apart = {*bad, *doubtful}
    rest = [row for place, row in enumerate(rows) if place not in apart]
    return [rest, [rows[place] for place in sorted(doubtful)]]


def _violators(
    running: Transaction,
    target: SetStatement,
    array: str,
    error: RefusedByDatabase,
    given: TimeLimit,
) -> tuple[dict[int, RefusedByDatabase], set[int]]:
    """Places of all rows with a fault like this one, as far as one query can find them; and of
    those that have it only if an earlier row is taken."""
    found = []
    # Another row's value may not fit its type, Postgres be older than 16, or the time be over.
    with suppress(*SURVIVED), savepoint(running):
        if error.kind == "value":
            query = unfit_values(target.resource, target.members)
        else:
            unique: tuple[str, ...] = ()
            if error.kind == "conflict":
                name = {"name": error.constraint}
                columns = running.execute(unique_columns(target.resource), name)
                unique = tuple(column for (column,) in columns)
            query = violators(target.resource, target.op, target.members, error.constraint, unique)
        found = running.execute(query, {"rows": array}, **given.limits) if query else []
    bad = {
        place: RefusedByDatabase(
            error.message, **{**error.attributes, "column": column, "detail": reason}
        )
        for place, column, reason, certain in found
        if certain
    }
    return bad, {place for place, *_ in found} - {*bad}


def _without_locked(
    running: Transaction,
    target: SetStatement,
    rows: Sequence[SetRow],
    array: str,
    given: TimeLimit,
    found: _Parted,
) -> list[Sequence[SetRow]]:
    """Parts of what is left to pour of rows of which some are locked; adds those to the found."""
    if len(rows) == 1:
        found.outcome.waiting.append(WaitingRow(rows[0], Reason.LOCK))
        return []
    places: set[int] = set()
    with suppress(*SURVIVED):
        query = locked(target.resource, target.op, target.members)
        try:
            with savepoint(running):
                compiled = target.statement
                running.execute(compiled.sql, compiled.bound("[]", 0), **given.limits)
                answer = running.execute(query, {"rows": array}, **given.limits) if query else []
        except LockNotAvailable:  # neither waits for a row: a whole table is locked
            found.outcome.waiting.extend(WaitingRow(row, Reason.LOCK) for row in rows)
            return []
        places = {place for (place,) in answer}
    if not places:
        return _halves(rows)
    found.outcome.waiting.extend(WaitingRow(rows[place], Reason.LOCK) for place in sorted(places))
    return [[row for place, row in enumerate(rows) if place not in places]]


def _halves(rows: Sequence[SetRow]) -> list[Sequence[SetRow]]:
    middle = len(rows) // 2
    return [rows[:middle], rows[middle:]]


def slow(row: SetRow, error: DatabaseError) -> WaitingRow:
    """A row that is to be tried by itself, because it takes long or the server failed at it."""
    if isinstance(error, InternalError):
        resource = resources()[row.message.resource]
        refused = RefusedByDatabase(error.message, **error.attributes)
        return WaitingRow(row, Reason.SLOW, reject.refused(resource, row, refused))
    return WaitingRow(row, Reason.SLOW, reject.slow(row))


def wait_for_schema(
    running: Transaction, target: SetStatement, rows: Sequence[SetRow], error: DatabaseError
) -> WaveOutcome:
    """The database is not as the models say: these rows wait, and no others. What only the models
    of another version let them do is rejected, unless that one may come back."""
    name, op = target.resource.name, target.op
    reason = withdrawn_op(target.resource, op) if error.kind == "no-right" else ""
    if reason and not is_ahead(running):
        return WaveOutcome([reject.schema_mismatch(row, reason) for row in rows])
    logger.error(
        "the database is not as the models say; %d writes to %s wait. %s: %s",
        len(rows),
        name,
        f"The role of the drain may not {op}: invoke migrate, or grant what is missing"
        if error.kind == "no-right"
        else "Invoke migrate",
        error,
    )
    return WaveOutcome(waiting=[WaitingRow(row, Reason.SCHEMA) for row in rows])
