"""The contract as the API function needs it: resources, their keys and validators.

`contract.json` is compiled from the models by `make contract`; SQLAlchemy is not loaded here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Validator, validator_for

from chalicelib.errors import Problem
from chalicelib.message import Op

_FILE = Path(__file__).parent.parent / "contract.json"


@dataclass(frozen=True)
class KeyColumn:
    """A column of a resource's key.

    kind: how its values are compared, see `intake.key`. default: what an absent member takes, None
    if only the database knows.
    """

    name: str
    kind: str
    schema: Mapping[str, Any]
    default: Any = None


@dataclass(frozen=True)
class Resource:
    """A table as its clients see it.

    integers: members in which `1.0` means 1. filters: schemas of the columns that a list can be
    filtered and ordered by.
    """

    name: str
    ordered: bool
    key: tuple[KeyColumn, ...]
    integers: tuple[str, ...]
    filters: Mapping[str, Any]
    schemas: Mapping[str, str]

    def validator(self, op: Op) -> Validator:
        """Checks one row. Raises Problem 405 for an op that the resource does not have."""
        if op not in self.schemas:
            raise op_not_allowed(self)
        return _validator(self.schemas[op])

    def properties(self, op: Op) -> Mapping[str, Any]:
        """The schema of each member that a row may have."""
        found: Mapping[str, Any] = _parsed()["components"]["schemas"][self.schemas[op]]
        return found["properties"]  # type: ignore[no-any-return]


def op_not_allowed(resource: Resource) -> Problem:
    return Problem(
        "op-not-allowed",
        f"Postgres makes the keys of {resource.name}: create rows with POST /{resource.name}"
        if resource.ordered
        else f"{resource.name} is unordered: rows are only added, with POST /{resource.name}",
        headers={"Allow": "GET, PATCH, DELETE" if resource.ordered else "GET"},
    )


@cache
def document() -> str:
    """The OpenAPI document, as it is served."""
    return _FILE.read_text(encoding="utf-8")


@cache
def _parsed() -> Any:
    return json.loads(document(), parse_float=Decimal)


@cache
def resource(name: str) -> Resource:
    """The resource of that name. Raises Problem 404."""
    described = _parsed()["x-decanter"]["resources"].get(name)
    if described is None:
        known = ", ".join(_parsed()["x-decanter"]["resources"])
        raise Problem("unknown-resource", f"there is no {name!r}; there are: {known}")
    row = _parsed()["components"]["schemas"][described["schemas"]["row"]]
    return Resource(
        name=name,
        ordered=described["ordered"],
        key=tuple(
            KeyColumn(
                column["name"],
                column["kind"],
                row["properties"][column["name"]],
                column.get("default"),
            )
            for column in described["key"]
        ),
        integers=tuple(described["integers"]),
        filters={name: row["properties"][name] for name in described["filters"]},
        schemas=described["schemas"],
    )


@cache
def _validator(schema: str) -> Validator:
    return compiled({"$ref": f"#/components/schemas/{schema}"})


def compiled(schema: Mapping[str, Any]) -> Validator:
    """A validator for a schema that may refer to the contract's components."""
    return validator_for(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **schema,
            "components": _parsed()["components"],
        },
        validate_formats=True,
    )
