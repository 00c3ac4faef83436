"""The three calls that read: request → a question for the reader function → its answer."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from chalicelib.api.http import preconditions, prefer
from chalicelib.api.http.answers import Answer, link_to_rest
from chalicelib.api.http.request import Request, only
from chalicelib.api.reads import client, columns, listing, waiting
from chalicelib.contract import key, resources
from chalicelib.contract.json_text import render
from chalicelib.errors import Fault, Problem
from chalicelib.messages.questions import (
    CountedPage,
    Expired,
    InvalidList,
    Pending,
    Question,
    Rejected,
    RowQuestion,
    StatusQuestion,
)
from chalicelib.messages.receipt import Receipt, verify
from chalicelib.ops import READ
from chalicelib.settings import LEDGER_DAYS, IntakeSettings

AFTER_SECONDS = 10
"""How long a read waits for the write that it is to come after, unless it says otherwise."""

_NUMBER = re.compile(r"[0-9]{1,6}")
_Answer = TypeVar("_Answer")


def status(request: Request, token: str) -> Answer:
    """GET /writes/{receipt}?wait=&after_item=. Raises Problem 404 without a look-up for a receipt
    that was forged, mistyped or issued to somebody else."""
    query = only(request.query, "wait", "after_item")
    seconds = _seconds(query, 0)
    after_item = query.get("after_item")
    if after_item is not None and not _NUMBER.fullmatch(after_item):
        raise _invalid("after_item", "it takes the number of an item, from 0")
    receipt = _receipt(token, request, "use the Location of the 202 answer as it was given")
    question = StatusQuestion(receipt, -1 if after_item is None else int(after_item))
    # A receipt does not say which queue its messages are on. Most resources are ordered; where
    # this one is not, the reader is asked more or less often than it would have to be.
    answer = _settled(request, question, seconds, is_ordered=True)
    headers = {"Retry-After": "1"} if answer.pending else {}
    if answer.next is not None:
        headers |= link_to_rest(token, answer.next)
    return Answer(200, answer.body, headers)


def row(request: Request, name: str, segments: Sequence[str]) -> Answer:
    """GET /{resource}/{key…}?select=&after=&wait=: one row with its ETag, or 304 if the client has
    it.

    select: columns to show of it. The ETag is that of the whole row all the same, for conditions of
    writes; a row that is too large to be shown as a whole has none.
    after: a receipt. The row is read only once the writes of that request are applied, so that
    clients read what they have written.
    """
    resource = resources.resource(name)
    request.caller.require(name, READ)
    query = only(request.query, "select", "after", "wait")
    if "wait" in query and "after" not in query:
        raise _invalid("wait", "it is for a read that comes after a write: add after={receipt}")
    seconds = _seconds(query, AFTER_SECONDS if "after" in query else 0)
    select = _select(resource, query)
    known = preconditions.tags(request.headers, "If-None-Match")
    members = render(key.from_path(resource, segments))
    receipt = None
    if "after" in query:
        receipt = _receipt(query["after"], request, "?after: name the receipt of a 202 answer")
    question = RowQuestion(resource.name, members, select, receipt)
    match answer := _settled(request, question, seconds, resource.ordered):
        case Pending():
            raise _not_yet(receipt, seconds)
        case Rejected(rejected=why):
            raise Problem("write-rejected", why)
        case Expired(expired=why):
            raise Problem("receipt-expired", why)
    if answer.body is None:
        hint = "the write that it was to follow is applied"
        hint = hint if receipt else "a write to it may still be pending"
        raise Problem("no-such-row", f"{name} has no row {members}; {hint}")
    headers = {} if answer.etag is None else {"ETag": f'"{answer.etag}"'}
    # RFC 9110: If-None-Match compares weakly.
    if known is not None and {tag for tag, _ in known} & {preconditions.ANY, answer.etag}:
        return Answer(304, "", headers)
    return Answer(200, answer.body, headers)


def rows(request: Request, name: str) -> Answer:
    """GET /{resource}?{column}=&select=&order=&limit=&cursor=: a page of rows, with a Link to the
    next, and with the number of all of them if it is preferred."""
    resource = resources.resource(name)
    request.caller.require(name, READ)
    if not resource.key:
        detail = f"{name} has no key, and so no order that its rows could be listed in"
        raise Problem("op-not-allowed", detail, headers={"Allow": "POST"})
    receipt_keys = IntakeSettings.from_environment().receipt_keys
    asked = listing.asked(resource, request.query, receipt_keys)
    is_counted = prefer.is_counted(request.headers)

    def link(start: str | None) -> dict[str, str]:
        return listing.link(asked, request.query, receipt_keys[0], start)

    try:
        answer = client.ask(asked.question(is_counted), request.until())
    except client.RowTooLarge as problem:
        raise client.RowTooLarge(None, link(problem.next)) from problem
    if isinstance(answer, InvalidList):
        raise listing.unfit(answer.unfit, asked.filters)
    headers = link(answer.next)
    if isinstance(answer, CountedPage):
        headers |= {
            "Content-Range": listing.content_range(answer, asked.start),
            "Preference-Applied": prefer.COUNT,
        }
    return Answer(200, answer.body, headers)


def _not_yet(receipt: Receipt | None, seconds: int) -> Problem:
    detail = f"the write was not applied within {seconds} s; it will still be applied or rejected"
    if receipt and not receipt.accepted_at:  # it has no time that would tell
        detail += f", unless it was accepted more than {LEDGER_DAYS} days ago"
    return Problem("not-yet-applied", detail, headers={"Retry-After": "1"})


def _settled(
    request: Request, question: Question[_Answer], seconds: int, is_ordered: bool
) -> _Answer:
    """What the reader answers once it is not pending any more, or after that many seconds.

    Raises Problem if it could not be asked to the last.
    """
    queue_url = IntakeSettings.from_environment().queue_url(is_ordered)
    deadline = request.until(seconds) if seconds else request.until()
    last: _Answer | Problem

    def settled() -> _Answer | None:
        nonlocal last
        try:
            last = client.ask(question, deadline)
        except client.Busy as busy:
            last = busy
            return None
        return None if getattr(last, "pending", False) else last

    if settled() is None and seconds:
        waiting.until(settled, deadline, queue_url)
    if isinstance(last, Problem):
        raise last
    return last


def _receipt(token: str, request: Request, hint: str) -> Receipt:
    for receipt_key in IntakeSettings.from_environment().receipt_keys:
        if receipt := verify(token, receipt_key, request.caller.name):
            return receipt
    raise Problem("unknown-receipt", f"{hint}, with the same credentials")


def _select(resource: resources.Resource, query: Mapping[str, str]) -> list[str] | None:
    faults: list[Fault] = []
    found = columns.chosen(resource, query.get("select"), faults)
    if faults:
        raise Problem("invalid-query", f"?select: {faults[0].detail}", faults)
    return found


def _seconds(query: Mapping[str, str], otherwise: int) -> int:
    wait = query.get("wait")
    if wait is None:
        return otherwise
    if not _NUMBER.fullmatch(wait) or int(wait) > prefer.MAX_WAIT_SECONDS:
        raise _invalid("wait", f"it takes whole seconds from 0 to {prefer.MAX_WAIT_SECONDS}")
    return int(wait)


def _invalid(name: str, detail: str) -> Problem:
    return Problem("invalid-query", f"?{name}: {detail}", (Fault(f"?{name}", "query", detail),))
