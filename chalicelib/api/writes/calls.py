"""The four calls that write: request → rows → messages → queue → 202 with a receipt.

Rows are checked against the contract. What only the database knows (conflicts, missing rows,
missing parents) becomes a rejection, which the receipt shows. Rows of resources behind the front
table go there instead, and the answer is the outcome.
"""

import gc
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from chalicelib.api.http import idempotency, preconditions
from chalicelib.api.http.answers import Answer
from chalicelib.api.http.prefer import Preferences, preferences
from chalicelib.api.http.request import Request, only
from chalicelib.api.writes import body, outcome, rows
from chalicelib.api.writes.body import Body
from chalicelib.contract import json_text, key, resources
from chalicelib.contract.resources import Resource
from chalicelib.errors import Fault, Problem
from chalicelib.messages.accepted import log_accepted
from chalicelib.messages.message import Condition, Message, RowSet, caller_name, encode
from chalicelib.messages.receipt import Receipt, fingerprint, issue, keyed_id, new_id, split_id
from chalicelib.messages.split import split
from chalicelib.ops import OPS, Op, creates
from chalicelib.settings import IntakeSettings, has_events, has_front_table, receipt_keys
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
    latest = _latest(resource, request.until())
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
    writes = _Writes(resource, facts.op, good, meaning, keys, None, refused, found.many)
    return _accept(request, preferred, writes)


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
    return, see `outcome.Accepted`. refused: invalid items of the body. many: whether the body can
    hold several rows.
    """

    resource: Resource
    op: Op
    rows: Sequence[body.ParsedRow]
    meaning: Sequence[str]
    keys: Sequence[Mapping[str, Any] | None]
    condition: Condition | None = None
    refused: Sequence[body.RefusedItem] = ()
    many: bool = False


def _accept(request: Request, preferred: Preferences, writes: _Writes) -> Answer:
    """Hand the writes over to the buffer of their resource, and answer."""
    writes.resource.require_open()
    retry_key = idempotency.idempotency_key(request.headers)
    request_id = None if retry_key is None else keyed_id(request.caller.name, retry_key)
    op = OPS[writes.op]
    meaning = [*([op.op] if op.resolution else []), *writes.meaning]
    meaning += [] if preferred.is_patient or op.removes else ["missing-parent=reject"]
    mark = fingerprint(request.method, request.path, request.body, "\n".join(meaning))
    buffer = _write_in_front if writes.resource.is_fronted else _put_on_queue
    return buffer(request, preferred, writes, mark, request_id)


def _write_in_front(
    request: Request, preferred: Preferences, writes: _Writes, mark: str, keyed: UUID | None
) -> Answer:
    """Write to the front table. mark: the fingerprint of the request. keyed: its id from an
    Idempotency-Key."""
    from chalicelib.api.front.asked import FrontRequest
    from chalicelib.api.front.rows import SentRow
    from chalicelib.api.front.write import write

    resource = writes.resource
    sent = [
        SentRow(
            {**row.value, **rows.whole_numbers(resource, row.value)},
            row.item,
            f"/{row.item}" if writes.many else "",
            len(row.text.encode()),
        )
        for row in writes.rows
    ]
    asked = FrontRequest(
        resource=resource,
        op=writes.op,
        rows=sent,
        many=writes.many,
        condition=writes.condition,
        caller=request.caller.name,
        fingerprint=mark,
        receipt_key=receipt_keys()[0],
        request=keyed,
        preferred=preferred,
        refused=outcome.refused_members(writes.refused, outcome.REFUSED_BESIDE_BYTES),
        may_read=request.caller.may_be_shown(resource.name),
        moment=datetime.now(UTC),
        until=request.until(),
        has_events=has_events(),
    )
    return write(asked)


def _put_on_queue(
    request: Request, preferred: Preferences, writes: _Writes, mark: str, keyed: UUID | None
) -> Answer:
    """Put the writes on the queue as messages. As far as possible, whatever can fail comes before:
    once SQS has confirmed, the client has to get its receipt. mark, keyed: as above."""
    from chalicelib.buffer.sqs import backlog, put

    resource, op = writes.resource, writes.op
    settings = IntakeSettings.from_environment()
    queue_url = settings.queue_url(resource.ordered)
    is_repeated = keyed is not None and idempotency.check(keyed, mark)
    backlog.check(queue_url)
    now_ms = time.time_ns() // 1_000_000
    request_id = keyed or new_id(now_ms)
    parts = split(rows.to_split(resource, op, writes.rows, request_id))
    if resource.ordered and not is_repeated:  # SQS shares the other queue fairly
        backlog.admit(queue_url, request.caller.name, len(parts))
    receipt = _receipt(request_id, keyed is not None, now_ms, mark, [sets for _, sets in parts])
    token = issue(receipt, settings.receipt_keys[0], request.caller.name)
    is_patient = preferred.is_patient or OPS[op].removes
    named = (caller_name(request.caller.name), token if settings.has_events else "")
    options = (writes.condition, is_patient, *named)
    common = (mark, now_ms, resource.name, op)
    ids = [receipt.dedup_id(number) for number in range(len(parts))]
    sender = put.caller_group(request.caller.name)
    entries = [
        put.QueueEntry(id_, lane, encode(Message(id_, *common, sets, *options)), mark, sender)
        for id_, (lane, sets) in zip(ids, parts, strict=True)
    ]
    told = (preferred, writes.refused, writes.keys, writes.many)
    accepted = outcome.Accepted(receipt, token, queue_url, resource, op, *told)
    pending = outcome.pending(accepted)
    if answer := _take_key(keyed, mark, put.latest(request.until())):
        return answer
    put.send(queue_url, entries, request.until())
    log_accepted(receipt, now_ms, resource.name)
    return outcome.answer(accepted, pending, request.until(preferred.wait_seconds))


def _receipt(
    request: UUID, is_keyed: bool, now_ms: int, mark: str, parts: Sequence[Sequence[RowSet]]
) -> Receipt:
    """The receipt of a request that is split so. mark: its fingerprint."""
    items = [[*chain.from_iterable(part.items for part in sets)] for sets in parts]
    return Receipt(
        id=split_id(request, items) if is_keyed else request,
        accepted_at=0 if is_keyed else now_ms,
        messages=len(parts),
        writes=sum(map(len, items)),
        fingerprint=mark,
    )


def _take_key(keyed: UUID | None, mark: str, deadline: float) -> Answer | None:
    """Take the Idempotency-Key in the front table, if the stage has one; returns the first answer
    to a request that was answered from there. Raises Problem 422 if another request has the key."""
    if keyed is None or not has_front_table():
        return None
    from chalicelib.api.front import repeats

    return repeats.take(keyed, mark, deadline)


def _latest(resource: Resource, deadline: float) -> float:
    """The latest time.monotonic() to begin to hand writes over."""
    if resource.is_fronted:
        from chalicelib.buffer.dynamodb import table

        return table.latest(deadline)
    from chalicelib.buffer.sqs import put

    return put.latest(deadline)


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
