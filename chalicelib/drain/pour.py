"""One batch → one transaction: claim, waves of sets, rejections, COMMIT.

A message is poured whole or not at all: its ledger row and its effect commit together.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, lru_cache

from psycopg2.extensions import connection as Connection

from chalicelib.database import ledger
from chalicelib.database.connection import Transaction, transaction
from chalicelib.database.judging import judgement
from chalicelib.database.ledger import Rejection
from chalicelib.database.pieces import constraint_name
from chalicelib.database.resources import resources
from chalicelib.database.revisions import is_ahead
from chalicelib.database.statements import NOTED, Statement, statement
from chalicelib.drain import faults
from chalicelib.drain.batch import Delivery
from chalicelib.drain.isolation import Postponed, pour_wave
from chalicelib.drain.sets import Row, Set, all_apart, waves
from chalicelib.errors import DatabaseMisfit, RefusedByDatabase
from chalicelib.message import Message, Op
from chalicelib.settings import LEDGER_DAYS, MISSING_PARENT_TRIES

logger = logging.getLogger("decanter.drain")

_ALL = ("ALL",)
_DELIVERIES_AT_ONCE = 3  # of a batch, before it is poured in parts


def pour(connection: Connection, deliveries: Sequence[Delivery], deadline: float) -> list[Delivery]:
    """Pour a batch; returns the deliveries that are not finished and have to come again.

    These have a row whose parent is not there yet, are of a newer version, or follow such a message
    in its lane.
    deadline: time.monotonic(). Raises DatabaseUnwell, DatabaseMisfit; then nothing was poured.
    """
    postponed: set[str] = set()
    orphans: set[str] = set()
    while True:
        ready, waiting = _split(deliveries, postponed)
        try:
            if ready:
                _pour(connection, ready, deadline)
            break
        except Postponed as more:
            postponed |= more.dedup_ids
            orphans |= more.dedup_ids if more.orphans else set()
    if orphans:
        with transaction(connection, deadline) as running:
            ledger.count_try(running, orphans)
    return waiting


def _split(
    deliveries: Sequence[Delivery], postponed: set[str]
) -> tuple[list[Delivery], list[Delivery]]:
    """What to pour now; what waits: messages that are postponed or for a newer version to read, and
    all that follow in their lanes."""
    ready: list[Delivery] = []
    waiting: list[Delivery] = []
    blocked: set[str | None] = set()
    for delivery in deliveries:
        lane_blocked = delivery.lane is not None and delivery.lane in blocked
        if delivery.is_newer or delivery.dedup_id in postponed or lane_blocked:
            waiting.append(delivery)
            blocked.add(delivery.lane)
        else:
            ready.append(delivery)
    return ready, waiting


def _pour(connection: Connection, deliveries: Sequence[Delivery], deadline: float) -> None:
    """Nearly always nothing is wrong with a batch: first all of it at once, then with care.

    Care takes time. A batch that comes again and again is poured in parts, half as large each time,
    so that it gets done even if it is full of bad rows.
    """
    left = deliveries
    while left:
        if (messages := _plain(left)) and _pour_boldly(connection, messages, deadline):
            return
        retries = max(each.receives for each in left) - _DELIVERIES_AT_ONCE
        size = max(1, len(deliveries) >> max(0, retries))
        part, left = left[:size], left[size:]
        _pour_part(connection, part, deadline)


def _pour_part(connection: Connection, deliveries: Sequence[Delivery], deadline: float) -> None:
    """With care. A deferred constraint that turns out to be violated is checked at once the next
    time, so that it shows its row; the others are not, because rows that need each other across two
    tables violate one of theirs until both are there."""
    at_once: tuple[str, ...] = ()
    while True:
        try:
            with transaction(connection, deadline) as running:
                if at_once:
                    running.ahead(f"SET CONSTRAINTS {', '.join(at_once)} IMMEDIATE")
                _pour_carefully(running, deliveries)
            return
        except (RefusedByDatabase, DatabaseMisfit) as error:
            if at_once == _ALL or (isinstance(error, DatabaseMisfit) and not at_once):
                raise
            name = constraint_name(error.schema, error.constraint)
            # A trigger may name a constraint that there is not, or none.
            is_new = name not in ("", *at_once) and isinstance(error, RefusedByDatabase)
            at_once = (*at_once, name) if is_new else _ALL


def _plain(deliveries: Sequence[Delivery]) -> list[Message]:
    """The messages of a batch, if all can be read, are new enough, fit and are there once."""
    messages = [delivery.message for delivery in deliveries if delivery.message]
    if len({message.dedup_id for message in messages}) < len(deliveries):
        return []
    kinds = {(each.resource, each.op, part.members) for each in messages for part in each.sets}
    odd = any(_misfit(*kind) for kind in kinds) or any(map(_is_expired, messages))
    return [] if odd else messages


def _pour_boldly(connection: Connection, messages: Sequence[Message], deadline: float) -> bool:
    """No savepoints, and no waiting for answers that nobody needs. False: something is refused, or
    was poured before, and nothing of this is done."""
    with (
        suppress(RefusedByDatabase, DatabaseMisfit),
        transaction(connection, deadline) as running,
    ):
        _pour_at_once(running, messages)
        return True
    return False


def _pour_at_once(running: Transaction, messages: Sequence[Message]) -> None:
    ledger.claim(running, [_entry(message) for message in messages])
    rejections: list[Rejection] = []
    noted: list[Set] = []
    for wave in waves(messages, _ranks()):
        for rows in wave:
            resource = resources()[rows.resource]
            if rows.conditions:
                unmet = _unmet(running, judgement(resource, rows.op), rows)
                rejections += map(faults.unmet, unmet)
                rows = rows.without(unmet)
            if not rows.parts:
                continue
            compiled = statement(resource, rows.op, rows.members)
            running.ahead(compiled.sql, compiled.bound(rows.rows, rows.count, note=len(noted)))
            if compiled.answers:
                noted.append(rows)
    _reject(running, [*rejections, *map(faults.missing, _noted(running, noted))])


def _unmet(running: Transaction, judge: Statement, rows: Set) -> list[Row]:
    """The rows whose conditions do not hold."""
    ((places,),) = running.execute(judge.sql, judge.bound(rows.rows, rows.count, rows.conditions))
    return _rows_at(rows, places)


def _noted(running: Transaction, sets: Sequence[Set]) -> list[Row]:
    """The rows that these sets' statements have not found in the table."""
    if not sets:
        return []
    answers = running.execute(NOTED, (len(sets),))
    pairs = zip(sets, answers, strict=True)
    return [row for rows, (places,) in pairs for row in _rows_at(rows, places)]


def _rows_at(rows: Set, places: Sequence[int]) -> list[Row]:
    apart = all_apart(rows) if places else []
    return [apart[place] for place in places]


def _pour_carefully(running: Transaction, deliveries: Sequence[Delivery]) -> None:
    """Each message once and only if it is fresh; each set in a savepoint, halved if refused."""
    reused = ledger.claim_requests(running, [_entry(d.message) for d in deliveries if d.message])
    if reused:
        logger.warning("refused %d messages of a reused Idempotency-Key", len(reused))
    theirs = [d for d in deliveries if not (d.message and _entry(d.message) in reused)]
    once = {delivery.dedup_id: delivery for delivery in reversed(theirs)}
    in_order = [delivery for delivery in theirs if once[delivery.dedup_id] is delivery]
    if not in_order:
        return
    fresh = ledger.claim_fresh(running, [_entry(d.message, d.dedup_id) for d in in_order])
    claimed = [delivery for delivery in in_order if delivery.dedup_id in fresh]
    rejections = [faults.unreadable(d) for d in claimed if d.message is None]
    messages = []
    misfits: dict[str, str] = {}
    for message in [delivery.message for delivery in claimed if delivery.message]:
        if _is_expired(message):
            reason = f"accepted more than {LEDGER_DAYS} days ago: it may have been poured before"
            rejections += faults.whole(message, "expired", reason)
        elif reason := _misfits(message):
            misfits[message.dedup_id] = reason
            rejections += faults.whole(message, "misfit", reason)
        else:
            messages.append(message)
    if misfits and is_ahead(running):
        logger.error(
            "%d messages are for tables or columns of a version that was deployed after this one,"
            " for example: %s; they stay queued, and what follows in their lanes. Deploy that"
            " version again, or a later one.",
            len(misfits),
            next(iter(misfits.values())),
        )
        raise Postponed({*misfits})
    patient = {delivery.dedup_id for delivery in claimed} - _impatient(running, claimed)
    for wave in waves(messages, _ranks()):
        rejections += pour_wave(running, wave, patient)
    _reject(running, rejections)


def _impatient(running: Transaction, claimed: Sequence[Delivery]) -> set[str]:
    """Messages that do not wait for a parent any longer. How often SQS has delivered them says no
    more than that it is not too early: a database that was away made most of those fail."""
    often = [each.dedup_id for each in claimed if each.receives >= MISSING_PARENT_TRIES]
    return ledger.tried(running, often, MISSING_PARENT_TRIES - 1) if often else set()


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


def _is_expired(message: Message) -> bool:
    return message.accepted_at < (time.time() - LEDGER_DAYS * 86_400) * 1000


def _misfits(message: Message) -> str:
    reasons = (_misfit(message.resource, message.op, part.members) for part in message.sets)
    return next(filter(None, reasons), "")


@lru_cache(maxsize=1_000)
def _misfit(name: str, op: Op, members: tuple[str, ...]) -> str:
    """Why these models cannot take rows with these members, if so.

    Such rows are of a foreign message, or were accepted under other models.
    """
    resource = resources().get(name)
    if resource is None:
        return f"there is no table {name!r}"
    key = {column.name for column in resource.key}
    writable = {column.name for column in resource.writable}
    inserts = op not in ("merge", "delete")
    if unknown := {*members} - (writable if inserts else writable | key):
        return f"{name} has no column {', '.join(sorted(unknown))} to write to"
    if not op.startswith("create") and not (key and key <= {*members}):
        return f"a {op} has to name the key of {name}"
    if op == "merge" and key == {*members}:
        return "a merge has to change something"
    is_keyed = op.startswith("create-") and not key.isdisjoint(members)
    if is_keyed and resource.table.primary_key.deferrable:
        return f"the key of {name} is deferrable: Postgres cannot tell by it which rows are there"
    return ""
