"""Request body → rows, each with its own text.

A row goes to the queue in the client's own text, so nothing that it says is lost on the way; the
parsed value is only looked at. Numbers are parsed exactly, as int or Decimal.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from chalicelib.errors import Fault, Problem

_MAX_EXPONENT = 131_071  # a Postgres numeric has as many digits before the point,
_MAX_FRACTION = 16_383  # and as many after it
_MAX_DEPTH = 100  # far below what any stack on the way of a write takes
_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class Row:
    """One row of a body: its JSON text and its value."""

    text: str
    value: Any


def parse(body: bytes) -> tuple[bool, list[Row]]:
    """Whether the body is an array, and its rows. Raises Problem 400 for anything but JSON."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _malformed(f"the body is not UTF-8: byte {error.start} does not fit") from None
    start = _after_space(text, 0)
    if start == len(text):
        raise _malformed("the body is empty; send a JSON object, or an array of them")
    if text[start] == "[":
        return True, _array(text, start)
    value, end = _scan(text, start, "")
    if _after_space(text, end) != len(text):
        raise _malformed(f"there is more after the JSON value, from character {end}")
    return False, [Row(text[start:end], value)]


def unstorable(row: Row) -> Fault | None:
    """The first string of a row that no Postgres text can hold: U+0000, half a surrogate pair."""
    lowered = row.text.lower()
    if "\\u0000" not in lowered and "\\ud" not in lowered:
        return None
    return _unstorable(row.value, "")


def render(value: Any) -> str:
    """JSON text of a parsed value, with all its digits."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{render(k)}:{render(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(render, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _array(text: str, start: int) -> list[Row]:
    rows: list[Row] = []
    at = _after_space(text, start + 1)
    if text[at : at + 1] == "]":
        at += 1
    else:
        while True:
            value, end = _scan(text, at, f"/{len(rows)}")
            rows.append(Row(text[at:end], value))
            at = _after_space(text, end)
            if text[at : at + 1] == ",":
                at = _after_space(text, at + 1)
                continue
            if text[at : at + 1] != "]":
                raise _malformed(f"expected , or ] at character {at}", f"/{len(rows)}")
            at += 1
            break
    if _after_space(text, at) != len(text):
        raise _malformed(f"there is more after the array, from character {at}")
    return rows


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _scan(text: str, at: int, pointer: str) -> tuple[Any, int]:
    try:
        value, end = _decoder.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} at character {error.pos}", pointer) from None
    except ValueError as error:
        raise _malformed(str(error), pointer) from None
    except RecursionError:
        raise _too_deep(pointer) from None
    if text.count("[", at, end) + text.count("{", at, end) > _MAX_DEPTH and _is_too_deep(value):
        raise _too_deep(pointer)
    return value, end


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        parts = [part.values() if isinstance(part, dict) else part for part in level]
        level = [part for group in parts for part in group if isinstance(part, dict | list)]
        if not level:
            return False
    return True


def _too_deep(pointer: str) -> Problem:
    return _malformed(f"the value is nested too deeply; {_MAX_DEPTH} levels are taken", pointer)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the member {twice[:100]!r} is there twice; which one is meant?")
    return members


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent that not even Decimal holds
        number = None
    if number is None or not -_MAX_FRACTION <= int(number.as_tuple().exponent) <= _MAX_EXPONENT:
        raise ValueError(f"the number {text[:20]} is beyond what a numeric holds")
    return number


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON; use null")


_decoder = json.JSONDecoder(
    object_pairs_hook=_members, parse_float=_number, parse_constant=_constant
)


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
        parts = [(_escaped(name), part) for name, part in value.items()]
        faults = [_unstorable(name, pointer) for name in value]
    elif isinstance(value, list):
        parts = [(str(index), part) for index, part in enumerate(value)]
        faults = []
    else:
        return None
    faults += [_unstorable(part, f"{pointer}/{name}") for name, part in parts]
    return next((fault for fault in faults if fault), None)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _malformed(detail: str, pointer: str = "") -> Problem:
    return Problem("malformed-json", detail, faults=(Fault(pointer, "json", detail),))
