"""The bytes of a row as Postgres shows it, counted without building its text.

A few bytes of a request can become many when they are read: 1e131071 is shown with all its digits,
text of a char(n) with its blanks, and each number of an array of numeric(38, 18) with 18 digits
after its point. The limits of a request count these bytes; otherwise a small request could make
lists that nobody can read.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from chalicelib.contract.json_text import pointer_token
from chalicelib.contract.resources import Resource
from chalicelib.errors import Fault
from chalicelib.settings import MAX_MESSAGE_BYTES

_FLOAT_BYTES = 24  # of the longest double precision
_FLOAT_MARKS = len("-.e+300")
_BEFORE_POINT, _BEHIND_POINT = 131_072, 16_383  # digits of a numeric, at most
_FLOATS = ("double", "float")
_EXPONENT = re.compile("[eE][+-]?[0-9]")
_WITH_EXPONENT = re.compile(
    r"(?<![\w.])([0-9][0-9_]*+)?+(?:\.([0-9_]*+))?+[eE]([+-]?[0-9][0-9_]{0,8}+)(?!\w)", re.ASCII
)


class _Measure(NamedTuple):
    """Properties that make values of a column longer, or shorter, than their digits.

    is_float: numbers keep their exponents. scale: fixed number of digits after the point. width:
    characters to which texts are padded with blanks. notation: texts may contain numbers, in a
    notation of Postgres.
    """

    is_float: bool = False
    scale: int = 0
    width: int = 0
    notation: bool = False


def grows(resource: Resource, text: str, row: Mapping[str, Any]) -> bool:
    """Whether a row whose numbers have no exponents may take more bytes than its text."""
    named = resource.shown.keys() & row.keys()
    return any(resource.shown[name].keys() != {"notation"} for name in named) or (
        bool(named) and _EXPONENT.search(text) is not None
    )


def sizes(resource: Resource, row: Mapping[str, Any]) -> dict[str, int]:
    """Approximate bytes of each member of a row as Postgres shows it, its name included."""
    columns = resource.columns
    return {
        name: len(name.encode()) + 4 + _bytes(value, _measure(resource, name, columns.get(name)))
        for name, value in row.items()
    }


def _measure(resource: Resource, name: str, schema: Any) -> _Measure:
    while isinstance(schema, Mapping) and "items" in schema:
        schema = schema["items"]
    is_float = isinstance(schema, Mapping) and schema.get("format") in _FLOATS
    return _Measure(is_float, **resource.shown.get(name, {}))


def fault(sizes: Mapping[str, int], place: str, line: int | None) -> Fault | None:
    """The fault of a row that is too large to be shown, at its largest member.

    place: pointer to the row.
    """
    total = sum(sizes.values())
    if total <= MAX_MESSAGE_BYTES:
        return None
    largest = max(sizes, key=lambda name: sizes[name])
    detail = (
        f"the row would take {total} bytes when it is read, {sizes[largest]} of them for this"
        f" member; at most {MAX_MESSAGE_BYTES} are allowed. Numbers are read with all their digits,"
        " and char(n) with its blanks"
    )
    return Fault(f"{place}/{pointer_token(largest)}", "size", detail, line)


def _bytes(value: Any, measure: _Measure) -> int:
    if isinstance(value, str):
        return _text_bytes(value, measure)
    if value is None or isinstance(value, bool):
        return 5 if value is False else 4
    if isinstance(value, int | Decimal):
        return _number_bytes(value, measure)
    if isinstance(value, dict):
        names = sum(len(_json(name)) + 2 for name in value)
        return 2 + names + sum(_bytes(part, measure) for part in value.values())
    return 2 + sum(1 + _bytes(part, measure) for part in value)


def _number_bytes(value: int | Decimal, measure: _Measure) -> int:
    if isinstance(value, int):
        bytes_, behind = len(str(value)), 0
    else:
        behind = max(0, -int(value.as_tuple().exponent))
        bytes_ = (2 if value.is_signed() else 1) + (max(0, value.adjusted()) if value else 0)
    behind = max(behind, measure.scale)
    bytes_ += 1 + behind if behind else 0
    if measure.is_float and isinstance(value, Decimal):
        return min(bytes_, len(value.as_tuple().digits) + _FLOAT_MARKS, _FLOAT_BYTES)
    return bytes_


def _text_bytes(text: str, measure: _Measure) -> int:
    bytes_ = len(_json(text)) + max(0, measure.width - len(text))
    if measure.notation:
        bytes_ += sum(_growth(*match.groups()) for match in _WITH_EXPONENT.finditer(text))
    return bytes_


def _growth(whole: str | None, fraction: str | None, exponent: str) -> int:
    """Digits that a number gains when it is shown; 0 if it is none, or Postgres refuses it."""
    digits = [len((part or "").replace("_", "")) for part in (whole, fraction)]
    shift = int(exponent.replace("_", ""))
    before, behind = digits[0] + shift, max(0, digits[1] - shift)
    is_taken = any(digits) and before <= _BEFORE_POINT and behind <= _BEHIND_POINT
    return max(0, before) + behind if is_taken else 0


def _json(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()
