"""The contract's JSON text: stable, short arrays on one line, all digits of every number."""

import re
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

import msgspec

_LINE = 80
_SCALARS = re.compile(r'(\[\n(?:\s+(?:"(?:[^"\\\n]|\\.)*"|[\w.+-]+),?\n)+\s*\])')


def render(document: Any) -> str:
    """JSON text; numbers may be int and Decimal."""
    text = msgspec.json.format(_ENCODER.encode(document), indent=2).decode()
    return _SCALARS.sub(_on_one_line, text) + "\n"


def line(value: Any) -> str:
    """Compact JSON text on one line; numbers may be int and Decimal."""
    return _ENCODER.encode(value).decode()


def json_form(value: Any) -> Any:
    """A Python value in the types of JSON, numbers as int and Decimal."""
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): json_form(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_form(part) for part in value]
    return value if value is None or isinstance(value, str | int | Decimal) else str(value)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return str(value)  # names of SQLAlchemy are of a class of their own
    raise TypeError(f"{value!r} has no form in JSON")


_ENCODER = msgspec.json.Encoder(decimal_format="number", enc_hook=_plain)


def _on_one_line(array: re.Match[str]) -> str:
    short = re.sub(r"\n\s*", " ", array[1]).replace("[ ", "[").replace(" ]", "]")
    return short if len(short) <= _LINE else array[1]
