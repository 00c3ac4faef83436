"""Resources → the schemas of their rows: as read, created, replaced and merged."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Column, ForeignKeyConstraint, Table, UniqueConstraint

from chalicelib.ops import Op, available
from chalicelib.postgres.resources import ResourceTable
from decanter.contract.columns import is_nullable, part_schema, read_schema, write_schema
from decanter.contract.defaults import has_default

Json = dict[str, Any]


class Words(NamedTuple):
    """Texts of the contract about an op: about the call, and about the row in its body."""

    summary: str
    row: str = ""


WORDS: Mapping[Op, Words] = {
    "create": Words(
        "Create one or many rows", "A new row. Absent members take their defaults, null is NULL."
    ),
    "replace": Words(
        "Insert or replace a row", "The whole row. The key is in the path and may be left out."
    ),
    "merge": Words(
        "Change members of a row", "The members to change, as a JSON Merge Patch (RFC 7396)."
    ),
    "delete": Words("Delete a row"),
}
"""For each op that has its own call."""


def schemas(resource: ResourceTable, descriptions: Mapping[Table, str]) -> Json:
    """The schemas by name: `{resource}` for a row as it is read, `{resource}.part` for some of its
    columns, `{resource}.{op}` for a row in a write.

    Each describes every column, because client generators do not follow references into a schema.
    """
    name = resource.name
    written = {column.name: write_schema(column) for column in resource.writable}
    required = [c for c in resource.writable if not is_nullable(c) and not has_default(c)]
    found: Json = {
        name: {
            "description": description(resource, descriptions),
            **_object({c.name: read_schema(c) for c in resource.table.columns}),
            "required": [c.name for c in resource.table.columns],
        },
        f"{name}.part": {
            "description": "The selected columns of a row.",
            **_object({c.name: part_schema(c) for c in resource.table.columns}),
            "minProperties": 1,
        },
    }
    for facts in available(resource.ordered, takes_key(resource)):
        if facts.schema and facts.op in WORDS:
            by_path = {*resource.key} if facts.names_row else {}
            found[f"{name}.{facts.schema}"] = {
                "description": WORDS[facts.op].row,
                **_object(written),
                **(
                    {"minProperties": 1}
                    if facts.partial
                    else _required(column for column in required if column not in by_path)
                ),
            }
    return found


def takes_key(resource: ResourceTable) -> bool:
    """Whether a write may name the key; otherwise Postgres always generates it."""
    return {*resource.key} <= {*resource.writable}


def description(resource: ResourceTable, descriptions: Mapping[Table, str]) -> str:
    """The table's comment, and the rules for its rows.

    descriptions: of tables without a comment.
    """
    table = resource.table
    comment = (table.comment or descriptions.get(table, "")).strip()
    order = (
        "For each key, writes are applied in the order in which they were accepted."
        if resource.ordered
        else "Rows are only added, in any order."
    )
    if resource.is_fronted:
        order += " Writes are answered with their outcome at once, and poured into Postgres later."
    facts = []
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint) and len(constraint.columns) > 1:
            facts.append(f"Unique together: {_names(constraint.columns)}.")
        if isinstance(constraint, ForeignKeyConstraint) and len(constraint.columns) > 1:
            parents = [element.column for element in constraint.elements]
            targets = ", ".join(f"{parent.table.fullname}.{parent.name}" for parent in parents)
            facts.append(f"{_names(constraint.columns)} together reference {targets}.")
    return "\n\n".join(filter(None, (comment, " ".join([order, *sorted(facts)]))))


def _object(properties: Json) -> Json:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _required(columns: Iterable[Column[Any]]) -> Json:
    names = [column.name for column in columns]
    return {"required": names} if names else {}


def _names(columns: Iterable[Column[Any]]) -> str:
    return ", ".join(column.name for column in columns)
