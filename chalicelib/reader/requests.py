"""The status of a request."""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from chalicelib.messages.questions import StatusAnswer, StatusQuestion
from chalicelib.messages.receipt import Receipt, span
from chalicelib.postgres import made_keys
from chalicelib.postgres.accounts import accounts
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.rejections import causes, listed
from chalicelib.reader import overtaken, paces
from chalicelib.reader.listing import address, has_address, lists
from chalicelib.settings import LEDGER_DAYS

KEY_REUSED = "the Idempotency-Key was used before, for a request with different content"

_LISTED_BYTES = 3_500_000
"""Most text of the lists as Lambda sends it, of the 6 MB of an answer. Causes take up to 800,000
more, and additions of the API function a million."""


def status(transaction: Transaction, question: StatusQuestion) -> StatusAnswer:
    """The status of a request, with the lists of its items."""
    receipt, after_item = question.receipt, question.after_item
    poured = outcome(transaction, receipt)
    body = document(receipt, poured)
    state, is_pending = body["state"], body["state"] == "pending"
    if body["rejections"]:  # the whole request, for its key
        return StatusAnswer(json.dumps(body), state, is_pending)
    first, last = span(receipt.id, receipt.messages)
    rejections: list[dict[str, Any]] = []
    behind = 0
    if body["rejected"]:
        rejections, behind = listed(transaction, first, last, after_item, _LISTED_BYTES)
        body["causes"] = causes(transaction, first, last)
    if lost := overtaken.rejections(transaction, receipt, poured["lost"]):
        body["causes"].append(overtaken.cause(lost))
        known = [each for each in lost if each["item"] is not None and each["item"] > after_item]
        rejections = sorted([*rejections, *known], key=itemgetter("item"))
        behind += len(known)
    resource, runs = made_keys.runs(transaction, first, last) if body["applied"] else ("", [])
    runs = [run for run in runs if has_address(run.key)]
    path = f"/{resource}"
    found = lists(rejections, behind, runs, path, after_item, _LISTED_BYTES)
    unknown = [each for each in lost if each["item"] is None and after_item < 0]
    body["rejections"] = [*found.rejections, *unknown]
    body["truncated"] = found.last_item is not None
    if body["truncated"]:
        body["unlisted"] = {**found.unlisted, "after_item": found.last_item}
    if runs and body["writes"] > 1:
        body["locations"] = found.locations
    elif runs:
        body["location"] = address(path, runs[0].key)
    queued = max(0, body["writes"] - poured["writes"]) if is_pending else 0
    pace = paces.now(transaction) if queued else ()
    return StatusAnswer(json.dumps(body), state, is_pending, found.last_item, queued, pace)


def describe(transaction: Transaction, receipt: Receipt) -> dict[str, Any]:
    """The document of a request's status, without lists."""
    return document(receipt, outcome(transaction, receipt))


def outcome(transaction: Transaction, receipt: Receipt) -> dict[str, Any]:
    """The account of a request, and how many of its writes are lost, see `overtaken`."""
    (found,) = outcomes(transaction, [receipt])
    return found


def outcomes(transaction: Transaction, receipts: Sequence[Receipt]) -> list[dict[str, Any]]:
    """The same for many requests, in their order."""
    asked = [(str(each.id), each.messages, each.fingerprint) for each in receipts]
    found = accounts(transaction, asked)
    missing = [
        0 if _is_expired(receipt.accepted_at) else receipt.writes - account.writes
        for receipt, account in zip(receipts, found, strict=True)
    ]
    lost = overtaken.counts(transaction, receipts, missing)
    return [
        {**account._asdict(), "lost": count} for account, count in zip(found, lost, strict=True)
    ]


def document(receipt: Receipt, found: Mapping[str, Any]) -> dict[str, Any]:
    accepted_at = (
        datetime.fromtimestamp(receipt.accepted_at / 1000, UTC).isoformat(timespec="milliseconds")
        if receipt.accepted_at
        else found["accepted_at"]
    )
    writes, rejected = receipt.writes, found["rejected"]
    body = {"writes": writes, "accepted_at": accepted_at}
    if found["reused"]:
        rejections = [{"item": None, "type": "key-reused", "reason": KEY_REUSED}]
        return body | {
            "state": "rejected",
            "applied": 0,
            "rejected": writes,
            "rejections": rejections,
        }
    # Counted in writes, because a retry may be split into other messages.
    unfinished = found["writes"] < writes or found["waiting"] > 0
    if found["lost"]:
        unfinished = found["waiting"] > 0
    # Writes that wait in the database are poured at any age.
    expired = unfinished and not found["waiting"] and _is_expired(receipt.accepted_at)
    return body | {
        "state": "expired" if expired else _state(unfinished, writes, rejected + found["lost"]),
        "applied": found["writes"] - rejected - found["waiting"],
        "rejected": rejected + found["lost"],
        "poured_at": None if unfinished else found["poured_at"],
        "rejections": [],
        "truncated": False,
    }


def _is_expired(accepted_at: int) -> bool:
    """Whether the drain refuses messages of that time; False for a receipt without a time."""
    return 0 < accepted_at < (time.time() - LEDGER_DAYS * 86_400) * 1000


def _state(pending: bool, writes: int, rejected: int) -> str:
    if pending:
        return "pending"
    if not rejected:
        return "applied"
    return "rejected" if rejected == writes else "partial"
