"""Rows by their values: a line for each, without the names that all of them share.

A line has the row's JSON values with commas between them, which is also a line of CSV as Postgres'
COPY reads it: a JSON string without escapes is a quoted string of CSV, numbers and booleans are
themselves, and COPY can be told to take `null` for NULL. A document, the value of a json column, is
written as JSON in a string, as COPY would take its quotes away. All values stay as the client has
written them. Rows that cannot be written so, such as those with other escapes, stay JSON objects.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

Members = tuple[str, ...]

_KEPT = 1_000
"""Size of a cache. Clients choose the members, and their order."""

_DEPTH = 4
"""Of a document: objects and arrays in each other. Others are rare."""

# Of a text that is known to be JSON. SQS refuses two characters, which are escaped.
_SPACE = r"[ \t]*+"
_ODD = r"\\\r\ufffe\uffff"
_STRING = rf'"[^"{_ODD}]*+"'
_SCALAR = rf"{_STRING}|[-+.0-9A-Za-z]++"
_IN_DOCUMENT = rf'[^][{{}}"{_ODD}\n]++|{_STRING}'

# Of a line: a string may have the escapes of a document in it.
_VALUE = r'("(?:[^"\\]|\\["\\])*+"|[^",\\]++)'


@dataclass(frozen=True)
class Columns:
    """Columns of a resource whose new rows may travel by their values.

    scalars, documents: which a row may have. needed: which it must have, as the model or the
    database fills them otherwise.
    """

    scalars: frozenset[str]
    documents: frozenset[str]
    needed: frozenset[str]

    def documents_of(self, members: Members) -> Members | None:
        """The documents among a row's members; None if it has to be an object."""
        if not members or not self.needed <= {*members} <= self.scalars | self.documents:
            return None
        return tuple(name for name in members if name in self.documents)


def lines(members: Members, documents: Members, objects: Sequence[str]) -> list[str | None]:
    """The line of each row; None for one that stays an object.

    members: of each row, in its order. documents: those that may hold one. objects: the rows as
    JSON objects, in one line each.
    """
    pattern = _of_object(members, documents)
    found = _groups(pattern, "\n".join(objects), len(members))
    if len(found) == len(objects):
        return [*_joined(members, documents, found)]
    matches = [*map(pattern.fullmatch, objects)]
    made = _joined(members, documents, [match.groups() for match in matches if match])
    return [next(made) if match else None for match in matches]


def objects(members: Members, documents: Members, text: str, count: int) -> str:
    """The rows of so many lines as JSON objects, with commas between them. A line that does not
    have all values becomes a text that is not JSON."""
    pattern = _of_line(len(members))
    found = _groups(pattern, text, len(members))
    if len(found) != count or count != text.count("\n") + 1:
        matches = [(line, pattern.fullmatch(line)) for line in text.split("\n")]
        return ",".join(
            _object(members, documents, match.groups()) if match else f"{{{line}}}"
            for line, match in matches
        )
    template = _template(members)
    if documents:
        return ",".join(_object(members, documents, each) for each in found)
    return ",".join(map(template.__mod__, map(tuple, found)))


def _joined(
    members: Members, documents: Collection[str], rows: Sequence[Sequence[str]]
) -> Iterator[str]:
    places = [place for place, name in enumerate(members) if name in documents]
    if not places or not rows:
        return map(",".join, rows)
    columns: list[Sequence[str]] = [*zip(*rows, strict=True)]
    for place in places:
        columns[place] = [*map(_in_string, columns[place])]
    return map(",".join, zip(*columns, strict=True))


def _in_string(document: str) -> str:
    """A document as a string of JSON; it has no backslash. No document means NULL."""
    return document if document == "null" else '"' + document.replace('"', '\\"') + '"'


def _object(members: Members, documents: Collection[str], values: Sequence[str]) -> str:
    parts = zip(members, values, strict=True)
    return _template(members) % tuple(
        json.loads(value) if name in documents and value[0] == '"' else value
        for name, value in parts
    )


def _groups(pattern: re.Pattern[str], text: str, columns: int) -> list[Sequence[str]]:
    found = pattern.findall(text)
    return found if columns > 1 else [(each,) for each in found]


@lru_cache(maxsize=_KEPT)
def _template(members: Members) -> str:
    names = [json.dumps(name, ensure_ascii=False).replace("%", "%%") for name in members]
    return "{" + ",".join(f"{name}:%s" for name in names) + "}"


@lru_cache(maxsize=_KEPT)
def _of_object(members: Members, documents: Members) -> re.Pattern[str]:
    """An object of a line, with a group for each value."""
    values = (_SCALAR + _document() if name in documents else _SCALAR for name in members)
    pairs = (
        rf'"{re.escape(name)}"{_SPACE}:{_SPACE}({value})'
        for name, value in zip(members, values, strict=True)
    )
    inner = rf"{_SPACE},{_SPACE}".join(pairs)
    return re.compile(rf"^\{{{_SPACE}{inner}{_SPACE}\}}$", re.MULTILINE)


def _document() -> str:
    inner = _IN_DOCUMENT
    for _ in range(_DEPTH - 1):
        inner = rf"{_IN_DOCUMENT}|[{{[](?:{inner})*+[]}}]"
    return rf"|[{{[](?:{inner})*+[]}}]"


@lru_cache(maxsize=_KEPT)
def _of_line(columns: int) -> re.Pattern[str]:
    return re.compile(f"^{','.join([_VALUE] * columns)}$", re.MULTILINE)
