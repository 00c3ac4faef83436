"""What is wrong with a value, in words: an error of the schema → the place, and what is taken.

A schema says for programs what is taken; its patterns tell a person nothing. So a member whose
values have a form says it in words too, in `EXPECTED`.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from jsonschema_rs import ValidationError

EXPECTED = "x-expected"
"""Keyword of a schema: its values in words, with one for an example."""

MISSING = "it is missing, and has no default"
UNKNOWN = "there is no such column"

# A message with both is short enough to be told as a whole.
_LABELS = 250  # characters of an enum's labels that it lists
_QUOTED = 80  # characters of a value that a message shows
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


class Wrong(NamedTuple):
    """path: to the value, from the row. rule: the keyword that it breaks."""

    path: tuple[str | int, ...]
    rule: str
    detail: str


def wrongs(
    errors: Iterator[ValidationError], schema: Mapping[str, Any], made: Mapping[str, str]
) -> Iterator[Wrong]:
    """What is wrong with a row, one thing for each place.

    schema: of the row. made: columns that no write may give, and what to know of them.
    """
    seen: set[tuple[str | int, ...]] = set()
    for error in errors:
        for wrong in _of_row(error, schema, made):
            if wrong.path not in seen:
                seen.add(wrong.path)
                yield wrong


def detail(error: ValidationError, schema: Mapping[str, Any]) -> str:
    """What is wrong with a value. schema: the whole one that it was checked by."""
    rule, value = error.kind.name, error.instance
    # Not as the error has it, where a decimal is a binary number.
    asked, expected = _asked(error, schema)
    match rule:
        case "type":
            return f"it has to be {_wanted(asked, expected)}, not {_shown(value)}"
        case "enum":
            labels = [label for label in asked if label is not None]
            return f"{_shown(value)} is not one of {_listed(labels, value)}"
        case "pattern" | "format" | "anyOf" if expected:
            return f"{_shown(value)} is not a value of this column; write {expected}"
        case "maxLength":
            return f"it has {len(str(value))} characters; at most {asked} are allowed"
        case "minLength":
            return "it is empty"
        case "minimum" | "maximum":
            side = "least" if rule == "minimum" else "most"
            return f"{_shown(value)} is out of range: it has to be at {side} {_number(asked)}"
        case "multipleOf":
            unit = Decimal(asked)
            digits = -int(unit.as_tuple().exponent)
            if digits <= 0:
                return f"{_shown(value)} is not a multiple of {unit:f}"
            return f"{_shown(value)} has more than {digits} decimal places"
        case "not" if asked == {"type": "null"}:
            return "null is not allowed"
        case "not":
            return "an array is not allowed here"
        case "minProperties":
            return "an empty patch changes nothing: name at least one member"
        case "minItems":
            return "an empty array is not allowed here"
    return str(error.message)


def _of_row(
    error: ValidationError, schema: Mapping[str, Any], made: Mapping[str, str]
) -> Iterator[Wrong]:
    path, rule = tuple(error.instance_path), error.kind.name
    if path:
        yield Wrong(path, rule, detail(error, schema))
    elif rule == "additionalProperties":
        for name in error.kind.value:
            why = made.get(name) or f"{UNKNOWN}{_meant(name, schema['properties'])}"
            yield Wrong((name,), rule, why)
    elif rule == "required":
        yield Wrong((str(error.kind.value),), rule, MISSING)
    else:
        yield Wrong((), rule, detail(error, schema))


def _asked(error: ValidationError, schema: Any) -> tuple[Any, str | None]:
    """What the keyword that is broken asks for, and the words of the nearest schema around it."""
    expected = None
    for step in error.schema_path:
        if isinstance(schema, Mapping):
            expected = schema.get(EXPECTED, expected)
        schema = schema[step]
    return schema, expected


def _wanted(types: str | Sequence[str], expected: str | None) -> str:
    names = [_TYPES[name] for name in ([types] if isinstance(types, str) else types)]
    if expected and {*names} <= {"text", "null"}:
        names = [*(name for name in names if name == "null"), f"text, {expected}"]
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _meant(name: str, columns: Mapping[str, Any]) -> str:
    close = _closest(name.lower(), tuple(columns)) if len(name) <= _QUOTED else ""
    return f"; {close} is one" if close else ""


@lru_cache(maxsize=100)
def _closest(name: str, columns: tuple[str, ...]) -> str:
    """It takes 10 µs a column, and many rows have the same unknown one."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, columns, n=1)), "")


def _listed(labels: Sequence[str], value: Any) -> str:
    """The labels; where there are too many, some that begin as the value does. Nothing that takes
    longer: thousands of rows may be told what is wrong with them."""
    if sum(len(label) + len('"", ') for label in labels) <= _LABELS:
        return ", ".join(map(_shown, labels))
    begin = value[:3].casefold() if isinstance(value, str) else None
    alike = [label for label in labels if label[:3].casefold() == begin] or labels
    few = ", ".join(map(_shown, alike[:3]))
    return f"the {len(labels)} labels that the contract lists, such as {few}"


def _number(limit: int | Decimal) -> str:
    return str(limit).removesuffix(".0")


def _shown(value: Any) -> str:
    from chalicelib.contract.json_text import render

    if isinstance(value, dict | list):
        return "an array" if isinstance(value, list) else "an object"
    text = render(value)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}… ({len(text)} characters)"
