"""Resources → paths and operations."""

from typing import Any

from chalicelib.ops import OPS, READ, WRITE, OpFacts, available
from chalicelib.postgres.resources import ResourceTable
from decanter.contract import answers, examples, parameters, problems
from decanter.contract.answers import JSON, LINES
from decanter.contract.schemas import WORDS, takes_key
from decanter.contract.shared import schema

Json = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
CSV = "text/csv"


def paths(resource: ResourceTable) -> Json:
    """The paths of a resource: all its rows, and one row by its key."""
    name = resource.name
    rows: Json = {"post": _create(resource)}
    if not resource.key:
        return {f"/{name}": rows}
    rows = {"get": _list(resource), **rows}
    row: Json = {"parameters": parameters.of_key(resource), "get": _read(resource)}
    for facts in available(resource.ordered, takes_key(resource)):
        if facts.names_row:
            row[facts.method.lower()] = _change(resource, facts)
    segments = "/".join(f"{{{parameter['name']}}}" for parameter in row["parameters"])
    return {f"/{name}": rows, f"/{name}/{segments}": row}


def security(*scopes: str) -> list[Json]:
    """A token with these scopes, or a signature; the stage decides which."""
    return [{"bearer": list(scopes)}, {"sigv4": []}]


def _create(resource: ResourceTable) -> Json:
    facts = OPS["create"]
    one = schema(f"{resource.name}.{facts.schema}")
    many = {"type": "array", "minItems": 1, "items": one}
    example = examples.create(resource)
    content = {
        JSON: {
            "schema": {"oneOf": [one, many]},
            "examples": {
                "row": {"summary": "One row", "value": example},
                "rows": {"summary": "Many rows", "value": [example]},
            },
        },
        LINES: {"schema": many, "example": examples.lines(resource)},
        CSV: {"schema": many, "example": examples.comma_separated(resource)},
    }
    text = (
        "A JSON object is one row. A JSON array, NDJSON (one row per line) and CSV hold many. The"
        ' first line of CSV names the columns; an empty field is NULL, `""` is empty text, and'
        " other values are as `COPY` writes them; arrays may also be JSON."
    )
    return {
        **_write(resource, facts, text),
        "parameters": parameters.shared(
            "idempotency-key",
            _kind(resource, "prefer-create" if resource.ordered else "prefer-add"),
        ),
        "requestBody": {"required": True, "content": content},
        "responses": _responses(resource, facts, "body" if takes_key(resource) else None),
    }


def _list(resource: ResourceTable) -> Json:
    text = "`Link` leads to the next page. If there are several filters, all of them must match."
    return {
        **_operation(resource, "list", "List rows", READ, text),
        "parameters": parameters.of_list(resource),
        "responses": {**answers.many(resource), **problems.responses("list")},
    }


def _read(resource: ResourceTable) -> Json:
    return {
        **_operation(resource, "read", "Read a row", READ),
        "parameters": [
            parameters.select(resource),
            *parameters.shared(
                "if-changed", *([] if resource.is_fronted else ["after", "wait-after"])
            ),
        ],
        "responses": {
            **answers.one(resource),
            **problems.responses(_kind(resource, "read")),
        },
    }


def _change(resource: ResourceTable, facts: OpFacts) -> Json:
    body: Json = {}
    if facts.schema:
        content: Json = {
            "schema": schema(f"{resource.name}.{facts.schema}"),
            "example": (examples.merge if facts.partial else examples.replace)(resource),
        }
        types = (MERGE_PATCH, JSON) if facts.partial else (JSON,)
        body = {"requestBody": {"required": True, "content": dict.fromkeys(types, content)}}
    return {
        **_write(resource, facts),
        "parameters": parameters.shared(
            "idempotency-key",
            *(_kind(resource, each) for each in ("prefer-change", "if-match", "if-none-match")),
        ),
        **body,
        "responses": _responses(resource, facts, "path"),
    }


def _responses(resource: ResourceTable, facts: OpFacts, key_from: str | None) -> Json:
    """key_from: see `answers.accepted`."""
    found = problems.responses(_kind(resource, facts.op))
    if resource.is_fronted:
        return {**answers.at_once(resource, facts), **found}
    accepted = answers.accepted(resource, key_from)
    return {**answers.outcome(resource, facts), "202": accepted, **found}


def _kind(resource: ResourceTable, name: str) -> str:
    """The name of what is different for resources behind DynamoDB."""
    return f"{name}.front" if resource.is_fronted else name


def _write(resource: ResourceTable, facts: OpFacts, text: str = "") -> Json:
    (scope,) = facts.scopes
    return _operation(resource, facts.op, WORDS[facts.op].summary, scope, text)


def _operation(resource: ResourceTable, name: str, summary: str, op: str, text: str = "") -> Json:
    scope = f"{resource.name}:{op}"
    alternative = "" if op == READ else f" or `{resource.name}:{WRITE}`"
    return {
        "operationId": f"{resource.name}.{name}",
        "tags": [resource.name],
        "summary": summary,
        "description": " ".join(filter(None, (text, f"Scope: `{scope}`{alternative}."))),
        "security": security(scope),
    }
