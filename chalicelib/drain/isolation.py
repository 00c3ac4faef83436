"""Waves that cannot be poured at once: what is bad or has to wait is set aside, the rest poured.

Rows with a value that does not fit, those that violate the same key or foreign key, and those that
somebody else has locked, are found with one query each; any others by halving, where one bad row
among n costs about 2 log2(n) statements.
"""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache

from chalicelib.drain import reject
from chalicelib.drain.compatibility import given_up
from chalicelib.drain.sets import BROKEN, Row, Set, all_apart, taken_apart, waves
from chalicelib.errors import (
    DatabaseError,
    InternalError,
    LockNotAvailable,
    RefusedByDatabase,
    RightMissing,
    SchemaMismatch,
    StatementTimedOut,
)
from chalicelib.messages.message import Condition, Message
from chalicelib.ops import Op
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ledger import Rejection
from chalicelib.postgres.made_keys import Key, Made
from chalicelib.postgres.resources import Resource, resources
from chalicelib.postgres.revisions import is_ahead
from chalicelib.postgres.sql.names import plain_name
from chalicelib.postgres.sql.preconditions import judgement
from chalicelib.postgres.sql.statements import (
    TRIGGERED,
    Statement,
    locked,
    statement,
    unfit_values,
    unique_columns,
    violators,
)
from chalicelib.postgres.waiting import Reason

logger = logging.getLogger("decanter.drain")

_LEAST_SECONDS = 0.2

SURVIVED = (RefusedByDatabase, SchemaMismatch, StatementTimedOut, LockNotAvailable, InternalError)
"""Errors after which the connection can be used as before."""


@dataclass(frozen=True)
class Time:
    """What there is for a transaction.

    until: time.monotonic() after which no more rows are tried. share: of the time that is left,
    what one statement may take.
    """

    until: float
    share: float = 0.25

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.until

    @property
    def limits(self) -> dict[str, float]:
        """Of the next statement. Waiting for a lock ends first: it is not taken for slowness."""
        seconds = max(_LEAST_SECONDS, (self.until - time.monotonic()) * self.share)
        return {"seconds": seconds, "lock_seconds": seconds / 2}


@dataclass(frozen=True)
class Waiting:
    """A write that cannot be poured now.

    rejection: what becomes of it if it waits too long.
    """

    row: Row
    reason: Reason
    rejection: Rejection | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of writes that were not simply poured; and what keys were made for others."""

    rejections: list[Rejection] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        self.rejections.extend(other.rejections)
        self.waiting.extend(other.waiting)
        self.made.extend(other.made)

    @property
    def digests(self) -> set[int]:
        """Of the keys of what waits."""
        return {each.row.digest for each in self.waiting if each.row.digest is not None}


@dataclass(frozen=True)
class _Refused:
    """A row that the database did not take, and why."""

    row: Row
    error: RefusedByDatabase


@dataclass(frozen=True)
class _Target:
    """Where the rows of a set go. makes: whether it answers with keys."""

    resource: Resource
    op: Op
    members: tuple[str, ...]
    statement: Statement
    has_trigger: bool = False
    makes: bool = False

    @property
    def counts(self) -> bool:
        """Whether a row that is not there after an insert was left out by a trigger."""
        is_insert = not self.statement.answers and not self.statement.judges
        return self.has_trigger and is_insert and not self.statement.ignores

    @property
    def judge(self) -> "_Target":
        """What tells whether the conditions of its rows hold. It reads their keys alone."""
        key = tuple(column.name for column in self.resource.key)
        return _Target(self.resource, self.op, key, judgement(self.resource, self.op))


@dataclass(frozen=True)
class _Parted:
    """Rows of a set that were not simply poured. missing: not as the write needs them. untouched:
    a trigger left them as they were."""

    missing: list[Row] = field(default_factory=list)
    untouched: list[Row] = field(default_factory=list)
    refused: list[_Refused] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        self.rejections.extend(other.rejections)
        self.waiting.extend(other.waiting)


@dataclass(frozen=True)
class Habits:
    """Resources whose tables have triggers that may leave rows out; and those that might refuse an
    insert that asks for the keys."""

    triggered: frozenset[str]
    silent: frozenset[str]

    def make(self, resource: str, compiled: Statement) -> bool:
        """Whether rows of the resource may have keys that are not known, and that can be told."""
        if not compiled.making or resource in self.silent:
            return False
        is_triggered = resource in self.triggered
        return not compiled.ignores if is_triggered else not compiled.is_named


def pour_rows(
    running: Transaction, messages: Sequence[Message], given: Time, blocked: Iterable[int] = ()
) -> Outcome:
    """Pour what can be poured of these messages; returns the rest.

    What is not tried in the time that is given waits, and so does all that follows a waiting row of
    its key. blocked: digests of keys that wait already.
    """
    found = Outcome()
    keys = {*blocked}
    known = habits(running, {message.resource for message in messages})
    for wave in waves(messages, ranks()):
        outcome = _pour_wave(running, wave, given, keys, known)
        keys |= outcome.digests
        found.add(outcome)
    return found


def habits(running: Transaction, among: Iterable[str]) -> Habits:
    """Those of the tables of these resources."""
    names = {plain_name(resources()[name].table): name for name in among}
    found = running.execute(TRIGGERED, ([*names],)) if names else []
    return Habits(
        frozenset(names[name] for name, is_triggered, _ in found if is_triggered),
        frozenset(names[name] for name, _, is_silent in found if is_silent),
    )


@cache
def ranks() -> Mapping[str, int]:
    """Each resource's place among the tables: parents have a lower one than their children."""
    return {name: rank for rank, name in enumerate(resources())}


def _pour_wave(
    running: Transaction,
    wave: Iterable[Set],
    given: Time,
    blocked: set[int],
    known: Habits,
) -> Outcome:
    found = Outcome()
    orphans: list[tuple[_Target, list[_Refused]]] = []
    for whole in wave:
        rows, behind = whole.split(blocked)
        found.waiting.extend(Waiting(row, Reason.KEY) for row in behind)
        if not rows.parts:
            continue
        resource = resources()[rows.resource]
        compiled = statement(resource, rows.op, rows.members)
        target = _Target(
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
                found.waiting.append(Waiting(each.row, Reason.PARENT, rejection))
            else:
                found.rejections.append(rejection)
    return found


def _pour_set(
    running: Transaction, target: _Target, rows: Set, given: Time
) -> tuple[Outcome, list[_Refused]]:
    """Pour a set: at once, and if that is refused or takes too long, all of it but what is bad.

    Returns what was not poured, and rows whose parent may still come.
    """
    why = BROKEN
    if given.is_over:
        return _later(rows), []
    if rows.count > 1 and not rows.conditions:
        try:
            with savepoint(running):
                places, keys = _run(running, target, rows.rows, rows.count, given)
                apart = all_apart(rows) if places else []
            return Outcome(told(apart, places), made=made(rows, keys)), []
        except SchemaMismatch as error:
            apart, broken = taken_apart(rows)
            found = Outcome([reject.broken(message, item, why) for message, item in broken])
            found.add(_mismatched(running, target, apart, error))
            return found, []
        except RefusedByDatabase as error:
            why = error
        except (StatementTimedOut, LockNotAvailable, InternalError):
            pass  # row by row it is told which
    apart, broken = taken_apart(rows)
    found = Outcome([reject.broken(message, item, why) for message, item in broken])
    outcome, refused = _apart(running, target, apart, given)
    found.add(outcome)
    waiting, rejections = _told(target.resource, refused)
    found.rejections.extend(rejections)
    return found, waiting


def made(rows: Set, keys: Sequence[Key | None]) -> list[Made]:
    """Keys as a statement answers with, see Statement.making; none if triggers have left out all
    rows."""
    found: list[Made] = []
    at = 0
    for message, part in rows.parts if keys else ():
        own = keys[at : at + len(part.items)]
        found.append(Made(message.dedup_id, rows.resource, part.items, own))
        at += len(own)
    return found


def told(rows: Sequence[Row], places: Sequence[int]) -> list[Rejection]:
    """Rejections of the rows that a statement answers with, see Statement.answers."""
    return [
        reject.missing(rows[place]) if place >= 0 else reject.untouched(rows[-1 - place])
        for place in places
    ]


def _left_out(there: int, count: int) -> list[int]:
    """The places of the rows that triggers have left out, if it is all or none of them."""
    if 0 < there < count:
        raise RefusedByDatabase("a trigger has left out some of the rows")
    return [] if there else [-1 - place for place in range(count)]


def _mismatched(
    running: Transaction, target: _Target, rows: Sequence[Row], error: DatabaseError
) -> Outcome:
    """The database is not as the models say: these rows wait, and no others. What only the models
    of another version let them do is rejected, unless that one may come back."""
    name, op = target.resource.name, target.op
    reason = given_up(target.resource, op) if error.kind == "no-right" else ""
    if reason and not is_ahead(running):
        return Outcome([reject.schema_mismatch(row, reason) for row in rows])
    logger.error(
        "the database is not as the models say; %d writes to %s wait. %s: %s",
        len(rows),
        name,
        f"The role of the drain may not {op}: invoke migrate, or grant what is missing"
        if error.kind == "no-right"
        else "Invoke migrate",
        error,
    )
    return Outcome(waiting=[Waiting(row, Reason.SCHEMA) for row in rows])


def _later(rows: Set) -> Outcome:
    apart, broken = taken_apart(rows)
    return Outcome(
        [reject.broken(message, item, BROKEN) for message, item in broken],
        [Waiting(row, Reason.TIME) for row in apart],
    )


def _told(
    resource: Resource, refused: Iterable[_Refused]
) -> tuple[list[_Refused], list[Rejection]]:
    """Rows whose parent may still come, and rejections of the others."""
    rejections: list[Rejection] = []
    waiting: list[_Refused] = []
    for each in refused:
        if reject.is_missing_parent(resource, each.row, each.error):
            waiting.append(each)
        else:
            rejections.append(reject.refused(resource, each.row, each.error))
    return waiting, rejections


def _adopted(
    running: Transaction, orphans: list[tuple[_Target, list[_Refused]]], given: Time
) -> tuple[list[tuple[_Target, list[_Refused]]], Outcome]:
    """Parents may have come with the rest of the wave: try again for as long as that helps.

    Returns what is still without a parent, and what became of the others.
    """
    found = Outcome()
    while orphans:
        left = []
        for target, refused in orphans:
            outcome, again = _apart(running, target, [each.row for each in refused], given)
            found.add(outcome)
            waiting, rejections = _told(target.resource, again)
            found.rejections.extend(rejections)
            if waiting:
                left.append((target, waiting))
        if _size(left) == _size(orphans):
            break
        orphans = left
    return orphans, found


def _apart(
    running: Transaction, target: _Target, rows: Sequence[Row], given: Time
) -> tuple[Outcome, list[_Refused]]:
    """Judge and pour all rows but the bad ones. Returns what became of those that are not as the
    write needs them or have to wait, and the refused."""
    found = Outcome()
    if any(row.message.condition for row in rows):
        judged = _parts(running, target.judge, rows, given)
        found.rejections.extend(map(reject.unmet, judged.missing))
        # A key that cannot be read, or a row that cannot: nobody knows whether the condition holds.
        found.rejections.extend(
            reject.refused(target.resource, each.row, each.error) for each in judged.refused
        )
        found.rejections.extend(judged.rejections)
        found.waiting.extend(judged.waiting)
        gone = {rejection.dedup_id for rejection in found.rejections}
        gone |= {each.row.message.dedup_id for each in judged.waiting}
        rows = [row for row in rows if row.message.dedup_id not in gone]
    parted = _parts(running, target, rows, given)
    found.rejections.extend(map(reject.missing, parted.missing))
    found.rejections.extend(map(reject.untouched, parted.untouched))
    found.rejections.extend(parted.rejections)
    found.waiting.extend(parted.waiting)
    found.made.extend(parted.made)
    return found, parted.refused


def _parts(running: Transaction, target: _Target, rows: Sequence[Row], given: Time) -> _Parted:
    """Pour all rows but those that are bad or have to wait; returns these."""
    found = _Parted()
    parts = deque([rows])
    while parts:
        part = parts.popleft()
        if not part:
            continue
        if given.is_over:
            found.waiting.extend(Waiting(row, Reason.TIME) for row in part)
            continue
        array = f"[{','.join([row.text for row in part])}]"
        conditions = [row.message.condition for row in part]
        try:
            with savepoint(running):
                places, keys = _run(running, target, array, len(part), given, conditions)
            found.missing.extend(part[place] for place in places if place >= 0)
            found.untouched.extend(part[-1 - place] for place in places if place < 0)
            found.made.extend(
                Made(row.message.dedup_id, row.message.resource, (row.item,), (key,))
                for row, key in zip(part, keys, strict=bool(keys))
            )
        except SchemaMismatch as error:
            found.add(_mismatched(running, target, part, error))
        except RefusedByDatabase as error:
            more = _without_violators(running, target, part, array, error, given, found)
            parts.extendleft(reversed(more))  # earlier rows come first where one is taken only once
        except LockNotAvailable:
            parts.extend(_without_locked(running, target, part, array, given, found))
        except (StatementTimedOut, InternalError) as error:
            if len(part) == 1:
                found.waiting.append(slow(part[0], error))
            else:
                parts.extend(_halves(part))  # last, after all that has not been tried yet
    return found


def slow(row: Row, error: DatabaseError) -> Waiting:
    """A row that is to be tried by itself, because it takes long or the server failed at it."""
    if isinstance(error, InternalError):
        resource = resources()[row.message.resource]
        refused = RefusedByDatabase(error.message, **error.attributes)
        return Waiting(row, Reason.SLOW, reject.refused(resource, row, refused))
    return Waiting(row, Reason.SLOW, reject.slow(row))


def _without_violators(
    running: Transaction,
    target: _Target,
    rows: Sequence[Row],
    array: str,
    error: RefusedByDatabase,
    given: Time,
    found: _Parted,
) -> list[Sequence[Row]]:
    """Parts of what is left to pour of rows that are refused; adds the bad ones to the found."""
    if isinstance(error, RightMissing):
        if len(rows) > 1:
            return _halves(rows)
        found.add(_mismatched(running, target, rows, error))
        return []
    bad, doubtful = _violators(running, target, array, error, given)
    if len(rows) == 1:
        found.refused.append(_Refused(rows[0], bad.get(0, error)))
        return []
    if not bad and not doubtful:
        return _halves(rows)
    found.refused.extend(_Refused(rows[place], bad[place]) for place in sorted(bad))
    apart = {*bad, *doubtful}
    rest = [row for place, row in enumerate(rows) if place not in apart]
    return [rest, [rows[place] for place in sorted(doubtful)]]


def _without_locked(
    running: Transaction,
    target: _Target,
    rows: Sequence[Row],
    array: str,
    given: Time,
    found: _Parted,
) -> list[Sequence[Row]]:
    """Parts of what is left to pour of rows of which some are locked; adds those to the found."""
    if len(rows) == 1:
        found.waiting.append(Waiting(rows[0], Reason.LOCK))
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
            found.waiting.extend(Waiting(row, Reason.LOCK) for row in rows)
            return []
        places = {place for (place,) in answer}
    if not places:
        return _halves(rows)
    found.waiting.extend(Waiting(rows[place], Reason.LOCK) for place in sorted(places))
    return [[row for place, row in enumerate(rows) if place not in places]]


def _halves(rows: Sequence[Row]) -> list[Sequence[Row]]:
    middle = len(rows) // 2
    return [rows[:middle], rows[middle:]]


def _violators(
    running: Transaction, target: _Target, array: str, error: RefusedByDatabase, given: Time
) -> tuple[dict[int, RefusedByDatabase], set[int]]:
    """Places of all rows with a fault like this one, as far as one query can find them; and of
    those that have it only if an earlier row is taken."""
    found = []
    with _answers_or_nothing(running):
        if error.kind == "value":
            query = unfit_values(target.resource, target.members)
        else:
            unique = _unique_columns(running, target, error)
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


def _unique_columns(
    running: Transaction, target: _Target, error: RefusedByDatabase
) -> tuple[str, ...]:
    if error.kind != "conflict":
        return ()
    found = running.execute(unique_columns(target.resource), {"name": error.constraint})
    return tuple(name for (name,) in found)


def _run(
    running: Transaction,
    target: _Target,
    rows: str,
    count: int,
    given: Time,
    conditions: Sequence[Condition | None] = (),
) -> tuple[list[int], list[Key | None]]:
    """The statement of a set; returns the places, and the keys, that it answers with.

    Some input functions, policies and triggers refuse a row with an SQLSTATE that otherwise says
    that the schema is not as expected. It is if the statement does without rows.
    """
    compiled = target.statement
    try:
        with savepoint(running):
            bound = compiled.bound(rows, count, conditions)
            if target.makes:
                ((keys,),) = running.execute(compiled.making, bound, **given.limits)
                left_out = _left_out(len(keys), count) if target.counts else []
                return left_out, keys if len(keys) == count else []
            if target.counts:
                ((there,),) = running.execute(compiled.counting, bound, **given.limits)
                return _left_out(there, count), []
            sql = compiled.telling if target.has_trigger and compiled.answers else compiled.sql
            found = running.execute(sql, bound, **given.limits)
            return [place for (places,) in found for place in places], []
    except SchemaMismatch as error:
        running.execute(compiled.sql, compiled.bound("[]", 0))
        kind = RightMissing if error.kind == "no-right" else RefusedByDatabase
        raise kind(error.message, **error.attributes) from error


@contextmanager
def savepoint(running: Transaction) -> Iterator[None]:
    """Of a block that fails, nothing is done, and the transaction goes on."""
    running.ahead("SAVEPOINT rows")
    try:
        yield
    except SURVIVED:
        running.ahead("ROLLBACK TO SAVEPOINT rows")
        running.forget_limits()
        raise
    finally:
        running.ahead("RELEASE SAVEPOINT rows")


@contextmanager
def _answers_or_nothing(running: Transaction) -> Iterator[None]:
    """A query that makes halving needless, and may fail: another row's value does not fit its type,
    Postgres is older than 16, it takes too long."""
    try:
        with savepoint(running):
            yield
    except SURVIVED:
        pass


def _size(orphans: Iterable[tuple[_Target, list[_Refused]]]) -> int:
    return sum(len(refused) for _, refused in orphans)
