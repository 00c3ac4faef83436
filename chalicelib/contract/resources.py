"""The contract as the API function needs it: resources, their keys and validators.

`make contract` compiles two files from the models: `contract.json`, which is served, and
`rules.jsonl`, a line for each resource, which requests are checked against.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

from jsonschema_rs import Validator

from chalicelib.contract.validator import Check, compiled
from chalicelib.errors import Problem
from chalicelib.messages.values import Columns
from chalicelib.ops import OPS, Op, available

_FILE = Path(__file__).parent.parent / "contract.json"
_RULES = "rules.jsonl"  # beside it
_CLOSED_SECONDS = "60"  # a deployment takes longer


@dataclass(frozen=True)
class KeyColumn:
    """A column of a resource's key.

    kind: how its values are compared, see `key`. default: the value of an absent member, None if
        only the database or the model's code knows it.
    completed: the kind of such a value. `unknowable`: no client can name it in advance, such as a
        number of a sequence. `predictable`: a client can, such as today's date.
    """

    name: str
    kind: str
    schema: Mapping[str, Any]
    default: Any = None
    completed: str | None = None

    @cached_property
    def validator(self) -> Validator:
        """Checks a value."""
        return compiled(self.schema)


class Default(NamedTuple):
    """What an absent member of a fronted resource becomes.

    value: the constant, as JSON, if make is None. make: what the request makes instead: `uuid4`,
        `uuid7`, `now` (with an offset), `utcnow` (without one) or `today` (in UTC). digits: of a
        second's fraction, which the column keeps of a moment.
    """

    value: Any = None
    make: str | None = None
    digits: int = 6


class Unique(NamedTuple):
    """A unique constraint or index besides the key; rows with a NULL in it are never equal."""

    name: str
    columns: tuple[KeyColumn, ...]


class Parent(NamedTuple):
    """A foreign key onto the whole key of a resource behind the same front; a row with a NULL in
    it references none.

    columns: of the child, in the order of the parent's key.
    """

    name: str
    columns: tuple[str, ...]
    resource: str


class Front(NamedTuple):
    """What the front needs to know to answer as Postgres would.

    defaults: of all columns that have one, by name. is_closed: the resource is on its way to the
    front or back: it takes no writes, and is read from Postgres.
    """

    defaults: Mapping[str, Default]
    unique: tuple[Unique, ...]
    parents: tuple[Parent, ...]
    is_closed: bool = False


@dataclass(frozen=True)
class Resource:
    """A table as its clients see it.

    row: all columns, in the order of reads. integers: members in which `1.0` means 1. filters:
    schemas of the columns that lists can be filtered and ordered by. schemas: of a written row, by
    `OpFacts.schema`. shown: properties that make values longer when they are read, by column:
    `scale`, `width` or `notation`, see `row_size`. made: columns that no write may give, and a hint
    for each. by_values: new rows that travel so; None if none do. front: of a resource behind a
    DynamoDB table, or on its way there or back; None of one behind SQS.
    """

    name: str
    ordered: bool
    key: tuple[KeyColumn, ...]
    row: tuple[str, ...]
    integers: tuple[str, ...]
    filters: Mapping[str, Any]
    schemas: Mapping[str | None, Any]
    shown: Mapping[str, Any]
    made: Mapping[str, str]
    by_values: Columns | None
    front: Front | None

    @property
    def is_fronted(self) -> bool:
        """Whether requests are answered from the DynamoDB table."""
        return self.front is not None and not self.front.is_closed

    @cached_property
    def unknowable(self) -> frozenset[str]:
        """The columns of the key that no client can name in advance."""
        return frozenset(each.name for each in self.key if each.completed == "unknowable")

    def schema(self, op: Op) -> Mapping[str, Any]:
        """The schema of a row of an op."""
        found: Mapping[str, Any] = self.schemas[OPS[op].schema]
        return found

    def validator(self, op: Op) -> Check:
        """Checks a row of an op."""
        return _check(self.name, OPS[op].schema)

    @property
    def columns(self) -> Mapping[str, Any]:
        """The schema of each member that a row may have."""
        found: Mapping[str, Any] = self.schemas["create"]["properties"]
        return found

    def require_open(self) -> None:
        """Raises Problem 503 while no writes are taken."""
        if self.front is not None and self.front.is_closed:
            raise Problem(
                "resource-closed",
                f"{self.name} is being moved to another buffer and takes no writes until that is"
                " done; nothing was accepted. Rows can be read",
                headers={"Retry-After": _CLOSED_SECONDS},
            )

    def require(self, op: Op) -> None:
        """Raises Problem 405 for an op on one row that the resource does not have."""
        if self.ordered and OPS[op].schema in (None, *self.schemas):
            return
        methods = [
            each.method for each in available(self.ordered, gives_key=False) if each.names_row
        ]
        raise Problem(
            "op-not-allowed",
            f"Postgres generates the keys of {self.name}: create rows with POST /{self.name}"
            if self.ordered
            else f"{self.name} is unordered: rows are only added, with POST /{self.name}",
            headers={"Allow": ", ".join(["GET", "HEAD", *methods])},
        )


@cache
def document() -> str:
    """The text of the OpenAPI document."""
    return _FILE.read_text(encoding="utf-8")


@cache
def _rules() -> list[str]:
    """A line of JSON for each resource. Only lines that are needed are parsed: there may be
    hundreds."""
    return _FILE.with_name(_RULES).read_text(encoding="utf-8").split("\n")[:-1]


def names() -> list[str]:
    """The names of all resources."""
    return [json.loads(line)["name"] for line in _rules()]


@cache
def resource(name: str) -> Resource:
    """The resource of that name. Raises Problem 404."""
    begin = f'{{"name":{json.dumps(name)},'
    line = next((line for line in _rules() if line.startswith(begin)), None)
    if line is None:
        known = ", ".join(names())
        raise Problem(
            "unknown-resource", f"there is no resource {name!r}; the resources are: {known}"
        )
    described = json.loads(line, parse_float=Decimal)
    columns = described["columns"]
    return Resource(
        name=name,
        ordered=described["ordered"],
        key=tuple(KeyColumn(schema=columns[each["name"]], **each) for each in described["key"]),
        row=tuple(described["row"]),
        integers=tuple(described["integers"]),
        filters={name: columns[name] for name in described["filters"]},
        schemas=described["schemas"],
        shown=described.get("shown", {}),
        made=described.get("made", {}),
        by_values=_by_values(described),
        front=_front(described),
    )


def forget() -> None:
    """Have the files read again, which were compiled anew."""
    for remembered in (document, _rules, resource, _check):
        remembered.cache_clear()


def _by_values(described: Mapping[str, Any]) -> Columns | None:
    found = described.get("values")
    return found and Columns(**{name: frozenset(each) for name, each in found.items()})


def _front(described: Mapping[str, Any]) -> Front | None:
    front = described.get("front")
    if front is None:
        return None
    members = described["schemas"]["create"]["properties"]
    return Front(
        defaults={name: Default(**each) for name, each in front["defaults"].items()},
        unique=tuple(
            Unique(
                each["name"],
                tuple(KeyColumn(schema=members[c["name"]], **c) for c in each["columns"]),
            )
            for each in front["unique"]
        ),
        parents=tuple(
            Parent(each["name"], tuple(each["columns"]), each["resource"])
            for each in front["parents"]
        ),
        is_closed=front.get("closed", False),
    )


@cache
def _check(name: str, schema: str | None) -> Check:
    return Check(resource(name).schemas[schema])
