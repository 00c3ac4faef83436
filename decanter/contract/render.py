"""The contract's JSON text: stable, short arrays on one line, all digits of every number."""

import json
import re
from decimal import Decimal
from typing import Any

_LINE = 80
_SCALARS = re.compile(r'(\[\n(?:\s+(?:"(?:[^"\\\n]|\\.)*"|[\w.+-]+),?\n)+\s*\])')
_MARK = "\ufdd0"  # not a character, so in no text


def render(document: Any) -> str:
    """JSON text; takes int and Decimal for numbers."""
    text = _unmarked(json.dumps(document, indent=2, ensure_ascii=False, default=_marked))
    return _SCALARS.sub(_on_one_line, text) + "\n"


def line(value: Any) -> str:
    """JSON text on one line, as short as it can be; takes int and Decimal for numbers."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_marked)
    return _unmarked(text)


# json has no way to write a number as it is, so each goes in as a marked string.
def _marked(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{_MARK}{value}{_MARK}"
    raise TypeError(f"{value!r} has no form in JSON")


def _unmarked(text: str) -> str:
    return text.replace(f'"{_MARK}', "").replace(f'{_MARK}"', "")


def _on_one_line(array: re.Match[str]) -> str:
    short = re.sub(r"\n\s*", " ", array[1]).replace("[ ", "[").replace(" ]", "]")
    return short if len(short) <= _LINE else array[1]
