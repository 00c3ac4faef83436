"""Columns → JSON Schema of what a write may give and of what a read shows, defaults, examples."""

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum as PythonEnum
from typing import Any

from sqlalchemy import Column
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.schema import DefaultClause
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from chalicelib.database.resources import labelled, postgres_type, sql_type
from decanter.contract.forms import Schema, form, or_null

_SCALARS = frozenset({"boolean", "integer", "number", "string"})
_MOMENTS = {
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "timestamptz": datetime.fromisoformat,
}
_INCOMPARABLE = ("XML", "JSONPATH", "POINT", "LSEG", "BOX", "PATH", "POLYGON", "CIRCLE")


def write_schema(column: Column[Any]) -> Schema:
    """What a write may give the column: description and example included."""
    return _described(column, form(column.type).write, example(column))


def read_schema(column: Column[Any]) -> Schema:
    """What a read shows. Of a key column it is what may be written: paths are checked by it."""
    return _described(column, _shown_schema(column), shown_example(column))


def filter_schema(column: Column[Any]) -> Schema:
    """A value of the column as a query names it: in the form of a write, if a read shows the same
    type."""
    shape = form(column.type)
    as_text = shape.read == {"type": "string"} and shape.write["type"] != "string"
    return {"type": "string"} if as_text else dict(shape.write)


def key_schema(column: Column[Any]) -> Schema:
    """A value of a key column as a path names it."""
    schema = dict(_shown_schema(column))
    # An empty segment is none.
    return {"minLength": 1, **schema} if schema.get("type") == "string" else schema


def example(column: Column[Any]) -> Any:
    """A value of the column as a write gives it: the model's `info["example"]`, that of the column
    that it references, or one by its type."""
    return _example(column, frozenset())


def shown_example(column: Column[Any]) -> Any:
    """The example as a read shows it."""
    shape = form(column.type)
    return example(column) if shape.shown is None or column.primary_key else shape.shown


def is_comparable(column: Column[Any]) -> bool:
    """Whether a list can be filtered and ordered by the column: it holds a single value, of a type
    that is known to have equality and an order, which those of system columns are not."""
    bare = postgres_type(column.type)
    while isinstance(bare, DOMAIN):
        bare = postgres_type(bare.data_type)
    types = _shown_schema(column).get("type", "any")
    return (
        not column.system
        and sql_type(bare).upper() not in _INCOMPARABLE
        and _SCALARS.issuperset([types] if isinstance(types, str) else types)
    )


def is_nullable(column: Column[Any]) -> bool:
    """Whether the column takes null, which a domain may forbid by itself."""
    bare = postgres_type(column.type)
    return bool(column.nullable) and not (isinstance(bare, DOMAIN) and bare.not_null)


def has_default(column: Column[Any]) -> bool:
    """Whether a row without the member gets a value, be it from Postgres or from the model."""
    bare = postgres_type(column.type)
    return (
        column.server_default is not None
        or column.default is not None
        or column.identity is not None
        or column is column.table.autoincrement_column
        or (isinstance(bare, DOMAIN) and bare.default is not None)
    )


def constant_default(column: Column[Any]) -> str | int | bool | None:
    """The value of an absent member, where it is a constant of the model that JSON can say."""
    if isinstance(column.default, ScalarElementColumnDefault):
        made = _json(labelled(column.type, column.default.arg))
        return made if isinstance(made, str | int) else str(made)
    if column.default is not None or not isinstance(column.server_default, DefaultClause):
        return None
    argument = column.server_default.arg
    text = argument if isinstance(argument, str) else _literal(str(argument))
    return None if text is None else _constant(column, text)


def _constant(column: Column[Any], text: str) -> str | bool | None:
    """The value that a literal stands for; None for one that means another value each time."""
    shape = form(column.type)
    if shape.kind == "boolean":
        return text.lower() in ("true", "t", "yes", "on", "1")
    if shape.kind in _MOMENTS:
        try:
            moment = _MOMENTS[shape.kind](text)
        except ValueError:
            return None  # 'now', or what Postgres reads otherwise
        zone = getattr(moment, "tzinfo", None)
        return moment.isoformat() if (zone is not None) == (shape.kind == "timestamptz") else None
    pattern = shape.write.get("pattern", "") if shape.write.get("type") == "string" else ""
    return text if re.search(pattern, text) else None


def _literal(sql: str) -> str | None:
    """The text of a literal of SQL; None for any other expression."""
    quoted = re.fullmatch(r"'((?:[^']|'')*)'(::[\w .()\"]+)?", sql)
    if quoted:
        return quoted[1].replace("''", "'")
    return sql if re.fullmatch(r"-?[0-9.]+|true|false", sql, re.IGNORECASE) else None


def _shown_schema(column: Column[Any]) -> Schema:
    shape = form(column.type)
    if not column.primary_key:
        return shape.write if shape.read is None else shape.read
    # A path holds text, of which only an unknown type's own input function can make anything else.
    types = shape.write.get("type")
    is_unknown = isinstance(types, list) and "array" in types
    return {**shape.write, "type": "string"} if is_unknown else shape.write


def _example(column: Column[Any], seen: frozenset[Column[Any]]) -> Any:
    if "example" in column.info:
        return _json(labelled(column.type, column.info["example"]))
    for key in column.foreign_keys:
        parent = key.column
        if parent not in seen and form(parent.type).kind == form(column.type).kind:
            return _example(parent, seen | {column})
    made = form(column.type).example
    return _text_example(column) if made is None else made


def _json(value: Any) -> Any:
    """A value of Python's as JSON has it, numbers as int and Decimal."""
    if isinstance(value, PythonEnum):
        return value.name
    if isinstance(value, bytes):
        return rf"\x{value.hex()}"
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json(part) for part in value]
    return value if value is None or isinstance(value, str | int | Decimal) else str(value)


def _text_example(column: Column[Any]) -> str:
    words = re.sub(r"[\W_]+", " ", column.name).strip() or "text"
    text = f"{words.replace(' ', '-')}-1" if column.primary_key else words.capitalize()
    limit = form(column.type).write.get("maxLength", len(text))
    return text[:limit].strip() or "x"


def _described(column: Column[Any], schema: Mapping[str, Any], example: Any) -> Schema:
    nullable = or_null(schema) if is_nullable(column) else dict(schema)
    return {"description": _description(column), **nullable, "examples": [example]}


def _description(column: Column[Any]) -> str:
    note = form(column.type).note
    facts = [sql_type(column.type).lower() + (f" ({note})" if note else "")]
    if column.primary_key:
        facts.append("key" if len(column.table.primary_key.columns) == 1 else "part of the key")
    if column.unique:
        facts.append("unique")
    parents = [key.column for key in column.foreign_keys]  # its full name may have dots of its own
    facts += sorted(f"references {parent.table.fullname}.{parent.name}" for parent in parents)
    if column.computed is not None:
        facts.append(f"computed: {column.computed.sqltext}")
    elif column.identity is not None:
        facts.append("numbered by the database")
    elif default := _default(column):
        facts.append(f"default: {default}")
    said = (column.comment or column.doc or "").strip()
    return "\n\n".join(filter(None, (said, "; ".join(facts))))


def _default(column: Column[Any]) -> str:
    given = column.server_default
    if isinstance(given, DefaultClause):
        return given.arg if isinstance(given.arg, str) else str(given.arg)
    if given is not None:
        return "made by the database"
    if isinstance(column.default, ScalarElementColumnDefault):
        return str(column.default.arg)
    return "made for each row" if column.default is not None else ""
