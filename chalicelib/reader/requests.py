"""What became of a request."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from chalicelib.database import ledger
from chalicelib.database.connection import Transaction
from chalicelib.receipt import span
from chalicelib.settings import LEDGER_DAYS

_LISTED = 1_000


def status(transaction: Transaction, event: Mapping[str, Any]) -> dict[str, Any]:
    """State of a request, as `{"body": JSON text, "state": …, "pending": bool}`.

    event: the fields of a receipt. pending: until the last message is poured, or the ledger may
    have forgotten it, and it can be poured no more.
    """
    body = described(transaction, event, _LISTED)
    state = body["state"]
    return {"body": json.dumps(body), "state": state, "pending": state == "pending"}


def described(transaction: Transaction, event: Mapping[str, Any], listed: int) -> dict[str, Any]:
    """The document that describes the state of a request, with at most so many rejections."""
    first, last = span(UUID(event["id"]), event["messages"])
    found = ledger.status(transaction, first, last, event["fingerprint"], listed)
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
        return body | {
            "state": "rejected",
            "applied": 0,
            "rejected": writes,
            "rejections": rejections,
        }
    # Not by messages: those of a retry may be split in another way.
    unfinished = found["writes"] < writes or found["waiting"] > 0
    # What waits in the database is poured however old it is.
    expired = unfinished and not found["waiting"] and _is_expired(event["accepted_at"])
    return body | {
        "state": "expired" if expired else _state(unfinished, writes, rejected),
        "applied": found["writes"] - rejected - found["waiting"],
        "rejected": rejected,
        "poured_at": None if unfinished else found["poured_at"],
        "rejections": found["rejections"],
        "truncated": rejected > len(found["rejections"]),
    }


def _is_expired(accepted_at: int) -> bool:
    """Whether the drain would take no message of that time; unknown for a receipt without one."""
    return 0 < accepted_at < (time.time() - LEDGER_DAYS * 86_400) * 1000


def _state(pending: bool, writes: int, rejected: int) -> str:
    if pending:
        return "pending"
    if not rejected:
        return "applied"
    return "rejected" if rejected == writes else "partial"
