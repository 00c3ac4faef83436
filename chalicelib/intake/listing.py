"""Lists: a query's parameters → what the reader is asked, and the way to the next page."""

import base64
import hashlib
import hmac
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from chalicelib.errors import Fault, Problem
from chalicelib.intake import check, contract, key, reading
from chalicelib.intake.answers import Answer
from chalicelib.intake.body import render
from chalicelib.intake.request import Request
from chalicelib.settings import IntakeSettings

MAX_LIMIT = 1_000
"""Most rows of a page."""

DEFAULT_LIMIT = 100

MAX_LINK = 6_000
"""Longest address of a next page. API Gateway takes 10,240 bytes of headers, the token included."""

_OWN = ("order", "limit", "cursor")
_PREFIX = "column."
_LIMIT = re.compile(r"[0-9]{1,6}")
_DIRECTIONS = ("asc", "desc")
_MAC_BYTES = 16
_LONG = 1_000
"""Bytes of a place in a list from which on its cursor is compressed: a key such as 1e131071 has all
its digits in it. As JSON it begins with a brace, so the two are told apart by their first byte."""
_LONGEST = 2_000_000  # bytes; the reader tells of none that is as long

Order = list[tuple[str, str]]


@dataclass(frozen=True)
class _Asked:
    """filters: values by column. start: JSON text that tells where the page begins, or None."""

    filters: Mapping[str, Any]
    order: Order
    limit: int
    start: str | None


def rows(request: Request, name: str) -> Answer:
    """GET /{resource}?{column}=&order=&limit=&cursor=: a page of rows, with a Link to the next."""
    resource = contract.resource(name)
    request.caller.require(name, "read")
    if not resource.key:
        detail = f"{name} has no key, and so no order that its rows could be listed in"
        raise Problem("op-not-allowed", detail, headers={"Allow": "POST"})
    receipt_keys = IntakeSettings.from_environment().receipt_keys
    asked = _asked(resource, request.query, receipt_keys)

    def link(start: str | None) -> dict[str, str]:
        if start is None:
            return {}
        cursor = _cursor(receipt_keys[0], name, asked.filters, asked.order, start)
        return {"Link": f'<{_address(name, request.query, cursor)}>; rel="next"'}

    try:
        answer = reading.ask(
            {
                "ask": "list",
                "resource": name,
                "filters": render(dict(asked.filters)),
                "order": asked.order,
                "limit": asked.limit,
                "from": asked.start,
            },
            request.until(),
        )
    except reading.TooLarge as problem:
        raise reading.TooLarge(None, link(problem.next)) from problem
    if "unfit" in answer:
        raise _unfit(answer["unfit"], asked.filters)
    return Answer(200, answer["body"], link(answer["next"]))


def _asked(
    resource: contract.Resource, query: Mapping[str, Sequence[str]], receipt_keys: Sequence[bytes]
) -> _Asked:
    faults = [_fault(name, "it is there twice") for name, each in query.items() if len(each) > 1]
    sent = {name: values[-1] for name, values in query.items()}
    filters = _filters(resource, sent, faults)
    order = _order(resource, sent.get("order"), faults)
    limit = _limit(sent.get("limit"), faults)
    start = None
    if "cursor" in sent and not faults:
        starts = (_start(k, sent["cursor"], resource.name, filters, order) for k in receipt_keys)
        start = next((each for each in starts if each is not None), None)
        if start is None:
            detail = (
                "it is of another list, or not as it was given. Follow the Link of the page before"
                " with the same filters and order, or begin again without cursor"
            )
            faults.append(_fault("cursor", detail))
    if faults:
        raise Problem("invalid-query", f"{faults[0].pointer}: {faults[0].detail}", faults)
    return _Asked(filters, order, limit, start)


def _filters(
    resource: contract.Resource, sent: Mapping[str, str], faults: list[Fault]
) -> dict[str, Any]:
    columns = {_parameter(name): name for name in resource.filters}
    filters: dict[str, Any] = {}
    for parameter, text in sent.items():
        if parameter in _OWN:
            continue
        if parameter not in columns:
            detail = f"there is no such column to filter by; there are: {_told(columns)}"
            faults.append(_fault(parameter, detail))
            continue
        name = columns[parameter]
        schema = resource.filters[name]
        value = key.typed(schema, text)
        if not _is_text(text):
            faults.append(_fault(parameter, "it is not text in UTF-8, or has U+0000 in it"))
            continue
        for error in check.compiled(schema).iter_errors(value):
            faults.append(_fault(parameter, error.message, error.kind.name))
        filters[name] = value
    return filters


def _order(resource: contract.Resource, text: str | None, faults: list[Fault]) -> Order:
    """The columns of ?order, and behind them those of the key that it does not name."""
    order: Order = []
    for term in [] if text is None else text.split(","):
        name, _, direction = term.rpartition(".")
        is_both = name in resource.filters and direction in _DIRECTIONS
        if not is_both and (term in resource.filters or name not in resource.filters):
            name, direction = term, "asc"
        if name not in resource.filters:
            told = _told(resource.filters)
            detail = f"{term!r} is no column to order by; there are: {told}; each may end in .desc"
            faults.append(_fault("order", detail))
        elif direction not in _DIRECTIONS:
            detail = f"{direction!r} is no direction; {name}.asc and {name}.desc are"
            faults.append(_fault("order", detail))
        elif any(name == earlier for earlier, _ in order):
            faults.append(_fault("order", f"{name} is there twice"))
        else:
            order.append((name, direction))
    named = {name for name, _ in order}
    return [*order, *((c.name, "asc") for c in resource.key if c.name not in named)]


def _limit(text: str | None, faults: list[Fault]) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not _LIMIT.fullmatch(text) or not 1 <= int(text) <= MAX_LIMIT:
        faults.append(_fault("limit", f"it takes a whole number from 1 to {MAX_LIMIT}"))
        return DEFAULT_LIMIT
    return int(text)


def _parameter(column: str) -> str:
    """What filters by a column: its name, unless that is or looks like a parameter of ours."""
    is_ours = column in _OWN or column.startswith(_PREFIX)
    return f"{_PREFIX}{column}" if is_ours else column


def _cursor(
    receipt_key: bytes, name: str, filters: Mapping[str, Any], order: Order, start: str
) -> str:
    """What tells where the next page begins, and cannot be made by anyone else."""
    payload = start.encode()
    if len(payload) > _LONG:
        payload = zlib.compress(payload, 9)
    return _base64(_mac(receipt_key, name, filters, order, start) + payload)


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _start(
    receipt_key: bytes, cursor: str, name: str, filters: Mapping[str, Any], order: Order
) -> str | None:
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
    is_ours = hmac.compare_digest(raw[:_MAC_BYTES], _mac(receipt_key, name, filters, order, start))
    # One cursor for one place: base64 has bits to spare, and + and / are taken for - and _.
    return start if is_ours and _base64(raw) == cursor else None


def _mac(
    receipt_key: bytes, name: str, filters: Mapping[str, Any], order: Order, start: str
) -> bytes:
    said = ["cursor", name, render(dict(sorted(filters.items()))), order, start]
    return hmac.digest(receipt_key, json.dumps(said).encode(), hashlib.sha256)[:_MAC_BYTES]


def _address(name: str, query: Mapping[str, Sequence[str]], cursor: str) -> str:
    """Path and query of the next page, in ASCII. Raises Problem 400 if they fit no header."""
    kept = [(parameter, each[-1]) for parameter, each in query.items() if parameter != "cursor"]
    address = f"/{name}?{urlencode([*kept, ('cursor', cursor)], quote_via=quote, safe='')}"
    if len(address) > MAX_LINK:
        detail = (
            f"the address of the next page would have {len(address)} characters, and {MAX_LINK}"
            " fit; order by columns with shorter values, or filter by fewer"
        )
        raise Problem("invalid-query", f"?order: {detail}", (_fault("order", detail),))
    return address


def _unfit(why: str, filters: Mapping[str, Any]) -> Problem:
    """Postgres names the value that it does not take."""
    parameters = [_parameter(name) for name, value in filters.items() if f'"{value}"' in why]
    return Problem("invalid-query", why, [_fault(parameter, why) for parameter in parameters])


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _fault(parameter: str, detail: str, rule: str = "query") -> Fault:
    return Fault(f"?{parameter}", rule, detail)


def _told(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
