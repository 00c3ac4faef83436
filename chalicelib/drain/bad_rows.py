"""Rows of a set that cannot be poured: they are found and set aside, and the rest is poured.

Rows with an invalid value, rows that violate the same key or foreign key, and rows that somebody
else has locked are found with one query each; any others by halving, where one bad row among n
costs about 2 log2(n) statements.
"""

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

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

Refusal = tuple[SetRow, RefusedByDatabase]
"""A row that the database refused, and why."""


def pour_apart(
    running: Transaction, target: SetStatement, rows: Sequence[SetRow], limit: TimeLimit
) -> tuple[WaveOutcome, list[Refusal]]:
    """Check the conditions of rows, and pour all but the bad ones.

    Returns the outcome, and refused rows that another row's write may still help.
    """
    outcome = WaveOutcome()
    if any(row.message.condition for row in rows):
        # The database could not read the row or its key, so the condition cannot be checked.
        check = target.condition_check(running.engine)
        for row, error in _pour_parts(running, check, rows, limit, outcome):
            outcome.rejections.append(reject.refused(target.resource, row, error))
        gone = {rejection.dedup_id for rejection in outcome.rejections}
        gone |= {each.row.message.dedup_id for each in outcome.waiting}
        rows = [row for row in rows if row.message.dedup_id not in gone]
    early: list[Refusal] = []
    for row, error in _pour_parts(running, target, rows, limit, outcome):
        if reject.may_pass(target.resource, row, error):
            early.append((row, error))
        else:
            outcome.rejections.append(reject.refused(target.resource, row, error))
    return outcome, early


def _pour_parts(
    running: Transaction,
    target: SetStatement,
    rows: Sequence[SetRow],
    limit: TimeLimit,
    outcome: WaveOutcome,
) -> list[Refusal]:
    """Pour all rows but those that are bad or have to wait, and add these to the outcome; returns
    the refused ones."""
    refused: list[Refusal] = []
    parts = deque([rows])
    while parts:
        part = parts.popleft()
        if not part:
            continue
        if limit.is_over:
            outcome.waiting.extend(WaitingRow(row, Reason.TIME) for row in part)
            continue
        array = f"[{','.join([row.text for row in part])}]"
        conditions = [row.message.condition for row in part]
        try:
            with savepoint(running):
                places, keys = run(running, target, array, len(part), limit, conditions)
            if target.statement.checks_conditions:
                outcome.rejections.extend(reject.unmet(part[place]) for place in places)
            else:
                outcome.rejections.extend(reject.by_places(part, places))
            outcome.made.extend(
                Made(row.message.dedup_id, row.message.resource, (row.item,), (key,))
                for row, key in zip(part, keys, strict=bool(keys))
            )
        except SchemaMismatch as error:
            outcome.add(wait_for_schema(running, target, part, error))
        except RefusedByDatabase as error:
            if len(part) > 1:
                bad, more = _without_violators(running, target, part, array, error, limit)
                refused += bad
                parts.extendleft(reversed(more))  # earlier rows first: only one may be taken
            elif isinstance(error, RightMissing):
                outcome.add(wait_for_schema(running, target, part, error))
            else:
                own, _ = _violators(running, target, array, error, limit)
                refused.append((part[0], own.get(0, error)))
        except LockNotAvailable:
            held, more = _without_locked(running, target, part, array, limit)
            outcome.waiting.extend(WaitingRow(row, Reason.LOCK) for row in held)
            parts.extend(more)
        except (StatementTimedOut, InternalError) as error:
            if len(part) == 1:
                outcome.waiting.append(slow(part[0], error))
            else:
                parts.extend(_halves(part))  # last, behind everything that has not been tried yet
    return refused


def _without_violators(
    running: Transaction,
    target: SetStatement,
    rows: Sequence[SetRow],
    array: str,
    error: RefusedByDatabase,
    limit: TimeLimit,
) -> tuple[list[Refusal], list[Sequence[SetRow]]]:
    """The bad ones of several rows that were refused, and parts of the rest, still to be poured."""
    if isinstance(error, RightMissing):
        return [], _halves(rows)
    bad, doubtful = _violators(running, target, array, error, limit)
    if not bad and not doubtful:
        return [], _halves(rows)
    apart = {*bad, *doubtful}
    rest = [row for place, row in enumerate(rows) if place not in apart]
    refused = [(rows[place], bad[place]) for place in sorted(bad)]
    return refused, [rest, [rows[place] for place in sorted(doubtful)]]


def _violators(
    running: Transaction,
    target: SetStatement,
    array: str,
    error: RefusedByDatabase,
    limit: TimeLimit,
) -> tuple[dict[int, RefusedByDatabase], set[int]]:
    """Places of all rows with the same fault, as far as one query can find them; and of those that
    have it only if an earlier row is taken."""
    found = []
    # Another row's value may be invalid, Postgres older than 16, or the time over.
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
        found = running.execute(query, {"rows": array}, **limit.limits) if query else []
    bad = {
        place: RefusedByDatabase(
            error.message, **{**error.attributes, "column": column, "detail": reason}
        )
        for place, column, reason, certain in found
        if certain
    }
    return bad, {place for place, *_ in found} - {*bad}


def _without_locked(
    running: Transaction, target: SetStatement, rows: Sequence[SetRow], array: str, limit: TimeLimit
) -> tuple[Sequence[SetRow], list[Sequence[SetRow]]]:
    """The rows that somebody else has locked, and parts of the rest, still to be poured."""
    if len(rows) == 1:
        return rows, []
    if not running.engine.row_locks:
        return [], _halves(rows)
    places: set[int] = set()
    with suppress(*SURVIVED):
        query = locked(target.resource, target.op, target.members)
        try:
            with savepoint(running):
                compiled = target.statement
                running.execute(compiled.sql, compiled.bound("[]", 0), **limit.limits)
                answer = running.execute(query, {"rows": array}, **limit.limits) if query else []
        except LockNotAvailable:  # neither waits for a row: the whole table is locked
            return rows, []
        places = {place for (place,) in answer}
    if not places:
        return [], _halves(rows)
    free = [row for place, row in enumerate(rows) if place not in places]
    return [rows[place] for place in sorted(places)], [free]


def _halves(rows: Sequence[SetRow]) -> list[Sequence[SetRow]]:
    middle = len(rows) // 2
    return [rows[:middle], rows[middle:]]


def slow(row: SetRow, error: DatabaseError) -> WaitingRow:
    """A row to be tried alone, because it takes long or the server failed at it."""
    if isinstance(error, InternalError):
        resource = resources()[row.message.resource]
        refused = RefusedByDatabase(error.message, **error.attributes)
        return WaitingRow(row, Reason.SLOW, reject.refused(resource, row, refused))
    return WaitingRow(row, Reason.SLOW, reject.slow(row))


def wait_for_schema(
    running: Transaction, target: SetStatement, rows: Sequence[SetRow], error: DatabaseError
) -> WaveOutcome:
    """The outcome of rows that the database has no table, column or right for: they wait. Rows with
    an op that only former models allow are rejected, unless a newer version may come back."""
    reason = withdrawn_op(target.resource, target.op) if error.kind == "no-right" else ""
    if reason and not is_ahead(running):
        return WaveOutcome([reject.schema_mismatch(row, reason) for row in rows])
    logger.error(
        "the database does not match the models; %d writes to %s wait. %s: %s",
        len(rows),
        target.resource.name,
        f"The role of the drain may not {target.op}: invoke migrate, or grant what is missing"
        if error.kind == "no-right"
        else "Invoke migrate",
        error,
    )
    return WaveOutcome(waiting=[WaitingRow(row, Reason.SCHEMA) for row in rows])
