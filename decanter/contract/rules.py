"""The contract's document → `chalicelib/rules.jsonl`, the part that is needed to check requests.

The document grows by some 60 kB with each table, nearly all of it for people, and a container would
parse it before its first answer. Of the rules it parses only the line of one resource.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from chalicelib.api.reads.columns import parameter
from decanter.contract.forms import STORABLE
from decanter.contract.render import line

Json = dict[str, Any]

_FOR_PEOPLE = {"description", "title", "examples", "default", "readOnly", "deprecated"}
_NARROWER = ("date", "date-time")
"""Formats for client generators. They accept fewer spellings than Postgres and the pattern."""
_OF_NAMES = {"properties", "patternProperties"}
_OF_ONE = {"items", "not", "additionalProperties", "contains", "propertyNames"}
_OF_MANY = {"allOf", "anyOf", "oneOf", "prefixItems"}


def rules(document: str) -> str:
    """A line of JSON for each resource: its name and its entry in `x-decanter`, with schemas in
    place of their names, those of key and filters in `columns`, and all columns in `row`."""
    parsed = json.loads(document, parse_float=Decimal)
    schemas = parsed["components"]["schemas"]
    lines = []
    for name, index in parsed["x-decanter"]["resources"].items():
        row = schemas[index["schemas"]["row"]]["properties"]
        listed = parsed["paths"][f"/{name}"].get("get", {}).get("parameters", [])
        # The first alternative of a filter is a plain value of the column.
        filters = {each["name"]: each["schema"]["anyOf"][0] for each in listed if _is_filter(each)}
        columns = {each: filters.get(parameter(each), row[each]) for each in index["filters"]}
        # A column may hold text that no write may give, such as an infinite date.
        columns = {
            each: row[each] if schema["type"] == "string" else schema
            for each, schema in columns.items()
        }
        columns |= {column["name"]: row[column["name"]] for column in index["key"]}
        ops = {op: each for op, each in index["schemas"].items() if op != "row"}
        described = {
            **index,
            "row": [*row],
            "columns": {each: checked(columns[each]) for each in row if each in columns},
            "schemas": {op: checked(schemas[each]) for op, each in ops.items()},
        }
        lines.append(line({"name": name, **described}))
    return "\n".join(lines) + "\n"


def _is_filter(described: Json) -> bool:
    return "anyOf" in described.get("schema", {})


def checked(schema: Any) -> Any:
    """A schema without the keywords that are only for people and client generators."""
    if not isinstance(schema, Mapping):
        return schema
    found: Json = {}
    for keyword, value in schema.items():
        if keyword in _OF_NAMES:
            found[keyword] = {name: checked(each) for name, each in value.items()}
        elif keyword in _OF_ONE:
            found[keyword] = checked(value)
        elif keyword in _OF_MANY:
            found[keyword] = [checked(each) for each in value]
        elif keyword not in _FOR_PEOPLE and value not in (STORABLE, *_NARROWER):
            found[keyword] = value
    return found
