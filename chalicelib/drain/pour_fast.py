"""A whole batch in one transaction, without savepoints: nearly always nothing is wrong with it."""

import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from chalicelib.buffer.delivery import Delivery
from chalicelib.drain import reject, superseded
from chalicelib.drain.compatibility import are_compatible, is_expired, kinds
from chalicelib.drain.set_statement import TableTraits, ranks, traits
from chalicelib.drain.sets import (
    BROKEN,
    Set,
    SetRow,
    digests_of,
    single_rows,
    split_overwritten,
    waves,
)
from chalicelib.errors import RefusedByDatabase
from chalicelib.messages.message import Message, RowSet
from chalicelib.ops import OPS
from chalicelib.postgres import ledger, made_keys, outbox, waiting
from chalicelib.postgres.connecting.connection import Transaction, transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.rejections import Rejection
from chalicelib.postgres.resources import ResourceTable, resources
from chalicelib.postgres.sql.copying import (
    CHANGED,
    NEXT_NUMBERS,
    copying,
    is_unchanged,
    table_facts,
)
from chalicelib.postgres.sql.statements import (
    NOTED,
    Statement,
    condition_check,
    overwritable,
    statement,
)

_TIME_SHARE = 0.25  # of the remaining time: for the whole batch at once
_MOST_SETS = 500  # at once: Postgres limits the time of each statement, but not of them all
_TRAITS_SECONDS = 30.0
_COPIED_ROWS = 100  # with less, the round trip of a COPY costs more than it saves
_known_tables: dict[Connection, "_Tables"] = {}


class _Tables(NamedTuple):
    """What a connection knows of the tables. until: time.monotonic(). facts: whether a resource's
    table can be copied into, by the resource and whether its key is taken; the sequence of the key;
    and the table's version. Filled as it is asked for."""

    until: float
    traits: TableTraits
    facts: dict[tuple[str, bool], tuple[bool, str | None, str]]


def plain_messages(deliveries: Sequence[Delivery]) -> list[Message]:
    """The messages of a batch, if all can be read, are distinct, recent and compatible, and make
    few sets; else none."""
    messages = [delivery.message for delivery in deliveries if delivery.message]
    if len({message.dedup_id for message in messages}) < len(deliveries):
        return []
    sent = kinds(messages)
    odd = len(sent) > _MOST_SETS or any(map(is_expired, messages))
    odd |= any(superseded.is_late(each, each.message) for each in deliveries if each.message)
    return [] if odd or not are_compatible(sent) else messages


def pour_fast(connection: Connection, messages: Sequence[Message], deadline: float) -> bool:
    """Pour all messages; returns whether any write waits, of whatever message.

    Raises DatabaseError, with nothing poured, if anything is refused, was poured before, has to
    wait or takes long.
    """
    try:
        _pour_all(connection, messages, deadline)
    except RefusedByDatabase as error:
        if not waiting.is_refusal(error):
            raise
    else:
        return False
    _pour_all(connection, messages, deadline, digests_of(messages))
    return True


def _pour_all(
    connection: Connection,
    messages: Sequence[Message],
    deadline: float,
    digests: Collection[int] | None = None,
) -> None:
    """Raises RefusedByDatabase if a write to a key with one of these digests waits; None: if any
    write waits, which costs least to ask."""
    seconds = (deadline - time.monotonic()) * _TIME_SHARE
    until = time.monotonic() + seconds
    with transaction(connection, until, lock_seconds=seconds / 2) as running:
        ledger.claim(running, [ledger.entry(message) for message in messages], digests is None)
        if digests is not None:  # after the claim, which waits for other drains' messages
            waiting.refuse_keys(running, digests)
        rejections: list[Rejection] = []
        noted: list[Set] = []
        known = _tables(connection, running)
        for wave in waves(_drop_overwritten(running, messages), ranks()):
            for rows in wave:
                resource = resources()[rows.resource]
                if rows.conditions:
                    check = condition_check(resource, rows.op, running.engine)
                    unmet = _unmet(running, check, rows)
                    rejections += map(reject.unmet, unmet)
                    rows = rows.without(unmet)
                if not rows.parts:
                    continue
                if _copied(running, known, resource, rows):
                    continue
                compiled = statement(resource, rows.op, rows.members)
                bound = compiled.bound(rows.rows, rows.count, note=len(noted))
                if known.traits.may_return_keys(rows.resource, compiled):
                    items = [(each.dedup_id, part.items) for each, part in rows.parts]
                    bound |= made_keys.places(rows.resource, items)
                    running.ahead(compiled.storing_keys, bound)
                    continue
                is_triggered = rows.resource in known.traits.triggered
                if compiled.answers and running.engine.notes:
                    noting = compiled.noting_distinguishing if is_triggered else compiled.noting
                    running.ahead(noting, bound)
                    noted.append(rows)
                elif compiled.answers:
                    asked = compiled.distinguishing if is_triggered else compiled.sql
                    rejections += _answered(rows, running.execute(asked, bound))
                else:
                    is_checked = is_triggered and not compiled.ignores
                    running.ahead(compiled.checked if is_checked else compiled.sql, bound)
        reject.keep(running, [*rejections, *_noted_rejections(running, noted)])
        outbox.enter(running, messages)


def _drop_overwritten(running: Transaction, messages: Sequence[Message]) -> list[Message]:
    """Drop rows that later rows of the same message overwrite, where that makes no difference: a
    thousand rows of one key would be a thousand statements."""
    found = []
    for message in messages:
        if not OPS[message.op].upserts or len(message.sets) == 1:
            found.append(message)
            continue
        shorter, dropped = split_overwritten(message)
        later = _by_members(shorter.sets) if dropped else {}
        for members, rows in _by_members(dropped).items():
            query = overwritable(resources()[message.resource], members)
            bound = {"rows": rows, "later": later[members]}
            if running.execute(query, bound) != [(True,)]:
                shorter = message
        found.append(shorter)
    return found


def _by_members(sets: Sequence[RowSet]) -> dict[tuple[str, ...], str]:
    """JSON arrays of the rows."""
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for rows in sets:
        found[rows.members].append(rows.rows)
    return {members: f"[{','.join(texts)}]" for members, texts in found.items()}


def _unmet(running: Transaction, check: Statement, rows: Set) -> list[SetRow]:
    """The rows whose conditions do not hold."""
    ((places,),) = running.execute(check.sql, check.bound(rows.rows, rows.count, rows.conditions))
    apart = single_rows(rows) if places else []
    return [apart[place] for place in places]


def _noted_rejections(running: Transaction, sets: Sequence[Set]) -> list[Rejection]:
    """Rejections of the rows that these sets' statements have not changed."""
    if not sets:
        return []
    answers = running.execute(NOTED, (len(sets),))
    pairs = zip(sets, answers, strict=True)
    return [each for rows, answer in pairs for each in _answered(rows, [answer])]


def _answered(rows: Set, answer: Sequence[Any]) -> list[Rejection]:
    """Rejections of the rows that a statement has not changed. answer: one row, of their places."""
    ((places,),) = answer
    return reject.by_places(single_rows(rows), places) if places else []


def _copied(running: Transaction, known: _Tables, resource: ResourceTable, rows: Set) -> bool:
    """Copy a set, unless it has to be inserted; returns whether it was copied. Raises DatabaseError
    if the table is no longer as it is known, or not all rows were written."""
    if rows.op != "create" or rows.count < _COPIED_ROWS or not running.engine.copy:
        return False
    if (how := copying(resource, rows.members, rows.documents)) is None:
        return False
    place = (rows.resource, how.takes_key)
    if place not in known.facts:
        (known.facts[place],) = running.execute(table_facts(resource, how.takes_key), {})
    is_fit, sequence, version = known.facts[place]
    if not is_fit or (how.takes_key and sequence is None):
        return False
    lines = rows.lines
    if how.takes_key:
        keys = [key for (key,) in running.execute(NEXT_NUMBERS, (sequence, rows.count))]
        parts = [(message.dedup_id, part.items) for message, part in rows.parts]
        made_keys.store(running, rows.resource, parts, keys)
        pairs = zip(keys, lines.split("\n"), strict=True)
        lines = "\n".join(map("%d,%s".__mod__, pairs))
    running.ahead(is_unchanged(resource), (version,))
    try:
        copied = running.copy(how.sql, lines)
    except RefusedByDatabase as error:
        if error.sqlstate == CHANGED:
            _known_tables.clear()
        raise
    if copied != rows.count:
        raise BROKEN
    return True


def _tables(connection: Connection, running: Transaction) -> _Tables:
    """Up to half a minute old: a query each time costs a round trip."""
    known = _known_tables.get(connection)
    if known is None or time.monotonic() > known.until:
        until = time.monotonic() + _TRAITS_SECONDS
        known = _Tables(until, traits(running, resources()), {})
        _known_tables.clear()
        _known_tables[connection] = known
    return known
