"""Lists: a query's parameters → what the reader is asked, and the way to the next page."""

import base64
import hashlib
import hmac
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from chalicelib.api.http import prefer
from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request
from chalicelib.api.reads import columns, reading
from chalicelib.api.reads.columns import Filter, Order, fault
from chalicelib.contract import resources
from chalicelib.contract.json_text import render
from chalicelib.errors import Fault, Problem
from chalicelib.settings import IntakeSettings

MAX_LIMIT = 1_000
"""Most rows of a page."""

DEFAULT_LIMIT = 100

MAX_LINK = 6_000
"""Longest address of a next page. API Gateway takes 10,240 bytes of headers, the token included."""

_LIMIT = re.compile(r"[0-9]{1,6}")
_MAC_BYTES = 16
_LONG = 1_000
"""Bytes of a place in a list from which on its cursor is compressed: a key such as 1e131071 has all
its digits in it. As JSON it begins with a brace, so the two are told apart by their first byte."""
_LONGEST = 2_000_000  # bytes; the reader tells of none that is as long


@dataclass(frozen=True)
class _Asked:
    """select: the columns to show, None for all. start: JSON text that tells where the page begins,
    or None."""

    filters: Sequence[Filter]
    order: Order
    select: Sequence[str] | None
    limit: int
    start: str | None

    @property
    def equal(self) -> dict[str, Any]:
        """Values by column, of the columns that equal one."""
        return {each.column: each.values[0] for each in self.filters if each.is_equality}

    @property
    def where(self) -> list[list[Any]]:
        """All other filters, as the reader takes them."""
        return [
            [each.column, each.op, each.negated, each.texts]
            for each in self.filters
            if not each.is_equality
        ]


def rows(request: Request, name: str) -> Answer:
    """GET /{resource}?{column}=&select=&order=&limit=&cursor=: a page of rows, with a Link to the
    next, and with the number of all of them if it is preferred."""
    resource = resources.resource(name)
    request.caller.require(name, "read")
    if not resource.key:
        detail = f"{name} has no key, and so no order that its rows could be listed in"
        raise Problem("op-not-allowed", detail, headers={"Allow": "POST"})
    receipt_keys = IntakeSettings.from_environment().receipt_keys
    asked = _asked(resource, request.query, receipt_keys)
    counted = prefer.is_counted(request.headers)

    def link(start: str | None) -> dict[str, str]:
        if start is None:
            return {}
        cursor = _cursor(receipt_keys[0], name, asked, start)
        return {"Link": f'<{_address(name, request.query, cursor)}>; rel="next"'}

    try:
        answer = reading.ask(_question(name, asked, counted), request.until())
    except reading.TooLarge as problem:
        raise reading.TooLarge(None, link(problem.next)) from problem
    if "unfit" in answer:
        raise _unfit(answer["unfit"], asked.filters)
    headers = link(answer["next"])
    if counted:
        headers |= {
            "Content-Range": _range(answer["rows"], answer["count"], asked.start),
            "Preference-Applied": prefer.COUNT,
        }
    return Answer(200, answer["body"], headers)


def _question(name: str, asked: _Asked, counted: bool) -> dict[str, Any]:
    """As the reader takes it. What not every version of the reader knows is asked in another word:
    one that knew only half of a question would answer with other rows."""
    question = {
        "ask": "list",
        "resource": name,
        "filters": render(asked.equal),
        "order": asked.order,
        "limit": asked.limit,
        "from": asked.start,
    }
    if not asked.where and asked.select is None and not counted:
        return question
    word = "counted" if counted else "search"
    return {**question, "ask": word, "where": asked.where, "select": asked.select}


def _range(rows: int, count: int, start: str | None) -> str:
    """The Content-Range of a page. How many rows come before one that begins in the middle of a
    list is not known."""
    return f"{f'0-{rows - 1}' if rows and start is None else '*'}/{count}"


def _asked(
    resource: resources.Resource, query: Mapping[str, Sequence[str]], receipt_keys: Sequence[bytes]
) -> _Asked:
    own = {name: query[name] for name in columns.OWN if name in query}
    faults = [fault(name, "it is there twice") for name, each in own.items() if len(each) > 1]
    sent = {name: values[-1] for name, values in own.items()}
    asked = _Asked(
        columns.filters(resource, query, faults),
        columns.order(resource, sent.get("order"), faults),
        columns.chosen(resource, sent.get("select"), faults),
        _limit(sent.get("limit"), faults),
        None,
    )
    if "cursor" in sent and not faults:
        starts = (_start(k, sent["cursor"], resource.name, asked) for k in receipt_keys)
        start = next((each for each in starts if each is not None), None)
        asked = replace(asked, start=start)
        if start is None:
            detail = (
                "it is of another list, or not as it was given. Follow the Link of the page before"
                " with the same filters and order, or begin again without cursor"
            )
            faults.append(fault("cursor", detail))
    if faults:
        raise Problem("invalid-query", f"{faults[0].pointer}: {faults[0].detail}", faults)
    return asked


def _limit(text: str | None, faults: list[Fault]) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not _LIMIT.fullmatch(text) or not 1 <= int(text) <= MAX_LIMIT:
        faults.append(fault("limit", f"it takes a whole number from 1 to {MAX_LIMIT}"))
        return DEFAULT_LIMIT
    return int(text)


def _cursor(receipt_key: bytes, name: str, asked: _Asked, start: str) -> str:
    """What tells where the next page begins, and cannot be made by anyone else."""
    payload = start.encode()
    if len(payload) > _LONG:
        payload = zlib.compress(payload, 9)
    return _base64(_mac(receipt_key, name, asked, start) + payload)


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _start(receipt_key: bytes, cursor: str, name: str, asked: _Asked) -> str | None:
    """Where the page begins; None for a cursor that was not given for this list."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        payload = raw[_MAC_BYTES:]
        if not payload.startswith(b"{"):
            payload = zlib.decompressobj().decompress(payload, _LONGEST)
        start = payload.decode()
    except (ValueError, zlib.error):
        return None
    is_ours = hmac.compare_digest(raw[:_MAC_BYTES], _mac(receipt_key, name, asked, start))
    # One cursor for one place: base64 has bits to spare, and + and / are taken for - and _.
    return start if is_ours and _base64(raw) == cursor else None


def _mac(receipt_key: bytes, name: str, asked: _Asked, start: str) -> bytes:
    """Of the list and the place in it. What is shown of its rows may change from page to page."""
    said = ["cursor", name, render(dict(sorted(asked.equal.items()))), asked.order, start]
    said += [sorted(asked.where)] if asked.where else []
    return hmac.digest(receipt_key, json.dumps(said).encode(), hashlib.sha256)[:_MAC_BYTES]


def _address(resource: str, query: Mapping[str, Sequence[str]], cursor: str) -> str:
    """Path and query of the next page, in ASCII. Raises Problem 400 if they fit no header."""
    kept = [(name, text) for name, each in query.items() if name != "cursor" for text in each]
    address = f"/{resource}?{urlencode([*kept, ('cursor', cursor)], quote_via=quote, safe='')}"
    if len(address) > MAX_LINK:
        detail = (
            f"the address of the next page would have {len(address)} characters, and {MAX_LINK}"
            " fit; order by columns with shorter values, or filter by fewer"
        )
        raise Problem("invalid-query", f"?order: {detail}", (fault("order", detail),))
    return address


def _unfit(why: str, filters: Sequence[Filter]) -> Problem:
    """Postgres names the value that it does not take, which is a text here."""
    named = {
        each.column: None
        for each in filters
        if any(isinstance(value, str) and f'"{value}"' in why for value in each.values)
    }
    return Problem("invalid-query", why, [fault(columns.parameter(name), why) for name in named])
