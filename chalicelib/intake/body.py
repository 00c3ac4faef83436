"""Request body → rows, each with its own text.

A row goes to the queue in the client's own text, so nothing that it says is lost on the way; the
parsed value is only looked at. Numbers are parsed exactly, as int or Decimal.
"""

import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from json.encoder import encode_basestring  # in C, unlike json.dumps
from typing import Any, NamedTuple

from chalicelib.errors import Fault, Problem
from chalicelib.settings import MAX_BODY_BYTES, MAX_ROWS

MAX_FAULTS_OF_A_ROW = 10
MAX_INT_DIGITS = 4_000  # Python converts few more
_MAX_EXPONENT = 131_071  # of the first digit of a Postgres numeric;
_MAX_FRACTION = 16_383  # it has as many digits after the point
_MAX_DEPTH = 100  # far below what any stack on the way of a write takes
_TOO_DEEP = f"the value is nested too deeply; {_MAX_DEPTH} levels are taken"
_SPACE = re.compile(r"[ \t\n\r]*")
_EXPONENT = re.compile("[eE](?<=[0-9][eE])[+-]?[0-9]")
_LONG = re.compile(rf"(?<![0-9])[0-9]{{{_MAX_FRACTION}}}")
_TWO_BYTES = b'"\\\b\t\n\f\r'  # in a string of JSON
_SIX_BYTES = bytes({*range(0x20)} - {*_TWO_BYTES})
_REPLACEMENT = "\ufffd".encode()


class Row(NamedTuple):
    """One row of a body: its JSON text, its value, and its place.

    item: from 0, of all items of the body. line: of a body that has lines, from 1.
    """

    text: str
    value: Any
    item: int = 0
    line: int | None = None


class Refused(NamedTuple):
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
    rows: Sequence[Row]
    broken: Sequence[Refused] = ()
    has_exponents: bool = False


def decoded(body: bytes, kind: str = "json") -> str:
    """The body's text, without a byte order mark; kind: json or csv. Raises Problem 400."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        detail = f"the body is not UTF-8: byte {error.start} does not fit"
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
            f" quote, backslash and line break is two; at most {MAX_BODY_BYTES} are taken: send it"
            " in several requests",
        )


def refuse_replaced(body: bytes, sent_bytes: str | None, kind: str) -> None:
    """Raises Problem 400 for a body in which API Gateway has put U+FFFD in the place of bytes that
    are not UTF-8: it passes bodies on as text.

    sent_bytes: Content-Length. Where it is not known, U+FFFD of the client's own is refused too.
    """
    if _REPLACEMENT in body and sent_bytes != str(len(body)):
        detail = (
            "the body is not UTF-8, or has U+FFFD in it, which stands for what is not: in JSON that"
            " character can be sent as \\ufffd"
        )
        raise Problem(f"malformed-{kind}", detail, (Fault("", kind, detail),))


def json_body(body: bytes, until: float = math.inf) -> Body:
    """An object, or an array of them. Raises Problem 400 for what is no JSON, 413.

    until: see `in_time`.
    """
    text = decoded(body)
    start = _after_space(text, 0)
    if start == len(text):
        raise malformed("the body is empty; send a JSON object, or an array of them")
    if text[start] == "[":
        return _array(text, start, until)
    scanner = Scanner(text)
    try:
        value, end = scanner.scan(text, start)
    except (Unfit, json.JSONDecodeError) as error:
        raise malformed(told(error)) from None
    if _after_space(text, end) != len(text):
        raise malformed(f"there is more after the JSON value, from character {end}")
    return Body(False, [Row(text[start:end], value)], (), scanner.has_exponents)


def json_lines(body: bytes, until: float = math.inf) -> Body:
    """A JSON value a line (NDJSON); empty lines are passed over. Raises Problem 400, 413.

    until: see `in_time`.
    """
    text = decoded(body)
    scanner = Scanner(text)
    rows: list[Row] = []
    broken: list[Refused] = []
    for number, line in enumerate(text.split("\n"), start=1):
        start = _after_space(line, 0)
        if start == len(line):
            continue
        item = len(rows) + len(broken)
        limited(item + 1)
        in_time(until, item)
        try:
            value, end = scanner.scan(line, start)
            if _after_space(line, end) != len(line):
                raise Unfit(f"there is more after the JSON value, from character {end}")
        except (Unfit, json.JSONDecodeError) as error:
            detail = told(error)
            broken.append(Refused(item, (Fault(f"/{item}", "json", detail, number),), number))
        else:
            rows.append(Row(line[start:end], value, item, number))
    return Body(True, rows, broken, scanner.has_exponents)


def limited(rows: int) -> None:
    """Raises Problem 413 for more rows than a request may have."""
    if rows > MAX_ROWS:
        detail = f"at most {MAX_ROWS} rows are taken in one request; send the rest in another"
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
            f"its rows cannot all be checked in time: {items} were, and none was taken. Send the"
            " body in several requests",
        )


def unstorable(row: Row) -> Fault | None:
    """The first string of a row that no Postgres text can hold: U+0000, half a surrogate pair."""
    if "\\u" not in row.text:
        return None
    lowered = row.text.lower()
    if "\\u0000" not in lowered and "\\ud" not in lowered:
        return None
    return _unstorable(row.value, "")


def render(value: Any) -> str:
    """JSON text of a parsed value, with all its digits."""
    return _RENDERED[type(value)](value)


def _object(value: Mapping[str, Any]) -> str:
    members = [
        f"{encode_basestring(name)}:{_RENDERED[type(part)](part)}" for name, part in value.items()
    ]
    return f"{{{','.join(members)}}}"


def _list(value: Sequence[Any]) -> str:
    return f"[{','.join([_RENDERED[type(part)](part) for part in value])}]"


_RENDERED: Mapping[type, Callable[[Any], str]] = {
    dict: _object,
    list: _list,
    str: encode_basestring,
    int: int.__repr__,
    float: float.__repr__,
    Decimal: Decimal.__str__,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
}


class Unfit(ValueError):
    """A value that is JSON by its syntax, and yet not one that can be taken; the text says why."""


class Scanner:
    """Reads the JSON values of one body, numbers exactly.

    text: all of them, if it is known. has_exponents: some number that was read so far has one.
    """

    def __init__(self, text: str = "") -> None:
        self.has_exponents = False
        # What may be beyond a numeric; to look for it once is less than to look at each number.
        is_plain = text and not (_EXPONENT.search(text) or _LONG.search(text))
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_members,
            parse_float=Decimal if is_plain else self.number,
            parse_constant=_constant,
        )

    def scan(self, text: str, at: int) -> tuple[Any, int]:
        """The JSON value that begins there, and where it ends. Raises Unfit,
        json.JSONDecodeError."""
        try:
            value, end = self._decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            raise
        except ValueError as error:
            if isinstance(error, Unfit):
                raise
            detail = "an integer has more than 4,300 digits; send it with a decimal point"
            raise Unfit(detail) from None
        except RecursionError:
            raise Unfit(_TOO_DEEP) from None
        if text.count("[", at, end) + text.count("{", at, end) > _MAX_DEPTH and _is_too_deep(value):
            raise Unfit(_TOO_DEEP)
        return value, end

    def value(self, text: str) -> tuple[str, Any]:
        """The one JSON value of a text, and the part of the text that it is. Raises Unfit,
        json.JSONDecodeError."""
        start = _after_space(text, 0)
        value, end = self.scan(text, start)
        if _after_space(text, end) != len(text):
            raise Unfit(f"there is more after the JSON value, from character {end}")
        return text[start:end], value

    def number(self, text: str) -> Decimal:
        """As `number` of this module, of which it looks at what may be beyond Postgres alone."""
        if "." in text and len(text) < _MAX_FRACTION and "e" not in text and "E" not in text:
            return Decimal(text)
        self.has_exponents = True
        return number(text)


def number(text: str) -> Decimal:
    """A JSON number with all its digits. Raises Unfit for one beyond what Postgres holds."""
    beyond = Unfit(f"the number {text[:20]} is beyond what a numeric holds")
    try:
        found = Decimal(text)
    except InvalidOperation:  # an exponent that not even Decimal holds
        raise beyond from None
    _, digits, exponent = found.as_tuple()
    if int(exponent) < -_MAX_FRACTION or found.adjusted() > _MAX_EXPONENT:
        raise beyond
    # Where one is wrong, its text is made an int again, unless there is a point in it.
    return Decimal(f"{found}.0") if not exponent and len(digits) > MAX_INT_DIGITS else found


def told(error: ValueError) -> str:
    """What is wrong, for a client."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at character {error.pos}"
    return str(error)


def _array(text: str, start: int, until: float) -> Body:
    scanner = Scanner(text)
    rows: list[Row] = []
    broken: list[Refused] = []
    at = _after_space(text, start + 1)
    if text[at : at + 1] == "]":
        at += 1
    else:
        while True:
            item = len(rows) + len(broken)
            limited(item + 1)
            in_time(until, item)
            try:
                value, end = scanner.scan(text, at)
                rows.append(Row(text[at:end], value, item))
            except Unfit as unfit:
                broken.append(Refused(item, (Fault(f"/{item}", "json", str(unfit)),)))
                end = _end(text, at, item)
            except json.JSONDecodeError as error:
                raise malformed(told(error), f"/{item}") from None
            at = _after_space(text, end)
            if text[at : at + 1] == ",":
                at = _after_space(text, at + 1)
                continue
            if text[at : at + 1] != "]":
                raise malformed(f"expected , or ] at character {at}", f"/{item + 1}")
            at += 1
            break
    if _after_space(text, at) != len(text):
        raise malformed(f"there is more after the array, from character {at}")
    return Body(True, rows, broken, scanner.has_exponents)


def _end(text: str, at: int, item: int) -> int:
    """Where a value ends that cannot be taken. Raises Problem 400 if that cannot be told."""
    try:
        return _skipper.raw_decode(text, at)[1]
    except json.JSONDecodeError as error:
        raise malformed(told(error), f"/{item}") from None
    except RecursionError:
        raise malformed(_TOO_DEEP, f"/{item}") from None


def _after_space(text: str, at: int) -> int:
    """Where the white space ends that JSON has there, which is less than Python's."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        parts = [part.values() if isinstance(part, dict) else part for part in level]
        level = [part for group in parts for part in group if isinstance(part, dict | list)]
        if not level:
            return False
    return True


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise Unfit(f"the member {twice[:100]!r} is there twice; which one is meant?")
    return members


def _constant(text: str) -> Any:
    raise Unfit(f"{text} is not JSON; use null")


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
