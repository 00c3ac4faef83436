"""The four calls that write: request → rows → messages → queue → 202 with a receipt.

Rows are checked against the contract. What only the database knows (conflicts, missing rows,
missing parents) becomes a rejection, which the receipt shows.
"""

import gc
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.api.http import idempotency, preconditions
from chalicelib.api.http.answers import Answer
from chalicelib.api.http.prefer import Preferences, preferences
from chalicelib.api.http.request import Request, only
from chalicelib.api.writes import body, outcome, rows
from chalicelib.api.writes.body import Body
from chalicelib.buffer.sqs import backlog, put
from chalicelib.contract import json_text, key, resources
from chalicelib.contract.resources import Resource
from chalicelib.errors import Fault, Problem
from chalicelib.messages.message import Condition, Message, encode
from chalicelib.messages.receipt import Receipt, fingerprint, issue, keyed_id, new_id, split_id
from chalicelib.messages.split import split
from chalicelib.ops import OPS, Op, creates
from chalicelib.settings import IntakeSettings
from chalicelib.stage import BEYOND

_JSON = ("application/json",)
_MERGE = ("application/merge-patch+json", *_JSON)
_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_CSV = ("text/csv",)
_PARAMETER = re.compile(r'\s*(?:([^\s;="]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;="]+))?\s*(?:;|\Z)')


def create(request: Request, name: str) -> Answer:
    """POST /{resource}: one object, or many rows as a JSON array, NDJSON or CSV."""
    was_enabled = gc.isenabled()
    gc.disable()  # no cycles are made, and looking for some in many rows takes a tenth of the time
    try:
        return _create(request, name)
    finally:
        if was_enabled:
            gc.enable()


def _create(request: Request, name: str) -> Answer:
    only(request.query)
    resource = resources.resource(name)
    preferred = preferences(request.headers)
    facts = creates()[preferred.resolution]
    request.caller.require(name, *facts.scopes)
    if facts.resolution in BEYOND:
        request.caller.require_preference(facts.resolution)
    preconditions.refuse(request.headers)
    if not resource.ordered and not facts.only_adds:
        detail = f"{name} is unordered: rows are only added, and {facts.resolution} changes rows"
        raise Problem("invalid-preference", detail, (Fault("Prefer", "header", detail),))
    kind = _content_type(request, (*_JSON, *_LINES, *_CSV))
    latest = put.latest(request.until())
    found = _parse(request.body, kind, resource, preferred, latest)
    if not found.rows and not found.broken:
        raise _invalid_row("minItems", "send at least one row")
    good, refused = rows.check(resource, facts.op, found, preferred.lenient, latest)
    meaning = [
        *([] if kind in _JSON else [kind]),
        *(["missing=default"] if kind in _CSV and preferred.missing_default else []),
        *([f"without {[each.item for each in refused]}"] if refused else []),
    ]
    is_returned = _returns_rows(request, preferred, name)
    returned = good[: outcome.MAX_RETURNED + 1] if is_returned else []
    keys = [rows.known_key(resource, row) for row in returned]
    writes = _Writes(resource, facts.op, good, meaning, keys)
    return _accept(request, preferred, writes, refused, many=found.many)


def replace(request: Request, name: str, segments: Sequence[str]) -> Answer:
    """PUT /{resource}/{key…}: insert, or overwrite the whole row."""
    return _change(request, name, segments, "replace")


def merge(request: Request, name: str, segments: Sequence[str]) -> Answer:
    """PATCH /{resource}/{key…}: JSON Merge Patch (RFC 7396)."""
    return _change(request, name, segments, "merge")


def delete(request: Request, name: str, segments: Sequence[str]) -> Answer:
    """DELETE /{resource}/{key…}."""
    resource, members = _address(request, name, segments, "delete")
    row = body.ParsedRow(json_text.render(members), members)
    return _change_row(request, resource, "delete", members, row)


def _change(request: Request, name: str, segments: Sequence[str], op: Op) -> Answer:
    resource, members = _address(request, name, segments, op)
    _content_type(request, _MERGE if OPS[op].partial else _JSON)
    found = body.json_body(request.body)
    if found.many:
        raise _invalid_row("type", "the path names one row: send one JSON object, not an array")
    (good,), _ = rows.check(resource, op, found, lenient=False)
    row = rows.with_key(resource, members, good)
    if OPS[op].partial and len(row.value) == len(members):
        raise _invalid_row("minProperties", "name at least one member to change besides the key")
    return _change_row(request, resource, op, members, row)


def _change_row(
    request: Request, resource: Resource, op: Op, members: Mapping[str, Any], row: body.ParsedRow
) -> Answer:
    condition = preconditions.condition(request.headers)
    preferred = preferences(request.headers)
    meaning = [str(tuple(condition))] if condition else []
    is_returned = _returns_rows(request, preferred, resource.name) and not OPS[op].removes
    writes = _Writes(resource, op, [row], meaning, [members] if is_returned else [], condition)
    return _accept(request, preferred, writes)


class _Writes(NamedTuple):
    """The checked writes of a request.

    meaning: what else, besides method, path and body, determines their effect. keys: of the rows to
    return, see `outcome.Accepted`.
    """

    resource: Resource
    op: Op
    rows: Sequence[body.ParsedRow]
    meaning: Sequence[str]
    keys: Sequence[Mapping[str, Any] | None]
    condition: Condition | None = None


def _accept(
    request: Request,
    preferred: Preferences,
    writes: _Writes,
    refused: Sequence[body.RefusedItem] = (),
    many: bool = False,
) -> Answer:
    """Put the writes on the queue as messages, and answer. As far as possible, whatever can fail
    comes before: once SQS has confirmed, the client has to get its receipt."""
    resource, op, condition = writes.resource, writes.op, writes.condition
    settings = IntakeSettings.from_environment()
    queue_url = settings.queue_url(resource.ordered)
    now_ms = time.time_ns() // 1_000_000
    retry_key = idempotency.idempotency_key(request.headers)
    request_id = new_id(now_ms) if retry_key is None else keyed_id(request.caller.name, retry_key)
    is_patient = preferred.is_patient or OPS[op].removes
    meaning = [*([op] if OPS[op].resolution else []), *writes.meaning]
    meaning += [] if is_patient else ["missing-parent=reject"]
    mark = fingerprint(request.method, request.path, request.body, "\n".join(meaning))
    if retry_key is not None:
        idempotency.check(request_id, mark)
    backlog.check(queue_url)
    parts = split([rows.to_split(resource, row, request_id) for row in writes.rows])
    items = [[item for part in sets for item in part.items] for _, sets in parts]
    receipt = Receipt(
        id=request_id if retry_key is None else split_id(request_id, items),
        accepted_at=now_ms if retry_key is None else 0,
        messages=len(parts),
        writes=len(writes.rows),
        fingerprint=mark,
    )
    entries = [
        put.QueueEntry(
            dedup_id,
            lane,
            encode(Message(dedup_id, mark, now_ms, resource.name, op, sets, condition, is_patient)),
            mark,
        )
        for number, (lane, sets) in enumerate(parts)
        for dedup_id in [receipt.dedup_id(number)]
    ]
    token = issue(receipt, settings.receipt_keys[0], request.caller.name)
    accepted = outcome.Accepted(
        receipt, token, queue_url, resource, op, preferred, refused, writes.keys, many
    )
    pending = outcome.pending(accepted)
    put.send(queue_url, entries, request.until())
    return outcome.answer(accepted, pending, request.until(preferred.wait_seconds))


def _returns_rows(request: Request, preferred: Preferences, name: str) -> bool:
    """Whether the client wants the rows back, and may read them. Raises Problem 403 where IAM
    leaves that open."""
    if preferred.returned != "representation":
        return False
    request.caller.require_preference("representation")
    return request.caller.may(name, "read")


def _address(
    request: Request, name: str, segments: Sequence[str], op: Op
) -> tuple[Resource, dict[str, Any]]:
    """The resource of a write to one row, and the key that the path names."""
    resource = resources.resource(name)
    resource.require(op)  # first, so that 405 comes before any other problem
    only(request.query)
    request.caller.require(name, *OPS[op].scopes)
    return resource, key.from_path(resource, segments)


def _content_type(request: Request, types: tuple[str, ...]) -> str:
    """The type of the body, one of these. Raises Problem 400, 413 or 415."""
    sent, _, parameters = request.headers.get("content-type", types[0]).partition(";")
    sent = sent.strip().lower()
    if sent not in types or (parameters and not _is_utf_8(parameters)):
        detail = f"send {' or '.join(types)} in UTF-8"
        raise Problem("unsupported-media-type", detail, headers={"Accept": types[0]})
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        detail = "send the body without Content-Encoding"
        raise Problem("unsupported-media-type", detail, headers={"Accept-Encoding": "identity"})
    body.refuse_large(request.body)
    sent_bytes = request.headers.get("content-length")
    body.refuse_replaced(request.body, sent_bytes, "csv" if sent in _CSV else "json")
    return sent


def _is_utf_8(parameters: str) -> bool:
    """Whether the charset is UTF-8, if one is given. Other parameters have no effect."""
    at = 0
    while match := _PARAMETER.match(parameters, at):
        name, value = match.groups()
        if name and name.lower() == "charset" and value.strip('"').lower() != "utf-8":
            return False
        if (at := match.end()) == len(parameters):
            return True
    return False


def _parse(
    content: bytes, kind: str, resource: Resource, preferred: Preferences, until: float
) -> Body:
    if kind in _JSON:
        return body.json_body(content, until)
    if kind in _LINES:
        return body.json_lines(content, until)
    from chalicelib.api.writes.csv_body import csv_body

    return csv_body(content, resource, preferred.missing_default, until)


def _invalid_row(rule: str, detail: str) -> Problem:
    return Problem("invalid-row", detail, (Fault("", rule, detail),))
