"""Resources → OpenAPI 3.1 document."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from sqlalchemy import Column, ForeignKeyConstraint, Table, UniqueConstraint

from chalicelib.database.resources import Resource
from decanter.contract.columns import (
    constant_default,
    form,
    has_default,
    holds_integers,
    is_comparable,
    is_nullable,
    read_schema,
    write_schema,
)

Json = dict[str, Any]

_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_PROBLEM = "application/problem+json"


def document(resources: Mapping[str, Resource], descriptions: Mapping[Table, str]) -> Json:
    """The whole contract, with numbers as int and Decimal; the same for the same resources.

    descriptions: of tables that have no comment.
    """
    ordered = [resources[name] for name in sorted(resources)]
    paths: Json = {"/health": _health(), "/openapi.json": _self(), "/writes/{receipt}": _status()}
    schemas: Json = {}
    for resource in ordered:
        paths |= _paths(resource)
        schemas |= _schemas(resource, descriptions)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Decanter",
            "version": "1.0.0",
            "description": (
                "Writes are answered at once with 202 and a receipt, and poured into Postgres"
                " exactly once and, for one key, in order. GET the Location of the answer to see"
                " what became of them."
            ),
        },
        "security": [{"sigv4": []}],
        "tags": [
            {"name": resource.name, "description": _table_description(resource, descriptions)}
            for resource in ordered
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "name": "Authorization",
                    "in": "header",
                    "description": "AWS Signature Version 4 for the service execute-api.",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                }
            },
            "parameters": {"idempotency-key": _IDEMPOTENCY_KEY},
            "headers": _HEADERS,
            "responses": _RESPONSES,
            "schemas": {**_OWN_SCHEMAS, **schemas},
        },
        "x-decanter": {"resources": {resource.name: _index(resource) for resource in ordered}},
    }


def _index(resource: Resource) -> Json:
    """What the API function needs to know besides the schemas."""
    ops = ["create"]
    if resource.ordered:
        ops += ["replace", "merge"] if _takes_key(resource) else ["merge"]
    return {
        "ordered": resource.ordered,
        "key": [_key_column(column) for column in resource.key],
        "integers": [c.name for c in resource.writable if holds_integers(c.type)],
        "filters": [c.name for c in resource.table.columns if is_comparable(c)],
        "schemas": {**{op: f"{resource.name}.{op}" for op in ops}, "row": resource.name},
    }


def _key_column(column: Column[Any]) -> Json:
    """default: the value of an absent member, where it is known without the database."""
    described = {"name": column.name, "kind": form(column.type).kind}
    default = constant_default(column)
    return described if default is None else {**described, "default": default}


def _takes_key(resource: Resource) -> bool:
    """Whether a write may name the key; otherwise Postgres always makes it."""
    return {*resource.key} <= {*resource.writable}


def _schemas(resource: Resource, descriptions: Mapping[Table, str]) -> Json:
    name = resource.name
    required = [c for c in resource.writable if not is_nullable(c) and not has_default(c)]
    schemas: Json = {
        name: {
            **_object({c.name: read_schema(c) for c in resource.table.columns}),
            "description": _table_description(resource, descriptions),
            "required": [c.name for c in resource.table.columns],
        },
        f"{name}.create": {
            **_object({c.name: write_schema(c) for c in resource.writable}),
            "description": "A new row. An absent member takes its default, null is NULL.",
            **_required(required),
        },
    }
    if not resource.ordered:
        return schemas
    same = {c.name: {"$ref": _pointer(f"{name}.create", c)} for c in resource.writable}
    if _takes_key(resource):
        schemas[f"{name}.replace"] = {
            **_object(same),
            "description": "The whole row. The key is in the path and may be left out.",
            **_required(c for c in required if not c.primary_key),
        }
    schemas[f"{name}.merge"] = {
        **_object(same),
        "description": "The members to change, as a JSON Merge Patch (RFC 7396).",
        "minProperties": 1,
    }
    return schemas


def _object(properties: Json) -> Json:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _required(columns: Iterable[Column[Any]]) -> Json:
    names = [column.name for column in columns]
    return {"required": names} if names else {}


def _pointer(schema: str, column: Column[Any]) -> str:
    member = quote(column.name.replace("~", "~0").replace("/", "~1"), safe="~")
    return f"#/components/schemas/{schema}/properties/{member}"


def _paths(resource: Resource) -> Json:
    name = resource.name
    create = _schema(f"{name}.create")
    many = {"type": "array", "minItems": 1, "items": create}
    paths: Json = {
        f"/{name}": {
            "post": _write(
                resource,
                "create",
                "Create one row, or many",
                {_JSON: {"schema": {"oneOf": [create, many]}}},
            )
        }
    }
    if not resource.key:
        return paths
    row: Json = {
        "parameters": _key_parameters(resource),
        "get": {
            "operationId": f"{name}.read",
            "tags": [name],
            "summary": "Read one row",
            "responses": {
                "200": {
                    "description": "The row.",
                    "content": {_JSON: {"schema": _schema(name)}},
                },
                **_failures(404, 422, 503),
            },
        },
    }
    if resource.ordered:
        merge = {"schema": _schema(f"{name}.merge")}
        if _takes_key(resource):
            whole = {"schema": _schema(f"{name}.replace")}
            row["put"] = _write(resource, "replace", "Insert or overwrite one row", {_JSON: whole})
        row["patch"] = _write(
            resource, "merge", "Change members of one row", {_MERGE_PATCH: merge, _JSON: merge}
        )
        row["delete"] = _write(resource, "delete", "Delete one row", None)
    names = "/".join(f"{{{parameter['name']}}}" for parameter in row["parameters"])
    paths[f"/{name}/{names}"] = row
    return paths


def _write(resource: Resource, op: str, summary: str, content: Json | None) -> Json:
    failures = (400, 404, 422, 503) if content is None else (400, 404, 413, 415, 422, 503)
    return {
        "operationId": f"{resource.name}.{op}",
        "tags": [resource.name],
        "summary": summary,
        "parameters": [{"$ref": "#/components/parameters/idempotency-key"}],
        **({"requestBody": {"required": True, "content": content}} if content else {}),
        "responses": {"202": {"$ref": "#/components/responses/accepted"}, **_failures(*failures)},
    }


def _key_parameters(resource: Resource) -> list[Json]:
    parameters: list[Json] = []
    for column in resource.key:
        # Braces and slashes would break the path's template.
        name = re.sub(r"[^\w.-]", "_", column.name)
        while any(name == parameter["name"] for parameter in parameters):
            name += "_"
        parameters.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"$ref": _pointer(resource.name, column)},
            }
        )
    return parameters


def _table_description(resource: Resource, descriptions: Mapping[Table, str]) -> str:
    table = resource.table
    said = (table.comment or descriptions.get(table, "")).strip()
    facts = [
        "Rows are changed in the order in which writes were accepted, for each key."
        if resource.ordered
        else "Rows are only ever added, in any order."
    ]
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint) and len(constraint.columns) > 1:
            facts.append(f"Unique together: {_names(constraint.columns)}.")
        if isinstance(constraint, ForeignKeyConstraint) and len(constraint.columns) > 1:
            parents = [element.column for element in constraint.elements]
            targets = ", ".join(f"{parent.table.fullname}.{parent.name}" for parent in parents)
            facts.append(f"{_names(constraint.columns)} together reference {targets}.")
    return "\n\n".join(filter(None, (said, " ".join([facts[0], *sorted(facts[1:])]))))


def _names(columns: Iterable[Column[Any]]) -> str:
    return ", ".join(column.name for column in columns)


def _schema(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _failures(*statuses: int) -> Json:
    return {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in (*statuses, 500)
    }


def _health() -> Json:
    schema = {"type": "object", "properties": {"status": {"const": "ok"}}}
    return {
        "get": {
            "operationId": "health",
            "summary": "Whether the API answers",
            "security": [],
            "responses": {
                "200": {"description": "It does.", "content": {_JSON: {"schema": schema}}}
            },
        }
    }


def _self() -> Json:
    return {
        "get": {
            "operationId": "contract",
            "summary": "This document",
            "responses": {
                "200": {
                    "description": "The contract.",
                    "content": {_JSON: {"schema": {"type": "object"}}},
                }
            },
        }
    }


def _status() -> Json:
    return {
        "get": {
            "operationId": "status",
            "summary": "What became of a request's writes",
            "parameters": [
                {
                    "name": "receipt",
                    "in": "path",
                    "required": True,
                    "description": "As in the Location of the 202 answer.",
                    "schema": {"type": "string"},
                }
            ],
            "responses": {
                "200": {
                    "description": "The state, with Retry-After while it is pending.",
                    "headers": {"Retry-After": {"$ref": "#/components/headers/retry-after"}},
                    "content": {_JSON: {"schema": _schema("decanter.status")}},
                },
                **_failures(404, 503),
            },
        }
    }


def _problem(description: str, *, retry: bool = False) -> Json:
    headers = {"Retry-After": {"$ref": "#/components/headers/retry-after"}}
    return {
        "description": description,
        **({"headers": headers} if retry else {}),
        "content": {_PROBLEM: {"schema": _schema("decanter.problem")}},
    }


_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": (
        "Makes a retry safe: the same key and body give the same receipt and one effect. The same"
        " key with another body is rejected."
    ),
    "schema": {"type": "string"},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}

_HEADERS: Json = {
    "location": {
        "description": "Path of the request's state.",
        "schema": {"type": "string"},
    },
    "retry-after": {
        "description": "Seconds after which to ask again.",
        "schema": {"type": "integer"},
    },
}

_RESPONSES: Json = {
    "accepted": {
        "description": "The writes are safe on the queue, and will be applied or rejected.",
        "headers": {
            "Location": {"$ref": "#/components/headers/location"},
            "Retry-After": {"$ref": "#/components/headers/retry-after"},
        },
        "content": {_JSON: {"schema": _schema("decanter.accepted")}},
    },
    "400": _problem("The request is malformed."),
    "404": _problem("There is no such resource, row or receipt."),
    "413": _problem("The body or a row of it is too large."),
    "415": _problem("The content type or encoding is not taken."),
    "422": _problem("The row or key does not fit the contract; every fault has a JSON Pointer."),
    "500": _problem("A fault of the service. A retry with the same Idempotency-Key is safe."),
    "503": _problem(
        "A part is out of reach. A retry with the same Idempotency-Key is safe.", retry=True
    ),
}

_COUNT: Json = {"type": "integer", "minimum": 0}

_OWN_SCHEMAS: Json = {
    "decanter.accepted": {
        "type": "object",
        "required": ["receipt", "state", "writes"],
        "properties": {
            "receipt": {"type": "string"},
            "state": {"const": "pending"},
            "writes": _COUNT,
        },
    },
    "decanter.problem": {
        "description": "RFC 9457.",
        "type": "object",
        "required": ["type", "title", "status", "detail", "instance"],
        "properties": {
            "type": {"type": "string", "pattern": "^urn:decanter:problem:[a-z-]+$"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"description": "Path of the request.", "type": "string"},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["pointer", "rule", "detail"],
                    "properties": {
                        "pointer": {
                            "description": "JSON Pointer (RFC 6901) into the body.",
                            "type": "string",
                        },
                        "rule": {"type": "string"},
                        "detail": {"type": "string"},
                    },
                },
            },
        },
    },
    "decanter.status": {
        "type": "object",
        "required": ["state", "writes", "applied", "rejected", "accepted_at", "rejections"],
        "properties": {
            "state": {
                "description": "partial: some writes were applied and some rejected.",
                "enum": ["pending", "applied", "partial", "rejected", "expired"],
            },
            "writes": _COUNT,
            "applied": _COUNT,
            "rejected": _COUNT,
            "accepted_at": {"type": ["string", "null"], "format": "date-time"},
            "poured_at": {"type": ["string", "null"], "format": "date-time"},
            "truncated": {
                "description": "Whether there are more rejections than are listed.",
                "type": "boolean",
            },
            "rejections": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["item", "type", "reason"],
                    "properties": {
                        "item": {
                            "description": "Place of the write in its request, from 0.",
                            "type": ["integer", "null"],
                        },
                        "type": {"type": "string"},
                        "reason": {"type": "string"},
                        "sqlstate": {"type": ["string", "null"]},
                        "constraint": {"type": ["string", "null"]},
                        "column": {"type": ["string", "null"]},
                    },
                },
            },
        },
    },
}
