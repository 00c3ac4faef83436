"""Request body → rows, each with its own text.

A row goes to the queue in the client's own text, so nothing that it says is lost on the way; the
parsed value is only looked at. Numbers are parsed exactly, as int or Decimal.
"""

import json
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from chalicelib.contract.json_text import (
    TOO_DEEP,
    Scanner,
    Unfit,
    after_space,
    reason,
)
from chalicelib.errors import Fault, Problem
from chalicelib.settings import MAX_BODY_BYTES, MAX_ROWS

MAX_FAULTS_OF_A_ROW = 10
_TWO_BYTES = b'"\\\b\t\n\f\r'  # in a string of JSON
_SIX_BYTES = bytes({*range(0x20)} - {*_TWO_BYTES})
_REPLACEMENT = "\ufffd".encode()


class ParsedRow(NamedTuple):
    """One row of a body: its JSON text, its value, and its place.

    item: from 0, of all items of the body. line: of a body that has lines, from 1.
    """

    text: str
    value: Any
    item: int = 0
    line: int | None = None


class RefusedItem(NamedTuple):
    """An item of a body that is no row of its resource, and every place of it that is wrong."""

    item: int
    faults: tuple[Fault, ...]
    line: int | None = None


class Body(NamedTuple):
    """A parsed body.

    many: whether it can hold several rows. broken: items that are no JSON value, though the others
    can be told. has_exponents: there are numbers that are shorter as they are sent than with all
    their digits.
    """

    many: bool
    rows: Sequence[ParsedRow]
    broken: Sequence[RefusedItem] = ()
    has_exponents: bool = False


def decoded(body: bytes, kind: str = "json") -> str:
    """The body's text, without a byte order mark; kind: json or csv. Raises Problem 400."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        detail = f"the body is not UTF-8: byte {error.start} is invalid"
        raise Problem(f"malformed-{kind}", detail, (Fault("", kind, detail),)) from None


def refuse_large(body: bytes) -> None:
    """Raises Problem 413 for a body that has no place in an event of Lambda's. Lambda itself would
    not have passed it on; a local server does, and is to show what will be."""
    twos = len(body) - len(body.translate(None, _TWO_BYTES))
    sixes = len(body) - len(body.translate(None, _SIX_BYTES))
    size = len(body) + twos + 5 * sixes
    if size > MAX_BODY_BYTES:
        raise Problem(
            "body-too-large",
            f"the body has {len(body)} bytes and takes {size} in an event of Lambda's, where each"
            f" quote, backslash and line break is two; at most {MAX_BODY_BYTES} are accepted: send"
            " it in several requests",
        )


def refuse_replaced(body: bytes, sent_bytes: str | None, kind: str) -> None:
    """Raises Problem 400 for a body in which API Gateway has put U+FFFD in the place of bytes that
    are not UTF-8: it passes bodies on as text.

    sent_bytes: Content-Length. Where it is not known, U+FFFD of the client's own is refused too.
    """
    if _REPLACEMENT in body and sent_bytes != str(len(body)):
        detail = (
            "the body is not UTF-8, or has U+FFFD in it, which replaces bytes that are not: in"
            " JSON, send that character as \\ufffd"
        )
        raise Problem(f"malformed-{kind}", detail, (Fault("", kind, detail),))


def json_body(body: bytes, until: float = math.inf) -> Body:
    """An object, or an array of them. Raises Problem 400 for what is no JSON, 413.

    until: see `in_time`.
    """
    text = decoded(body)
    start = after_space(text, 0)
    if start == len(text):
        raise malformed("the body is empty; send a JSON object, or an array of them")
    if text[start] == "[":
        return _array(text, start, until)
    scanner = Scanner(text)
    try:
        value, end = scanner.scan(text, start)
    except (Unfit, json.JSONDecodeError) as error:
        raise malformed(reason(error)) from None
    if after_space(text, end) != len(text):
        raise malformed(f"there is more after the JSON value, from character {end}")
    return Body(False, [ParsedRow(text[start:end], value)], (), scanner.has_exponents)


def json_lines(body: bytes, until: float = math.inf) -> Body:
    """A JSON value a line (NDJSON); empty lines are passed over. Raises Problem 400, 413.

    until: see `in_time`.
    """
    text = decoded(body)
    scanner = Scanner(text)
    rows: list[ParsedRow] = []
    broken: list[RefusedItem] = []
    for number, line in enumerate(text.split("\n"), start=1):
        start = after_space(line, 0)
        if start == len(line):
            continue
        item = len(rows) + len(broken)
        limited(item + 1)
        in_time(until, item)
        try:
            value, end = scanner.scan(line, start)
            if after_space(line, end) != len(line):
                raise Unfit(f"there is more after the JSON value, from character {end}")
        except (Unfit, json.JSONDecodeError) as error:
            detail = reason(error)
            broken.append(RefusedItem(item, (Fault(f"/{item}", "json", detail, number),), number))
        else:
            rows.append(ParsedRow(line[start:end], value, item, number))
    return Body(True, rows, broken, scanner.has_exponents)


def limited(rows: int) -> None:
    """Raises Problem 413 for more rows than a request may have."""
    if rows > MAX_ROWS:
        detail = f"at most {MAX_ROWS} rows are accepted in one request; send the rest in another"
        raise Problem("body-too-large", detail)


def in_time(until: float, items: int) -> None:
    """Raises Problem 413 once no more of a body may be looked at: what is taken has to be on the
    queue before its client is answered, as a whole.

    until: a time.monotonic(). items: how many were looked at; it is asked once in 200, so
    that a small request is tried however late it is.
    """
    if items and items % 200 == 0 and time.monotonic() > until:
        raise Problem(
            "body-too-large",
            f"its rows cannot all be checked in time: {items} were, and none was accepted. Send the"
            " body in several requests",
        )


def unstorable(row: ParsedRow) -> Fault | None:
    """The first string of a row that no Postgres text can hold: U+0000, half a surrogate pair."""
    if "\\u" not in row.text:
        return None
    lowered = row.text.lower()
    if "\\u0000" not in lowered and "\\ud" not in lowered:
        return None
    return _unstorable(row.value, "")


def _array(text: str, start: int, until: float) -> Body:
    scanner = Scanner(text)
    rows: list[ParsedRow] = []
    broken: list[RefusedItem] = []
    at = after_space(text, start + 1)
    if text[at : at + 1] == "]":
        at += 1
    else:
        while True:
            item = len(rows) + len(broken)
            limited(item + 1)
            in_time(until, item)
            try:
                value, end = scanner.scan(text, at)
                rows.append(ParsedRow(text[at:end], value, item))
            except Unfit as unfit:
                broken.append(RefusedItem(item, (Fault(f"/{item}", "json", str(unfit)),)))
                end = _end(text, at, item)
            except json.JSONDecodeError as error:
                raise malformed(reason(error), f"/{item}") from None
            at = after_space(text, end)
            if text[at : at + 1] == ",":
                at = after_space(text, at + 1)
                continue
            if text[at : at + 1] != "]":
                raise malformed(f"expected , or ] at character {at}", f"/{item + 1}")
            at += 1
            break
    if after_space(text, at) != len(text):
        raise malformed(f"there is more after the array, from character {at}")
    return Body(True, rows, broken, scanner.has_exponents)


def _end(text: str, at: int, item: int) -> int:
    """Where a value ends that cannot be taken. Raises Problem 400 if that cannot be told."""
    try:
        return _skipper.raw_decode(text, at)[1]
    except json.JSONDecodeError as error:
        raise malformed(reason(error), f"/{item}") from None
    except RecursionError:
        raise malformed(TOO_DEEP, f"/{item}") from None


_skipper = json.JSONDecoder(parse_float=len, parse_int=len, parse_constant=len)


def _unstorable(value: Any, pointer: str) -> Fault | None:
    if isinstance(value, str):
        if "\0" in value:
            return Fault(pointer, "text", "U+0000 cannot be stored in Postgres; leave it out")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return Fault(pointer, "text", "half of a surrogate pair is not a character")
        return None
    if isinstance(value, dict):
        parts = [(escaped(name), part) for name, part in value.items()]
        faults = [_unstorable(name, pointer) for name in value]
    elif isinstance(value, list):
        parts = [(str(index), part) for index, part in enumerate(value)]
        faults = []
    else:
        return None
    faults += [_unstorable(part, f"{pointer}/{name}") for name, part in parts]
    return next((fault for fault in faults if fault), None)


def escaped(name: str) -> str:
    """A member's name as a part of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def malformed(detail: str, pointer: str = "") -> Problem:
    """A body that cannot be read as a whole."""
    return Problem("malformed-json", detail, (Fault(pointer, "json", detail),))
