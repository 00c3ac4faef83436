"""Rows by their values: a line for each, without the names that all of them share.

A line has the row's JSON values, in the order of their sorted names, with commas between them. It
is also a line of CSV as Postgres' COPY reads it: a JSON string without escapes is a quoted string
of CSV, numbers and booleans are themselves, and COPY can be told to take `null` for NULL. A
document, the value of a json column, is written as JSON in a string, as COPY would take its quotes
away. All values stay as the client has written them. Rows that cannot be written so, such as those
with other escapes, stay JSON objects.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from operator import itemgetter

Members = tuple[str, ...]

_KEPT = 1_000
"""Size of a cache. Clients choose the members, and their order."""

_MANY = 50
"""Rows with members in one order for which a pattern of their own pays. To compile it takes as long
as to read some hundred rows without it, each time that a container has not seen the order for long;
and a request may have rows in as many orders as it likes."""

_PATTERNS = 100
"""Size of the cache of these patterns, of which each takes some kilobytes."""

_DEPTH = 4
"""Of a document: objects and arrays in each other. Others are rare."""

# Characters that no row by its values has: what CSV or SQS takes for something else.
_ODD = ("\\", "\r", "\ufffe", "\uffff")

# Of a text that is known to be JSON, without odd characters.
_SPACE = r"[ \t]*+"
_STRING = '"[^"]*+"'
_SCALAR = rf"{_STRING}|[-+.0-9A-Za-z]++"

# Of a line: a string may have the escapes of a document in it.
_VALUE = r'("(?:[^"\\]|\\["\\])*+"|[^",\\\n]++)'
_ESCAPED = re.compile(r"\\(.)")


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


def lines(order: Members, documents: Members, objects: Sequence[str]) -> list[str | None]:
    """The line of each row; None for one that stays an object.

    order: the members of each row, in its own order. documents: those that may hold one. objects:
    the rows as JSON objects, in one line each.
    """
    text = "\n".join(objects)
    if _is_odd(text):
        plain = iter(lines(order, documents, [each for each in objects if not _is_odd(each)]))
        return [None if _is_odd(each) else next(plain) for each in objects]
    if len(objects) >= _MANY:
        found = _groups(_of_objects(order, documents), text, len(order))
        if len(found) == len(objects):
            return [*_joined(order, documents, found)]
    each_found = [*map(_of_one, repeat(frozenset(documents)), objects)]
    made = _joined(order, documents, [each for each in each_found if each])
    return [next(made) if each else None for each in each_found]


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
    if documents:
        return ",".join(_object(members, documents, each) for each in found)
    return ",".join(map(_template(members).__mod__, map(tuple, found)))


def _is_odd(text: str) -> bool:
    return any(odd in text for odd in _ODD)


def _of_one(documents: Collection[str], text: str) -> Sequence[str] | None:
    """The values of a row; None if it stays an object."""
    whole, pair = _of_any_object(bool(documents))
    if whole.fullmatch(text) is None:
        return None
    names, values = zip(*pair.findall(text), strict=True)
    if documents and any(
        value[0] in "[{" and name not in documents
        for name, value in zip(names, values, strict=True)
    ):
        return None
    return values


def _joined(
    order: Members, documents: Collection[str], rows: Sequence[Sequence[str]]
) -> Iterator[str]:
    places = sorted(range(len(order)), key=order.__getitem__)
    if not rows or (not documents and places == [*range(len(order))]):
        return map(",".join, rows)
    if not documents:
        return map(",".join, map(itemgetter(*places), rows))
    columns: list[Sequence[str]] = [*zip(*rows, strict=True)]
    sent = [
        [*map(_in_string, columns[place])] if order[place] in documents else columns[place]
        for place in places
    ]
    return map(",".join, zip(*sent, strict=True))


def _in_string(document: str) -> str:
    """A document as a string of JSON; it has no backslash. No document means NULL."""
    return document if document == "null" else '"' + document.replace('"', '\\"') + '"'


def _out_of_string(value: str) -> str:
    """The document in a string, whatever else that has in it."""
    if "\\\\" in value:
        return _ESCAPED.sub(r"\1", value[1:-1])
    return value[1:-1].replace('\\"', '"')


def _object(members: Members, documents: Collection[str], values: Sequence[str]) -> str:
    return _template(members) % tuple(
        _out_of_string(value) if name in documents and value[0] == '"' else value
        for name, value in zip(members, values, strict=True)
    )


def _groups(pattern: re.Pattern[str], text: str, columns: int) -> list[Sequence[str]]:
    found = pattern.findall(text)
    return found if columns > 1 else [(each,) for each in found]


@lru_cache(maxsize=_KEPT)
def _template(members: Members) -> str:
    names = [json.dumps(name, ensure_ascii=False).replace("%", "%%") for name in members]
    return "{" + ",".join(f"{name}:%s" for name in names) + "}"


@lru_cache
def _of_any_object(has_documents: bool) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """An object, and a pair of it with groups for name and value."""
    value = rf"{_SCALAR}|{_document()}" if has_documents else _SCALAR
    pair = rf"{_STRING}{_SPACE}:{_SPACE}(?:{value})"
    whole = rf"\{{{_SPACE}{pair}(?:{_SPACE},{_SPACE}{pair})*+{_SPACE}\}}"
    return re.compile(whole), re.compile(rf'"([^"]*+)"{_SPACE}:{_SPACE}({value})')


@lru_cache(maxsize=_PATTERNS)
def _of_objects(order: Members, documents: Members) -> re.Pattern[str]:
    """An object in a line of its own, with a group for each value."""
    values = (rf"{_SCALAR}|{_document()}" if name in documents else _SCALAR for name in order)
    pairs = (
        rf'"{re.escape(name)}"{_SPACE}:{_SPACE}({value})'
        for name, value in zip(order, values, strict=True)
    )
    inner = rf"{_SPACE},{_SPACE}".join(pairs)
    return re.compile(rf"^\{{{_SPACE}{inner}{_SPACE}\}}$", re.MULTILINE)


def _document() -> str:
    simple = rf'[^][{{}}"\n]++|{_STRING}'
    inner = simple
    for _ in range(_DEPTH - 1):
        inner = rf"{simple}|[{{[](?:{inner})*+[]}}]"
    return rf"[{{[](?:{inner})*+[]}}]"


@lru_cache(maxsize=_PATTERNS)
def _of_line(columns: int) -> re.Pattern[str]:
    return re.compile(f"^{','.join([_VALUE] * columns)}$", re.MULTILINE)
