"""A wave that holds something bad: the bad rows are found and set aside, all others are poured.

Rows with a value that does not fit, and those that violate the same key or foreign key, are found
with one query each; any others by halving, where one bad row among n costs about 2 log2(n)
statements.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from chalicelib.database.connection import Transaction
from chalicelib.database.judging import judgement
from chalicelib.database.ledger import Rejection
from chalicelib.database.resources import Resource, resources
from chalicelib.database.statements import (
    Statement,
    statement,
    unfit_values,
    unique_columns,
    violators,
)
from chalicelib.drain import faults
from chalicelib.drain.sets import Row, Set, all_apart, taken_apart
from chalicelib.errors import DatabaseMisfit, RefusedByDatabase
from chalicelib.message import Condition, Op


class Postponed(Exception):
    """Messages that have to come again: the transaction is taken back without them.

    orphans: because a row of theirs has no parent yet.
    """

    def __init__(self, dedup_ids: set[str], orphans: bool = False) -> None:
        super().__init__(dedup_ids)
        self.dedup_ids = dedup_ids
        self.orphans = orphans


@dataclass(frozen=True)
class _Refused:
    """A row that the database did not take, and why."""

    row: Row
    error: RefusedByDatabase


@dataclass(frozen=True)
class _Target:
    """Where the rows of a set go."""

    resource: Resource
    op: Op
    members: tuple[str, ...]
    statement: Statement

    @property
    def judge(self) -> "_Target":
        """What tells whether the conditions of its rows hold. It reads their keys alone."""
        key = tuple(column.name for column in self.resource.key)
        return _Target(self.resource, self.op, key, judgement(self.resource, self.op))


def pour_wave(running: Transaction, wave: Iterable[Set], patient: set[str]) -> list[Rejection]:
    """Pour what can be poured; returns the rest.

    patient: dedup IDs of messages that may come again. Raises Postponed for those among them that
    have a row without its parent.
    """
    rejections: list[Rejection] = []
    orphans: list[tuple[_Target, list[_Refused]]] = []
    for rows in wave:
        resource = resources()[rows.resource]
        target = _Target(
            resource, rows.op, rows.members, statement(resource, rows.op, rows.members)
        )
        try:
            bad, refused = _whole(running, target, rows)
        except RefusedByDatabase as error:
            apart, broken = taken_apart(rows)
            rejections += [faults.broken(message, item, error) for message, item in broken]
            bad, refused = _apart(running, target, apart)
        rejections += bad
        waiting, bad = _told(resource, refused)
        rejections += bad
        if waiting:
            orphans.append((target, waiting))
    orphans, bad = _adopted(running, orphans)
    left = {each.row.message.dedup_id for _, refused in orphans for each in refused}
    if left & patient:
        raise Postponed(left & patient, orphans=True)
    return [
        *rejections,
        *bad,
        *[
            faults.refused(target.resource, each.row, each.error)
            for target, refused in orphans
            for each in refused
        ],
    ]


def _told(
    resource: Resource, refused: Iterable[_Refused]
) -> tuple[list[_Refused], list[Rejection]]:
    """Rows whose parent may still come, and rejections of the others."""
    rejections: list[Rejection] = []
    waiting: list[_Refused] = []
    for each in refused:
        if faults.is_missing_parent(resource, each.row, each.error):
            waiting.append(each)
        else:
            rejections.append(faults.refused(resource, each.row, each.error))
    return waiting, rejections


def _adopted(
    running: Transaction, orphans: list[tuple[_Target, list[_Refused]]]
) -> tuple[list[tuple[_Target, list[_Refused]]], list[Rejection]]:
    """Parents may have come with the rest of the wave: try again for as long as that helps.

    Returns what is still without a parent, and rejections of rows with another fault by now.
    """
    rejections: list[Rejection] = []
    while orphans:
        left = []
        for target, refused in orphans:
            bad, again = _apart(running, target, [each.row for each in refused])
            rejections += bad
            waiting, bad = _told(target.resource, again)
            rejections += bad
            if waiting:
                left.append((target, waiting))
        if _size(left) == _size(orphans):
            break
        orphans = left
    return orphans, rejections


def _whole(
    running: Transaction, target: _Target, rows: Set
) -> tuple[list[Rejection], list[_Refused]]:
    """Pour a set at once; returns rejections of rows that are not as the write needs them."""
    if rows.conditions:
        return _apart(running, target, all_apart(rows))
    with _savepoint(running):
        places = _run(running, target, rows.rows, rows.count)
        apart = all_apart(rows) if places else []
    return [faults.missing(apart[place]) for place in places], []


def _apart(
    running: Transaction, target: _Target, rows: Sequence[Row]
) -> tuple[list[Rejection], list[_Refused]]:
    """Judge and pour all rows but the bad ones. Returns rejections of those that are not as the
    write needs them, and the refused."""
    rejections: list[Rejection] = []
    if any(row.message.condition for row in rows):
        unmet, refused = _parts(running, target.judge, rows)
        rejections += map(faults.unmet, unmet)
        # A key that cannot be read, or a row that cannot: nobody knows whether the condition holds.
        rejections += [faults.refused(target.resource, each.row, each.error) for each in refused]
        gone = {rejection.dedup_id for rejection in rejections}
        rows = [row for row in rows if row.message.dedup_id not in gone]
    missing, refused = _parts(running, target, rows)
    return [*rejections, *map(faults.missing, missing)], refused


def _parts(
    running: Transaction, target: _Target, rows: Sequence[Row]
) -> tuple[list[Row], list[_Refused]]:
    """Pour all rows but the bad ones; returns those whose key is not there, and the refused."""
    if not rows:
        return [], []
    array = f"[{','.join([row.text for row in rows])}]"
    try:
        with _savepoint(running):
            places = _run(
                running, target, array, len(rows), [row.message.condition for row in rows]
            )
        return [rows[place] for place in places], []
    except RefusedByDatabase as error:
        bad, doubtful = _violators(running, target, array, error)
        if len(rows) == 1:
            return [], [_Refused(rows[0], bad.get(0, error))]
    parts: list[Sequence[Row]]
    if bad or doubtful:
        rest = [row for place, row in enumerate(rows) if place not in {*bad, *doubtful}]
        parts = [rest, [rows[place] for place in sorted(doubtful)]]
    else:
        middle = len(rows) // 2
        parts = [rows[:middle], rows[middle:]]
    missing: list[Row] = []
    refused = [_Refused(rows[place], bad[place]) for place in sorted(bad)]
    for part in parts:
        more_missing, more_refused = _parts(running, target, part)
        missing += more_missing
        refused += more_refused
    return missing, refused


def _violators(
    running: Transaction, target: _Target, array: str, error: RefusedByDatabase
) -> tuple[dict[int, RefusedByDatabase], set[int]]:
    """Places of all rows with a fault like this one, as far as one query can find them; and of
    those that have it only if an earlier row is taken."""
    if error.sqlstate.startswith("22"):
        query = unfit_values(target.resource, target.members)
    else:
        unique = _unique_columns(running, target, error)
        query = violators(target.resource, target.op, target.members, error.constraint, unique)
    if not query:
        return {}, set()
    try:
        with _savepoint(running):
            found = running.execute(query, {"rows": array})
    except (RefusedByDatabase, DatabaseMisfit):
        return {}, set()  # another row's value does not fit its type, or Postgres is older than 16
    bad = {
        place: RefusedByDatabase(
            error.message, **{**error.attributes, "column": column, "detail": reason}
        )
        for place, column, reason, certain in found
        if certain
    }
    return bad, {place for place, *_ in found} - {*bad}


def _unique_columns(
    running: Transaction, target: _Target, error: RefusedByDatabase
) -> tuple[str, ...]:
    if error.sqlstate != "23505":
        return ()
    found = running.execute(unique_columns(target.resource), {"name": error.constraint})
    return tuple(name for (name,) in found)


def _run(
    running: Transaction,
    target: _Target,
    rows: str,
    count: int,
    conditions: Sequence[Condition | None] = (),
) -> list[int]:
    """The statement of a set; returns the places that it answers with.

    Some input functions, policies and triggers refuse a row with an SQLSTATE that otherwise says
    that the schema is not as expected. It is if the statement does without rows.
    """
    compiled = target.statement
    try:
        with _savepoint(running):
            found = running.execute(compiled.sql, compiled.bound(rows, count, conditions))
            return [place for (places,) in found for place in places]
    except DatabaseMisfit as error:
        running.execute(compiled.sql, compiled.bound("[]", 0))
        raise RefusedByDatabase(error.message, **error.attributes) from error


@contextmanager
def _savepoint(running: Transaction) -> Iterator[None]:
    """Of a block that raises RefusedByDatabase or DatabaseMisfit, nothing is done."""
    running.ahead("SAVEPOINT rows")
    try:
        yield
    except (RefusedByDatabase, DatabaseMisfit):
        running.ahead("ROLLBACK TO SAVEPOINT rows")
        raise
    finally:
        running.ahead("RELEASE SAVEPOINT rows")


def _size(orphans: Iterable[tuple[_Target, list[_Refused]]]) -> int:
    return sum(len(refused) for _, refused in orphans)
