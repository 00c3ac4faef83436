"""Acts that resend rejections: each as a new write, through the buffer of its resource.

The identity of what is sent comes from the rejection. So however often a rejection is resent, by
whom and beside which others, one of these writes counts: the ledger knows its item, and the front
table its Idempotency-Key. It is recorded after it is sent, and a step that was not recorded is done
again.
"""

import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from chalicelib.api.http.prefer import Preferences
from chalicelib.api.http.request import Request
from chalicelib.api.ops import bodies, rewrites, targets
from chalicelib.api.ops.act import Act, Correction, StepResult
from chalicelib.api.ops.rewrites import Rewrite
from chalicelib.api.ops.targets import Page
from chalicelib.api.writes import rows
from chalicelib.buffer.sqs import backlog, put
from chalicelib.buffer.sqs.put import QueueEntry
from chalicelib.contract import json_text
from chalicelib.errors import Fault, Problem
from chalicelib.messages.message import Message, RowSet, caller_name, encode
from chalicelib.messages.receipt import fingerprint, keyed_id, portion_id, read
from chalicelib.messages.split import KeyedRow, split, too_large
from chalicelib.settings import IntakeSettings, receipt_keys

_AT_ONCE = 500
"""Rejections of a page: in the worst case each makes a message."""

_FRONT_SECONDS = 15.0
"""After this time of a request, no more rows are written to the front table."""

_LASTING = 500
"""Statuses from here on concern the buffer, not the row: other rows would have them too."""

_CALLER = "decanter:resend"
"""No caller has this name: it has neither an issuer nor an ARN."""

_SHOWN = 400
"""Most characters of a reason."""

_LINK = re.compile("</writes/([^>]+)>")


class _Sent(NamedTuple):
    """What became of a page. looked_at: how many of its rejections, from the first."""

    corrections: Sequence[Correction]
    failed: Sequence[Mapping[str, str]]
    looked_at: int


def begin(request: Request, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rejections to resend, see `targets.target`; with `ids`, `rows` may have edited rows by
    id. Raises Problem `invalid-row` if one does not meet the contract."""
    target = targets.target(body, "rows")
    if "rows" not in body:
        return target
    edited = body["rows"]
    faults: list[Fault] = []
    if not isinstance(edited, dict):
        faults.append(Fault("/rows", "type", "it must be an object: rows by the ids of rejections"))
    elif unknown := [*edited.keys() - {*target.get("ids", ())}]:
        detail = "it must be one of ids: only rejections that are named can be edited"
        faults.append(Fault(f"/rows/{json_text.pointer_token(unknown[0])}", "id", detail))
    bodies.refuse(faults)
    known = targets.rejected(request, [*edited], with_rows=False)
    for id_, row in edited.items():
        if id_ in known:  # others are refused when the act is recorded
            rewrites.edited(known[id_], row, f"/rows/{id_}")
    return {**target, "rows": edited}


def step(request: Request, act: Act) -> StepResult:
    """Send the next rejections. What does not meet the contract any more, or is refused by the
    front table, fails by itself. Raises Problem if the buffer is unavailable."""
    page = targets.next_page(request, act, _AT_ONCE, with_rows=True)
    while True:
        try:
            sent = _send(request, page)
        except Problem as problem:
            # Nothing was sent, as it would take too long: less of it may fit.
            if problem.type != "body-too-large" or len(page.rejections) == 1:
                raise
            page = page.first(len(page.rejections) // 2)
        else:
            return page.first(sent.looked_at).result(sent.corrections, sent.failed)


def stop(request: Request, act: Act) -> None:
    """Nothing goes on by itself."""


def _send(request: Request, page: Page) -> _Sent:
    corrections: list[Correction] = []
    failed: list[Mapping[str, str]] = []
    queued: list[Rewrite] = []
    count = 0
    for count, each in enumerate(page.rejections):
        try:
            found = rewrites.rewrite(each)
            if not found.resource.is_fronted:
                _require_room(found)
                queued.append(found)
            elif count and time.monotonic() > request.until(_FRONT_SECONDS):
                break
            else:
                corrections.append(_in_front(request, found))
        except Problem as problem:
            if problem.status >= _LASTING and problem.type != "resource-closed":
                if not count:
                    raise
                break
            failed.append({"id": each.id, "reason": problem.detail[:_SHOWN]})
    else:
        count = len(page.rejections)
    corrections += _on_queues(request, queued)
    return _Sent(corrections, failed, count)


def _require_room(found: Rewrite) -> None:
    """Raises Problem 413 for a row that is too large for a message of this stage."""
    row = found.row
    if fault := too_large(KeyedRow(row.item, tuple(row.value), None, row.text), ""):
        raise Problem("row-too-large", fault.detail, (fault,))


def _on_queues(request: Request, queued: Sequence[Rewrite]) -> list[Correction]:
    """Put writes on the queues of their resources, those of one lane in their order."""
    settings = IntakeSettings.from_environment()
    sender = put.caller_group(request.caller.name)
    queues: dict[str, list[QueueEntry]] = defaultdict(list)
    corrections: list[Correction] = []
    for dedup_id, group in groupby(queued, key=lambda each: each.rejected.dedup_id):
        writes = [*group]
        for lane, message in _messages(request, dedup_id, writes):
            mark = message.fingerprint
            entry = QueueEntry(message.dedup_id, lane, encode(message), mark, sender)
            queues[settings.queue_url(writes[0].resource.ordered)].append(entry)
            corrections += [
                Correction(f"{dedup_id}.{item}", message.dedup_id, item)
                for part in message.sets
                for item in part.items
            ]
    for queue_url, entries in queues.items():
        backlog.check(queue_url)
        put.send(queue_url, _in_turns(entries), request.until())
    return corrections


def _messages(
    request: Request, dedup_id: str, writes: Sequence[Rewrite]
) -> list[tuple[str | None, Message]]:
    """Lane and message of each part of the rejections of one message. They are of one request, with
    one fingerprint, whatever their rows are, and in whatever portions they are sent."""
    request_id = keyed_id(_CALLER, dedup_id)
    mark = fingerprint("RESEND", dedup_id, b"")
    common = (mark, time.time_ns() // 1_000_000, writes[0].resource.name, writes[0].op)
    caller = caller_name(request.caller.name)
    resource, op, sent = writes[0].resource, writes[0].op, [each.row for each in writes]
    parts = split(rows.to_split(resource, op, sent, request_id))
    return [
        (lane, Message(_dedup_id(request_id, sets), *common, sets, caller=caller))
        for lane, sets in parts
    ]


def _dedup_id(request_id: UUID, sets: Sequence[RowSet]) -> str:
    texts = [f"{part.members}{part.items}{part.rows}" for part in sets]
    return str(portion_id(request_id, "\n".join(texts).encode()))


def _in_turns(entries: Sequence[QueueEntry]) -> list[QueueEntry]:
    """The entries with those of different lanes in turns: a call to SQS has at most one of each."""
    turns: dict[str | None, int] = defaultdict(int)
    placed: list[tuple[int, QueueEntry]] = []
    for entry in entries:
        placed.append((turns[entry.lane], entry))
        turns[entry.lane] += entry.lane is not None
    return [entry for _, entry in sorted(placed, key=lambda pair: pair[0])]


def _in_front(request: Request, found: Rewrite) -> Correction:
    """Write a row to the front table, once. Raises Problem, also if it was resent with another row
    before."""
    from chalicelib.api.front.asked import FrontRequest
    from chalicelib.api.front.rows import SentRow
    from chalicelib.api.front.write import write

    id_, row, resource = found.rejected.id, found.row, found.resource
    value = {**row.value, **rows.whole_numbers(resource, row.value)}
    asked = FrontRequest(
        resource=resource,
        op=found.op,
        rows=[SentRow(value, bytes_=len(row.text.encode()))],
        many=False,
        condition=None,
        caller=request.caller.name,
        fingerprint=fingerprint("RESEND", id_, row.text.encode(), found.op),
        receipt_key=receipt_keys()[0],
        request=keyed_id(_CALLER, id_),
        preferred=Preferences(returned="minimal"),
        refused={},
        may_read=False,
        moment=datetime.now(UTC),
        until=request.until(),
        keeps_refusals=False,
    )
    link = _LINK.search(write(asked).headers.get("Link", ""))
    receipt = read(link[1]) if link else None
    return Correction(id_, receipt.dedup_id(0), 0) if receipt else Correction(id_)
