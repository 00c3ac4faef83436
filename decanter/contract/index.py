"""Resources → `x-decanter`: facts that the API function needs besides the schemas."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column

from chalicelib.ops import available
from chalicelib.postgres.resources import ResourceTable
from chalicelib.postgres.sql.copying import copied
from chalicelib.postgres.sql.sizes import is_notation, scale, width
from decanter.contract.defaults import completed_by, constant_default
from decanter.contract.forms import form, holds_integers
from decanter.contract.front import front
from decanter.contract.parameters import comparable
from decanter.contract.schemas import takes_key

Json = dict[str, Any]


def index(resource: ResourceTable, resources: Mapping[str, ResourceTable]) -> Json:
    """The entry of a resource among all resources.

    ordered; key: its columns; integers: members in which `1.0` means 1; filters: columns that lists
    can be filtered and ordered by; schemas: of rows, by op; values, if any: which new rows travel
    by their values; shown, if any: properties that make the values of a column longer when they are
    read; made, if any: columns that no write may give; front, of a resource behind a DynamoDB
    table, or on its way there or back: what requests are answered by.
    """
    taking = [facts.schema for facts in available(resource.ordered, takes_key(resource))]
    schemas = {schema: f"{resource.name}.{schema}" for schema in taking if schema}
    shown = {c.name: facts for c in resource.writable if (facts := _shown(c))}
    made = {c.name: _made(c) for c in resource.table.columns if c not in {*resource.writable}}
    return {
        "ordered": resource.ordered,
        "key": [_key_column(column) for column in resource.key],
        "integers": [c.name for c in resource.writable if holds_integers(c.type)],
        "filters": [column.name for column in comparable(resource)],
        "schemas": {**schemas, "row": resource.name},
        **_values(resource),
        **({"shown": shown} if shown else {}),
        **({"made": made} if made else {}),
        **({"front": front(resource, resources)} if resource.has_items else {}),
    }


def _values(resource: ResourceTable) -> Json:
    """See `Resource.by_values`. A row in front of a DynamoDB table stays an object."""
    facts = copied(resource)
    columns = [column.name for column in resource.writable]
    found = {
        name: [each for each in columns if each in named]
        for name, named in (
            ("scalars", facts.scalars),
            ("documents", facts.documents),
            ("needed", facts.needed),
        )
    }
    is_fit = facts.needed <= facts.scalars | facts.documents and not resource.is_fronted
    return {"values": found} if is_fit else {}


def _made(column: Column[Any]) -> str:
    how = "computes" if column.computed is not None else "generates"
    return f"the database {how} this column; leave it out"


def _shown(column: Column[Any]) -> Json:
    """scale: digits after the point of every number. width: characters to which texts are padded.
    notation: texts may contain numbers."""
    facts = {
        "scale": scale(column.type),
        "width": width(column.type),
        "notation": is_notation(column.type),
    }
    return {name: value for name, value in facts.items() if value}


def _key_column(column: Column[Any]) -> Json:
    """default: the value of an absent member, if it is known without the database; completed: how
    it is generated otherwise."""
    facts = {
        "name": column.name,
        "kind": form(column.type).kind,
        "default": constant_default(column),
        "completed": completed_by(column),
    }
    return {name: fact for name, fact in facts.items() if fact is not None}
