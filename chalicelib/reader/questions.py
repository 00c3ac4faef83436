"""The questions that the reader answers: what became of a request, and one row."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from chalicelib.database import ledger
from chalicelib.database.connection import Transaction
from chalicelib.database.resources import resources
from chalicelib.database.statements import row_query
from chalicelib.errors import RefusedByDatabase

_LISTED = 1_000


def status(transaction: Transaction, event: Mapping[str, Any]) -> dict[str, Any]:
    """State of a request, as `{"body": JSON text, "pending": bool}`.

    event: the fields of a receipt. pending: until the last message is poured.
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
    pending = found["poured"] < event["messages"]
    body |= {
        "state": _state(pending, writes, rejected),
        "applied": found["writes"] - rejected,
        "rejected": rejected,
        "poured_at": None if pending else found["poured_at"],
        "rejections": found["rejections"],
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


def _state(pending: bool, writes: int, rejected: int) -> str:
    if pending:
        return "pending"
    if not rejected:
        return "applied"
    return "rejected" if rejected == writes else "partial"
