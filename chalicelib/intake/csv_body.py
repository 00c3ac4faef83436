"""CSV → rows (RFC 4180), as COPY reads it: an empty field is NULL, `""` is empty text.

The standard library tells the two apart only from Python 3.12 on.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from chalicelib.errors import Fault, Problem
from chalicelib.intake.body import Body, Refused, Row, Scanner, decoded, limited, told
from chalicelib.intake.contract import Resource

# Possessive: a match is never tried again in another way, which would take memory for each quote.
_FIELD = re.compile(r'(?:"([^"]*+(?:""[^"]*+)*+)"|([^",\r\n]*+))(,|\r\n|\n|\r|\Z)')
_REST = re.compile(r'(?:"[^"]*+(?:""[^"]*+)*+"|[^"\r\n]++)*+(?:\r\n|\n|\r|\Z)')
_MAX_COLUMNS = 1_600  # of a table in Postgres
_SPACE = " \t\n\r"  # JSON's; Python's has characters that Postgres refuses
_NUMBER = re.compile(
    rf"[{_SPACE}]*+(-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?+([eE][+-]?[0-9]++)?+)[{_SPACE}]*+"
)
_MAX_INT_DIGITS = 4_000  # Python converts no more
_BOOLEANS = {"true": True, "t": True, "false": False, "f": False}

Field = str | None
"""Text of a field; None for one that is empty and not quoted."""


class _Record(NamedTuple):
    """Fields of a record, as many as there may be and one more; the line in which it begins, and
    where and in which line the next one does."""

    fields: list[Field]
    line: int
    end: int
    next_line: int


def csv_body(body: bytes, resource: Resource, missing_default: bool) -> Body:
    """The rows of a CSV body, whose first line names columns.

    missing_default: whether an empty field is absent from its row, instead of null. Raises
    Problem 400 for what cannot be told apart into fields, or a header that names no columns; 413.
    """
    text = decoded(body, "csv")
    record = _record(text, 0, 1, _MAX_COLUMNS)
    columns = _columns(record.fields, resource)
    scanner = Scanner()
    readers = [_reader(resource.properties("create")[name], scanner) for name in columns]
    names = [json.dumps(name, ensure_ascii=False) for name in columns]
    rows: list[Row] = []
    broken: list[Refused] = []
    while record.end < len(text):
        record = _record(text, record.end, record.next_line, len(columns))
        line, fields = record.line, record.fields
        if fields == [None] and len(columns) > 1:
            continue  # an empty line
        item = len(rows) + len(broken)
        limited(item + 1)
        if len(fields) != len(columns):
            has = f"{len(fields)} fields" if len(fields) < len(columns) else "more fields"
            detail = f"the row has {has}; the header names {len(columns)} columns"
            broken.append(Refused(item, (Fault(f"/{item}", "columns", detail, line),), line))
            continue
        faults: list[Fault] = []
        texts: list[str] = []
        value: dict[str, Any] = {}
        for column, name, reader, field in zip(columns, names, readers, fields, strict=True):
            if field is None and missing_default:
                continue
            try:
                json_text, value[column] = ("null", None) if field is None else reader(field)
            except ValueError as error:
                faults.append(Fault(f"/{item}/{column}", "value", told(error), line))
                continue
            texts.append(f"{name}:{json_text}")
        if faults:
            broken.append(Refused(item, tuple(faults), line))
        else:
            rows.append(Row(f"{{{','.join(texts)}}}", value, item, line))
    return Body(True, rows, broken, scanner.has_exponents)


def _record(text: str, at: int, line: int, most: int) -> _Record:
    """The record that begins there, of at most so many fields."""
    begun = line
    fields: list[Field] = []
    while True:
        match = _FIELD.match(text, at)
        if match is None:
            raise _unreadable(line)
        quoted, plain, end = match.groups()
        fields.append(plain or None if quoted is None else quoted.replace('""', '"'))
        passed, at = match[0], match.end()
        if end == "," and len(fields) > most:
            rest = _REST.match(text, at)
            if rest is None:
                raise _unreadable(line)
            passed, at, end = passed + rest[0], rest.end(), ""
        line += passed.count("\n") + passed.count("\r") - passed.count("\r\n")
        if end != ",":
            return _Record(fields, begun, at, line)


def _unreadable(line: int) -> Problem:
    detail = (
        f"line {line}: a field that has a quote in it has to be quoted as a whole, with its quotes"
        ' doubled: "say ""so"""'
    )
    return _malformed(detail, line)


def _columns(header: Sequence[Field], resource: Resource) -> list[str]:
    known = resource.properties("create")
    names = [name or "" for name in header]
    if len(names) > _MAX_COLUMNS:
        raise _malformed(f"line 1: it names more columns than the {len(known)} there are", 1)
    for name in names:
        if name not in known:
            detail = f"line 1: {resource.name} has no column {name!r}; it has {', '.join(known)}"
            raise _malformed(detail, 1)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _malformed(f"line 1: the column {twice!r} is there twice", 1)
    return names


def _reader(schema: Any, scanner: Scanner) -> Callable[[str], tuple[str, Any]]:
    """What makes JSON text and value of a field, by the types that its column takes. The text says
    what the value does: it is made of the value, or is what was read of the field."""
    said = schema.get("type", ()) if isinstance(schema, dict) else ()
    types = {said} if isinstance(said, str) else set(said)
    if not types or types & {"object", "array"}:
        return scanner.value
    if types & {"number", "integer"}:
        return partial(_number, scanner)
    return _boolean if "boolean" in types else _text


def _text(field: str) -> tuple[str, Any]:
    return json.dumps(field, ensure_ascii=False), field


def _number(scanner: Scanner, field: str) -> tuple[str, Any]:
    match = _NUMBER.fullmatch(field)
    if match is None:
        return _text(field)  # not of the type: the contract says so
    text, fraction, exponent = match.groups()
    is_whole = not fraction and not exponent and len(text) <= _MAX_INT_DIGITS
    return text, int(text) if is_whole else scanner.number(text)


def _boolean(field: str) -> tuple[str, Any]:
    value = _BOOLEANS.get(field.strip(_SPACE).lower())
    return _text(field) if value is None else (json.dumps(value), value)


def _malformed(detail: str, line: int) -> Problem:
    return Problem("malformed-csv", detail, (Fault("", "csv", detail, line),))
