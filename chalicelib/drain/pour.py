"""One batch → one transaction: claim, waves of sets, rejections, COMMIT.

A message is poured whole or not at all: its ledger row and its effect commit together.
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from psycopg2.extensions import connection as Connection

from chalicelib.database import ledger
from chalicelib.database.connection import Transaction, transaction
from chalicelib.database.ledger import Rejection
from chalicelib.database.resources import Resource, resources
from chalicelib.database.statements import Statement, statement
from chalicelib.drain import faults
from chalicelib.drain.batch import Delivery
from chalicelib.drain.sets import Row, Set, taken_apart, waves
from chalicelib.errors import RefusedByDatabase
from chalicelib.message import Message
from chalicelib.settings import MISSING_PARENT_RECEIVES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Refused:
    """A row that the database did not take, and why."""

    row: Row
    error: RefusedByDatabase


@dataclass(frozen=True)
class _Orphans:
    """Rows of one set whose parents are not there."""

    resource: Resource
    statement: Statement
    refused: list[_Refused]


class _Postponed(Exception):
    """Messages whose writes wait for a parent: the transaction is taken back without them."""

    def __init__(self, dedup_ids: set[str]) -> None:
        super().__init__(dedup_ids)
        self.dedup_ids = dedup_ids


def pour(connection: Connection, deliveries: Sequence[Delivery], deadline: float) -> list[Delivery]:
    """Pour a batch; returns the deliveries that are not finished and have to come again.

    These have a row whose parent is not there yet, or follow such a message in its lane.
    deadline: time.monotonic(). Raises DatabaseUnwell, DatabaseMisfit; then nothing was poured.
    """
    postponed: set[str] = set()
    while True:
        ready, waiting = _split(deliveries, postponed)
        try:
            _pour(connection, ready, deadline)
            return waiting
        except _Postponed as more:
            postponed |= more.dedup_ids


def _split(
    deliveries: Sequence[Delivery], postponed: set[str]
) -> tuple[list[Delivery], list[Delivery]]:
    """What to pour now; what waits: postponed messages, and all that follow in their lanes."""
    ready: list[Delivery] = []
    waiting: list[Delivery] = []
    blocked: set[str | None] = set()
    for delivery in deliveries:
        lane_blocked = delivery.lane is not None and delivery.lane in blocked
        if delivery.dedup_id in postponed or lane_blocked:
            waiting.append(delivery)
            blocked.add(delivery.lane)
        else:
            ready.append(delivery)
    return ready, waiting


def _pour(connection: Connection, deliveries: Sequence[Delivery], deadline: float) -> None:
    """Nearly always nothing is wrong with a batch: first all of it at once, then with care, and
    last with deferred constraints checked at once, so that a violation shows its row."""
    if messages := _plain(deliveries):
        with suppress(RefusedByDatabase), transaction(connection, deadline) as running:
            return _pour_boldly(running, messages)
    with suppress(RefusedByDatabase), transaction(connection, deadline) as running:
        return _pour_carefully(running, deliveries)
    with transaction(connection, deadline) as running:
        running.ahead("SET CONSTRAINTS ALL IMMEDIATE")
        return _pour_carefully(running, deliveries)


def _plain(deliveries: Sequence[Delivery]) -> list[Message]:
    """The messages of a batch, if all can be read, fit these models and are there once."""
    messages = [delivery.message for delivery in deliveries if delivery.message]
    if len({message.dedup_id for message in messages}) < len(deliveries):
        return []
    kinds = {(message.resource, part.members) for message in messages for part in message.sets}
    return [] if any(_misfit(*kind) for kind in kinds) else messages


def _pour_boldly(running: Transaction, messages: Sequence[Message]) -> None:
    """No savepoints, and no waiting for answers that nobody needs."""
    ledger.claim(running, [_entry(message) for message in messages])
    missing: list[Row] = []
    for wave in waves(messages, _ranks()):
        for rows in wave:
            compiled = statement(resources()[rows.resource], rows.op, rows.members)
            values = compiled.bound(rows.rows, rows.count)
            if not compiled.answers:
                running.ahead(compiled.sql, values)
            elif places := running.execute(compiled.sql, values):
                apart, _ = taken_apart(rows)
                missing += [apart[place] for (place,) in places]
    _reject(running, [faults.missing(row) for row in missing])


def _pour_carefully(running: Transaction, deliveries: Sequence[Delivery]) -> None:
    """Each message once and only if it is fresh; each set in a savepoint, halved if refused."""
    once = {delivery.dedup_id: delivery for delivery in reversed(deliveries)}
    in_order = [delivery for delivery in deliveries if once[delivery.dedup_id] is delivery]
    fresh = ledger.claim_fresh(running, [_entry(d.message, d.dedup_id) for d in in_order])
    claimed = [delivery for delivery in in_order if delivery.dedup_id in fresh]
    rejections = [faults.unreadable(d) for d in claimed if d.message is None]
    messages = []
    for message in [delivery.message for delivery in claimed if delivery.message]:
        reasons = [_misfit(message.resource, part.members) for part in message.sets]
        if any(reasons):
            rejections += faults.misfits(message, next(filter(None, reasons)))
        else:
            messages.append(message)
    patient = {d.dedup_id for d in claimed if d.receives < MISSING_PARENT_RECEIVES}
    for wave in waves(messages, _ranks()):
        rejections += _pour_wave(running, wave, patient)
    _reject(running, rejections)


def _entry(message: Message | None, dedup_id: str = "") -> ledger.Entry:
    if message is None:
        return ledger.Entry(dedup_id, '""', 0, 0)
    return ledger.Entry(message.dedup_id, message.fingerprint, message.writes, message.accepted_at)


def _reject(running: Transaction, rejections: Sequence[Rejection]) -> None:
    if rejections:
        ledger.reject(running, rejections)
        logger.warning("rejected %d writes; see decanter.rejection", len(rejections))


@cache
def _ranks() -> dict[str, int]:
    """Parents have a lower one than their children."""
    return {name: rank for rank, name in enumerate(resources())}


@cache
def _misfit(name: str, members: tuple[str, ...]) -> str:
    """Why these models cannot take rows with these members, if so."""
    resource = resources().get(name)
    if resource is None:
        return f"there is no table {name!r}"
    unknown = {*members} - {column.name for column in (*resource.writable, *resource.key)}
    return f"{name} has no column {', '.join(sorted(unknown))} to write to" if unknown else ""


def _pour_wave(running: Transaction, wave: Iterable[Set], patient: set[str]) -> list[Rejection]:
    """Raises _Postponed for messages of `patient` that have rows without their parents."""
    rejections: list[Rejection] = []
    orphans: list[_Orphans] = []
    for rows in wave:
        resource = resources()[rows.resource]
        compiled = statement(resource, rows.op, rows.members)
        try:
            missing = _run(running, compiled, rows.rows, rows.count)
        except RefusedByDatabase as error:
            apart, broken = taken_apart(rows)
            rejections += [faults.broken(message, item, error) for message, item in broken]
            missing_rows, refused = _halve(running, compiled, apart)
        else:
            apart = taken_apart(rows)[0] if missing else []
            missing_rows, refused = [apart[place] for place in missing], []
        rejections += [faults.missing(row) for row in missing_rows]
        lasting = [f for f in refused if not faults.is_missing_parent(resource, f.row, f.error)]
        rejections += [faults.refused(resource, fault.row, fault.error) for fault in lasting]
        if len(lasting) < len(refused):
            waiting = [fault for fault in refused if fault not in lasting]
            orphans.append(_Orphans(resource, compiled, waiting))
    orphans = _adopted(running, orphans)
    parentless = [(group.resource, fault) for group in orphans for fault in group.refused]
    if postponed := {fault.row.message.dedup_id for _, fault in parentless} & patient:
        raise _Postponed(postponed)
    return rejections + [
        faults.refused(resource, fault.row, fault.error) for resource, fault in parentless
    ]


def _adopted(running: Transaction, orphans: list[_Orphans]) -> list[_Orphans]:
    """Parents may have come with the rest of the wave: try again for as long as that helps."""
    while orphans:
        left = []
        for group in orphans:
            rows = [fault.row for fault in group.refused]
            _, refused = _halve(running, group.statement, rows)
            if refused:
                left.append(_Orphans(group.resource, group.statement, refused))
        if _size(left) == _size(orphans):
            break
        orphans = left
    return orphans


def _halve(
    running: Transaction, compiled: Statement, rows: Sequence[Row]
) -> tuple[list[Row], list[_Refused]]:
    """Pour all but the bad rows, which halving leaves alone; returns missing and refused ones."""
    if not rows:
        return [], []
    try:
        array = f"[{','.join(row.text for row in rows)}]"
        return [rows[place] for place in _run(running, compiled, array, len(rows))], []
    except RefusedByDatabase as error:
        if len(rows) == 1:
            return [], [_Refused(rows[0], error)]
    middle = len(rows) // 2
    missing, refused = _halve(running, compiled, rows[:middle])
    more_missing, more_refused = _halve(running, compiled, rows[middle:])
    return missing + more_missing, refused + more_refused


def _run(running: Transaction, compiled: Statement, rows: str, count: int) -> list[int]:
    """One statement in a savepoint. Raises RefusedByDatabase with nothing of it done."""
    running.ahead("SAVEPOINT rows")
    try:
        places = running.execute(compiled.sql, compiled.bound(rows, count))
        return [place for (place,) in places]
    except RefusedByDatabase:
        running.ahead("ROLLBACK TO SAVEPOINT rows")
        raise
    finally:
        running.ahead("RELEASE SAVEPOINT rows")


def _size(orphans: Iterable[_Orphans]) -> int:
    return sum(len(group.refused) for group in orphans)
