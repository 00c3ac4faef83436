"""Late writes, which arrive after a newer write to their key was poured: redriven dead letters,
messages that somebody sent again. An older write never overwrites a newer one."""

import logging
import time
from collections.abc import Mapping, Sequence

from chalicelib.buffer.delivery import Delivery
from chalicelib.drain import reject
from chalicelib.drain.sets import digests_of, without
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


def without_superseded(
    running: Transaction, deliveries: Sequence[Delivery]
) -> tuple[list[Message], list[Rejection]]:
    """The messages of deliveries without superseded writes, and rejections of these.

    deliveries: claimed, in the order in which they are poured. Nearly always none is late, and no
    query is made. If the query takes too long, late writes are poured.
    """
    messages = [each.message for each in deliveries if each.message]
    late = {each.dedup_id: each.message for each in deliveries
            if each.message and is_late(each, each.message)}  # fmt: skip
    if not late:
        return messages, []
    newest: dict[int, int] = {}
    try:
        with savepoint(running):
            since = min(each.accepted_at for each in late.values())
            keys = digests_of(late.values())
            newest = ledger.later_writes(running, keys, since, [*late], _SECONDS)
    except StatementTimedOut:
        logger.warning(
            "%d late messages are poured without a search for newer writes to their keys: the"
            " ledger has too many rows since they were accepted",
            len(late),
        )
    left: list[Message] = []
    rejections: list[Rejection] = []
    for message in messages:
        digests = [digest for rows in message.sets for digest in rows.digests]
        if message.dedup_id in late:
            message, more = _without_superseded(message, newest)
            rejections += more
        left.append(message)
        for digest in digests:
            newest[digest] = max(newest.get(digest, 0), message.accepted_at)
    return left, rejections


def _without_superseded(
    message: Message, newest: Mapping[int, int]
) -> tuple[Message, list[Rejection]]:
    def goes(_item: int, digest: int | None) -> bool:
        return newest.get(digest or 0, 0) > message.accepted_at + ledger.CLOCK_MILLISECONDS

    digests = {
        item: digest
        for rows in message.sets
        for item, digest in zip(rows.items, rows.digests, strict=False)
    }
    left, gone = without(message, goes)
    return left, [reject.superseded(row, newest[digests[row.item]]) for row in gone]
