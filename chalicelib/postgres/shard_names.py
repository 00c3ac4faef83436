"""Errors of Citus, with the names of tables and constraints in place of those of their shards.

A shard is called as its table, and what it has as what the table has, with the shard's number at
the end. Of a name that would be too long then, less is left, with a hash of the whole. An error of
a worker has its names in the message only.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Table
from sqlalchemy.schema import ColumnCollectionConstraint

from chalicelib.errors import DatabaseError
from chalicelib.postgres.constraint_names import label_of, name_of
from chalicelib.postgres.resources import resources

_NUMBERED = re.compile(r"(.+)_\d{6,}", re.DOTALL)
_CUT = re.compile(r"(.+)_[0-9a-f]{8}", re.DOTALL)

# Of English messages, as others have other quotes. A quote in a name is not doubled. Each with the
# kind of its constraint: the label of one; a unique index, and the primary key, is one of "key".
_TABLE, _CONSTRAINT = '"(?P<table>.+)"', '"(?P<constraint>.+)"'
_NAMED = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (
            'on table "(?P<referred>.+)" violates (?:RESTRICT setting of )?'
            f"foreign key constraint {_CONSTRAINT} on table {_TABLE}$",
            "fkey",
        ),
        (f"on table {_TABLE} violates foreign key constraint {_CONSTRAINT}$", "fkey"),
        (f"relation {_TABLE} violates check constraint {_CONSTRAINT}$", "check"),
        (f"violates unique constraint {_CONSTRAINT}$", "key"),
        (f"violates exclusion constraint {_CONSTRAINT}$", "excl"),
        (f'column "(?P<column>.+)" of relation {_TABLE} violates not-null constraint$', ""),
    )
)
_REFERRED = re.compile(f"(?:is not present in|is still referenced from) table {_TABLE}\\.$")
_QUOTED = re.compile('"([^"]+)"')


def restored(error: DatabaseError) -> DatabaseError:
    """The error with names that the models know; with those of its message, if it has none."""
    message, kind, lost = _message(error.message)
    given: dict[str, Any] = error.attributes
    given["table"] = error.table and _name(error.table, "table")
    given["constraint"] = error.constraint and _name(error.constraint, kind)
    if error.detail:
        found = _REFERRED.search(error.detail)
        given["detail"] = _replaced(found) if found else _QUOTED.sub(_known_one, error.detail)
    # The coordinator's own shards have names.
    return type(error)(message, **{**given, **({} if error.constraint or error.column else lost)})


def _message(text: str) -> tuple[str, str, dict[str, str]]:
    """The message, the kind of the constraint that it names, and all names by what they are of."""
    for pattern, kind in _NAMED:
        if found := pattern.search(text):
            lost = {
                name: value if name == "column" else _name(value, _kind(name, kind))
                for name, value in found.groupdict().items()
                if name != "referred"
            }
            return _replaced(found, kind), kind, lost
    return _QUOTED.sub(_known_one, text), "", {}


def _kind(name: str, of_constraint: str) -> str:
    return of_constraint if name == "constraint" else "table"


def _replaced(found: re.Match[str], kind: str = "") -> str:
    """The whole text, with other names of tables and constraints."""
    text = found.string
    names = [name for name in found.re.groupindex if name != "column"]
    for name in sorted(names, key=found.start, reverse=True):
        whole = _name(found[name], _kind(name, kind))
        text = text[: found.start(name)] + whole + text[found.end(name) :]
    return text


def _known_one(found: re.Match[str]) -> str:
    """What is quoted may be a value, too."""
    name = _name(found[1])
    return f'"{name}"' if name in _known() else found[0]


def _name(name: str, kind: str = "") -> str:
    known = _known()
    own = _NUMBERED.fullmatch(name)
    if name in known or not own:
        return name
    if own[1] not in known and (cut := _CUT.fullmatch(own[1])):
        whole = [each for each, kinds in known.items() if kind in kinds and each.startswith(cut[1])]
        return whole[0] if len(whole) == 1 else own[1]
    return own[1]


@cache
def _known() -> Mapping[str, Collection[str]]:
    """All names of the models, each with the kinds of what has it, and with the empty one."""
    found: dict[str, set[str]] = defaultdict(lambda: {""})
    for metadata in {each.table.metadata for each in resources().values()}:
        for table in metadata.tables.values():
            for name, kind in _names(table):
                found[name].add(kind)
    return dict(found)


def _names(table: Table) -> Iterator[tuple[str, str]]:
    yield table.name, "table"
    yield from ((column.name, "column") for column in table.columns)
    yield from ((str(index.name), "key") for index in table.indexes)
    own = (each for column in table.columns for each in column.constraints)
    for constraint in (*table.constraints, *own):
        if isinstance(constraint, ColumnCollectionConstraint):
            label = label_of(constraint)
            yield name_of(constraint), "key" if label == "pkey" else label
