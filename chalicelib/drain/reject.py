"""Refusals of the database → rejections that a client understands."""

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest

from chalicelib.buffer.delivery import Delivery
from chalicelib.drain.sets import Set, SetRow, separate_rows
from chalicelib.errors import ErrorKind, RefusedByDatabase, shortened
from chalicelib.messages.message import ANY_ROW, Message
from chalicelib.ops import OPS
from chalicelib.postgres import settling
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.constraint_names import name_of
from chalicelib.postgres.rejections import Rejection, insert
from chalicelib.postgres.resources import ResourceTable
from chalicelib.postgres.sql import sequences
from chalicelib.postgres.sql.violations import foreign_key
from chalicelib.settings import SLOW_TRIES

logger = logging.getLogger("decanter.drain")

_TYPES: Mapping[ErrorKind, str] = {
    "conflict": "conflict",
    "exclusion": "conflict",
    "missing-parent": "missing-parent",
    "still-referenced": "still-referenced",
    "null": "null",
    "check": "check",
    "value": "value",
    "unsupported": "value",
    "no-operator": "value",
    "too-large": "value",
}
"""Any other kind is the refusal of a trigger or a policy."""

_SHOWN = 1_000  # characters of Postgres' message, and of its detail: a value may be megabytes
_NAME_SHOWN = 100  # characters of a name: a trigger may give any text as one
_TAKEN = re.compile(r"\((.+?)\)=\(")  # columns, in a detail in any language


def refused(resource: ResourceTable, row: SetRow, error: RefusedByDatabase) -> Rejection:
    """A write that violates a constraint, a type or a trigger."""
    kind = _TYPES.get(error.kind, "trigger")
    if kind == "missing-parent" and not is_missing_parent(resource, row, error):
        kind = "still-referenced"
    return _of_row(row, kind, _sentence(error) + _cure(resource, row, error), error)


def is_missing_parent(resource: ResourceTable, row: SetRow, error: RefusedByDatabase) -> bool:
    """Whether the row refers to one that does not exist (yet), and not the other way round.

    Both look the same where rows of the same table, or of one with the same name, refer to a column
    that a write may change: then only an English detail distinguishes them.
    """
    if "still referenced" in (error.detail or ""):
        return False
    # A partition has another name than its table, and the table's foreign keys.
    own = error.table == resource.table.name or foreign_key(resource.table, error.constraint)
    return error.kind == "missing-parent" and bool(own) and not OPS[row.message.op].removes


def may_pass(resource: ResourceTable, row: SetRow, error: RefusedByDatabase) -> bool:
    """Whether a write to another row, which may be on its way, can lift the refusal: to the row
    that this one refers to; or, of a resource in front, to the row that has its unique value, or
    that refers to it.

    Writes in front are accepted in an order in which each is valid, and a stream brings those to
    different rows in any order. Behind a queue, nobody has judged them before.
    """
    if is_missing_parent(resource, row, error):
        return True
    is_taken = error.kind == "conflict" and not _is_of_key(resource, error)
    is_held = error.kind in ("still-referenced", "missing-parent")
    return resource.has_items and (is_taken or is_held)


def _is_of_key(resource: ResourceTable, error: RefusedByDatabase) -> bool:
    return error.constraint == name_of(resource.table.primary_key)


def missing(row: SetRow) -> Rejection:
    """A merge or delete of a row that does not exist."""
    if row.message.condition and row.message.condition.match is not None:
        return unmet(row)  # the row went after the check: with another one of the set, by a cascade
    reason = f"{row.message.resource} has no row with this key to {row.message.op}"
    return _of_row(row, "missing", reason)


def untouched(row: SetRow) -> Rejection:
    """A write that a trigger ignored without an error."""
    reason = (
        f"a trigger of {row.message.resource} left the row out or unchanged, and may have done"
        " something else instead"
    )
    return _rejection(row.message, row.item, "trigger", reason, row.text)


def by_places(rows: Sequence[SetRow], places: Sequence[int]) -> list[Rejection]:
    """Rejections of the rows that a statement has not written, see Statement.answers."""
    return [missing(rows[place]) if place >= 0 else untouched(rows[-1 - place]) for place in places]


def unmet(row: SetRow) -> Rejection:
    """A write whose condition does not hold. The reason reveals nothing of the row."""
    match, none_match = row.message.condition or (None, None)
    name = row.message.resource
    if match and none_match:
        reason = f"the row of {name} does not meet If-Match and If-None-Match"
    elif match == ANY_ROW:
        reason = f"If-Match: {name} has no row with this key"
    elif match is not None:
        reason = f"If-Match: the row of {name} was changed or deleted, or never had this ETag"
    elif none_match == ANY_ROW:
        reason = f"If-None-Match: {name} has a row with this key"
    else:
        reason = f"If-None-Match: the row of {name} has one of these ETags"
    return _of_row(row, "precondition-failed", reason)


def schema_mismatch(row: SetRow, reason: str) -> Rejection:
    """A write that was accepted under other models."""
    return _of_row(row, "schema-mismatch", reason)


def superseded(row: SetRow, accepted_at: int) -> Rejection:
    """A write that came after a newer one to its key, accepted then (in ms since the epoch)."""
    at = datetime.fromtimestamp(accepted_at / 1000, UTC).isoformat(timespec="milliseconds")
    reason = f"a later write to this row, accepted at {at}, was poured before this one"
    return _of_row(row, "superseded", reason)


def slow(row: SetRow) -> Rejection:
    """A write that takes longer than a whole invocation."""
    reason = (
        f"it was not done within an invocation of its own, {SLOW_TRIES} times: a trigger, a cascade"
        " or a foreign key without an index may be slow"
    )
    return _of_row(row, "timeout", reason)


def keep(running: Transaction, rejections: Sequence[Rejection]) -> None:
    """Keep rejections, and log how many there are. Raises Unsettled, with nothing kept."""
    if rejections:
        settling.require(running)
        insert(running, rejections)
        logger.warning("rejected %d writes; see decanter.rejection", len(rejections))


def whole(message: Message, kind: str, reason: str) -> list[Rejection]:
    """All writes of a message, for one reason."""
    digests = {
        item: digest
        for part in message.sets
        for item, digest in zip_longest(part.items, part.digests)
    }
    parts = tuple((message, part) for part in message.sets)
    rows, unreadable_rows = separate_rows(Set(message.resource, message.op, (), parts))
    return [_of_row(row, kind, reason) for row in rows] + [
        _rejection(message, item, kind, reason, digest=digests[item]) for _, item in unreadable_rows
    ]


def broken(message: Message, item: int, error: RefusedByDatabase) -> Rejection:
    """A write whose row is not JSON, or missing."""
    return _rejection(message, item, "value", _sentence(error), error=error)


def unreadable(delivery: Delivery) -> Rejection:
    """A message that Decanter did not write, kept whole."""
    text = delivery.body.encode("utf-8", "backslashreplace").decode()
    return Rejection(
        dedup_id=delivery.dedup_id,
        item=0,
        resource=None,
        op=None,
        type="foreign-message",
        reason=delivery.fault,
        body=text.replace("\0", "\\u0000"),
    )


def _cure(resource: ResourceTable, row: SetRow, error: RefusedByDatabase) -> str:
    """What to do if the number that a sequence gave is taken; empty in all other cases."""
    taken = _TAKEN.search(error.detail or "") if error.kind == "conflict" else None
    names = taken[1].split(", ") if taken else []
    for column in resource.table.columns:
        name = sequences.plain(column)
        if name in names and column.name not in row.members and (sql := sequences.catch_up(column)):
            return (
                f" A sequence gives {name} to this write, and it is behind rows that were written"
                f" with {name}. Operator: {sql}; then have the write sent again"
            )
    return ""


def _sentence(error: RefusedByDatabase) -> str:
    return ": ".join([shortened(text, _SHOWN) for text in (error.message, error.detail) if text])


def _name(name: str | None) -> str | None:
    """The name of a constraint or a column, shortened."""
    return None if name is None else shortened(name, _NAME_SHOWN)


def _of_row(
    row: SetRow, kind: str, reason: str, error: RefusedByDatabase | None = None
) -> Rejection:
    return _rejection(row.message, row.item, kind, reason, row.text, error, row.digest)


def _rejection(
    message: Message,
    item: int,
    kind: str,
    reason: str,
    row: str | None = None,
    error: RefusedByDatabase | None = None,
    digest: int | None = None,
) -> Rejection:
    return Rejection(
        dedup_id=message.dedup_id,
        item=item,
        resource=message.resource,
        op=message.op,
        type=kind,
        reason=reason,
        sqlstate=error.sqlstate if error else None,
        constraint=_name(error.constraint) if error else None,
        column=_name(error.column) if error else None,
        row=row if row is not None and _is_text(row) else None,
        digest=digest,
        caller=message.caller or None,
    )


def _is_text(row: str) -> bool:
    """Whether Postgres can store it: half of a surrogate pair is not a character."""
    try:
        row.encode()
    except UnicodeEncodeError:
        return False
    return True
