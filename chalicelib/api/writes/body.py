"""Request body → rows, each with its own text.

A row goes to the queue in the client's own text, so that nothing is lost; its parsed value is only
for checks. Numbers are parsed exactly, as int or Decimal.
"""

import json
import math
import time
from collections.abc import Sequence
from functools import partial
from itertools import count, repeat
from typing import Any, NamedTuple

from chalicelib.contract.json_text import (
    TOO_DEEP,
    Scanner,
    Unfit,
    after_space,
    objects,
    pointer_token,
    reason,
)
from chalicelib.errors import Fault, Problem
from chalicelib.settings import MAX_BODY_BYTES, MAX_ROWS

MAX_FAULTS_OF_A_ROW = 10
_TWO_BYTES = b'"\\\b\t\n\f\r'  # in a string of JSON
_SIX_BYTES = bytes({*range(0x20)} - {*_TWO_BYTES})
_REPLACEMENT = "\ufffd".encode()


class ParsedRow(NamedTuple):
    """One row of a body: its JSON text, its value, and its position.

    item: from 0, among all items of the body. line: of a body that has lines, from 1.
    """

    text: str
    value: Any
    item: int = 0
    line: int | None = None


class RefusedItem(NamedTuple):
    """An invalid item of a body, and its faults."""

    item: int
    faults: tuple[Fault, ...]
    line: int | None = None


class Body(NamedTuple):
    """A parsed body.

    many: whether it can hold several rows. broken: malformed items, after which parsing could
    continue. has_exponents: whether there are numbers that become longer with all their digits.
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
        raise malformed(f"the body is not UTF-8: byte {error.start} is invalid", "", kind) from None


def refuse_large(body: bytes) -> None:
    """Raises Problem 413 for a body that is too large for a Lambda event. Lambda refuses it itself,
    and a local server should behave the same."""
    if 6 * len(body) <= MAX_BODY_BYTES:
        return
    twos = len(body) - len(body.translate(None, _TWO_BYTES))
    sixes = len(body) - len(body.translate(None, _SIX_BYTES))
    size = len(body) + twos + 5 * sixes
    if size > MAX_BODY_BYTES:
        raise Problem(
            "body-too-large",
            f"the body has {len(body)} bytes and takes {size} in a Lambda event, where quotes,"
            f" backslashes and line breaks count twice; at most {MAX_BODY_BYTES} are accepted: send"
            " it in several requests",
        )


def refuse_replaced(body: bytes, sent_bytes: str | None, kind: str) -> None:
    """Raises Problem 400 for a body in which API Gateway, which passes bodies on as text, has put
    U+FFFD in place of bytes that are not UTF-8.

    sent_bytes: Content-Length. If it is unknown, U+FFFD from the client is refused too.
    """
    if not body.isascii() and _REPLACEMENT in body and sent_bytes != str(len(body)):
        detail = (
            "the body is not UTF-8, or contains U+FFFD, which replaces invalid bytes: in JSON, send"
            " that character as \\ufffd"
        )
        raise malformed(detail, "", kind)


def json_body(body: bytes, until: float = math.inf) -> Body:
    """An object, or an array of objects. Raises Problem 400, 413.

    until: see `check_time`.
    """
    text = decoded(body)
    start = after_space(text, 0)
    if start == len(text):
        raise malformed("the body is empty; send a JSON object, or an array of objects")
    if text[start] == "[":
        return _array_at_once(text) or _array(text, start, until)
    scanner = Scanner(text)
    try:
        value, end = scanner.scan(text, start)
    except (Unfit, json.JSONDecodeError) as error:
        raise malformed(reason(error)) from None
    if after_space(text, end) != len(text):
        raise malformed(f"unexpected text after the JSON value, at character {end}")
    return Body(False, [ParsedRow(text[start:end], value)], (), scanner.has_exponents)


def json_lines(body: bytes, until: float = math.inf) -> Body:
    """One JSON value per line (NDJSON); empty lines are ignored. Raises Problem 400, 413.

    until: see `check_time`.
    """
    text = decoded(body)
    scanner = Scanner(text)
    rows: list[ParsedRow] = []
    broken: list[RefusedItem] = []
    for number, line in enumerate(text.split("\n"), start=1):
        start = 0 if line[:1] == "{" else after_space(line, 0)
        if start == len(line):
            continue
        item = len(rows) + len(broken)
        limit_rows(item + 1)
        check_time(until, item)
        try:
            value, end = scanner.scan(line, start)
            if end != len(line) and after_space(line, end) != len(line):
                raise Unfit(f"unexpected text after the JSON value, at character {end}")
        except (Unfit, json.JSONDecodeError) as error:
            detail = reason(error)
            broken.append(RefusedItem(item, (Fault(f"/{item}", "json", detail, number),), number))
        else:
            rows.append(ParsedRow(line[start:end], value, item, number))
    return Body(True, rows, broken, scanner.has_exponents)


def limit_rows(rows: int) -> None:
    """Raises Problem 413 for more rows than a request may have."""
    if rows > MAX_ROWS:
        detail = f"at most {MAX_ROWS} rows are accepted in one request; send the rest in another"
        raise Problem("body-too-large", detail)


def check_time(until: float, items: int) -> None:
    """Raises Problem 413 if there is no time left to parse and check more of a body: all of it has
    to be on the queue before its client is answered.

    until: a time.monotonic(). items: how many are done; the time is checked once in 200, so that a
    small request is tried however late it is.
    """
    if items and items % 200 == 0 and time.monotonic() > until:
        raise Problem(
            "body-too-large",
            f"not all rows can be checked in time: {items} were, and none was accepted. Send the"
            " body in several requests",
        )


def unstorable(row: ParsedRow) -> Fault | None:
    """The fault of the first string that Postgres cannot store: U+0000, half a surrogate pair."""
    if "\\u" not in row.text:
        return None
    lowered = row.text.lower()
    if "\\u0000" not in lowered and "\\ud" not in lowered:
        return None
    return _unstorable(row.value, "")


def _array_at_once(text: str) -> Body | None:
    """An array without anything wrong in it, as nearly all are; None for any other."""
    if not (found := objects(text, MAX_ROWS)):
        return None
    values, texts = found
    rows = map(_parsed, zip(texts, values, count(), repeat(None), strict=False))
    return Body(True, [*rows])


def _array(text: str, start: int, until: float) -> Body:
    scanner = Scanner(text)
    rows: list[ParsedRow] = []
    broken: list[RefusedItem] = []
    at = after_space(text, start + 1)
    is_last = text[at : at + 1] == "]"
    between = ""  # two items: nearly always the same text, with the first character of the second
    while not is_last:
        item = len(rows) + len(broken)
        limit_rows(item + 1)
        check_time(until, item)
        try:
            value, end = scanner.scan(text, at)
            rows.append(ParsedRow(text[at:end], value, item))
        except Unfit as unfit:
            broken.append(RefusedItem(item, (Fault(f"/{item}", "json", str(unfit)),)))
            end = _end(text, at, item)
        except json.JSONDecodeError as error:
            raise malformed(reason(error), f"/{item}") from None
        if between and text.startswith(between, end):
            at = end + len(between) - 1
            continue
        at = after_space(text, end)
        is_last = text[at : at + 1] == "]"
        if not is_last:
            if text[at : at + 1] != ",":
                raise malformed(f"expected , or ] at character {at}", f"/{item + 1}")
            at = after_space(text, at + 1)
            between = text[end : at + 1]
    at += 1
    if after_space(text, at) != len(text):
        raise malformed(f"unexpected text after the array, at character {at}")
    return Body(True, rows, broken, scanner.has_exponents)


def _end(text: str, at: int, item: int) -> int:
    """The end of a value that cannot be accepted. Raises Problem 400 if it has none."""
    try:
        return _skipper.raw_decode(text, at)[1]
    except json.JSONDecodeError as error:
        raise malformed(reason(error), f"/{item}") from None
    except RecursionError:
        raise malformed(TOO_DEEP, f"/{item}") from None


_parsed = partial(tuple.__new__, ParsedRow)  # takes half as long as its constructor
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
        parts = [(pointer_token(name), part) for name, part in value.items()]
        faults = [_unstorable(name, pointer) for name in value]
    elif isinstance(value, list):
        parts = [(str(index), part) for index, part in enumerate(value)]
        faults = []
    else:
        return None
    faults += [_unstorable(part, f"{pointer}/{name}") for name, part in parts]
    return next((fault for fault in faults if fault), None)


def malformed(
    detail: str, pointer: str = "", kind: str = "json", line: int | None = None
) -> Problem:
    """The problem of a body that cannot be parsed as a whole. kind: json or csv."""
    return Problem(f"malformed-{kind}", detail, (Fault(pointer, kind, detail, line),))
