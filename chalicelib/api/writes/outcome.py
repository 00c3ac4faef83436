"""The answer to an accepted write: 202 at once, or its outcome if the client would wait for it."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.api.http import idempotency
from chalicelib.api.http.answers import Answer, listed, more
from chalicelib.api.http.prefer import Preferences
from chalicelib.api.writes.body import RefusedItem
from chalicelib.contract import key
from chalicelib.contract.json_text import render
from chalicelib.contract.resources import Resource
from chalicelib.errors import Problem
from chalicelib.messages.receipt import Receipt, span
from chalicelib.ops import OPS, Op

logger = logging.getLogger("decanter.intake")

MAX_RETURNED = 100
"""Rows that `return=representation` gives back."""

_CREATED = 201

_REFUSED_BYTES = 4_500_000
"""Most text of refused items, as Lambda sends it; an answer of it takes 6 MB."""

_REFUSED_BESIDE_BYTES = 1_000_000
"""The same beside an outcome, which has lists of its own."""

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
    accepted: Accepted, preferred: Preferences, refused: Sequence[RefusedItem], op: Op
) -> Answer:
    """202: what a client gets of accepted writes in any case.

    refused: items of the request that were not accepted.
    """
    told = {
        "receipt": accepted.token,
        "state": "pending",
        "writes": accepted.receipt.writes,
        **_refused(refused, _REFUSED_BYTES),
    }
    body = "" if preferred.returned == "minimal" and not refused else told
    headers = {"Location": f"/writes/{accepted.token}", "Retry-After": "1"}
    return Answer(202, body, {**headers, **_applied(preferred, op, body is told)})


def answer(
    accepted: Accepted,
    otherwise: Answer,
    deadline: float,
    preferred: Preferences,
    refused: Sequence[RefusedItem],
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
    refused: Sequence[RefusedItem],
    shown: Shown,
    op: Op,
) -> Answer:
    beside = _refused(refused, _REFUSED_BESIDE_BYTES)
    told = json.dumps({"receipt": accepted.token, **found, **beside})
    body = told
    is_good = found["state"] == "applied" and not refused
    if preferred.returned == "minimal" and is_good:
        body = ""
    elif preferred.returned == "representation" and is_good:
        body = _rows(shown, found, deadline) or told
    status = _CREATED if is_good and not OPS[op].names_row else 200 if body else 204
    made = found.get("location") if status == _CREATED else None
    headers = {"Location": made or f"/writes/{accepted.token}"}
    if "unlisted" in found:
        headers |= more(accepted.token, found["unlisted"]["after_item"])
    return Answer(status, body, {**headers, **_applied(preferred, op, body is told)})


def _applied(preferred: Preferences, op: Op, is_told: bool) -> dict[str, str]:
    """The Preference-Applied header. is_told: whether the body is neither the row nor empty."""
    left_out = _ONLY_OF_A_CREATE if OPS[op].names_row else ()
    return preferred.applied(*left_out, *(["return"] if is_told else []))


def _outcome(accepted: Accepted, deadline: float) -> dict[str, Any] | None:
    from chalicelib.api.reads import client, waiting

    def ask() -> dict[str, Any] | None:
        try:
            return client.outcome(accepted.receipt, deadline)
        except Problem:
            return None  # the writes are accepted, whether they can be asked after or not

    return waiting.until(ask, deadline, accepted.queue_url)


def _rows(shown: Shown, document: Mapping[str, Any], deadline: float) -> str:
    """JSON text of the row, or of an array of the rows; empty if they cannot all be told."""
    from chalicelib.api.reads import client

    if not 0 < len(shown.keys) <= MAX_RETURNED:
        return ""
    try:
        made = _made(shown.resource, document)
        keys = [made.get(item, known) for item, known in enumerate(shown.keys)]
        known = [render(dict(each)) for each in keys if each is not None]
        if len(known) < len(keys):
            return ""
        found = client.rows(shown.resource, f"[{','.join(known)}]", deadline)
    except Problem:
        return ""
    texts = [text for text in found if isinstance(text, str)]
    if not len(texts) == len(found) == len(known):
        return ""
    return f"[{','.join(texts)}]" if shown.many else texts[0]


def _made(resource: Resource, document: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Keys that the database has made, by the items of its rows. Raises Problem for an address that
    is none."""
    only = [{"item": 0, "location": document["location"]}] if "location" in document else []
    made: dict[int, Mapping[str, Any]] = {}
    for each in document.get("locations", only):
        _, _, *segments = each["location"].split("/")
        first = key.from_path(resource, segments)
        made[each["item"]] = first
        for nth in range(1, each.get("last_item", each["item"]) - each["item"] + 1):
            made[each["item"] + nth] = {name: value + nth for name, value in first.items()}
    return made


def _refused(refused: Sequence[RefusedItem], most: int) -> dict[str, Any]:
    """All items that are refused, and of as many as `most` bytes hold what is wrong."""
    if not refused:
        return {}
    told: list[dict[str, Any]] = []
    bytes_ = 0
    for each in refused:
        line = {} if each.line is None else {"line": each.line}
        entry = {"item": each.item, **line, "errors": listed(each.faults)}
        bytes_ += len(json.dumps(json.dumps(entry)))
        if bytes_ > most or not each.faults:
            break
        told.append(entry)
    left_out = len(refused) - len(told)
    return {
        "refused_count": len(refused),
        "refused_items": _ranges([each.item for each in refused]),
        "refused": told,
        **({"refused_unlisted": left_out} if left_out else {}),
    }


def _ranges(items: Sequence[int]) -> str:
    """Items in their order → `3-17,20`."""
    runs: list[list[int]] = []
    for item in items:
        if runs and item == runs[-1][1] + 1:
            runs[-1][1] = item
        else:
            runs.append([item, item])
    return ",".join([f"{a}-{b}" if a < b else str(a) for a, b in runs])
