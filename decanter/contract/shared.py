"""Schemas and headers of answers that are the same for all models."""

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


def _object(description: str, required: str, properties: Json) -> Json:
    """required: names of members, with blanks between them."""
    return {
        "description": description,
        "type": "object",
        "required": required.split(),
        "properties": properties,
    }


def _list(description: str, item: str) -> Json:
    return {"description": description, "type": "array", "items": schema(item)}


def _header(description: str, example: str | None = None) -> Json:
    example_ = {} if example is None else {"example": example}
    return {"description": description, "schema": {"type": "string"}, **example_}


HEADERS: Json = {
    "location": _header(
        "Path of the request's status, relative to the address of the API. With 201, if the"
        " database has generated the key of the only row that was sent, the path of that row.",
        f"/writes/{EXAMPLE_RECEIPT}",
    ),
    "location.front": _header("Path of the row, relative to the address of the API."),
    "link.front": _header(
        'The status of the write, with `rel="status"`, as a path relative to the address of the'
        " API; absent if nothing was to be written.",
        f'</writes/{EXAMPLE_RECEIPT}>; rel="status"',
    ),
    "retry-after": {
        "description": "Seconds to wait before the next request.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 1,
    },
    "preference-applied": _header(
        "The preferences that were honoured (RFC 7240).", "wait=10, return=representation"
    ),
    "etag": _header("Entity tag of the row, for `If-Match` and `If-None-Match`.", EXAMPLE_ETAG),
    "link": _header(
        'The next page, or the continuation of the lists, with `rel="next"`, as a path relative to'
        " the address of the API; absent on the last one."
    ),
    "content-range": _header(
        f"With `{COUNT}`: the positions of the page's rows in the list, and the number of all rows,"
        " as in `0-24/3573458`; `*` in place of the positions for any page but the first.",
        "0-24/3573458",
    ),
    "decanter-lag": _header(
        "Seconds from acceptance until Postgres, which lists are read from, had the write that was"
        " accepted last of all that it has from the table in front; or since the acceptance of a"
        " write of this resource that Postgres has and cannot pour yet, if that is longer. `age`:"
        " the seconds since that was so (RFC 9651). Writes that have not reached Postgres do not"
        " count. Absent if no such write of the last 24 hours is known.",
        "0.4;age=12",
    ),
    "decanter-refused": _header(
        "Only of a row that Postgres has refused, and that could not be set back to what Postgres"
        " has: the type of the rejection. Write the row again.",
        "check",
    ),
    "www-authenticate": _header("How to authenticate.", "Bearer"),
}

_LINE: Json = {"description": "Line of a body that has lines, from 1.", "type": "integer"}
_ITEMS: Json = {
    "type": "string",
    "pattern": "^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$",
    "examples": ["3-17,20"],
}
_REFUSED: Json = {
    "refused_count": {
        "description": "Number of items that were not accepted (`handling=lenient`).",
        **_COUNT,
    },
    "refused_items": {**_ITEMS, "description": "All items that were not accepted, as ranges."},
    "refused": _list(
        "The first of these items, as many as an answer holds, with their faults.",
        "decanter.refused",
    ),
    "refused_unlisted": {"description": "Number of the other ones, if there are any.", **_COUNT},
}
_VIOLATION: Json = {"sqlstate": _TEXT_OR_NULL, "constraint": _TEXT_OR_NULL, "column": _TEXT_OR_NULL}
_STATUS: Json = {
    "state": schema("decanter.state"),
    "writes": _COUNT,
    "applied": _COUNT,
    "rejected": _COUNT,
    "accepted_at": _TIME,
    "poured_at": _TIME,
    "truncated": {
        "description": "Whether `rejections` or `locations` is incomplete.",
        "type": "boolean",
    },
    "rejections": _list(
        "In the order of their items, as many as an answer holds.", "decanter.rejection"
    ),
    "causes": _list("All rejections, grouped by cause.", "decanter.cause"),
    "all_rejections": {
        "description": "Path of all rejections, with their rows, if there may be some.",
        "type": "string",
    },
    "location": {
        "description": (
            "Path of the row, if the database has generated its key and the request has one write."
        ),
        "type": "string",
    },
    "locations": _list(
        "Paths of rows whose keys the database has generated, in the order of their items, as many"
        " as an answer holds.",
        "decanter.made",
    ),
    "unlisted": _object(
        "If the lists are incomplete: the numbers of entries left out, and the item to continue"
        " after, with `?after_item=`.",
        "rejections locations after_item",
        {"rejections": _COUNT, "locations": _COUNT, "after_item": _COUNT},
    ),
}
_REJECTION: Json = {
    "item": {
        "description": "Position of the write in its request, from 0.",
        "type": ["integer", "null"],
    },
    "type": {
        "description": "Such as conflict, missing, missing-parent, check, null, value.",
        "type": "string",
    },
    "reason": {"type": "string"},
    **_VIOLATION,
}
_STATUS_REQUIRED = "state writes applied rejected accepted_at rejections"

SCHEMAS: Json = {
    "decanter.operator": {
        "description": (
            "A filter in PostgREST's syntax: `eq.…`, `neq.…`, `gt.…`, `gte.…`, `lt.…`, `lte.…`,"
            ' `in.(a,b,"c,d")`, `is.null`; each may begin with `not.`. To find a text that looks'
            " like one of these, use `eq.…`."
        ),
        "type": "string",
        "pattern": rf"^(not\.)?({'|'.join(OPERATORS)})\.",
    },
    "decanter.operators": {
        **_list("Several filters, all of which must match.", "decanter.operator"),
        "minItems": 1,
        "maxItems": MAX_FILTERS,
    },
    "decanter.accepted": _object(
        "Accepted writes whose outcome is not known yet.",
        "receipt state writes",
        {
            "receipt": {"description": "Names the writes; keep it.", "type": "string"},
            "state": {"type": "string", "const": "pending"},
            "writes": _COUNT,
            **_REFUSED,
        },
    ),
    "decanter.stored": _object(
        "What became of many rows. Rows beyond the limit of one transaction of DynamoDB are written"
        " in several, and one that fails does not undo those before.",
        "chunks",
        {"chunks": _list("In the order of their items.", "decanter.chunk"), **_REFUSED},
    ),
    "decanter.chunk": _object(
        "Rows that were written together, or not at all.",
        "items status",
        {
            "items": _ITEMS,
            "status": {"description": "As of an answer.", "type": "integer"},
            "receipt": {
                "description": "Names the writes; null if there was nothing to write.",
                "type": ["string", "null"],
            },
            "rows": _list("Each of the rows, if they were written.", "decanter.stored-row"),
            "problem": {
                "description": "Why they were not: a problem without `status` and `instance`.",
                "type": "object",
            },
        },
    ),
    "decanter.stored-row": _object(
        "A row that is stored.",
        "item status location etag",
        {
            "item": {"description": "Its position in the request, from 0.", "type": "integer"},
            "status": {"description": "201 of a new row, otherwise 200.", "type": "integer"},
            "location": {"description": "Its path.", "type": "string"},
            "etag": {"description": "Of the row, without quotes.", "type": "string"},
        },
    ),
    "decanter.outcome": _object(
        "The outcome of the writes, for a client that waited for it.",
        f"receipt {_STATUS_REQUIRED}",
        {"receipt": {"type": "string"}, **_STATUS, **_REFUSED},
    ),
    "decanter.status": _object(
        "The status of a request.",
        _STATUS_REQUIRED,
        {**_STATUS, "estimate": schema("decanter.estimate")},
    ),
    "decanter.estimate": _object(
        "When what waits now will be poured, while the request is pending.",
        "seconds at writes_ahead writes_per_second basis",
        {
            "seconds": {"description": "Until then; null if unknown.", "type": ["number", "null"]},
            "at": {"description": "When that is.", **_TIME},
            "writes_ahead": {"description": "How many writes wait.", "type": ["integer", "null"]},
            "writes_per_second": {
                "description": "How fast they are poured.",
                "type": ["number", "null"],
            },
            "basis": {
                "description": "What all this was made of, or why it is not known.",
                "type": "string",
            },
        },
    ),
    "decanter.state": {
        "description": (
            "`partial`: some writes were applied and some rejected. `expired`: the writes were"
            f" accepted more than {LEDGER_DAYS} days ago, and not all outcomes are known any more;"
            " the counts cover those that are."
        ),
        "type": "string",
        "enum": ["pending", "applied", "partial", "rejected", "expired"],
    },
    "decanter.rejection": _object(
        "A write that the database cannot accept, and the reason.",
        "item type reason",
        _REJECTION,
    ),
    "decanter.rejections": _object(
        "A page of a request's rejections.",
        "state writes rejected rejections next",
        {
            "state": schema("decanter.state"),
            "writes": _COUNT,
            "rejected": {"description": "Of all pages, so far.", **_COUNT},
            "rejections": _list("In the order of their items.", "decanter.rejected-row"),
            "next": {
                "description": "The item to continue after, with `?after_item=`; null at the end.",
                "type": ["integer", "null"],
            },
        },
    ),
    "decanter.rejected-row": _object(
        "A write that the database cannot accept, the reason, and its row.",
        "item type reason row",
        {
            **_REJECTION,
            "row": {
                "description": (
                    "As it was sent, with its key and all digits of its numbers; null where it is"
                    " not known."
                ),
                "type": ["object", "null"],
            },
            "writes": {
                "description": "How many writes, if it is not known which items they are.",
                **_COUNT,
            },
        },
    ),
    "decanter.cause": _object(
        "Rejections with the same cause, and their items, as far as these are known.",
        "type count",
        {"type": {"type": "string"}, **_VIOLATION, "count": _COUNT, "items": _ITEMS},
    ),
    "decanter.made": _object(
        "The row of an item. With `last_item`, the rows of all items up to that one, whose keys are"
        " consecutive integers.",
        "item location",
        {
            "item": _COUNT,
            "location": {"type": "string"},
            "last_item": _COUNT,
            "last_location": {"type": "string"},
        },
    ),
    "decanter.refused": _object(
        "An item of a request that was not accepted.",
        "item errors",
        {
            "item": {"description": "Its position in the request, from 0.", "type": "integer"},
            "line": _LINE,
            "errors": {"type": "array", "items": schema("decanter.fault")},
        },
    ),
    "decanter.fault": _object(
        "An invalid part of the request.",
        "pointer rule detail",
        {
            "pointer": {
                "description": (
                    "JSON Pointer (RFC 6901) into the body, `?name` of a query parameter, or the"
                    " name of a header."
                ),
                "type": "string",
            },
            "line": _LINE,
            "rule": {"description": "The rule that is violated.", "type": "string"},
            "detail": {"type": "string"},
        },
    ),
    "decanter.problem": _object(
        "An error (RFC 9457). The types are stable.",
        "type title status detail instance",
        {
            "type": {"type": "string", "pattern": "^urn:decanter:problem:[a-z-]+$"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {
                "description": "Path of the request, or its ID if API Gateway answers.",
                "type": "string",
            },
            "errors": {"type": "array", "items": schema("decanter.fault")},
            "chunks": _list(
                "What became of many rows of which some were stored.", "decanter.chunk"
            ),
        },
    ),
}
