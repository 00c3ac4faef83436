"""Items whose last write Postgres has refused → what Postgres has instead.

A client was told that the write is done, and reads it by key. So the item must not keep it: it gets
the row of Postgres, or becomes a tombstone. It is left alone if somebody has written it since, as
that write has an outcome of its own; and if both agree, as after a delete of what was not there.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any

from chalicelib.buffer.dynamodb import entries, table
from chalicelib.buffer.dynamodb.entries import Damaged, Entry, FrontItem
from chalicelib.buffer.dynamodb.naming import claims_of, item_of
from chalicelib.buffer.dynamodb.table import Action
from chalicelib.contract import resources
from chalicelib.contract.resources import Resource
from chalicelib.errors import Problem
from chalicelib.messages.questions import RefusedWrite
from chalicelib.messages.receipt import new_id

logger = logging.getLogger("decanter.settle")

_LASTING = ("front-refuses", "row-too-large")


class Settled(StrEnum):
    """What became of an item. LEFT: it is right, or of a later write."""

    SET_BACK = "set_back"
    MARKED = "marked"
    LEFT = "left"


def set_back(write: RefusedWrite, entry: Entry | None, deadline: float) -> Settled:
    """Set an item back, or mark it where it cannot hold the row of Postgres.

    entry: of the item, as it may be. deadline: time.monotonic(). Raises Problem 503 for what may
    pass, 500 if the table takes no write.
    """
    item = _refused_item(write, entry)
    if item is None or (item.row is None and write.row is None and not write.is_too_large):
        return Settled.LEFT
    if not write.is_too_large:
        try:
            return _write(_actions(resources.resource(write.resource), item, write), deadline)
        except Problem as problem:
            if problem.type not in _LASTING:
                raise
    return _mark(item, write, deadline)


def item_name(write: RefusedWrite) -> str | None:
    """The name of the item of a write; None if there can be none."""
    try:
        resource = resources.resource(write.resource)
    except Problem:  # of another version
        return None
    return item_of(resource, _members(write.key)) if resource.front else None


def _refused_item(write: RefusedWrite, entry: Entry | None) -> FrontItem | None:
    """The item, if its last write is this one, and it is not marked yet."""
    if entry is None:
        return None
    try:
        item = entries.read_item(entry)
    except Damaged as error:
        logger.error("an item is left as it is: %s", error)
        return None
    is_own = item.etag == entries.etag_of(write.dedup_id) and item.refused is None
    return item if is_own else None


def _actions(resource: Resource, item: FrontItem, write: RefusedWrite) -> list[Action]:
    """The row of Postgres, and the claims of its values in place of those of the refused row.

    A value belongs to the row that has it in Postgres, whoever else has claimed it meanwhile: that
    one's write is refused there.
    """
    before, after = _claims(resource, item.row), _claims(resource, write.row)
    taken, given = after.keys() - before.keys(), before.keys() - after.keys()
    return [
        Action("Put", entries.item_entry(_true_item(item, write)), table.is_unchanged(item.etag)),
        *[Action("Put", entries.claim_entry(pk, item.pk)) for pk in sorted(taken)],
        *[Action("Delete", {"pk": {"S": pk}}, table.is_free(item.pk)) for pk in sorted(given)],
    ]


def _true_item(item: FrontItem, write: RefusedWrite) -> FrontItem:
    now = time.time()
    if write.row is None or write.etag is None:
        return entries.tombstone(item.pk, new_id(int(now * 1000)).hex, None, int(now))
    return FrontItem(item.pk, write.row, write.etag)


def _claims(resource: Resource, row: str | None) -> Mapping[str, Any]:
    if row is None:
        return {}
    claims = claims_of(resource, _members(row))
    return {pk: each for pk, each in claims.items() if len(pk.encode()) <= entries.MAX_PK_BYTES}


def _members(row: str) -> Mapping[str, Any]:
    """The members of a row, with all digits of their numbers; none if it is not a JSON object."""
    try:
        found = json.loads(row, parse_int=Decimal, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(actions: Sequence[Action], deadline: float) -> Settled:
    """Do the first action, and of the others what is still to be done: a claim that another item
    has by now is not given back."""
    left = [*actions]
    while refused := table.write(left, deadline).refused:
        if 0 in refused:
            return Settled.LEFT
        left = [action for number, action in enumerate(left) if number not in refused]
    return Settled.SET_BACK


def _mark(item: FrontItem, write: RefusedWrite, deadline: float) -> Settled:
    reason = {"type": write.type, "reason": write.reason, "id": write.dedup_id}
    marked = item._replace(refused=json.dumps(reason), write=None)
    action = Action("Put", entries.item_entry(marked), table.is_unchanged(item.etag))
    if _write([action], deadline) is Settled.LEFT:
        return Settled.LEFT
    logger.error(
        "the item %.200s keeps a row that Postgres refused, as it cannot hold the one that Postgres"
        " has: %s. Write the row again, smaller",
        item.pk,
        write.reason,
    )
    return Settled.MARKED
