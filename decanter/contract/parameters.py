"""Parameters of calls: in the path, the query and the headers."""

import re
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column

from chalicelib.api.http.prefer import COUNT, MAX_WAIT_SECONDS
from chalicelib.api.reads.calls import AFTER_SECONDS
from chalicelib.api.reads.columns import parameter
from chalicelib.api.reads.listing import DEFAULT_LIMIT, MAX_LIMIT
from chalicelib.contract.json_text import pointer_token
from chalicelib.postgres.resources import ResourceTable
from chalicelib.settings import MAX_ROWS
from decanter.contract.columns import filter_schema, is_comparable, key_example, key_schema

Json = dict[str, Any]

EXAMPLE_RECEIPT = "AQGiB-Z2knDblEFcQOXiAAABogfm1r4AAAAAAX9jO2cGq0pY3W5uTzVtdQ0cV2l7sHkPxN3bRg8eLmQa"
EXAMPLE_ETAG = '"1f3870be274f6c49b3e31a0c6728957f"'
RECEIPT: Json = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}
WAIT: Json = {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_SECONDS}
_MAX_KEY = 255  # characters of an Idempotency-Key
_TAG = '(W/)?"[!#-~]*"'
_STATE: Json = {"type": "string", "enum": ["is.null", "not.is.null"]}


def shared(*names: str) -> list[Json]:
    """References to parameters that are the same for every resource."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def of_key(resource: ResourceTable) -> list[Json]:
    """A segment of the path for each column of the key."""
    parameters: list[Json] = []
    for column in resource.key:
        # Braces and slashes would break the path's template, and generators take ASCII only.
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", column.name).strip("_")
        plain = plain if plain[:1].isalpha() else f"key_{plain}"
        taken = {each["name"] for each in parameters}
        name = next(n for n in (plain, *(f"{plain}_{n}" for n in range(2, 9))) if n not in taken)
        parameters.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": key_schema(column),
                "example": key_example(column),
            }
        )
    return parameters


def of_list(resource: ResourceTable) -> list[Json]:
    """Filters by column, selected columns, order, pages and the count."""
    columns = comparable(resource)
    filters = [_filter(column) for column in resource.table.columns]
    rest = shared("limit", "cursor", "prefer-list")
    if not columns:
        return [*filters, select(resource), *rest]
    names = "|".join(_escaped(_written(column)) for column in columns)
    term = rf"({names})(\.(asc|desc))?"
    key = ",".join(_written(column) for column in resource.key)
    order = _query(
        "order",
        "Columns, each with `.asc` (default) or `.desc`. The key is added at the end; NULLs come"
        " last in either direction.",
        {
            "type": "string",
            "pattern": f"^{term}(,{term})*$",
            "examples": [f"{_written(columns[-1])}.desc,{key}"],
        },
    )
    return [*filters, select(resource), order, *rest]


def select(resource: ResourceTable) -> Json:
    """The parameter that names the columns to return."""
    written = [_written(column) for column in resource.table.columns]
    names = "|".join(map(_escaped, written))
    pattern = rf"^(\*|({names})(,({names}))*)$"
    return _query(
        "select",
        "The columns to return, in this order, each once. Without it, or with `*`, all columns.",
        {"type": "string", "pattern": pattern, "examples": [",".join(written[:2])]},
    )


def comparable(resource: ResourceTable) -> list[Column[Any]]:
    """The columns that a list can be filtered and ordered by."""
    return [column for column in resource.table.columns if is_comparable(column)]


def link_parameters(resource: ResourceTable, source: str) -> Json:
    """The key of a row for a link. source: `path` of the request, or its `body`."""
    names = [each["name"] for each in of_key(resource)]
    if source == "path":
        return {name: f"$request.path.{name}" for name in names}
    pointers = [pointer_token(column.name) for column in resource.key]
    return {
        name: f"$request.body#/{pointer}" for name, pointer in zip(names, pointers, strict=True)
    }


def _filter(column: Column[Any]) -> Json:
    """Typed clients pass a value that the column equals, or operators as text."""
    name, about = parameter(column.name), f"Only rows whose `{column.name}` equals this value"
    if not is_comparable(column):
        return _query(name, f"Only rows whose `{column.name}` is, or is not, NULL.", _STATE)
    operators = [
        {"$ref": f"#/components/schemas/{each}"}
        for each in ("decanter.operator", "decanter.operators")
    ]
    schema = {"anyOf": [filter_schema(column), *operators]}
    return _query(name, f"{about}, or matches the operator, or all of several.", schema)


def _written(column: Column[Any]) -> str:
    """A column as `select` and `order` name it: in quotes where its name would be split."""
    if "," not in column.name and not column.name.startswith('"'):
        return column.name
    return '"' + re.sub(r'(["\\])', r"\\\1", column.name) + '"'


def _escaped(name: str) -> str:
    return re.sub(r"([\^$\\.*+?()\[\]{}|/])", r"\\\1", name)


def _header(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _query(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _prefer(lines: Iterable[str], *examples: str, of: str = "write") -> Json:
    text = (
        f"How the {of} is processed and answered (RFC 7240); several preferences are separated"
        " by commas. Unknown ones are ignored; `Preference-Applied` lists what was honoured.\n\n"
    )
    text += "\n".join(f"- {line}" for line in lines)
    return _header("Prefer", text, {"type": "string", "examples": list(examples)})


# Examples of optional parameters are in their schemas: Swagger UI would send others by default.
_TAGS: Json = {
    "type": "string",
    "pattern": rf"^(\*|{_TAG}( *, *{_TAG}){{0,19}})$",
    "examples": [EXAMPLE_ETAG],
}
_ANY: Json = {"type": "string", "pattern": r"^\*$"}
_END_LINES = (
    "`return=minimal`: answer without a body if everything succeeded",
    "`missing-parent=reject`: reject a row that refers to a missing row at once, instead of waiting"
    " for that row",
)
_WAIT_LINES = (
    f"`wait=N`: answer with the outcome if it is known within N seconds (at most"
    f" {MAX_WAIT_SECONDS}), otherwise with 202",
    "`respond-async`: do not wait",
    "`return=representation`: if everything was applied within `wait`, answer with the row or rows"
    " as they are now; needs the scope to read",
    *_END_LINES,
)
_FRONT_LINES = (
    "`return=representation`: answer with the row or rows as they are now; needs the scope to read",
    *_END_LINES,
)
_CREATE_LINES = (
    "`handling=lenient`: accept the valid rows, list the others; `strict` (default): all or none",
    "`missing=default`: an empty field of CSV takes the column's default instead of NULL",
)
_MERGE_LINE = "`resolution=merge-duplicates`: if the key exists, set the members that were sent"
_IGNORE_LINE = "`resolution=ignore-duplicates`: if the key exists, leave that row unchanged"
COMPONENTS: Json = {
    "idempotency-key": _header(
        "Idempotency-Key",
        "Makes retries safe: the same key and content give the same receipt and one effect. The"
        " same key with different content is refused or rejected.",
        {
            "type": "string",
            "pattern": (
                rf'^("([ !#-\[\]-~]|\\["\\]){{1,{_MAX_KEY}}}"'
                rf"|[!#-+\--:<-\[\]-~]{{1,{_MAX_KEY}}})$"
            ),
            "examples": ['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
        },
    ),
    "prefer-create": _prefer(
        (*_WAIT_LINES, *_CREATE_LINES, _MERGE_LINE, _IGNORE_LINE),
        "wait=10",
        "handling=lenient, wait=10",
        "resolution=merge-duplicates, wait=5, return=representation",
        "missing=default",
    ),
    "prefer-add": _prefer(
        (*_WAIT_LINES, *_CREATE_LINES, _IGNORE_LINE),
        "wait=10",
        "handling=lenient, wait=10",
        "resolution=ignore-duplicates",
        "missing=default",
    ),
    "prefer-change": _prefer(
        _WAIT_LINES, "wait=10", "wait=10, return=representation", "respond-async"
    ),
    "prefer-create.front": _prefer(
        (*_FRONT_LINES, *_CREATE_LINES, _MERGE_LINE, _IGNORE_LINE),
        "return=representation",
        "handling=lenient",
        "resolution=merge-duplicates, return=minimal",
        "missing=default",
    ),
    "prefer-change.front": _prefer(_FRONT_LINES, "return=representation", "return=minimal"),
    "prefer-list": _prefer(
        (f"`{COUNT}`: give the number of rows of the list in `Content-Range`",), COUNT, of="list"
    ),
    "if-match": _header(
        "If-Match",
        "The row must have one of these ETags, or exist (`*`). The condition is checked when the"
        " write is applied; if it is false, the write is rejected as `precondition-failed`. Not"
        " together with `If-None-Match`.",
        _TAGS,
    ),
    "if-none-match": _header(
        "If-None-Match",
        "The row must not exist. The condition is checked when the write is applied.",
        _ANY,
    ),
    "if-match.front": _header(
        "If-Match",
        "The row must have one of these ETags, or exist (`*`); otherwise, the answer is 412. Not"
        " together with `If-None-Match`.",
        _TAGS,
    ),
    "if-none-match.front": _header(
        "If-None-Match", "The row must not exist; otherwise, the answer is 412.", _ANY
    ),
    "if-changed": _header(
        "If-None-Match",
        "ETags that the client has: 304 without a body if the row has one of them.",
        _TAGS,
    ),
    "after": _query(
        "after",
        "A receipt: the row is read once the writes of that request are applied, so that clients"
        " read what they have written.",
        RECEIPT,
    ),
    "wait-after": _query(
        "wait", f"Seconds to wait for the writes of `after`; by default {AFTER_SECONDS}.", WAIT
    ),
    "wait": _query(
        "wait",
        "Seconds to wait for an outcome while the writes are pending.",
        {**WAIT, "default": 0},
    ),
    "after-item": _query(
        "after_item",
        "List only what comes after this item, as `unlisted`, `next` and `Link` name it.",
        {"type": "integer", "minimum": 0, "maximum": MAX_ROWS - 1},
    ),
    "receipt": {
        "name": "receipt",
        "in": "path",
        "required": True,
        "description": "As in the `Location` of the 202 answer.",
        "schema": RECEIPT,
        "example": EXAMPLE_RECEIPT,
    },
    "limit": _query(
        "limit",
        "Most rows of a page.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    "cursor": _query(
        "cursor",
        "Where the page begins, from the `Link` of the page before it; send it with the same"
        " filters and order.",
        {"type": "string"},
    ),
}
