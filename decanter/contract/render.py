"""The contract's JSON text: stable, short arrays on one line, all digits of every number."""

import json
import re
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

_LINE = 80
_SCALARS = re.compile(r'(\[\n(?:\s+(?:"(?:[^"\\\n]|\\.)*"|[\w.+-]+),?\n)+\s*\])')
_MARK = "\ufdd0"  # not a character, so in no text


def render(document: Any) -> str:
    """JSON text; numbers may be int and Decimal."""
    text = _unmarked(json.dumps(document, indent=2, ensure_ascii=False, default=_marked))
    return _SCALARS.sub(_on_one_line, text) + "\n"


def line(value: Any) -> str:
    """Compact JSON text on one line; numbers may be int and Decimal."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_marked)
    return _unmarked(text)


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


# json cannot write a Decimal, so each goes in as a marked string.
def _marked(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{_MARK}{value}{_MARK}"
    raise TypeError(f"{value!r} has no form in JSON")


def _unmarked(text: str) -> str:
    return text.replace(f'"{_MARK}', "").replace(f'{_MARK}"', "")


def _on_one_line(array: re.Match[str]) -> str:
    short = re.sub(r"\n\s*", " ", array[1]).replace("[ ", "[").replace(" ]", "]")
    return short if len(short) <= _LINE else array[1]
