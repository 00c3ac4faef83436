"""Columns → JSON Schema of written and of read values, with descriptions and examples."""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.schema import DefaultClause
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from chalicelib.contract.explain import EXPECTED
from chalicelib.contract.json_text import render
from chalicelib.postgres.resources import json_value, postgres_type, sql_type
from decanter.contract import keys
from decanter.contract.forms import STORABLE, Schema, form, or_null
from decanter.contract.render import json_form

_SCALARS = frozenset({"boolean", "integer", "number", "string"})
_INCOMPARABLE = ("XML", "JSONPATH", "POINT", "LSEG", "BOX", "PATH", "POLYGON", "CIRCLE")


def write_schema(column: Column[Any]) -> Schema:
    """A value that a write may give the column, with description and example."""
    return _described(column, form(column.type).write, example(column))


def read_schema(column: Column[Any]) -> Schema:
    """A value that a read shows. For a key column, paths are checked against it too."""
    return _described(column, _shown_schema(column), shown_example(column))


def part_schema(column: Column[Any]) -> Schema:
    """The same without texts for people."""
    schema = _shown_schema(column)
    return or_null(schema) if is_nullable(column) else dict(schema)


def filter_schema(column: Column[Any]) -> Schema:
    """A value of the column in a query: in the form of a write, if a read shows the same type."""
    shape = form(column.type)
    as_text = shape.read == {"type": "string"} and shape.write["type"] != "string"
    return {"type": "string"} if as_text else dict(shape.write)


def key_schema(column: Column[Any]) -> Schema:
    """A value of a key column in a path: its JSON text, if a row shows neither text nor number."""
    schema = _shown_schema(column)
    if schema.get("type", "array") == "array":
        return {"type": "string", "contentMediaType": "application/json"}
    # No path has an empty segment.
    return {"minLength": 1, **schema} if schema["type"] == "string" else schema


def key_example(column: Column[Any]) -> Any:
    """The example of a key column in a path."""
    value = example(column)
    return render(value) if isinstance(value, dict | list) else value


def example(column: Column[Any]) -> Any:
    """A value of the column in a write: the model's `info["example"]`, the example of the column
    that it references, or one for its type."""
    return _example(column, frozenset())


def shown_example(column: Column[Any]) -> Any:
    """The example as a read shows it."""
    shape = form(column.type)
    return example(column) if shape.shown is None or column.primary_key else shape.shown


def is_comparable(column: Column[Any]) -> bool:
    """Whether lists can be filtered and ordered by the column: it is no system column, and holds a
    single value of a type that is known to have equality and an order."""
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
    """Whether the column takes null, which its domain may forbid."""
    bare = postgres_type(column.type)
    return bool(column.nullable) and not (isinstance(bare, DOMAIN) and bare.not_null)


def _shown_schema(column: Column[Any]) -> Schema:
    shape = form(column.type)
    if column.primary_key:
        return keys.named(column.type)
    return shape.write if shape.read is None else shape.read


def _example(column: Column[Any], seen: frozenset[Column[Any]]) -> Any:
    if "example" in column.info:
        return json_form(json_value(column.type, column.info["example"]))
    for key in column.foreign_keys:
        parent = key.column
        if parent not in seen and form(parent.type).kind == form(column.type).kind:
            return _example(parent, seen | {column})
    made = form(column.type).example
    return _text_example(column) if made is None else made


def _text_example(column: Column[Any]) -> str:
    words = re.sub(r"[\W_]+", " ", column.name).strip() or "text"
    text = f"{words.replace(' ', '-')}-1" if column.primary_key else words.capitalize()
    limit = form(column.type).write.get("maxLength", len(text))
    return text[:limit].strip() or "x"


def _described(column: Column[Any], schema: Mapping[str, Any], example: Any) -> Schema:
    nullable = or_null(schema) if is_nullable(column) else dict(schema)
    expected = {EXPECTED: _expected(column)} if _has_form(schema) else {}
    return {"description": _description(column), **nullable, **expected, "examples": [example]}


def _has_form(schema: Mapping[str, Any]) -> bool:
    """Whether values are texts of a certain form, which people do not read out of a pattern."""
    if "items" in schema:
        return _has_form(schema["items"])
    has_text = "string" in schema.get("type", ())
    is_formed = not {"format", "anyOf"}.isdisjoint(schema)
    return has_text and (is_formed or schema.get("pattern", STORABLE) != STORABLE)


def _expected(column: Column[Any]) -> str:
    """A description of the type's values, with an example."""
    shape = form(column.type)
    text = shape.example if isinstance(shape.example, str) else render(shape.example)
    return f"{_typed(column)}, such as {text}"


def _typed(column: Column[Any]) -> str:
    note = form(column.type).note
    return sql_type(column.type).lower() + (f" ({note})" if note else "")


def _description(column: Column[Any]) -> str:
    facts = [_typed(column)]
    if column.primary_key:
        facts.append("key" if len(column.table.primary_key.columns) == 1 else "part of the key")
    if column.unique:
        facts.append("unique")
    parents = [key.column for key in column.foreign_keys]  # its full name may contain dots
    facts += sorted(f"references {parent.table.fullname}.{parent.name}" for parent in parents)
    if column.computed is not None:
        facts.append(f"computed: {column.computed.sqltext}")
    elif column.identity is not None:
        facts.append("generated by the database")
    elif default := _default(column):
        facts.append(f"default: {default}")
    comment = (column.comment or column.doc or "").strip()
    return "\n\n".join(filter(None, (comment, "; ".join(facts))))


def _default(column: Column[Any]) -> str:
    given = column.server_default
    if isinstance(given, DefaultClause):
        return given.arg if isinstance(given.arg, str) else str(given.arg)
    if given is not None:
        return "computed by the database"
    if isinstance(column.default, ScalarElementColumnDefault):
        return str(column.default.arg)
    return "computed for each row" if column.default is not None else ""
