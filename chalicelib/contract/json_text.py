"""JSON text ↔ values. Numbers are parsed exactly, as int or Decimal, and keep all their digits."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from itertools import chain
from json.encoder import encode_basestring  # in C, unlike json.dumps
from json.scanner import make_scanner
from typing import Any, NamedTuple

MAX_INT_DIGITS = 4_000  # Python converts few more
_MAX_EXPONENT = 131_071  # of the first digit of a Postgres numeric
_MAX_FRACTION = 16_383  # digits of a Postgres numeric after the point
_MAX_DEPTH = 100  # far below the limit of any stack on the way of a write
TOO_DEEP = f"the value is nested too deeply; at most {_MAX_DEPTH} levels are allowed"
_SPACE = re.compile(r"[ \t\n\r]*")
_MARKS = bytes.maketrans(b"123456789+-E", b"00000000000e")
_LONG = b"0" * _MAX_FRACTION
_LIKE_EXPONENT = re.compile(rb"0e0")  # takes half as long as `in`
_EXPONENT = re.compile(rb"[:,\[ \t\n\r]0[0.]*e0")  # in the marks of a text
_BLANKS = b" \t\n\r"
_USUAL_LEVELS = 10
_PARTED = {dict, list}


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
    """A syntactically valid JSON value that cannot be accepted; the text says why."""


class Scanner:
    """Reads the JSON values of one body.

    text: the whole body, if it is known. has_exponents: whether any number so far has an exponent.
    """

    def __init__(self, text: str = "") -> None:
        self.has_exponents = False
        # As long as no object has another one in it:
        self._is_flat = bool(text) and _is_plain(_marks(text))
        self._scan = _PLAIN if self._is_flat else _scanner(self.number)

    def scan(self, text: str, at: int) -> tuple[Any, int]:
        """The JSON value at a position, and its end. Raises Unfit, json.JSONDecodeError."""
        if self._is_flat:
            if found := _flat_object(text, at):
                return found
            self._is_flat = False
        try:
            value, end = self._scan(text, at)
        except StopIteration as nothing:
            raise json.JSONDecodeError("Expecting value", text, nothing.value) from None
        except json.JSONDecodeError:
            raise
        except ValueError as error:
            if isinstance(error, Unfit):
                raise
            detail = "an integer has more than 4,300 digits; send it with a decimal point"
            raise Unfit(detail) from None
        except RecursionError:
            raise Unfit(TOO_DEEP) from None
        if _brackets(text, at, end) > _MAX_DEPTH and _is_too_deep(value):
            raise Unfit(TOO_DEEP)
        return value, end

    def value(self, text: str) -> tuple[str, Any]:
        """The text and the value of the only JSON value in a text. Raises Unfit,
        json.JSONDecodeError."""
        start = after_space(text, 0)
        value, end = self.scan(text, start)
        if after_space(text, end) != len(text):
            raise Unfit(f"unexpected text after the JSON value, at character {end}")
        return text[start:end], value

    def number(self, text: str) -> Decimal:
        """As `number` of this module, faster for the numbers that Postgres surely holds."""
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
    # With a point, as its text would be parsed as an int again, which cannot have as many digits.
    return Decimal(f"{found}.0") if not exponent and len(digits) > MAX_INT_DIGITS else found


def reason(error: ValueError) -> str:
    """The message of an error, for clients."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at character {error.pos}"
    return str(error)


def pointer_token(name: str) -> str:
    """A member's name as a part of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def after_space(text: str, at: int) -> int:
    """Where white space ends; JSON has fewer such characters than Python."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


def objects(text: str, most: int) -> tuple[list[dict[str, Any]], list[str]] | None:
    """The objects of a text that is an array of them, and the text of each; None if it is something
    else or may be wrong, or has more braces than `most`. They are read in one step, not in some
    steps for each.

    The parser does not see a member that is there twice. But no name is if the text has as many
    colons as members, or closing quotes with a colon behind them.
    """
    content = text.encode()
    marks = content.translate(_MARKS, _BLANKS)
    braces = text.count("{")
    if braces > most or not _is_plain(marks):
        return None
    parsers = _parsers()
    try:
        values = parsers.values.decode(content)
        texts = [str(each, "utf-8") for each in parsers.texts.decode(content)]
    except (parsers.error, RecursionError):
        return None
    is_flat = braces == len(values) and text.count("[") == 1
    members = sum(map(len, values)) if is_flat else _members_in(values)
    if members != marks.count(b":") and members != marks.count(b'":'):
        return None
    return values, texts


class _Parsers(NamedTuple):
    """Of an array of objects, whose numbers are int or Decimal; of the text of each; and what they
    raise."""

    values: Any
    texts: Any
    error: type[Exception]


@cache
def _parsers() -> _Parsers:
    import msgspec  # here, because most requests have no array

    return _Parsers(
        msgspec.json.Decoder(list[dict[str, Any]], float_hook=Decimal),
        msgspec.json.Decoder(list[msgspec.Raw]),
        msgspec.MsgspecError,
    )


def _members_in(values: Sequence[dict[str, Any]]) -> int | None:
    """How many members these objects have, and those in them; None if they are nested more deeply
    than usual."""
    members = 0
    level: Sequence[Any] = values
    for _ in range(_USUAL_LEVELS):
        dicts = [part for part in level if type(part) is dict]
        lists = [part for part in level if type(part) is list]
        members += sum(map(len, dicts))
        parts = chain(chain.from_iterable(map(dict.values, dicts)), chain.from_iterable(lists))
        level = [part for part in parts if type(part) in _PARTED]
        if not level:
            return members
    return None


def _marks(text: str) -> bytes:
    """A text with all its digits and signs as 0 and its E as e, so that few patterns find all
    numbers."""
    return text.encode(errors="replace").translate(_MARKS)


def _is_plain(found: bytes) -> bool:
    """Whether no number in the marks of a text has an exponent or perhaps more digits than a
    numeric. Looking at all of it at once costs less than checking each number, and the second
    pattern is only for texts with such letters in their strings, as in those of UUIDs."""
    perhaps = _LIKE_EXPONENT.search(found)
    return _LONG not in found and not (perhaps and _EXPONENT.search(b" " + found))


def _flat_object(text: str, at: int) -> tuple[dict[str, Any], int] | None:
    """An object at a position of a text that is plain, and its end; None if it is something else or
    may be wrong.

    A scanner without a hook takes less time, and does not see a member that is there twice. But
    each name has a colon behind it: no name is there twice if there are as many colons as members.
    """
    try:
        value, end = _WITHOUT_HOOK(text, at)
    except (ValueError, StopIteration, RecursionError):
        return None
    is_sure = type(value) is dict and text.count(":", at, end) == len(value)
    return (value, end) if is_sure and _brackets(text, at, end) <= _MAX_DEPTH else None


def _brackets(text: str, at: int, end: int) -> int:
    return text.count("[", at, end) + text.count("{", at, end)


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
        raise Unfit(f"the member {twice[:100]!r} appears more than once")
    return members


def _constant(text: str) -> Any:
    raise Unfit(f"{text} is not JSON; use null")


def _scanner(number: Callable[[str], Any], hook: Any = _members) -> Any:
    """Reads a value at a position of a text, without the steps of json.JSONDecoder around it."""
    settings: Any = json.JSONDecoder(
        object_pairs_hook=hook, parse_float=number, parse_constant=_constant
    )
    return make_scanner(settings)


_PLAIN = _scanner(Decimal)
_WITHOUT_HOOK = _scanner(Decimal, None)
