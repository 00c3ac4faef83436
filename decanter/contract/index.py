"""Resources → `x-decanter`: what the API function has to know besides the schemas."""

from typing import Any

from sqlalchemy import Column

from chalicelib.database.resources import Resource
from decanter.contract.defaults import completed_by, constant_default
from decanter.contract.forms import form, holds_integers
from decanter.contract.parameters import comparable
from decanter.contract.schemas import takes_key

Json = dict[str, Any]


def index(resource: Resource) -> Json:
    """ordered; key: its columns; integers: members in which `1.0` means 1; filters:
    columns that a list can be filtered and ordered by; schemas by op."""
    ops = ["create"]
    if resource.ordered:
        ops += ["replace", "merge"] if takes_key(resource) else ["merge"]
    return {
        "ordered": resource.ordered,
        "key": [_key_column(column) for column in resource.key],
        "integers": [c.name for c in resource.writable if holds_integers(c.type)],
        "filters": [column.name for column in comparable(resource)],
        "schemas": {**{op: f"{resource.name}.{op}" for op in ops}, "row": resource.name},
    }


def _key_column(column: Column[Any]) -> Json:
    """default: the value of an absent member, where it is known without the database; completed:
    how another one is made."""
    facts = {
        "name": column.name,
        "kind": form(column.type).kind,
        "default": constant_default(column),
        "completed": completed_by(column),
    }
    return {name: fact for name, fact in facts.items() if fact is not None}
