"""The questions that the reader answers: what became of a request, and one row."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from chalicelib.database import ledger
from chalicelib.database.connection import Transaction
from chalicelib.database.queries import row_query
from chalicelib.database.resources import resources
from chalicelib.errors import RefusedByDatabase
from chalicelib.settings import LEDGER_DAYS

_LISTED = 1_000


def status(transaction: Transaction, event: Mapping[str, Any]) -> dict[str, Any]:
    """State of a request, as `{"body": JSON text, "pending": bool}`.

    event: the fields of a receipt. pending: until the last message is poured, or can be no more.
    """
    first = UUID(event["id"])
    last = UUID(int=first.int + event["messages"] - 1)
    found = ledger.status(transaction, first, last, event["fingerprint"], _LISTED)
    accepted_at = (
        datetime.fromtimestamp(event["accepted_at"] / 1000, UTC).isoformat(timespec="milliseconds")
        if event["accepted_at"]
        else found["accepted_at"]
    )
    writes, rejected = event["writes"], found["rejected"]
    body = {"writes": writes, "accepted_at": accepted_at}
    if found["reused"]:
        reason = "the Idempotency-Key was used before, for a request with other content"
        rejections = [{"item": None, "type": "key-reused", "reason": reason}]
        body |= {"state": "rejected", "applied": 0, "rejected": writes, "rejections": rejections}
        return {"body": json.dumps(body), "pending": False}
    unfinished = found["poured"] < event["messages"]
    expired = unfinished and _is_expired(event["accepted_at"])
    pending = unfinished and not expired
    body |= {
        "state": "expired" if expired else _state(pending, writes, rejected),
        "applied": found["writes"] - rejected,
        "rejected": rejected,
        "poured_at": None if unfinished else found["poured_at"],
        "rejections": found["rejections"],
        "truncated": rejected > len(found["rejections"]),
    }
    return {"body": json.dumps(body), "pending": pending}


def row(transaction: Transaction, event: Mapping[str, Any]) -> dict[str, Any]:
    """One row, as `{"body": JSON text or None}`; its text comes from Postgres, with all digits.

    event: resource, and key as the JSON text of an object.
    """
    resource = resources()[event["resource"]]
    try:
        found = transaction.execute(row_query(resource), {"rows": f"[{event['key']}]"})
    except RefusedByDatabase:
        return {"body": None}  # a value that the key's type does not have names no row
    return {"body": found[0][0] if found else None}


def _is_expired(accepted_at: int) -> bool:
    """Whether the drain would take no message of that time; unknown for a receipt without one."""
    return 0 < accepted_at < (time.time() - LEDGER_DAYS * 86_400) * 1000


def _state(pending: bool, writes: int, rejected: int) -> str:
    if pending:
        return "pending"
    if not rejected:
        return "applied"
    return "rejected" if rejected == writes else "partial"
