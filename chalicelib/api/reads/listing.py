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

from chalicelib.api.reads import columns
from chalicelib.api.reads.columns import Order, QueryFilter, fault
from chalicelib.contract import resources
from chalicelib.contract.json_text import render
from chalicelib.errors import Fault, Problem
from chalicelib.messages.questions import CountedPage, ListQuestion, Where

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
class Asked:
    """What a query asks for. select: the columns to show, None for all. start: JSON text that says
    where the page begins, or None."""

    resource: str
    filters: Sequence[QueryFilter]
    order: Order
    select: Sequence[str] | None
    limit: int
    start: str | None

    @property
    def equal(self) -> dict[str, Any]:
        """Values by column, of the columns that equal one."""
        return {each.column: each.values[0] for each in self.filters if each.is_equality}

    @property
    def where(self) -> list[Where]:
        """All other filters, as the reader takes them."""
        return [
            Where(each.column, each.op, each.negated, each.texts)
            for each in self.filters
            if not each.is_equality
        ]

    def question(self, is_counted: bool) -> ListQuestion:
        return ListQuestion(
            self.resource, render(self.equal), self.order, self.limit, self.start,
            self.where, self.select, is_counted,
        )  # fmt: skip


def link(
    asked: Asked, query: Mapping[str, Sequence[str]], receipt_key: bytes, start: str | None
) -> dict[str, str]:
    """The header that leads to the next page, if there is one. start: where that begins."""
    if start is None:
        return {}
    cursor = _cursor(receipt_key, asked, start)
    return {"Link": f'<{_address(asked.resource, query, cursor)}>; rel="next"'}


def content_range(page: CountedPage, start: str | None) -> str:
    """The Content-Range of a page. How many rows come before one that begins in the middle of a
    list is not known."""
    first_to_last = f"0-{page.rows - 1}" if page.rows and start is None else "*"
    return f"{first_to_last}/{page.count}"


def asked(
    resource: resources.Resource, query: Mapping[str, Sequence[str]], receipt_keys: Sequence[bytes]
) -> Asked:
    """What a query asks for of a resource's rows. Raises Problem 400."""
    own = {name: query[name] for name in columns.OWN if name in query}
    faults = [
        fault(name, "it appears more than once") for name, each in own.items() if len(each) > 1
    ]
    sent = {name: values[-1] for name, values in own.items()}
    asked = Asked(
        resource.name,
        columns.filters(resource, query, faults),
        columns.order(resource, sent.get("order"), faults),
        columns.chosen(resource, sent.get("select"), faults),
        _limit(sent.get("limit"), faults),
        None,
    )
    if "cursor" in sent and not faults:
        starts = (_start(k, sent["cursor"], asked) for k in receipt_keys)
        start = next((each for each in starts if each is not None), None)
        asked = replace(asked, start=start)
        if start is None:
            detail = (
                "it belongs to another list, or was changed. Follow the Link of the page before"
                " with the same filters and order, or start again without a cursor"
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


def _cursor(receipt_key: bytes, asked: Asked, start: str) -> str:
    """What tells where the next page begins, and cannot be made by anyone else."""
    payload = start.encode()
    if len(payload) > _LONG:
        payload = zlib.compress(payload, 9)
    return _base64(_mac(receipt_key, asked, start) + payload)


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _start(receipt_key: bytes, cursor: str, asked: Asked) -> str | None:
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
    is_ours = hmac.compare_digest(raw[:_MAC_BYTES], _mac(receipt_key, asked, start))
    # One cursor for one place: base64 has bits to spare, and + and / are taken for - and _.
    return start if is_ours and _base64(raw) == cursor else None


def _mac(receipt_key: bytes, asked: Asked, start: str) -> bytes:
    """Of the list and the place in it. What is shown of its rows may change from page to page."""
    equal = render(dict(sorted(asked.equal.items())))
    said: list[Any] = ["cursor", asked.resource, equal, asked.order, start]
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


def unfit(why: str, filters: Sequence[QueryFilter]) -> Problem:
    """What the database says of a list that it does not take. It names the value, a text here."""
    named = {
        each.column: None
        for each in filters
        if any(isinstance(value, str) and f'"{value}"' in why for value in each.values)
    }
    return Problem("invalid-query", why, [fault(columns.parameter(name), why) for name in named])
