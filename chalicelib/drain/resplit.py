"""Requests that were split in two ways, by two deployments: each row counts once."""

from collections.abc import Container, Sequence

from chalicelib.buffer.delivery import Delivery
from chalicelib.drain.sets import without
from chalicelib.messages.message import Message
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import Transaction


def without_poured(running: Transaction, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The deliveries without what messages of another split have poured, or do earlier in the list.

    A message that has nothing left has no sets; it is to be claimed all the same. deliveries: none
    twice, and none of a request that is refused.
    """
    entries = [ledger.entry(each.message) for each in deliveries if each.message]
    poured = ledger.poured_otherwise(running, entries)
    return [
        each._replace(message=_without(each.message, poured[each.dedup_id]))
        if each.message and each.dedup_id in poured
        else each
        for each in deliveries
    ]


def _without(message: Message, items: Container[int]) -> Message:
    left, _ = without(message, lambda item, _digest: item in items)
    return left
