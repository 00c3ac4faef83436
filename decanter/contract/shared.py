"""Schemas and headers of answers that are the same for every model."""

from typing import Any

from chalicelib.api.http.prefer import COUNT
from chalicelib.api.reads.columns import MAX_FILTERS, OPERATORS
from chalicelib.settings import LEDGER_DAYS
from decanter.contract.parameters import EXAMPLE_ETAG, EXAMPLE_RECEIPT

Json = dict[str, Any]

_COUNT: Json = {"type": "integer", "minimum": 0}
_TIME: Json = {"type": ["string", "null"], "format": "date-time"}
_TEXT_OR_NULL: Json = {"type": ["string", "null"]}


def schema(name: str) -> Json:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


HEADERS: Json = {
    "location": {
        "description": (
            "Path of the request's state, below the address of the API. Of 201, where the database"
            " has made the key of the one row that was sent, the path of that row."
        ),
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
        "description": (
            'The next page, or what is listed behind the last item, with `rel="next"`, as a path'
            " below the address of the API; absent on the last one."
        ),
        "schema": {"type": "string"},
    },
    "content-range": {
        "description": (
            f"With `{COUNT}`: the place of the page's rows in the list and how many there are, as"
            " in `0-24/3573458`; `*` for a page that follows another one."
        ),
        "schema": {"type": "string"},
        "example": "0-24/3573458",
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
_ITEMS: Json = {
    "type": "string",
    "pattern": "^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$",
    "examples": ["3-17,20"],
}
_REFUSED: Json = {
    "refused_count": {
        "description": "Items that were not accepted, as they do not fit (`handling=lenient`).",
        **_COUNT,
    },
    "refused_items": {**_ITEMS, "description": "All of them, in ranges."},
    "refused": {
        "description": "As many of them as an answer holds, with what is wrong.",
        "type": "array",
        "items": schema("decanter.refused"),
    },
    "refused_unlisted": {"description": "How many more there are, if any.", **_COUNT},
}
_STATUS: Json = {
    "state": schema("decanter.state"),
    "writes": _COUNT,
    "applied": _COUNT,
    "rejected": _COUNT,
    "accepted_at": _TIME,
    "poured_at": _TIME,
    "truncated": {
        "description": "Whether there is more than `rejections` and `locations` list.",
        "type": "boolean",
    },
    "rejections": {
        "description": "In the order of their items, as many as an answer holds.",
        "type": "array",
        "items": schema("decanter.rejection"),
    },
    "causes": {
        "description": "All rejections, by what they have in common.",
        "type": "array",
        "items": schema("decanter.cause"),
    },
    "location": {
        "description": (
            "Path of the row, where the database has made its key and the request has one write."
        ),
        "type": "string",
    },
    "locations": {
        "description": (
            "Paths of rows whose keys the database has made, in the order of their items, as many"
            " as an answer holds."
        ),
        "type": "array",
        "items": schema("decanter.made"),
    },
    "unlisted": {
        "description": (
            "Where there is more than is listed: how much, and the item behind which"
            " `?after_item=` lists it."
        ),
        "type": "object",
        "required": ["rejections", "locations", "after_item"],
        "properties": {"rejections": _COUNT, "locations": _COUNT, "after_item": _COUNT},
    },
}
_STATUS_REQUIRED = ["state", "writes", "applied", "rejected", "accepted_at", "rejections"]

SCHEMAS: Json = {
    "decanter.operator": {
        "description": (
            "What a column is to be like, in PostgREST's syntax: `eq.…`, `neq.…`, `gt.…`, `gte.…`,"
            ' `lt.…`, `lte.…`, `in.(a,b,"c,d")`, `is.null`; each may begin with `not.`. A text'
            " that looks like one of these is found by `eq.…`."
        ),
        "type": "string",
        "pattern": rf"^(not\.)?({'|'.join(OPERATORS)})\.",
    },
    "decanter.operators": {
        "description": "Several of them, which all have to hold.",
        "type": "array",
        "items": schema("decanter.operator"),
        "minItems": 1,
        "maxItems": MAX_FILTERS,
    },
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
            "`partial`: some writes were applied and some rejected. `expired`: they were accepted"
            f" more than {LEDGER_DAYS} days ago, and it is no longer known what became of them all;"
            " the counts tell only what still is."
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
    "decanter.cause": {
        "description": "What rejections have in common, and of which items they are.",
        "type": "object",
        "required": ["type", "count", "items"],
        "properties": {
            "type": {"type": "string"},
            "sqlstate": _TEXT_OR_NULL,
            "constraint": _TEXT_OR_NULL,
            "column": _TEXT_OR_NULL,
            "count": _COUNT,
            "items": _ITEMS,
        },
    },
    "decanter.made": {
        "description": (
            "The row of an item; with `last_item`, the rows of all items up to that one, whose keys"
            " are whole numbers that count up with them."
        ),
        "type": "object",
        "required": ["item", "location"],
        "properties": {
            "item": _COUNT,
            "location": {"type": "string"},
            "last_item": _COUNT,
            "last_location": {"type": "string"},
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
