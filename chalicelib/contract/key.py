"""Keys: from path segments to values, and from values to a digest that equal keys share.

All writes to one key must take one lane, so `1.50` and `1.5`, or two spellings of one instant, must
have one digest. Where equality in Postgres is not known from the JSON value (citext, inet, ...) the
column adds nothing to the digest: such keys share a lane, which costs speed but never order.
"""

import hashlib
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import islice, repeat
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from chalicelib.contract import json_text
from chalicelib.contract.resources import KeyColumn, Resource
from chalicelib.errors import Fault, Problem

_INTEGER = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,5})?")
_MOST_DIGITS = 1_001  # of a numeric with a precision, and its sign
_SAME_LANE = ""
_HASH_BYTES = 8
_hash = partial(hashlib.blake2b, digest_size=_HASH_BYTES)
_ITSELF = {"text": str, "enum": str, "integer": int}
"""For the most frequent kinds, the type of the values whose text is canonical."""


def from_path(resource: Resource, segments: Sequence[str]) -> dict[str, Any]:
    """The key in a path, percent-decoded and typed. Raises Problem 404 or 422."""
    if len(segments) != len(resource.key):
        names = "/".join(f"{{{column.name}}}" for column in resource.key)
        path = f"the path of a row of {resource.name} is /{resource.name}/{names}"
        raise Problem("unknown-path", path if names else f"{resource.name} has no key")
    pairs = zip(resource.key, segments, strict=True)
    key = {column.name: _from_segment(column, segment) for column, segment in pairs}
    if all(column.validator.is_valid(key[column.name]) for column in resource.key):
        return key
    from chalicelib.contract.explain import detail  # only where something is wrong

    faults = [
        Fault(f"/{column.name}", error.kind.name, f"in the path: {detail(error, column.schema)}")
        for column in resource.key
        for error in islice(column.validator.iter_errors(key[column.name]), 1)
    ]
    raise Problem("invalid-key", "the key in the path is invalid", faults)


def same(column: KeyColumn, one: Any, other: Any) -> bool:
    """Whether two values of a key column are known to name the same key. A value without canonical
    form, such as an instant of year 1 with an offset, is the same only as itself."""
    text = _canonical(column, one)
    return _equal(one, other) or (text != _SAME_LANE and text == _canonical(column, other))


def is_canonical(kind: str) -> bool:
    """Whether equal values of a kind have one text."""
    return kind in _CANONICAL


def digest(resource: Resource, row: Mapping[str, Any]) -> int:
    """The digest of a row's key, see `digests`."""
    (found,) = digests(resource, [row])
    return found


def digests(resource: Resource, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """For each row, 64 bits that are equal for equal keys of the resource, whether a row names its
    whole key or leaves columns to the database: columns whose values a client could also name never
    count."""
    columns = [_texts(column, rows) for column in resource.key]
    parts = zip(repeat(resource.name, len(rows)), *columns, strict=True)
    return numbers(map("\0".join, parts))


def _texts(column: KeyColumn, rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """What a column adds to the digest of each row's key."""
    if column.completed == "predictable":
        return repeat(_SAME_LANE, len(rows))
    name, default, itself = column.name, column.default, _ITSELF.get(column.kind)
    values = [row.get(name, default) for row in rows]
    if {*map(type, values)} == {itself}:
        return map(str, values)
    return [str(value) if type(value) is itself else _canonical(column, value) for value in values]


def number(text: str) -> int:
    """64 bits of a hash that is the same in every process and version."""
    return numbers([text])[0]


def numbers(texts: Iterable[str]) -> list[int]:
    """The `number` of each text."""
    hashes = b"".join(map(hashlib.blake2b.digest, map(_hash, map(str.encode, texts))))
    return [*struct.unpack(f">{len(hashes) // _HASH_BYTES}Q", hashes)]


def _from_segment(column: KeyColumn, segment: str) -> Any:
    try:
        text = unquote(segment, errors="strict")  # API Gateway and `chalice local` leave it encoded
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        fault = Fault(f"/{column.name}", "text", f"{segment} is not percent-encoded UTF-8")
        raise Problem("invalid-key", fault.detail, (fault,))
    return typed(column.schema, text)


def typed(schema: Mapping[str, Any], text: str) -> Any:
    """The value of a text in a URL, by the column's schema; the text itself if it is of none of the
    schema's types."""
    types = schema.get("type", "array")
    if types == "array":  # or any JSON
        try:
            return json_text.Scanner().value(text)[1]
        except ValueError:
            return text
    types = {types} if isinstance(types, str) else set(types)
    if "integer" in types and _INTEGER.fullmatch(text) and len(text) <= _MOST_DIGITS:
        return int(text)
    if "number" in types and _DECIMAL.fullmatch(text):
        with suppress(json_text.Unfit):
            return json_text.number(text)
    if "boolean" in types and text in ("true", "false"):
        return text == "true"
    return text


def _equal(one: Any, other: Any) -> bool:
    """Equality as in JSON: in Python, true equals 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def canonical(column: KeyColumn, value: Any) -> str | None:
    """The text that all equal values of a key column have; None for a value that has none."""
    form = _CANONICAL.get(column.kind)
    try:
        return form(value) if form else None
    except (ValueError, OverflowError, ArithmeticError):
        return None


def _canonical(column: KeyColumn, value: Any) -> str:
    return canonical(column, value) or _SAME_LANE


def _numeric(value: Any) -> str:
    number = Decimal(value)
    if not number.is_finite():
        return str(number)
    sign, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    trimmed = text.rstrip("0")
    if not trimmed:
        return "0"
    return f"{'-' if sign else ''}{trimmed}e{int(exponent) + len(text) - len(trimmed)}"


def _moment(text: str) -> datetime:
    """A timestamp in any spelling that the contract accepts, such as 20260131 2400 z; in UTC if it
    has an offset.

    Raises ValueError for the first and the last year of Python: another spelling of the moment,
    such as 0001-12-31T24:00:00 BC, may lie outside.
    """
    text = text.upper()
    hour = 11 if text[4] == "-" else 9
    day, clock = text[:hour], text[hour:].replace(" ", "")
    if clock.startswith("24"):
        moment = datetime.fromisoformat(f"{day}00{clock[2:]}") + timedelta(days=1)
    else:
        moment = datetime.fromisoformat(day + clock)
    if moment.tzinfo:
        moment = moment.astimezone(UTC)
    if moment.year in (1, 9999):
        raise ValueError(text)
    return moment


_CANONICAL: dict[str, Callable[[Any], str]] = {
    "text": str,
    "enum": str,
    "date": lambda value: date.fromisoformat(value).isoformat(),
    "integer": lambda value: str(int(value)),
    "boolean": lambda value: str(bool(value)),
    "numeric": _numeric,
    "uuid": lambda value: UUID(value).hex,
    "timestamptz": lambda value: _moment(value).replace(tzinfo=UTC).isoformat(),
    "timestamp": lambda value: _moment(value).isoformat(),
    "bytea": lambda value: str(value).lower(),
}
