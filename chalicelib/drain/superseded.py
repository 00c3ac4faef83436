"""Late writes, which arrive after a newer write to their key was poured: redriven dead letters,
messages that somebody sent again. An older write never overwrites a newer one."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from chalicelib.buffer.delivery import Delivery
from chalicelib.drain import reject
from chalicelib.drain.sets import SetRow, digests_of, without
from chalicelib.errors import StatementTimedOut
from chalicelib.messages.message import Message
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import Transaction, savepoint
from chalicelib.postgres.rejections import Rejection
from chalicelib.postgres.resources import identifies_keys

logger = logging.getLogger("decanter.drain")

_BUFFERED_MILLISECONDS = 30_000
"""The longest time from acceptance to the buffer: API Gateway gives up after 29 s."""

_SECONDS = 10.0


def is_late(delivery: Delivery, message: Message) -> bool:
    """Whether the message may have come into its lane long after its acceptance."""
    since = time.time() * 1000 if delivery.buffered_at is None else delivery.buffered_at
    if since - message.accepted_at <= _BUFFERED_MILLISECONDS:
        return False
    return any(rows.digests for rows in message.sets) and identifies_keys(message.resource)


class Parted(NamedTuple):
    """Messages without superseded writes.

    messages: what may be poured; a message may have no set left. rejections: of superseded writes.
    behind: late writes behind a newer one to their key, of which nobody knows yet whether it will
    be applied.
    """

    messages: list[Message]
    rejections: list[Rejection]
    behind: list[SetRow]


def part(
    running: Transaction, messages: Sequence[Message], late: Collection[str], new: Collection[str]
) -> Parted:
    """Part superseded writes from messages, which are in the order in which they are poured.

    late: dedup IDs of messages that `is_late`. Nearly always there is none, and no query is made.
    new: dedup IDs of messages that the ledger has from this transaction, so that it is not known
    yet what becomes of them. If the query takes too long, late writes are poured.
    """
    parted = Parted([], [], [])
    if not late:
        return parted._replace(messages=[*messages])
    applied = _applied(running, [each for each in messages if each.dedup_id in late], new)
    ahead: dict[int, int] = {}
    for message in messages:
        if message.dedup_id in late:
            message, gone = without(message, _older_than(applied, message))
            parted.rejections.extend(
                reject.superseded(row, applied[row.digest])
                for row in gone
                if row.digest is not None
            )
            message, behind = without(message, _older_than(ahead, message))
            parted.behind.extend(behind)
        parted.messages.append(message)
        for digest in digests_of([message]):
            ahead[digest] = max(ahead.get(digest, 0), message.accepted_at)
    return parted


def _applied(
    running: Transaction, late: Sequence[Message], new: Collection[str]
) -> Mapping[int, int]:
    """When the newest applied writes to keys of these messages were accepted, by digest."""
    since = min(each.accepted_at for each in late)
    own = [*{*new, *(each.dedup_id for each in late)}]
    try:
        with savepoint(running):
            return ledger.later_writes(running, digests_of(late), since, own, _SECONDS)
    except StatementTimedOut:
        logger.warning(
            "%d late messages are poured without a search for newer writes to their keys: the"
            " ledger has too many rows since they were accepted",
            len(late),
        )
        return {}


def _older_than(newest: Mapping[int, int], message: Message) -> Callable[[int, int | None], bool]:
    """Whether a row of the message is older than the newest one of its key."""
    latest = message.accepted_at + ledger.CLOCK_MILLISECONDS
    return lambda _, digest: digest is not None and newest.get(digest, 0) > latest
