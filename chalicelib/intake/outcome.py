"""The answer to an accepted write: 202 at once, or its outcome if the client would wait for it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.errors import Problem
from chalicelib.intake import idempotency
from chalicelib.intake.answers import Answer, listed
from chalicelib.intake.body import Refused, render
from chalicelib.intake.contract import Resource
from chalicelib.intake.prefer import Preferences
from chalicelib.intake.rows import MAX_LISTED
from chalicelib.message import Op
from chalicelib.receipt import Receipt

MAX_RETURNED = 100
"""Rows that `return=representation` gives back."""

_ONLY_OF_A_CREATE = ("handling", "resolution", "missing")


class Accepted(NamedTuple):
    """Writes that are safe on the queue. token: the receipt as the client holds it."""

    receipt: Receipt
    token: str
    queue_url: str


def answer(
    accepted: Accepted,
    resource: Resource,
    preferred: Preferences,
    refused: Sequence[Refused],
    keys: Sequence[Mapping[str, Any] | None],
    many: bool,
    op: Op = "create",
) -> Answer:
    """202, or 200 or 201 with the outcome if there is one within the seconds that are preferred.

    refused: items of the request that were not accepted. keys: of the rows to show afterwards, None
    where only the database knows it. many: whether the client sent an array. Raises Problem 422 if
    the outcome is that the Idempotency-Key was used before.
    """
    found = _outcome(accepted, preferred) if preferred.wait_seconds else None
    left_out = [] if op == "create" else [*_ONLY_OF_A_CREATE]
    headers = {"Location": f"/writes/{accepted.token}"}
    if found is None:
        headers["Retry-After"] = "1"
    told: dict[str, Any] = {
        "receipt": accepted.token,
        **(found or {"state": "pending", "writes": accepted.receipt.writes}),
        **_refused(refused),
    }
    body: Any = told
    is_applied = found is not None and found["state"] == "applied"
    if preferred.returned == "minimal" and not refused and (found is None or is_applied):
        body = ""
    elif preferred.returned == "representation" and is_applied and not refused:
        body = _rows(resource, keys, many) or told
    if body is told:
        left_out.append("return")
    status = 202
    if found is not None:
        status = 201 if op == "create" and is_applied and not refused else 200
        status = 204 if body == "" and status == 200 else status
    return Answer(status, body, {**headers, **preferred.applied(*left_out)})


def _outcome(accepted: Accepted, preferred: Preferences) -> dict[str, Any] | None:
    from chalicelib.intake import reading, waiting

    def ask() -> dict[str, Any] | None:
        try:
            found = reading.outcome(accepted.receipt)
        except Problem:
            return None  # the writes are accepted, whether they can be asked after or not
        return json.loads(found["body"]) if found else None

    found = waiting.until(ask, preferred.wait_seconds, accepted.queue_url)
    if found and any(each["type"] == "key-reused" for each in found["rejections"]):
        raise idempotency.reused()
    return found


def _rows(resource: Resource, keys: Sequence[Mapping[str, Any] | None], many: bool) -> str:
    """JSON text of the row, or of an array of the rows; empty if they cannot all be told."""
    from chalicelib.intake import reading

    known = [render(dict(key)) for key in keys if key is not None]
    if not keys or len(known) < len(keys) or len(known) > MAX_RETURNED:
        return ""
    try:
        texts = reading.rows(resource, f"[{','.join(known)}]")
    except Problem:
        return ""
    if None in texts:
        return ""
    return f"[{','.join(map(str, texts))}]" if many else str(texts[0])


def _refused(refused: Sequence[Refused]) -> dict[str, Any]:
    if not refused:
        return {}
    return {
        "refused_count": len(refused),
        "refused": [
            {
                "item": each.item,
                **({} if each.line is None else {"line": each.line}),
                "errors": listed(each.faults),
            }
            for each in refused[:MAX_LISTED]
        ],
    }
