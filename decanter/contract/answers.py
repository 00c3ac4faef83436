"""What calls answer when all is well: responses, with their headers and links."""

from typing import Any

from chalicelib.ops import OpFacts
from chalicelib.postgres.resources import ResourceTable
from decanter.contract import examples, parameters
from decanter.contract.parameters import EXAMPLE_RECEIPT
from decanter.contract.shared import schema

Json = dict[str, Any]

JSON = "application/json"


def header(*names: str) -> Json:
    """Headers of an answer, as references."""
    return {name: {"$ref": f"#/components/headers/{name.lower()}"} for name in names}


def accepted(resource: ResourceTable, key_from: str | None) -> Json:
    """202. key_from: part of the request that names the row, `path` or `body`; None: nothing."""
    links: Json = {
        "status": {
            "operationId": "status",
            "description": "What became of the writes.",
            "parameters": {"receipt": "$response.body#/receipt"},
        }
    }
    if resource.key and key_from is not None:
        links["row"] = {
            "operationId": f"{resource.name}.read",
            "description": "The row, once the write is applied.",
            "parameters": {
                **parameters.link_parameters(resource, key_from),
                "after": "$response.body#/receipt",
            },
        }
    return {
        "description": (
            "The writes are safe on the queue, and will be applied or rejected. Without a body if"
            " `return=minimal` was preferred."
        ),
        "headers": header("Location", "Retry-After", "Preference-Applied"),
        "content": {
            JSON: {
                "schema": schema("decanter.accepted"),
                "example": {"receipt": EXAMPLE_RECEIPT, "state": "pending", "writes": 1},
            }
        },
        "links": links,
    }


def outcome(resource: ResourceTable, facts: OpFacts) -> Json:
    """200, 201 and 204 of a write whose client waited for the outcome."""
    row = schema(resource.name)
    rows = [row] if facts.names_row else [row, {"type": "array", "items": row}]
    known = [] if facts.removes else rows
    applied: Json = {
        "description": (
            "All of it is applied. With `return=representation` the row or rows, as they now are;"
            " with `return=minimal` without a body."
        ),
        "headers": header("Location", "Link", "Preference-Applied"),
        "content": {
            JSON: {
                "schema": _one_of(schema("decanter.outcome"), *known),
                "examples": {
                    "outcome": {"value": {"receipt": EXAMPLE_RECEIPT, **_status("applied")}},
                    **({"row": {"value": examples.row(resource)}} if known else {}),
                },
            }
        },
    }
    empty = {
        "description": "All of it is applied, and `return=minimal` was preferred.",
        "headers": header("Location", "Link", "Preference-Applied"),
    }
    if facts.names_row:
        text = "The outcome: applied or rejected. With `return=representation`, the row."
        applied["content"][JSON]["examples"]["rejected"] = _rejected()
        return {"200": {**applied, "description": text}, "204": empty}
    rejected = {
        "description": (
            "The outcome, where not all of it is applied: some or all rows were rejected or"
            " refused."
        ),
        "headers": header("Location", "Link", "Preference-Applied"),
        "content": {
            JSON: {"schema": schema("decanter.outcome"), "examples": {"rejected": _rejected()}}
        },
    }
    return {"200": rejected, "201": applied}


def one(resource: ResourceTable) -> Json:
    """200 and 304 of a read."""
    return {
        "200": {
            "description": "The row.",
            "headers": header("ETag"),
            "content": {JSON: {"schema": _whole_or(resource), "example": examples.row(resource)}},
        },
        "304": {
            "description": "The row still has an ETag that `If-None-Match` names.",
            "headers": header("ETag"),
        },
    }


def many(resource: ResourceTable) -> Json:
    """200 of a list."""
    return {
        "200": {
            "description": "A page of rows.",
            "headers": header("Link", "Content-Range", "Preference-Applied"),
            "content": {
                JSON: {
                    "schema": {"type": "array", "items": _whole_or(resource)},
                    "example": [examples.row(resource)],
                }
            },
        }
    }


def status() -> Json:
    """200 of `GET /writes/{receipt}`."""
    return {
        "200": {
            "description": "The state, with `Retry-After` while it is pending.",
            "headers": header("Retry-After", "Link"),
            "content": {
                JSON: {
                    "schema": schema("decanter.status"),
                    "examples": {
                        "applied": {"value": _status("applied")},
                        "rejected": {"value": _status("rejected")},
                    },
                }
            },
        }
    }


def _whole_or(resource: ResourceTable) -> Json:
    """A row, or what `select` shows of it."""
    return {"anyOf": [schema(resource.name), schema(f"{resource.name}.part")]}


def _one_of(*schemas: Json) -> Json:
    return schemas[0] if len(schemas) == 1 else {"oneOf": list(schemas)}


def _status(state: str) -> Json:
    applied = state == "applied"
    rejection = {
        "item": 0,
        "type": "conflict",
        "reason": (
            'duplicate key value violates unique constraint "pk_stations": Key (icao)=(LSZH)'
            " already exists."
        ),
        "sqlstate": "23505",
        "constraint": "pk_stations",
        "column": None,
    }
    return {
        "state": state,
        "writes": 1,
        "applied": int(applied),
        "rejected": int(not applied),
        "accepted_at": "2026-01-31T12:00:00.000+00:00",
        "poured_at": "2026-01-31T12:00:00.250+00:00",
        "rejections": [] if applied else [rejection],
        "truncated": False,
        **({} if applied else {"causes": [_cause(rejection)]}),
    }


def _cause(rejection: Json) -> Json:
    same = {name: rejection[name] for name in ("type", "sqlstate", "constraint", "column")}
    return {**same, "count": 1, "items": str(rejection["item"])}


def _rejected() -> Json:
    return {"value": {"receipt": EXAMPLE_RECEIPT, **_status("rejected")}}
