"""Writes in front that never reached Postgres: the stream lost them before they were poured, and by
then a later write had taken their place in the table."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from chalicelib.messages.receipt import Receipt, front_item, is_of_front
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import Transaction

REASON = (
    "a later write to this row took its place: Postgres was out of reach for longer than the stream"
    " of the table in front keeps a write"
)

_SUPERSEDED = {"type": "superseded", "sqlstate": None, "constraint": None, "column": None}


def counts(
    transaction: Transaction, receipts: Sequence[Receipt], missing: Sequence[int]
) -> list[int]:
    """How many writes of each request are lost, of which so many are not in the ledger: all of
    these, once everything that was accepted at that time is poured from the front table."""
    possible = [
        count if is_of_front(receipt.id) else 0
        for receipt, count in zip(receipts, missing, strict=True)
    ]
    reconciled = ledger.reconciled(transaction) if any(possible) else 0
    return [
        count if receipt.accepted_at < reconciled else 0
        for receipt, count in zip(receipts, possible, strict=True)
    ]


def rejections(transaction: Transaction, receipt: Receipt, lost: int) -> list[dict[str, Any]]:
    """The lost writes of a request, as its status lists rejections.

    Their items are None if they cannot be told from items between them that were not written at
    all, such as rows that existed under `ignore-duplicates`.
    """
    if not lost:
        return []
    ids = [receipt.dedup_id(number) for number in range(receipt.messages)]
    poured = ledger.known(transaction, ids)
    items: Sequence[int | None] = [front_item(UUID(each)) for each in ids if each not in poured]
    if len(items) > lost:
        items = [None] * lost
    return [{"item": item, "reason": REASON, **_SUPERSEDED} for item in items]


def cause(lost: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The lost writes together, as a status groups rejections; with their items if these are
    known."""
    items = [each["item"] for each in lost if each["item"] is not None]
    known = {"items": _ranges(items)} if items else {}
    return {**_SUPERSEDED, "count": len(lost), **known}


def _ranges(items: Sequence[int]) -> str:
    """`3-17,20`"""
    found: list[tuple[int, int]] = []
    for item in items:
        begin = found.pop()[0] if found and found[-1][1] == item - 1 else item
        found.append((begin, item))
    return ",".join([f"{a}-{b}" if a < b else str(a) for a, b in found])
