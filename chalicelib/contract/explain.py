"""Errors of the schema → their places, and sentences that say what is expected.

Patterns of a schema mean little to people, so members whose values have a form also describe it, in
`EXPECTED`.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from jsonschema_rs import ValidationError

EXPECTED = "x-expected"
"""Keyword of a schema: a description of its values, with an example."""

MISSING = "it is missing, and has no default"
UNKNOWN = "there is no such column"

# A message with both is short enough to be shown as a whole.
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
    """An invalid value. path: from the row to the value. rule: the keyword that it violates."""

    path: tuple[str | int, ...]
    rule: str
    detail: str


def wrongs(
    errors: Iterator[ValidationError], schema: Mapping[str, Any], made: Mapping[str, str]
) -> Iterator[Wrong]:
    """The invalid values of a row, each once.

    schema: of the row. made: columns that no write may give, and a hint for each.
    """
    seen: set[tuple[str | int, ...]] = set()
    for error in errors:
        for wrong in _of_row(error, schema, made):
            if wrong.path not in seen:
                seen.add(wrong.path)
                yield wrong


def detail(error: ValidationError, schema: Mapping[str, Any]) -> str:
    """A sentence about an invalid value. schema: the whole one that it was checked against."""
    rule, value = error.kind.name, error.instance
    # Not from the error, which has decimals as binary numbers.
    limit, expected = _limit(error, schema)
    match rule:
        case "type":
            return f"it must be {_types(limit, expected)}, not {_shown(value)}"
        case "enum":
            labels = [label for label in limit if label is not None]
            return f"{_shown(value)} is not one of {_listed(labels, value)}"
        case "pattern" | "format" | "anyOf" if expected:
            return f"{_shown(value)} is not a value of this column; expected {expected}"
        case "maxLength":
            return f"it has {len(str(value))} characters; at most {limit} are allowed"
        case "minLength":
            return "it is empty"
        case "minimum" | "maximum":
            bound = f"at {'least' if rule == 'minimum' else 'most'} {limit}".removesuffix(".0")
            return f"{_shown(value)} is out of range: it must be {bound}"
        case "multipleOf":
            unit = Decimal(limit)
            digits = -int(unit.as_tuple().exponent)
            if digits <= 0:
                return f"{_shown(value)} is not a multiple of {unit:f}"
            return f"{_shown(value)} has more than {digits} decimal places"
        case "not" if limit == {"type": "null"}:
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
            why = made.get(name) or f"{UNKNOWN}{_suggestion(name, schema['properties'])}"
            yield Wrong((name,), rule, why)
    elif rule == "required":
        yield Wrong((str(error.kind.value),), rule, MISSING)
    else:
        yield Wrong((), rule, detail(error, schema))


def _limit(error: ValidationError, schema: Any) -> tuple[Any, str | None]:
    """The value of the violated keyword, and EXPECTED of the nearest schema around it."""
    expected = None
    for step in error.schema_path:
        if isinstance(schema, Mapping):
            expected = schema.get(EXPECTED, expected)
        schema = schema[step]
    return schema, expected


def _types(types: str | Sequence[str], expected: str | None) -> str:
    names = [_TYPES[name] for name in ([types] if isinstance(types, str) else types)]
    if expected and {*names} <= {"text", "null"}:
        names = [*(name for name in names if name == "null"), f"text, {expected}"]
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _suggestion(name: str, columns: Mapping[str, Any]) -> str:
    close = _closest(name.lower(), tuple(columns)) if len(name) <= _QUOTED else ""
    return f"; did you mean {close}?" if close else ""


@lru_cache(maxsize=100)
def _closest(name: str, columns: tuple[str, ...]) -> str:
    """Cached: it takes 10 µs a column, and many rows have the same unknown one."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, columns, n=1)), "")


def _listed(labels: Sequence[str], value: Any) -> str:
    """The labels; of too many, some that begin as the value does. It has to be quick, as thousands
    of rows may be invalid."""
    if sum(len(label) + len('"", ') for label in labels) <= _LABELS:
        return ", ".join(map(_shown, labels))
    begin = value[:3].casefold() if isinstance(value, str) else None
    alike = [label for label in labels if label[:3].casefold() == begin] or labels
    few = ", ".join(map(_shown, alike[:3]))
    return f"the {len(labels)} labels that the contract lists, such as {few}"


def _shown(value: Any) -> str:
    from chalicelib.contract.json_text import render

    if isinstance(value, dict | list):
        return "an array" if isinstance(value, list) else "an object"
    text = render(value)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}… ({len(text)} characters)"
