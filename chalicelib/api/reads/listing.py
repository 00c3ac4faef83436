"""Lists: parameters of a query → a question for the reader, and the link to the next page."""

import base64
import hashlib
import hmac
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from chalicelib.api.http.request import Query, invalid_query
from chalicelib.api.reads import columns
from chalicelib.api.reads.columns import QueryFilter, fault
from chalicelib.contract.json_text import render
from chalicelib.contract.resources import Resource
from chalicelib.errors import Fault, Problem
from chalicelib.messages.questions import CountedPage, ListQuestion, Where

MAX_LIMIT = 1_000
"""Most rows of a page."""

DEFAULT_LIMIT = 100

MAX_LINK = 6_000
"""Longest address of a next page. API Gateway accepts 10,240 bytes of headers, with the token."""

_LIMIT = re.compile(r"[0-9]{1,6}")
_MAC_BYTES = 16
_LONG = 1_000
"""Bytes of a place in a list above which its cursor is compressed: a key such as 1e131071 has all
its digits in it. JSON begins with a brace, so the first byte tells the two forms apart."""
_LONGEST = 2_000_000  # bytes; the reader gives no place as long as that


class List(NamedTuple):
    """A list that a query asks for: the question for one of its pages, and all its filters."""

    question: ListQuestion
    filters: Sequence[QueryFilter]


def parse(
    resource: Resource, query: Query, receipt_keys: Sequence[bytes], is_counted: bool
) -> List:
    """The list that a query asks for. Raises Problem 400."""
    own = {name: query[name] for name in columns.OWN if name in query}
    faults = [fault(name, "it appears more than once") for name in own if len(own[name]) > 1]
    sent = {name: values[-1] for name, values in own.items()}
    filters = columns.filters(resource, query, faults)
    equal = {each.column: each.values[0] for each in filters if each.is_equality}
    others = [each for each in filters if not each.is_equality]
    question = ListQuestion(
        resource.name,
        render(dict(sorted(equal.items()))),
        columns.order(resource, sent.get("order"), faults),
        limit(sent.get("limit"), faults),
        None,
        [Where(each.column, each.op, each.negated, each.texts) for each in others],
        columns.select(resource, sent.get("select"), faults),
        is_counted,
    )
    if "cursor" in sent and not faults:
        starts = (_start(each, sent["cursor"], question) for each in receipt_keys)
        question = replace(question, start=next(filter(None, starts), None))
        if question.start is None:
            detail = (
                "it belongs to another list, or was changed. Follow the Link of the previous page"
                " with the same filters and order, or start again without a cursor"
            )
            faults.append(fault("cursor", detail))
    if faults:
        raise invalid_query(*faults)
    return List(question, filters)


def link(
    question: ListQuestion, query: Query, receipt_key: bytes, start: str | None
) -> dict[str, str]:
    """The header that leads to the next page, if there is one. start: where that begins."""
    if start is None:
        return {}
    address = _address(question.resource, query, _cursor(receipt_key, question, start))
    return {"Link": f'<{address}>; rel="next"'}


def content_range(page: CountedPage, start: str | None) -> str:
    """The Content-Range of a page. Positions are known only for the first page."""
    first_to_last = f"0-{page.rows - 1}" if page.rows and start is None else "*"
    return f"{first_to_last}/{page.count}"


def limit(text: str | None, faults: list[Fault]) -> int:
    """The most entries of a page, as a query has it. A fault is added."""
    if text is None:
        return DEFAULT_LIMIT
    if not _LIMIT.fullmatch(text) or not 1 <= int(text) <= MAX_LIMIT:
        faults.append(fault("limit", f"it takes a whole number from 1 to {MAX_LIMIT}"))
        return DEFAULT_LIMIT
    return int(text)


def _cursor(receipt_key: bytes, question: ListQuestion, start: str) -> str:
    """An unforgeable token of the place where the next page begins."""
    payload = start.encode()
    if len(payload) > _LONG:
        payload = zlib.compress(payload, 9)
    return _base64(_mac(receipt_key, question, start) + payload)


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _start(receipt_key: bytes, cursor: str, question: ListQuestion) -> str | None:
    """Where the page begins; None for a cursor that was not issued for this list."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        payload = raw[_MAC_BYTES:]
        if not payload.startswith(b"{"):
            payload = zlib.decompressobj().decompress(payload, _LONGEST)
        start = payload.decode()
    except (ValueError, zlib.error):
        return None
    is_ours = hmac.compare_digest(raw[:_MAC_BYTES], _mac(receipt_key, question, start))
    # Only one spelling: base64 has spare bits, and + and / are decoded like - and _.
    return start if is_ours and _base64(raw) == cursor else None


def _mac(receipt_key: bytes, question: ListQuestion, start: str) -> bytes:
    """A MAC of the list and a place in it. Selected columns may change from page to page."""
    parts: list[Any] = ["cursor", question.resource, question.equal, question.order, start]
    parts += [sorted(question.where)] if question.where else []
    return hmac.digest(receipt_key, json.dumps(parts).encode(), hashlib.sha256)[:_MAC_BYTES]


def _address(resource: str, query: Query, cursor: str) -> str:
    """Path and query of the next page, in ASCII. Raises Problem 400 if they are too long."""
    kept = [(name, text) for name, each in query.items() if name != "cursor" for text in each]
    address = f"/{resource}?{urlencode([*kept, ('cursor', cursor)], quote_via=quote, safe='')}"
    if len(address) > MAX_LINK:
        detail = (
            f"the address of the next page would have {len(address)} characters, more than"
            f" {MAX_LINK}; order by columns with shorter values, or use fewer filters"
        )
        raise invalid_query(fault("order", detail))
    return address


def refused(why: str, filters: Sequence[QueryFilter]) -> Problem:
    """The problem of a list that the database refuses. Its message quotes the invalid text."""
    named = {
        each.column: None
        for each in filters
        if any(isinstance(value, str) and f'"{value}"' in why for value in each.values)
    }
    return Problem("invalid-query", why, [fault(columns.parameter(name), why) for name in named])
