"""CSV (RFC 4180) → rows, in the form of COPY: an empty field is NULL, `""` is empty text, and other
values are as Postgres writes them. Arrays may also be JSON.

The standard library distinguishes NULL and empty text only from Python 3.12 on. Whole columns of a
block of rows are converted at a time, so that a value costs next to nothing.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from itertools import chain, compress, islice, repeat
from json.encoder import encode_basestring  # in C, unlike json.dumps
from types import MappingProxyType
from typing import Any, NamedTuple

from chalicelib.api.writes.body import (
    MAX_FAULTS_OF_A_ROW,
    Body,
    ParsedRow,
    RefusedItem,
    check_time,
    decoded,
    limit_rows,
    malformed,
)
from chalicelib.contract.json_text import (
    MAX_INT_DIGITS,
    Scanner,
    Unfit,
    pointer_token,
    reason,
    render,
)
from chalicelib.contract.resources import Resource
from chalicelib.errors import Fault, Problem
from chalicelib.settings import MAX_SHOWN_BYTES

# Possessive: no backtracking, which would take memory for each quote.
_QUOTED = '"[^"]*+(?:""[^"]*+)*+"'
_FIELD = re.compile(rf'({_QUOTED}|[^",\r\n]*+)(,|\r\n|\n|\r|\Z)')
_REST = re.compile(rf'(?:{_QUOTED}|[^"\r\n]++)*+(\r\n|\n|\r|\Z)')
_FIELD_OF_RECORD = re.compile(rf'(?:\A|,)({_QUOTED}|[^",]*+)')
_BLOCK = 200  # rows, few enough for the processor's cache
_MAX_COLUMNS = 1_600  # of a table in Postgres
_SPACE = " \t\n\r"  # JSON's; Python's has characters that Postgres refuses
_NUMBER = re.compile(
    rf"[{_SPACE}]*+(-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?+([eE][+-]?[0-9]++)?+)[{_SPACE}]*+"
)
# A whole column, one field per line: empty, or a number of usual length.
_NUMBERS = re.compile(r"(?:(?:-?(?:0|[1-9][0-9]{0,99}+)(?:\.[0-9]{1,99}+)?+)?+\n)*+")
_INTEGERS = re.compile(r"(?:(?:-?(?:0|[1-9][0-9]{0,99}+)(?:\.0{1,99}+)?+)?+\n)*+")
_ZEROS = re.compile(r"\.0+(?=\n)")
_BOOLEANS = {"true": True, "t": True, "false": False, "f": False}
_NOTHING: Mapping[int, str] = MappingProxyType({})
_SPACE_OF_ARRAY = f"{_SPACE}\v\f"  # Postgres'
# A bracket, a comma, or an element, quoted or not; a backslash escapes the next character.
_UNQUOTED = rf'(?:[^"\\{{}},{_SPACE_OF_ARRAY}]|\\.|[{_SPACE_OF_ARRAY}]++(?![{{}},"]|\Z))++'
_PART_OF_ARRAY = re.compile(
    rf'[{_SPACE_OF_ARRAY}]*+(?:([{{}},])|"((?:[^"\\]|\\.)*+)"|({_UNQUOTED}))[{_SPACE_OF_ARRAY}]*+',
    re.DOTALL,
)
_PLAIN_ARRAY = re.compile(r"\{[-0-9., ]*+\}")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_BRACKETS = {"{": "[", "}": "]", ",": ","}

Field = str | None
"""Text of a field; None for an empty field without quotes."""

_Read = Callable[[str], tuple[str, Any]]
"""Converts a field to equivalent JSON text and value. Raises ValueError."""


class _Column(NamedTuple):
    """JSON texts and values of a column's fields; details of invalid fields, by index."""

    texts: Sequence[str]
    values: Sequence[Any]
    wrong: Mapping[int, str] = _NOTHING


class _Place(NamedTuple):
    """The position of a row in the body."""

    item: int
    line: int


def csv_body(
    body: bytes, resource: Resource, missing_default: bool, until: float = math.inf
) -> Body:
    """The rows of a CSV body, whose first line names columns.

    missing_default: whether an empty field is absent from its row, instead of null. until: see
    `check_time`. Raises Problem 400 for fields that cannot be separated and for an invalid header;
    413.
    """
    text = decoded(body, "csv")
    records = _records(text)
    names = _columns(next(records)[1], resource)
    # With one column, a blank line is an empty field.
    given = (each for each in records if each[1] or len(names) == 1)
    scanner = Scanner()
    readers = [_reader(resource, name, scanner) for name in names]
    rows: list[ParsedRow] = []
    broken: list[RefusedItem] = []
    items = size = 0
    while first := next(given, None):
        check_time(until, items)
        places: list[_Place] = []
        fields: list[str] = []  # row after row
        for line, record in chain([first], islice(given, _BLOCK - 1)):
            found = _fields(record, line, len(names))
            if len(found) == len(names):
                places.append(_Place(items, line))
                fields += found
            else:
                broken.append(_of_wrong_length(_Place(items, line), len(found), len(names)))
            items += 1
            limit_rows(items)
        if not places:  # all rows have the wrong length
            continue
        columns = [_unquoted(fields[index :: len(names)]) for index in range(len(names))]
        read = [reader(column) for reader, column in zip(readers, columns, strict=True)]
        wrong = _wrong(names, places, read)
        made = _without_missing(names, columns, read) if missing_default else _complete(names, read)
        found_rows = [
            ParsedRow(text, value, *place)
            for place, (text, value) in zip(places, made, strict=True)
            if place.item not in wrong
        ]
        rows += found_rows
        broken += wrong.values()
        size += sum([len(row.text) for row in found_rows])
        _refuse_large(size)
    broken.sort()
    return Body(True, rows, broken, scanner.has_exponents)


def _refuse_large(size: int) -> None:
    """size: characters of all rows so far, as JSON, where each row repeats the column names."""
    if size > MAX_SHOWN_BYTES:
        raise Problem(
            "body-too-large",
            f"its rows take more than {MAX_SHOWN_BYTES} bytes as JSON, in which each row names its"
            " columns; send them in several requests",
        )


def _records(text: str) -> Iterator[tuple[int, str]]:
    """Each record without its line end, and the line in which it begins."""
    at, line = 0, 1
    while True:
        match = _REST.match(text, at)
        if match is None:
            raise _unreadable(text, at, line)
        record = text[at : match.start(1)]
        yield line, record
        line += 1
        if '"' in record:
            line += record.replace("\r\n", "\n").replace("\r", "\n").count("\n")
        at = match.end()
        if at == len(text):
            return


def _fields(record: str, line: int, most: int) -> Sequence[str]:
    """A record's fields, with their quotes: all of them, or more than `most`."""
    if '"' not in record:
        return record.split(",", most)
    fields = _FIELD_OF_RECORD.findall(record)
    if sum(map(len, fields)) + len(fields) - 1 != len(record):
        raise _unreadable(record, 0, line)
    return fields


def _unreadable(text: str, at: int, line: int) -> Problem:
    """The problem of a record that begins there and has a field without clear limits."""
    while match := _FIELD.match(text, at):
        line += len(re.findall("\r\n|\n|\r", match[0]))
        at = match.end()
    detail = (
        f"line {line}: a field with quotes in it must be quoted as a whole, with its quotes"
        ' doubled: "say ""so"""'
    )
    return malformed(detail, "", "csv", line)


def _unquoted(column: Sequence[str]) -> list[Field]:
    if '"' not in "".join(column):
        return [field or None for field in column]
    return [
        (field or None) if field[:1] != '"' else field[1:-1].replace('""', '"') for field in column
    ]


def _columns(header: str, resource: Resource) -> list[str]:
    known = resource.columns
    names = [name or "" for name in _unquoted(_fields(header, 1, _MAX_COLUMNS))]
    if len(names) > _MAX_COLUMNS:
        raise malformed(
            f"line 1: it names more columns than {resource.name} has ({len(known)})", "", "csv", 1
        )
    for name in names:
        if name not in known:
            detail = f"line 1: {resource.name} has no column {name!r}; it has {', '.join(known)}"
            raise malformed(detail, "", "csv", 1)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise malformed(f"line 1: the column {twice!r} appears more than once", "", "csv", 1)
    return names


def _complete(
    names: Sequence[str], read: Sequence[_Column]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """JSON text and value of each row."""
    members = [f"{encode_basestring(name)}:".replace("%", "%%") for name in names]
    row = f"{{{','.join([f'{member}%s' for member in members])}}}"
    texts = map(row.__mod__, zip(*[column.texts for column in read], strict=True))
    values = zip(*[column.values for column in read], strict=True)
    return zip(texts, map(dict, map(zip, repeat(names), values)), strict=True)


def _without_missing(
    names: Sequence[str], columns: Sequence[Sequence[Field]], read: Sequence[_Column]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """JSON text and value of each row, without the members whose fields are empty."""
    members = [f"{encode_basestring(name)}:" for name in names]
    for fields, texts, values in zip(
        zip(*columns, strict=True),
        zip(*[column.texts for column in read], strict=True),
        zip(*[column.values for column in read], strict=True),
        strict=True,
    ):
        is_given = [field is not None for field in fields]
        text = ",".join(map("".join, compress(zip(members, texts, strict=True), is_given)))
        yield f"{{{text}}}", dict(compress(zip(names, values, strict=True), is_given))


def _wrong(
    names: Sequence[str], places: Sequence[_Place], read: Sequence[_Column]
) -> dict[int, RefusedItem]:
    """The rows with invalid fields, by item, with their first faults."""
    found: dict[int, RefusedItem] = {}
    for name, column in zip(names, read, strict=True):
        for index, detail in column.wrong.items():
            item, line = places[index]
            before = found[item].faults if item in found else ()
            if len(before) < MAX_FAULTS_OF_A_ROW:
                fault = Fault(f"/{item}/{pointer_token(name)}", "value", detail, line)
                found[item] = RefusedItem(item, (*before, fault), line)
    return found


def _of_wrong_length(place: _Place, fields: int, columns: int) -> RefusedItem:
    has = f"{fields} fields" if fields < columns else "more fields"
    detail = f"the row has {has}; the header names {columns} columns"
    return RefusedItem(
        place.item, (Fault(f"/{place.item}", "columns", detail, place.line),), place.line
    )


# Fields of a column → JSON texts and values


def _reader(
    resource: Resource, name: str, scanner: Scanner
) -> Callable[[Sequence[Field]], _Column]:
    """The reader of a column, by its types."""
    schema = resource.columns[name]
    read = _field_reader(schema, scanner)
    if read is _text:
        return _texts
    if _is_number(read):
        return partial(_numbers, read, name in resource.integers)
    return partial(_each, read)


def _field_reader(schema: Any, scanner: Scanner) -> _Read:
    """The reader of a field, or of an element of an array."""
    said = schema.get("type", ()) if isinstance(schema, Mapping) else ()
    types = {said} if isinstance(said, str) else set(said)
    if "array" in types and "string" in types:
        return partial(_unknown, scanner)
    if "array" in types:
        return partial(_array, scanner, _element_reader(schema, scanner))
    if not types or "object" in types:
        return scanner.value
    if types & {"number", "integer"} and "boolean" not in types:
        return partial(_number, scanner)
    return _boolean if "boolean" in types and "string" not in types else _text


def _element_reader(schema: Any, scanner: Scanner) -> _Read:
    while isinstance(schema, Mapping) and "items" in schema:
        schema = schema["items"]
    return _field_reader(schema, scanner)


def _is_number(read: _Read) -> bool:
    return isinstance(read, partial) and read.func is _number


def _texts(fields: Sequence[Field]) -> _Column:
    texts = ["null" if field is None else encode_basestring(field) for field in fields]
    return _Column(texts, fields)


def _numbers(read: _Read, is_integer: bool, fields: Sequence[Field]) -> _Column:
    """is_integer: whether 1.0 means 1, as in JSON Schema."""
    lines = "\n".join([field or "" for field in fields]) + "\n"
    if "" in fields or lines.count("\n") > len(fields):  # a field has line breaks
        return _each(read, fields)
    if is_integer and _INTEGERS.fullmatch(lines):
        if "." in lines:
            fields = [field or None for field in _ZEROS.sub("", lines)[:-1].split("\n")]
        values: list[Any] = [None if field is None else int(field) for field in fields]
    elif _NUMBERS.fullmatch(lines):
        values = [
            None if field is None else Decimal(field) if "." in field else int(field)
            for field in fields
        ]
    else:
        return _each(read, fields)
    return _Column([field or "null" for field in fields], values)


def _each(read: _Read, fields: Sequence[Field]) -> _Column:
    """Each field by itself; equal fields only once."""
    known: dict[Field, tuple[str, Any]] = {None: ("null", None)}
    refused: dict[Field, str] = {}
    for field in {field for field in fields if field is not None}:
        try:
            known[field] = read(field)
        except ValueError as error:
            known[field], refused[field] = ("null", None), reason(error)
    texts, values = zip(*map(known.__getitem__, fields), strict=True)
    if not refused:
        return _Column(texts, values)
    wrong = {index: refused[field] for index, field in enumerate(fields) if field in refused}
    return _Column(texts, values, wrong)


def _text(field: str) -> tuple[str, Any]:
    return encode_basestring(field), field


def _number(scanner: Scanner, field: str) -> tuple[str, Any]:
    match = _NUMBER.fullmatch(field)
    if match is None:
        return _text(field)  # the check against the contract will refuse it
    text, fraction, exponent = match.groups()
    is_whole = not fraction and not exponent and len(text) <= MAX_INT_DIGITS
    return text, int(text) if is_whole else scanner.number(text)


def _boolean(field: str) -> tuple[str, Any]:
    value = _BOOLEANS.get(field.strip(_SPACE).lower())
    return _text(field) if value is None else (render(value), value)


def _unknown(scanner: Scanner, field: str) -> tuple[str, Any]:
    """A field of a type that only Postgres knows: its text, or a JSON array."""
    if field.strip(_SPACE)[:1] == "[":
        try:
            text, value = scanner.value(field)
        except ValueError:  # such as [1,2), which is a range
            return _text(field)
        return text, value
    return _text(field)


def _array(scanner: Scanner, read: _Read, field: str) -> tuple[str, Any]:
    """An array in JSON, or in the notation of Postgres, which is converted to JSON."""
    stripped = field.strip(_SPACE_OF_ARRAY)
    if stripped[:1] != "{":
        return scanner.value(field)
    if _is_number(read) and _PLAIN_ARRAY.fullmatch(stripped):
        with suppress(ValueError):
            return scanner.value(f"[{stripped[1:-1]}]")
    parts: list[str] = []
    at = 0
    while match := _PART_OF_ARRAY.match(field, at):
        mark, quoted, plain = match.groups()
        if mark:
            parts.append(_BRACKETS[mark])
        elif quoted is None and plain.lower() == "null":
            parts.append("null")
        else:
            text = plain if quoted is None else quoted
            parts.append(read(_ESCAPED.sub(r"\1", text))[0])
        at = match.end()
    try:
        _, value = scanner.value(" ".join(parts))
    except ValueError:
        at = 0
    if at < len(field):
        raise Unfit("it is neither a JSON array nor an array of Postgres, such as {1,2}")
    return render(value), value
