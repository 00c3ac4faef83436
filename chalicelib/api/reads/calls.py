"""The four calls that read: request → question for the reader function → its answer."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from chalicelib.api.http import forms, preconditions, prefer
from chalicelib.api.http.answers import Answer, link_to_rest, path_to_rejections
from chalicelib.api.http.request import Request, invalid_query, only
from chalicelib.api.reads import client, columns, listing
from chalicelib.contract import key, resources
from chalicelib.contract.json_text import render
from chalicelib.errors import Fault, Problem
from chalicelib.messages.questions import (
    CountedPage,
    Expired,
    InvalidList,
    Page,
    Pending,
    Question,
    Rejected,
    RejectionsQuestion,
    RowQuestion,
    StatusQuestion,
)
from chalicelib.messages.receipt import Receipt, is_of_front, verify
from chalicelib.ops import READ
from chalicelib.settings import LEDGER_DAYS, IntakeSettings

AFTER_SECONDS = 10
"""How long a read waits for the write of `after` by default."""

_WITH_REJECTIONS = ("partial", "rejected", "expired")
"""States of requests of which writes may have been rejected."""

_UNCHANGED = "use the unchanged Location of the 202 answer"

_NUMBER = re.compile(r"[0-9]{1,6}")
_Answer = TypeVar("_Answer")


def status(request: Request, token: str) -> Answer:
    """GET /writes/{receipt}?wait=&after_item=. Raises Problem 404 without a look-up for a receipt
    that was forged, mistyped or issued to somebody else."""
    query = only(request.query, "wait", "after_item")
    seconds = _seconds(query, 0)
    after_item = _after_item(query)
    receipt = _receipt(token, request, _UNCHANGED)
    question = StatusQuestion(receipt, after_item)
    # A receipt does not say which queue its messages are on. Most resources are ordered; for
    # others, the reader is asked more or less often than necessary.
    is_ordered = None if is_of_front(receipt.id) else True
    answer = _ask_until_settled(request, question, seconds, is_ordered)
    body, headers = answer.body, {}
    if answer.pending:
        from chalicelib.api.reads import pending

        body, headers = pending.with_estimate(receipt.id, answer), {"Retry-After": "1"}
    if answer.next is not None:
        headers |= link_to_rest(token, answer.next)
    if answer.state in _WITH_REJECTIONS:
        body = f'{body[:-1]}, "all_rejections": "{path_to_rejections(token)}"}}'
    return Answer(200, body, headers)


def rejections(request: Request, token: str) -> Answer:
    """GET /writes/{receipt}/rejections?limit=&after_item=: a page of all rejections of a request,
    with their rows, and a Link to the next one. Raises Problem."""
    query = only(request.query, "limit", "after_item")
    faults: list[Fault] = []
    limit = listing.limit(query.get("limit"), faults)
    if faults:
        raise invalid_query(*faults)
    after_item = _after_item(query)
    form = forms.accepted(request.headers, "lines")
    receipt = _receipt(token, request, _UNCHANGED)
    answer = client.ask(RejectionsQuestion(receipt, limit, after_item, form), request.until())
    headers = {"Retry-After": "1"} if answer.pending else {}
    if answer.next is not None:
        rest = f"limit={limit}&after_item={answer.next}"
        headers |= {"Link": f'<{path_to_rejections(token)}?{rest}>; rel="next"'}
    return Answer(200, answer.body, {**headers, **forms.content_type(form)})


def row(request: Request, name: str, segments: Sequence[str]) -> Answer:
    """GET /{resource}/{key…}?select=&after=&wait=: one row with its ETag, or 304 if the client has
    it.

    select: columns to show. The ETag is always that of the whole row, for conditions of writes; a
        row that is too large to be shown as a whole has none.
    after: a receipt. The row is read once the writes of that request are applied, so that clients
        read what they have written. A row behind the front table shows them at once, without it.
    """
    resource = resources.resource(name)
    request.caller.require(name, READ)
    query = only(request.query, "select", *(() if resource.is_fronted else ("after", "wait")))
    if "wait" in query and "after" not in query:
        raise invalid_query(
            columns.fault("wait", "it needs after={receipt}, the write to wait for")
        )
    seconds = _seconds(query, AFTER_SECONDS if "after" in query else 0)
    faults: list[Fault] = []
    select = columns.select(resource, query.get("select"), faults)
    if faults:
        raise invalid_query(*faults)
    known = preconditions.tags(request.headers, "If-None-Match")
    named = key.from_path(resource, segments)
    if resource.is_fronted:
        from chalicelib.api.front import read

        return read.row(resource, named, select, known, request.until())
    members = render(named)
    receipt = None
    if "after" in query:
        receipt = _receipt(query["after"], request, "?after: use the receipt of a 202 answer")
    question = RowQuestion(resource.name, members, select, receipt)
    match answer := _ask_until_settled(request, question, seconds, resource.ordered):
        case Pending():
            raise _not_yet(receipt, seconds)
        case Rejected(rejected=why):
            raise Problem("write-rejected", why)
        case Expired(expired=why):
            raise Problem("receipt-expired", why)
    if answer.body is None:
        hint = "the write of `after` is applied" if receipt else "a write may still be pending"
        raise Problem("no-such-row", f"{name} has no row {members}; {hint}")
    headers = {} if answer.etag is None else {"ETag": f'"{answer.etag}"'}
    # RFC 9110: If-None-Match compares weakly.
    if known is not None and {tag for tag, _ in known} & {preconditions.ANY, answer.etag}:
        return Answer(304, "", headers)
    return Answer(200, answer.body, headers)


def rows(request: Request, name: str) -> Answer:
    """GET /{resource}?{column}=&select=&order=&limit=&cursor=: a page of rows, with a Link to the
    next one, and with the number of all rows if that is preferred."""
    resource = resources.resource(name)
    request.caller.require(name, READ)
    if not resource.key:
        detail = f"{name} has no key, so its rows have no order to be listed in"
        raise Problem("op-not-allowed", detail, headers={"Allow": "POST"})
    receipt_keys = IntakeSettings.from_environment().receipt_keys
    is_counted = prefer.is_counted(request.headers)
    question, filters = listing.parse(resource, request.query, receipt_keys, is_counted)

    def link(start: str | None) -> dict[str, str]:
        return listing.link(question, request.query, receipt_keys[0], start)

    try:
        answer = client.ask(question, request.until())
    except client.RowTooLarge as problem:
        raise client.RowTooLarge(None, link(problem.next)) from problem
    if isinstance(answer, InvalidList):
        raise listing.refused(answer.unfit, filters)
    headers = link(answer.next) | _lag(answer)
    if isinstance(answer, CountedPage):
        headers |= {
            "Content-Range": listing.content_range(answer, question.start),
            "Preference-Applied": prefer.COUNT,
        }
    return Answer(200, answer.body, headers)


def _lag(page: Page | CountedPage) -> dict[str, str]:
    """The header that says how far behind Postgres was: seconds, and for how many it is known
    (RFC 9651)."""
    if page.lag is None or page.age is None:
        return {}
    return {"Decanter-Lag": f"{page.lag:.1f};age={page.age:.0f}"}


def _not_yet(receipt: Receipt | None, seconds: int) -> Problem:
    detail = f"the write was not applied within {seconds} s; it will still be applied or rejected"
    if receipt and not receipt.accepted_at:  # it has no time
        detail += f", unless it was accepted more than {LEDGER_DAYS} days ago"
    return Problem("not-yet-applied", detail, headers={"Retry-After": "1"})


def _ask_until_settled(
    request: Request, question: Question[_Answer], seconds: int, is_ordered: bool | None
) -> _Answer:
    """The reader's answer once it is no longer pending, or after so many seconds.

    is_ordered: of the queue with the messages; None: they come from the front table. Raises Problem
    if the reader was still busy then.
    """
    settings = IntakeSettings.from_environment()
    queue_url = None if is_ordered is None else settings.queue_url(is_ordered)
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
        from chalicelib.api.reads import waiting  # with SQS' client, which other reads do not need

        waiting.until(settled, deadline, queue_url)
    if isinstance(last, Problem):
        raise last
    return last


def _receipt(token: str, request: Request, hint: str) -> Receipt:
    for receipt_key in IntakeSettings.from_environment().receipt_keys:
        if receipt := verify(token, receipt_key, request.caller.name):
            return receipt
    raise Problem("unknown-receipt", f"{hint}, with the same credentials")


def _after_item(query: Mapping[str, str]) -> int:
    after_item = query.get("after_item")
    if after_item is not None and not _NUMBER.fullmatch(after_item):
        raise invalid_query(columns.fault("after_item", "it must be the number of an item, from 0"))
    return -1 if after_item is None else int(after_item)


def _seconds(query: Mapping[str, str], otherwise: int) -> int:
    wait = query.get("wait")
    if wait is None:
        return otherwise
    if not _NUMBER.fullmatch(wait) or int(wait) > prefer.MAX_WAIT_SECONDS:
        raise invalid_query(
            columns.fault("wait", f"it must be whole seconds from 0 to {prefer.MAX_WAIT_SECONDS}")
        )
    return int(wait)
