"""What became of a request."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from chalicelib.messages.receipt import span
from chalicelib.postgres import ledger, made_keys
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.reader.listing import address, has_address, lists
from chalicelib.settings import LEDGER_DAYS

_LISTED_BYTES = 3_500_000
"""Most text of what is listed, as Lambda sends it: an answer of it takes 6 MB. What tells the items
by causes takes up to 800,000, and what the API function may add a million."""


def status(transaction: Transaction, event: Mapping[str, Any]) -> dict[str, Any]:
    """State of a request, as `{"body": JSON text, "state": …, "pending": bool, "next": …}`.

    event: the fields of a receipt; after_item: the lists begin behind that item. pending: until the
    last message is poured, or the ledger may have forgotten it, and it can be poured no more. next:
    the item behind which the lists go on, None where they are complete.
    """
    body = described(transaction, event)
    told = {"state": body["state"], "pending": body["state"] == "pending"}
    if body["rejections"]:  # the whole request, for its key
        return {**told, "body": json.dumps(body), "next": None}
    first, last = span(UUID(event["id"]), event["messages"])
    after_item = event.get("after_item", -1)
    rejections: list[dict[str, Any]] = []
    behind = 0
    if body["rejected"]:
        rejections, behind = ledger.rejections(transaction, first, last, after_item, _LISTED_BYTES)
        body["causes"] = ledger.causes(transaction, first, last)
    resource, runs = made_keys.runs(transaction, first, last) if body["applied"] else ("", [])
    runs = [run for run in runs if has_address(run.key)]
    path = f"/{resource}"
    found = lists(rejections, behind, runs, path, after_item, _LISTED_BYTES)
    body["rejections"] = found.rejections
    body["truncated"] = found.last_item is not None
    if body["truncated"]:
        body["unlisted"] = {**found.unlisted, "after_item": found.last_item}
    if runs and body["writes"] > 1:
        body["locations"] = found.locations
    elif runs:
        body["location"] = address(path, runs[0].key)
    return {**told, "body": json.dumps(body), "next": found.last_item}


def described(transaction: Transaction, event: Mapping[str, Any]) -> dict[str, Any]:
    """The document that describes the state of a request, without lists."""
    first, last = span(UUID(event["id"]), event["messages"])
    found = ledger.status(transaction, first, last, event["fingerprint"])
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
        "rejections": [],
        "truncated": False,
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
