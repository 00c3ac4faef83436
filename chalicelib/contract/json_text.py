"""JSON text ↔ values. Numbers are parsed exactly, as int or Decimal, and keep all their digits."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import chain
from json.encoder import encode_basestring  # in C, unlike json.dumps
from json.scanner import make_scanner
from typing import Any

MAX_INT_DIGITS = 4_000  # Python converts few more
_MAX_EXPONENT = 131_071  # of the first digit of a Postgres numeric
_MAX_FRACTION = 16_383  # digits of a Postgres numeric after the point
_MAX_DEPTH = 100  # far below the limit of any stack on the way of a write
TOO_DEEP = f"the value is nested too deeply; at most {_MAX_DEPTH} levels are allowed"
_SPACE = re.compile(r"[ \t\n\r]*")
_MARKS = bytes.maketrans(b"123456789E", b"000000000e")
_LONG = b"0" * _MAX_FRACTION
_EXPONENT = re.compile(rb"[:,\[ \t\n\r]-?0[0.]*e")  # in the marks of a text
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


def objects(text: str, start: int) -> tuple[list[dict[str, Any]], list[str]] | None:
    """The objects of an array that fills the rest of a text, and the text of each; None if it is
    something else or may be wrong. They are read in one step, not in some steps for each.

    What has to be known of each is counted in the whole text. No name is there twice if there are
    as many colons as members, or closing quotes with a colon behind them. No string has a brace in
    it if there are as many braces as objects; if no list has objects in it either, `},{` stands
    only between two objects of the array.
    """
    marks = _marks(text, _BLANKS)
    if not _is_plain(marks):
        return None
    try:
        values, end = _WITHOUT_HOOK(text, start)
    except (ValueError, StopIteration, RecursionError):
        return None
    if {*map(type, values)} != {dict} or after_space(text, end) != len(text):
        return None
    members = _members_in(values, text)
    if members != marks.count(b":") and members != marks.count(b'":'):
        return None
    texts = _texts(text, text.index("{", start), text.rindex("}"), len(values))
    return (values, texts) if texts else None


def _members_in(values: Sequence[dict[str, Any]], text: str) -> int | None:
    """How many members the objects of an array have, and those in them; None if a string has a
    brace in it, a list has objects in it, or they are nested more deeply than usual."""
    objects, members = len(values), sum(map(len, values))
    braces = text.count("{")
    if braces == objects and text.count("[") == 1:
        return members
    dicts: Sequence[dict[str, Any]] = values
    lists: Sequence[list[Any]] = ()
    for _ in range(_USUAL_LEVELS):
        in_dicts = chain.from_iterable(map(dict.values, dicts))
        inner = [part for part in in_dicts if type(part) is dict or type(part) is list]
        in_lists = [part for part in chain.from_iterable(lists) if type(part) in _PARTED]
        dicts = [part for part in inner if type(part) is dict]
        lists = [part for part in inner if type(part) is list] + in_lists
        objects += len(dicts)
        members += sum(map(len, dicts))
        if not inner and not in_lists:
            return members if objects == braces else None  # those in lists were not counted
    return None


def _texts(text: str, first: int, last: int, count: int) -> list[str] | None:
    """The text of each of so many objects between the first and the last brace of an array; None
    unless there is the same text between any two of them."""
    if count == 1:
        return [text[first : last + 1]]
    _, end = _WITHOUT_HOOK(text, first)
    between = text[end - 1 : text.index("{", end) + 1]
    parts = text[first + 1 : last].split(between)
    return [f"{{{part}}}" for part in parts] if len(parts) == count else None


def _marks(text: str, without: bytes = b"") -> bytes:
    """A text with all its digits as 0 and its E as e, so that few patterns find all numbers."""
    return text.encode(errors="replace").translate(_MARKS, without)


def _is_plain(found: bytes) -> bool:
    """Whether no number in the marks of a text has an exponent or perhaps more digits than a
    numeric. Looking at all of it at once costs less than checking each number, and the pattern is
    only for texts with such letters in their strings, as in those of UUIDs."""
    perhaps = b"0e" in found and any(f"0e{end}".encode() in found for end in "0+-")
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
