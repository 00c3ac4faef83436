"""What calls answer when all is well: responses with headers and links, and Decanter's schemas."""

from typing import Any

from chalicelib.database.resources import Resource
from decanter.contract import examples, parameters
from decanter.contract.parameters import EXAMPLE_ETAG, EXAMPLE_RECEIPT

Json = dict[str, Any]

JSON = "application/json"
_COUNT: Json = {"type": "integer", "minimum": 0}
_TIME: Json = {"type": ["string", "null"], "format": "date-time"}
_TEXT_OR_NULL: Json = {"type": ["string", "null"]}


def schema(name: str) -> Json:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def header(*names: str) -> Json:
    """Headers of an answer, as references."""
    return {name: {"$ref": f"#/components/headers/{name.lower()}"} for name in names}


def accepted(resource: Resource, key_from: str | None) -> Json:
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


def outcome(resource: Resource, op: str) -> Json:
    """200, 201 and 204 of a write whose client waited for the outcome."""
    row = schema(resource.name)
    rows = [row, {"type": "array", "items": row}] if op == "create" else [row]
    known = [] if op == "delete" else rows
    applied: Json = {
        "description": (
            "All of it is applied. With `return=representation` the row or rows, as they now are;"
            " with `return=minimal` without a body."
        ),
        "headers": header("Location", "Preference-Applied"),
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
        "headers": header("Location", "Preference-Applied"),
    }
    if op != "create":
        text = "The outcome: applied or rejected. With `return=representation`, the row."
        applied["content"][JSON]["examples"]["rejected"] = _rejected()
        return {"200": {**applied, "description": text}, "204": empty}
    rejected = {
        "description": (
            "The outcome, where not all of it is applied: some or all rows were rejected or"
            " refused."
        ),
        "headers": header("Location", "Preference-Applied"),
        "content": {
            JSON: {"schema": schema("decanter.outcome"), "examples": {"rejected": _rejected()}}
        },
    }
    return {"200": rejected, "201": applied}


def one(resource: Resource) -> Json:
    """200 and 304 of a read."""
    return {
        "200": {
            "description": "The row.",
            "headers": header("ETag"),
            "content": {JSON: {"schema": schema(resource.name), "example": examples.row(resource)}},
        },
        "304": {
            "description": "The row still has an ETag that `If-None-Match` names.",
            "headers": header("ETag"),
        },
    }


def many(resource: Resource) -> Json:
    """200 of a list."""
    return {
        "200": {
            "description": "A page of rows.",
            "headers": header("Link"),
            "content": {
                JSON: {
                    "schema": {"type": "array", "items": schema(resource.name)},
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
            "headers": header("Retry-After"),
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


def _one_of(*schemas: Json) -> Json:
    return schemas[0] if len(schemas) == 1 else {"oneOf": list(schemas)}


def _status(state: str) -> Json:
    applied = state == "applied"
    rejection = {
        "item": 0,
        "type": "conflict",
        "reason": 'duplicate key value violates unique constraint "pk_stations"',
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
    }


def _rejected() -> Json:
    return {"value": {"receipt": EXAMPLE_RECEIPT, **_status("rejected")}}


HEADERS: Json = {
    "location": {
        "description": "Path of the request's state.",
        "schema": {"type": "string"},
        "example": f"/writes/{EXAMPLE_RECEIPT}",
    },
    "retry-after": {
        "description": "Seconds after which to ask again.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 1,
    },
    "preference-applied": {
        "description": "What was honoured of `Prefer` (RFC 7240).",
        "schema": {"type": "string"},
        "example": "wait=10, return=representation",
    },
    "etag": {
        "description": "Of the row as it is shown; for `If-Match` and `If-None-Match`.",
        "schema": {"type": "string"},
        "example": EXAMPLE_ETAG,
    },
    "link": {
        "description": 'The next page (RFC 8288), with `rel="next"`; absent on the last one.',
        "schema": {"type": "string"},
    },
    "www-authenticate": {
        "description": "How to prove who you are.",
        "schema": {"type": "string"},
        "example": "Bearer",
    },
}

_FAULT: Json = {
    "type": "object",
    "required": ["pointer", "rule", "detail"],
    "properties": {
        "pointer": {
            "description": (
                "JSON Pointer (RFC 6901) into the body, `?name` of a query parameter, or the name"
                " of a header."
            ),
            "type": "string",
        },
        "line": {"description": "Line of a body that has lines, from 1.", "type": "integer"},
        "rule": {"description": "What it violates.", "type": "string"},
        "detail": {"type": "string"},
    },
}
_REFUSED: Json = {
    "refused_count": {
        "description": "Items that were not accepted, as they do not fit (`handling=lenient`).",
        **_COUNT,
    },
    "refused": {
        "description": "The first 50 of them.",
        "type": "array",
        "items": schema("decanter.refused"),
    },
}
_STATUS: Json = {
    "state": schema("decanter.state"),
    "writes": _COUNT,
    "applied": _COUNT,
    "rejected": _COUNT,
    "accepted_at": _TIME,
    "poured_at": _TIME,
    "truncated": {
        "description": "Whether there are more rejections than are listed.",
        "type": "boolean",
    },
    "rejections": {"type": "array", "items": schema("decanter.rejection")},
}
_STATUS_REQUIRED = ["state", "writes", "applied", "rejected", "accepted_at", "rejections"]

SCHEMAS: Json = {
    "decanter.accepted": {
        "description": "Writes that are on their way.",
        "type": "object",
        "required": ["receipt", "state", "writes"],
        "properties": {
            "receipt": {"description": "Names the writes; keep it.", "type": "string"},
            "state": {"type": "string", "const": "pending"},
            "writes": _COUNT,
            **_REFUSED,
        },
    },
    "decanter.outcome": {
        "description": "What became of the writes for which the client waited.",
        "type": "object",
        "required": ["receipt", *_STATUS_REQUIRED],
        "properties": {"receipt": {"type": "string"}, **_STATUS, **_REFUSED},
    },
    "decanter.status": {
        "description": "What became of the writes of one request.",
        "type": "object",
        "required": _STATUS_REQUIRED,
        "properties": _STATUS,
    },
    "decanter.state": {
        "description": (
            "`partial`: some writes were applied and some rejected. `expired`: it can no longer be"
            " told."
        ),
        "type": "string",
        "enum": ["pending", "applied", "partial", "rejected", "expired"],
    },
    "decanter.rejection": {
        "description": "A write that the database can never take, and why.",
        "type": "object",
        "required": ["item", "type", "reason"],
        "properties": {
            "item": {
                "description": "Place of the write in its request, from 0.",
                "type": ["integer", "null"],
            },
            "type": {
                "description": "Such as conflict, missing, missing-parent, check, null, value.",
                "type": "string",
            },
            "reason": {"type": "string"},
            "sqlstate": _TEXT_OR_NULL,
            "constraint": _TEXT_OR_NULL,
            "column": _TEXT_OR_NULL,
        },
    },
    "decanter.refused": {
        "description": "An item of a request that was not accepted.",
        "type": "object",
        "required": ["item", "errors"],
        "properties": {
            "item": {"description": "Its place in the request, from 0.", "type": "integer"},
            "line": {"description": "Line of a body that has lines, from 1.", "type": "integer"},
            "errors": {"type": "array", "items": schema("decanter.fault")},
        },
    },
    "decanter.fault": {"description": "A place in the request that is wrong.", **_FAULT},
    "decanter.problem": {
        "description": "What went wrong (RFC 9457). The types do not change.",
        "type": "object",
        "required": ["type", "title", "status", "detail", "instance"],
        "properties": {
            "type": {"type": "string", "pattern": "^urn:decanter:problem:[a-z-]+$"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {
                "description": "Path of the request, or its id where API Gateway answers.",
                "type": "string",
            },
            "errors": {"type": "array", "items": schema("decanter.fault")},
        },
    },
}
