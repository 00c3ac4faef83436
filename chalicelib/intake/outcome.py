"""The answer to an accepted write: 202 at once, or its outcome if the client would wait for it."""

import json
import logging
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
from chalicelib.receipt import Receipt, span

logger = logging.getLogger("decanter.intake")

MAX_RETURNED = 100
"""Rows that `return=representation` gives back."""

_ONLY_OF_A_CREATE = ("handling", "resolution", "missing")


class Accepted(NamedTuple):
    """Writes that are safe on the queue. token: the receipt as the client holds it."""

    receipt: Receipt
    token: str
    queue_url: str


class Shown(NamedTuple):
    """What a client would see of its writes once they are applied.

    keys: of the rows, none if they are not to be shown, None where only the database knows it.
    many: whether the client sent an array.
    """

    resource: Resource
    keys: Sequence[Mapping[str, Any] | None]
    many: bool


def pending(
    accepted: Accepted, preferred: Preferences, refused: Sequence[Refused], op: Op
) -> Answer:
    """202: what a client gets of accepted writes in any case.

    refused: items of the request that were not accepted.
    """
    told = {
        "receipt": accepted.token,
        "state": "pending",
        "writes": accepted.receipt.writes,
        **_refused(refused),
    }
    body = "" if preferred.returned == "minimal" and not refused else told
    headers = {"Location": f"/writes/{accepted.token}", "Retry-After": "1"}
    return Answer(202, body, {**headers, **_applied(preferred, op, body is told)})


def answer(
    accepted: Accepted,
    otherwise: Answer,
    deadline: float,
    preferred: Preferences,
    refused: Sequence[Refused],
    shown: Shown,
    op: Op,
) -> Answer:
    """200, 201 or 204 with the outcome if there is one until the deadline, a time.monotonic().

    otherwise: the answer if there is none, or anything at all goes wrong: the writes are on the
    queue, and their client is to know. Raises only Problem 422, if the outcome is that the
    Idempotency-Key was used before.
    """
    try:
        if not accepted.receipt.accepted_at:
            request_id, _ = span(accepted.receipt.id, accepted.receipt.messages)
            idempotency.remember(request_id, accepted.receipt.fingerprint)
        found = _outcome(accepted, deadline) if preferred.wait_seconds else None
        if found is None:
            return otherwise
        is_reused = any(each["type"] == "key-reused" for each in found["rejections"])
        answer = _with_outcome(accepted, found, deadline, preferred, refused, shown, op)
    except Exception:
        logger.exception("cannot tell what became of request %s", accepted.receipt.id)
        return otherwise
    if is_reused:
        raise idempotency.reused()
    return answer


def _with_outcome(
    accepted: Accepted,
    found: Mapping[str, Any],
    deadline: float,
    preferred: Preferences,
    refused: Sequence[Refused],
    shown: Shown,
    op: Op,
) -> Answer:
    told = json.dumps({"receipt": accepted.token, **found, **_refused(refused)})
    body = told
    is_good = found["state"] == "applied" and not refused
    if preferred.returned == "minimal" and is_good:
        body = ""
    elif preferred.returned == "representation" and is_good:
        body = _rows(shown, deadline) or told
    status = 201 if op == "create" and is_good else 200 if body else 204
    headers = {"Location": f"/writes/{accepted.token}"}
    return Answer(status, body, {**headers, **_applied(preferred, op, body is told)})


def _applied(preferred: Preferences, op: Op, is_told: bool) -> dict[str, str]:
    """The Preference-Applied header. is_told: whether the body is neither the row nor empty."""
    left_out = [] if op == "create" else [*_ONLY_OF_A_CREATE]
    return preferred.applied(*left_out, *(["return"] if is_told else []))


def _outcome(accepted: Accepted, deadline: float) -> dict[str, Any] | None:
    from chalicelib.intake import reading, waiting

    def ask() -> dict[str, Any] | None:
        try:
            return reading.outcome(accepted.receipt, deadline)
        except Problem:
            return None  # the writes are accepted, whether they can be asked after or not

    return waiting.until(ask, deadline, accepted.queue_url)


def _rows(shown: Shown, deadline: float) -> str:
    """JSON text of the row, or of an array of the rows; empty if they cannot all be told."""
    from chalicelib.intake import reading

    known = [render(dict(key)) for key in shown.keys if key is not None]
    if not known or len(known) < len(shown.keys) or len(known) > MAX_RETURNED:
        return ""
    try:
        found = reading.rows(shown.resource, f"[{','.join(known)}]", deadline)
    except Problem:
        return ""
    texts = [text for text in found if isinstance(text, str)]
    if not len(texts) == len(found) == len(known):
        return ""
    return f"[{','.join(texts)}]" if shown.many else texts[0]


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
