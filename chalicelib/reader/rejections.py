"""The rejections of a request, page by page, with their rows as they were sent."""

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.messages.questions import RejectionsQuestion, StatusAnswer
from chalicelib.messages.receipt import span
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ops import rejections
from chalicelib.postgres.ops.rejections import KeptRejection
from chalicelib.reader import overtaken
from chalicelib.reader.answer import sent_bytes
from chalicelib.reader.ops.shown import TEXT_BYTES, dumps, fitting
from chalicelib.reader.requests import document, outcome

_MEMBERS = ("item", "type", "reason", "sqlstate", "constraint", "column")

_TOO_LARGE = "it has more bytes than an answer holds"

_Entry = tuple[int, str]
"""An item, and its rejection as JSON."""


def page(transaction: Transaction, question: RejectionsQuestion) -> StatusAnswer:
    """The next rejections, in the order of their items. Those without an item are on the first
    page."""
    receipt = question.receipt
    poured = outcome(transaction, receipt)
    described = document(receipt, poured)
    unnumbered: list[str] = []
    entries: list[_Entry] = []
    is_more = False
    if described["rejections"]:  # the whole request, for its key
        unnumbered = [_text(each, None) for each in described["rejections"]]
    elif described["rejected"]:
        lost = overtaken.rejections(transaction, receipt, poured["lost"])
        entries, is_more = _entries(transaction, question, lost)
        if lost and lost[0]["item"] is None:
            unnumbered = [_text({**lost[0], "writes": len(lost)}, None)]
    texts = (unnumbered if question.after_item < 0 else []) + [text for _, text in entries]
    count = fitting(texts)
    taken = entries[: count - len(texts) + len(entries)]
    is_more = is_more or len(taken) < len(entries)
    next_ = taken[-1][0] if is_more and taken else None
    is_pending = described["state"] == "pending"
    body = _body(question.form, described, texts[:count], next_)
    return StatusAnswer(body, described["state"], is_pending, next_)


def _entries(
    transaction: Transaction, question: RejectionsQuestion, lost: list[dict[str, Any]]
) -> tuple[list[_Entry], bool]:
    """The next items that were rejected or are lost, and whether there are more."""
    first, last = span(question.receipt.id, question.receipt.messages)
    after, limit = question.after_item, question.limit
    kept, is_more = rejections.of_request(transaction, first, last, after, limit, TEXT_BYTES)
    found = [(each.item, _kept(each)) for each in kept]
    end = kept[-1].item if is_more else float("inf")
    items = {each["item"]: each for each in lost if each["item"] is not None}
    found += [(item, _text(each, None)) for item, each in items.items() if after < item <= end]
    found.sort()
    return found[:limit], is_more or len(found) > limit


def _kept(rejection: KeptRejection) -> str:
    members = {name: getattr(rejection, name) for name in _MEMBERS}
    row = rejection.row
    if row is not None and sent_bytes(row) > TEXT_BYTES:
        row = None
    if row is None and rejection.bytes_:
        members["unknown"] = [{"what": "row", "why": _TOO_LARGE}]
    return _text(members, row)


def _text(members: Mapping[str, Any], row: str | None) -> str:
    """JSON in one line: in JSON, a line break is white space."""
    shown = "null" if row is None else row.replace("\r", " ").replace("\n", " ")
    return f'{dumps(dict(members))[:-1]}, "row": {shown}}}'


def _body(form: str, described: Mapping[str, Any], texts: list[str], next_item: int | None) -> str:
    if form == "lines":
        return "".join([f"{text}\n" for text in texts])
    head = {name: described[name] for name in ("state", "writes", "rejected")}
    listed = f'"rejections": [{", ".join(texts)}], "next": {json.dumps(next_item)}'
    return f"{dumps(head)[:-1]}, {listed}}}"
