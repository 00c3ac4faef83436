"""What the API function reads: it asks the reader function, which alone may hold a connection."""

import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from chalicelib import aws
from chalicelib.api.http import preconditions
from chalicelib.api.http.answers import Answer, more
from chalicelib.api.http.prefer import MAX_WAIT_SECONDS
from chalicelib.api.http.request import Request, only
from chalicelib.api.reads import columns, waiting
from chalicelib.contract import key, resources
from chalicelib.contract.json_text import render
from chalicelib.errors import Fault, Problem
from chalicelib.messages.receipt import Receipt, verify
from chalicelib.settings import LEDGER_DAYS, IntakeSettings

logger = logging.getLogger("decanter.intake")

AFTER_SECONDS = 10
"""How long a read waits for the write that it is to come after, unless it says otherwise."""

_NUMBER = re.compile(r"[0-9]{1,6}")

_PATIENCE_SECONDS = 12.0
"""Longest wait for one answer of the reader function, the start of a container included."""

_ON_THE_WAY_SECONDS = 1.0
_LEAST_SECONDS = 0.5
_LOGGED_BYTES = 500

_TEXT = str | None
_YES = Literal[True]
_ANSWERS: Mapping[str, Sequence[Mapping[str, Any]]] = MappingProxyType(
    {
        "status": ({"body": str, "state": str, "pending": bool},),
        "row": ({"body": str, "etag": str}, {"body": type(None)}),
        "rows": ({"rows": list},),
        "part": ({"body": str, "etag": _TEXT}, {"body": type(None)}),
        "list": ({"body": str, "next": _TEXT}, {"unfit": str}),
        "search": ({"body": str, "next": _TEXT}, {"unfit": str}),
        "counted": ({"body": str, "next": _TEXT, "rows": int, "count": int}, {"unfit": str}),
    }
)
"""Members of what each question may be answered with."""

_AFTER: Sequence[Mapping[str, Any]] = ({"pending": _YES}, {"rejected": str}, {"expired": str})
"""The same of a question that has an `after`, beside."""

_DOCUMENT: Mapping[str, Any] = MappingProxyType({"state": str, "rejections": list})


class _Passing(Problem):
    """The reader may answer in a moment."""


def status(request: Request, token: str) -> Answer:
    """GET /writes/{receipt}?wait=&after_item=. Raises Problem 404 without a look-up for a receipt
    that was forged, mistyped or issued to somebody else."""
    query = only(request.query, "wait", "after_item")
    seconds = _seconds(query, 0)
    after_item = query.get("after_item", "")
    if "after_item" in query and not _NUMBER.fullmatch(after_item):
        raise _unfit("after_item", "it takes the number of an item, from 0")
    settings = IntakeSettings.from_environment()
    hint = "use the Location of the 202 answer as it was given"
    receipt = _receipt(settings, token, request, hint)
    question = {"ask": "status", **_fields(receipt)}
    question |= {"after_item": int(after_item)} if after_item else {}
    # A receipt does not say which queue its messages are on. Most resources are ordered; where
    # this one is not, the reader is asked more or less often than it would have to be.
    answer = _settled(request, question, seconds, settings.ordered_queue_url)
    headers = {"Retry-After": "1"} if answer["pending"] else {}
    if answer.get("next") is not None:
        headers |= more(token, answer["next"])
    return Answer(200, answer["body"], headers)


def row(request: Request, name: str, segments: Sequence[str]) -> Answer:
    """GET /{resource}/{key…}?select=&after=&wait=: one row with its ETag, or 304 if the client has
    it.

    select: columns to show of it. The ETag is that of the whole row all the same, for conditions of
    writes; a row that is too large to be shown as a whole has none.
    after: a receipt. The row is read only once the writes of that request are applied, so that
    clients read what they have written.
    """
    resource = resources.resource(name)
    request.caller.require(name, "read")
    query = only(request.query, "select", "after", "wait")
    if "wait" in query and "after" not in query:
        raise _unfit("wait", "it is for a read that comes after a write: add after={receipt}")
    seconds = _seconds(query, AFTER_SECONDS)
    select = _select(resource, query)
    known = preconditions.tags(request.headers, "If-None-Match")
    members = key.from_path(resource, segments)
    question: dict[str, Any] = {"ask": "row", "resource": resource.name, "key": render(members)}
    if select is not None:  # in another word, for versions of the reader that would show the row
        question |= {"ask": "part", "select": select}
    if "after" in query:
        answer = _after(request, resource, question, query["after"], seconds)
        hint = "the write that it was to come after is applied"
    else:
        answer = ask(question, request.until())
        hint = "a write to it may still be pending"
    if answer["body"] is None:
        raise Problem("no-such-row", f"{name} has no row {render(members)}; {hint}")
    headers = {} if answer["etag"] is None else {"ETag": f'"{answer["etag"]}"'}
    # RFC 9110: If-None-Match compares weakly.
    if known is not None and {tag for tag, _ in known} & {preconditions.ANY, answer["etag"]}:
        return Answer(304, "", headers)
    return Answer(200, answer["body"], headers)


def outcome(receipt: Receipt, deadline: float) -> dict[str, Any] | None:
    """The document that tells what became of a request; None while it is pending."""
    answer = ask({"ask": "status", **_fields(receipt)}, deadline)
    if answer["pending"]:
        return None
    try:
        document = json.loads(answer["body"])
    except ValueError:
        document = None
    if not isinstance(document, dict) or not _has(document, _DOCUMENT):
        raise _senseless(answer["body"].encode())
    return document


def rows(resource: resources.Resource, keys: str, deadline: float) -> list[str | None]:
    """JSON text of the rows with these keys (a JSON array of objects), None for a missing one."""
    answer = ask({"ask": "rows", "resource": resource.name, "keys": keys}, deadline)
    found: list[str | None] = answer["rows"]
    return found


def ask(question: Mapping[str, Any], deadline: float) -> dict[str, Any]:
    """What the reader answers, at the latest at the deadline, a time.monotonic().

    The question says how long somebody waits for its answer: nobody's questions are to take the
    place of others'. Raises Problem `reader-busy` or `row-too-large-to-read`.
    """
    function = IntakeSettings.from_environment().reader_function
    now = time.monotonic()
    deadline = min(deadline, now + _PATIENCE_SECONDS)
    seconds = max(_LEAST_SECONDS, deadline - now - _ON_THE_WAY_SECONDS)
    asked = json.dumps({**question, "seconds": round(seconds, 3)}).encode()
    text = _invoked(function, asked, deadline)
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):  # it was cut, or is none of the reader's
        payload = None
    if not isinstance(payload, dict):
        raise _senseless(text)
    if payload.get("unwell"):
        raise _busy("the database does not answer now; writes are still accepted", 5)
    if payload.get("too_large") and isinstance(payload.get("next"), _TEXT):
        raise TooLarge(payload.get("next"))
    known = (*_ANSWERS[question["ask"]], *(_AFTER if "after" in question else ()))
    if not any(_has(payload, members) for members in known):
        raise _senseless(text)
    return payload


def _invoked(function: str, question: bytes, deadline: float) -> bytes:
    """What the reader function gives, as it came. Raises Problem `reader-busy`."""
    from botocore.exceptions import ClientError

    def call() -> tuple[bytes, bool]:
        reply = _client().invoke(FunctionName=function, Payload=question)
        return reply["Payload"].read(), "FunctionError" in reply

    try:
        text, has_failed = aws.within(deadline, call)
    except aws.Late:
        raise _busy("the reader function did not answer in time", 5) from None
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "TooManyRequestsException":
            raise _busy("as many reads as the database is to carry are under way") from None
        logger.error("the reader function did not take the call: %s", error)
        raise _busy("the reader function did not take the call", 5) from error
    except Exception as error:  # the SDK lets through much of what its libraries raise
        logger.error("the reader function did not answer: %r", error)
        raise _busy("the reader function did not answer", 5) from error
    if has_failed:
        logger.error("the reader function failed: %s", text.decode(errors="replace"))
        raise Problem(
            "reader-busy",
            "the reader function failed, which was logged: the database may not be as the models"
            " say. Writes are still accepted",
            headers={"Retry-After": "30"},
        )
    return text


def _has(payload: Mapping[str, Any], members: Mapping[str, Any]) -> bool:
    return all(
        name in payload
        and (payload[name] is True if type_ is _YES else isinstance(payload[name], type_))
        for name, type_ in members.items()
    )


def _senseless(text: bytes) -> Problem:
    logger.error("the reader function answered what is no answer: %r", text[:_LOGGED_BYTES])
    return _busy("the reader function did not answer as it should", 5)


class TooLarge(Problem):
    """A row cannot be told. next: where a list goes on behind it, if it was on one."""

    def __init__(self, next: str | None, headers: Mapping[str, str] | None = None) -> None:
        detail = "a row has more JSON text than an answer of Lambda holds (6 MB)"
        super().__init__("row-too-large-to-read", detail, headers=headers)
        self.next = next


def _after(
    request: Request,
    resource: resources.Resource,
    question: Mapping[str, Any],
    token: str,
    seconds: int,
) -> dict[str, Any]:
    settings = IntakeSettings.from_environment()
    receipt = _receipt(settings, token, request, "?after: name the receipt of a 202 answer")
    url = settings.ordered_queue_url if resource.ordered else settings.unordered_queue_url
    answer = _settled(request, {**question, "after": _fields(receipt)}, seconds, url)
    if answer.get("pending"):
        detail = f"the write was not applied within {seconds} s; it still will be, or be rejected"
        if not receipt.accepted_at:  # it has no time that would tell
            detail += f", unless it was accepted more than {LEDGER_DAYS} days ago"
        raise Problem("not-yet-applied", detail, headers={"Retry-After": "1"})
    if "rejected" in answer:
        raise Problem("write-rejected", answer["rejected"])
    if "expired" in answer:
        raise Problem("receipt-expired", answer["expired"])
    return answer


def _settled(
    request: Request, question: Mapping[str, Any], seconds: int, queue_url: str
) -> dict[str, Any]:
    """What the reader answers once it is not pending any more, or after that many seconds.

    Raises Problem if it could not be asked to the last.
    """
    deadline = request.until(seconds) if seconds else request.until()
    last: dict[str, Any] | Problem

    def settled() -> dict[str, Any] | None:
        nonlocal last
        try:
            last = ask(question, deadline)
        except _Passing as passing:
            last = passing
            return None
        return None if last.get("pending") else last

    if settled() is None and seconds:
        waiting.until(settled, deadline, queue_url)
    if isinstance(last, Problem):
        raise last
    return last


def _receipt(settings: IntakeSettings, token: str, request: Request, hint: str) -> Receipt:
    for receipt_key in settings.receipt_keys:
        if receipt := verify(token, receipt_key, request.caller.name):
            return receipt
    raise Problem("unknown-receipt", f"{hint}, with the same credentials")


def _fields(receipt: Receipt) -> dict[str, Any]:
    return {**receipt._asdict(), "id": str(receipt.id)}


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
    if not _NUMBER.fullmatch(wait) or int(wait) > MAX_WAIT_SECONDS:
        raise _unfit("wait", f"it takes whole seconds from 0 to {MAX_WAIT_SECONDS}")
    return int(wait)


def _unfit(name: str, detail: str) -> Problem:
    return Problem("invalid-query", f"?{name}: {detail}", (Fault(f"?{name}", "query", detail),))


def _busy(detail: str, seconds: int = 1) -> Problem:
    return _Passing("reader-busy", detail, headers={"Retry-After": str(seconds)})


@cache
def _client() -> Any:
    return aws.client(
        "lambda",
        connect_timeout=2,
        read_timeout=_PATIENCE_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
