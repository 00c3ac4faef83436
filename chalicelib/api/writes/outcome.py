"""The answer to an accepted write: 202 at once, or its outcome if the client waits for it."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.api.http import idempotency
from chalicelib.api.http.answers import Answer, faults_json, link_to_rest, path_to_rejections
from chalicelib.api.http.prefer import ONLY_OF_A_CREATE, Preferences
from chalicelib.api.writes.body import RefusedItem
from chalicelib.contract import key
from chalicelib.contract.json_text import render
from chalicelib.contract.resources import Resource
from chalicelib.errors import Problem
from chalicelib.messages.receipt import Receipt, span
from chalicelib.ops import OPS, Op

logger = logging.getLogger("decanter.intake")

MAX_RETURNED = 100
"""Most rows that `return=representation` returns."""

_CREATED = 201

_REFUSED_BYTES = 4_500_000
"""Most text of refused items as Lambda sends it, of the 6 MB that its answers hold."""

REFUSED_BESIDE_BYTES = 1_000_000
"""The same in an answer with an outcome, which has lists of its own."""


class Accepted(NamedTuple):
    """The writes of a request that are on the queue, and what their client wants to be answered.

    token: the receipt as the client holds it. refused: items of the body that were not accepted.
    keys: of the rows to return, empty where none is wanted; None where only the database knows the
    key. many: whether the body can hold several rows.
    """

    receipt: Receipt
    token: str
    queue_url: str
    resource: Resource
    op: Op
    preferred: Preferences
    refused: Sequence[RefusedItem]
    keys: Sequence[Mapping[str, Any] | None]
    many: bool


def pending(accepted: Accepted) -> Answer:
    """202: the answer to accepted writes whose outcome is not known yet."""
    document = {
        "receipt": accepted.token,
        "state": "pending",
        "writes": accepted.receipt.writes,
        **refused_members(accepted.refused, _REFUSED_BYTES),
    }
    is_empty = accepted.preferred.returned == "minimal" and not accepted.refused
    headers = {"Location": f"/writes/{accepted.token}", "Retry-After": "1"}
    headers |= _preference_applied(accepted, has_document=not is_empty)
    return Answer(202, "" if is_empty else document, headers)


def answer(accepted: Accepted, otherwise: Answer, deadline: float) -> Answer:
    """200, 201 or 204 with the outcome if it is known by the deadline, a time.monotonic().

    otherwise: the answer if it is not, or if anything at all fails: the writes are on the queue,
    and the client has to learn it. Raises only Problem 422, if the outcome is that the
    Idempotency-Key was used before.
    """
    try:
        if not accepted.receipt.accepted_at:
            request_id, _ = span(accepted.receipt.id, accepted.receipt.messages)
            idempotency.remember(request_id, accepted.receipt.fingerprint)
        found = _outcome(accepted, deadline) if accepted.preferred.wait_seconds else None
        if found is None:
            return otherwise
        is_reused = any(each["type"] == "key-reused" for each in found["rejections"])
        answer = _with_outcome(accepted, found, deadline)
    except Exception:
        logger.exception("cannot answer with the outcome of request %s", accepted.receipt.id)
        return otherwise
    if is_reused:
        raise idempotency.reused()
    return answer


def _with_outcome(accepted: Accepted, found: Mapping[str, Any], deadline: float) -> Answer:
    refused = refused_members(accepted.refused, REFUSED_BESIDE_BYTES)
    told = {"all_rejections": path_to_rejections(accepted.token)} if found["rejections"] else {}
    document = json.dumps({"receipt": accepted.token, **found, **told, **refused})
    is_good = found["state"] == "applied" and not refused
    returned = accepted.preferred.returned if is_good else None
    rows = _rows(accepted, found, deadline) if returned == "representation" else ""
    body = "" if returned == "minimal" else rows or document
    status = _CREATED if is_good and not OPS[accepted.op].names_row else 200 if body else 204
    made = found.get("location") if status == _CREATED else None
    headers = {"Location": made or f"/writes/{accepted.token}"}
    if "unlisted" in found:
        headers |= link_to_rest(accepted.token, found["unlisted"]["after_item"])
    headers |= _preference_applied(accepted, has_document=body is document)
    return Answer(status, body, headers)


def _preference_applied(accepted: Accepted, has_document: bool) -> dict[str, str]:
    """The Preference-Applied header. has_document: whether the body is neither rows nor empty."""
    left_out = ONLY_OF_A_CREATE if OPS[accepted.op].names_row else ()
    return accepted.preferred.applied(*left_out, *(["return"] if has_document else []))


def _outcome(accepted: Accepted, deadline: float) -> dict[str, Any] | None:
    from chalicelib.api.reads import client, waiting

    def ask() -> dict[str, Any] | None:
        try:
            return client.outcome(accepted.receipt, deadline)
        except Problem:
            return None  # the writes are accepted, whether or not the reader answers

    return waiting.until(ask, deadline, accepted.queue_url)


def _rows(accepted: Accepted, document: Mapping[str, Any], deadline: float) -> str:
    """JSON text of the row, or of an array of the rows; empty if not all of them can be read."""
    from chalicelib.api.reads import client

    if not 0 < len(accepted.keys) <= MAX_RETURNED:
        return ""
    try:
        made = _made(accepted.resource, document)
        keys = [made.get(item, known) for item, known in enumerate(accepted.keys)]
        known = [render(dict(each)) for each in keys if each is not None]
        if len(known) < len(keys):
            return ""
        found = client.rows(accepted.resource, f"[{','.join(known)}]", deadline)
    except Problem:
        return ""
    texts = [text for text in found if isinstance(text, str)]
    if not len(texts) == len(found) == len(known):
        return ""
    return f"[{','.join(texts)}]" if accepted.many else texts[0]


def _made(resource: Resource, document: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Keys that the database has made, by the items of their rows. Raises Problem for an address
    that names no key."""
    only = [{"item": 0, "location": document["location"]}] if "location" in document else []
    made: dict[int, Mapping[str, Any]] = {}
    for each in document.get("locations", only):
        _, _, *segments = each["location"].split("/")
        first = key.from_path(resource, segments)
        made[each["item"]] = first
        for nth in range(1, each.get("last_item", each["item"]) - each["item"] + 1):
            made[each["item"] + nth] = {name: value + nth for name, value in first.items()}
    return made


def refused_members(refused: Sequence[RefusedItem], most: int) -> dict[str, Any]:
    """All refused items, and the faults of as many of them as fit into `most` bytes."""
    if not refused:
        return {}
    described: list[dict[str, Any]] = []
    bytes_ = 0
    for each in refused:
        line = {} if each.line is None else {"line": each.line}
        entry = {"item": each.item, **line, "errors": faults_json(each.faults)}
        bytes_ += len(json.dumps(json.dumps(entry)))
        if bytes_ > most or not each.faults:
            break
        described.append(entry)
    left_out = len(refused) - len(described)
    return {
        "refused_count": len(refused),
        "refused_items": _ranges([each.item for each in refused]),
        "refused": described,
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
