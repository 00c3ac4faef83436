"""What a call takes beside its body: path, query and headers."""

import re
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column

from chalicelib.api.http.prefer import COUNT, MAX_WAIT_SECONDS
from chalicelib.api.reads.calls import AFTER_SECONDS
from chalicelib.api.reads.columns import parameter
from chalicelib.api.reads.listing import DEFAULT_LIMIT, MAX_LIMIT
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


def components() -> Json:
    """What `shared` refers to."""
    return _COMPONENTS


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
    """Filters by column, what is shown, order, pages and the count."""
    columns = comparable(resource)
    filters = [_filter(column) for column in resource.table.columns]
    rest = shared("limit", "cursor", "prefer-list")
    if not columns:
        return [*filters, select(resource), *rest]
    names = "|".join(_escaped(_written(column)) for column in columns)
    term = rf"({names})(\.(asc|desc))?"
    key = ",".join(_written(column) for column in resource.key)
    order = {
        "name": "order",
        "in": "query",
        "description": (
            "Columns, each with `.asc` (default) or `.desc`. The key comes last by itself; NULLs"
            " are last either way."
        ),
        "schema": {
            "type": "string",
            "pattern": f"^{term}(,{term})*$",
            "examples": [f"{_written(columns[-1])}.desc,{key}"],
        },
    }
    return [*filters, select(resource), order, *rest]


def select(resource: ResourceTable) -> Json:
    """The columns that a read shows."""
    written = [_written(column) for column in resource.table.columns]
    names = "|".join(map(_escaped, written))
    return {
        "name": "select",
        "in": "query",
        "description": "The columns to show, in this order, each once; `*`, as without it, all.",
        "schema": {
            "type": "string",
            "pattern": rf"^(\*|({names})(,({names}))*)$",
            "examples": [",".join(written[:2])],
        },
    }


def comparable(resource: ResourceTable) -> list[Column[Any]]:
    """The columns that a list can be filtered and ordered by."""
    return [column for column in resource.table.columns if is_comparable(column)]


def link_parameters(resource: ResourceTable, source: str) -> Json:
    """The key of a row for a link. source: `path` of the request, or its `body`."""
    names = [each["name"] for each in of_key(resource)]
    if source == "path":
        return {name: f"$request.path.{name}" for name in names}
    pointers = [_pointer(column.name) for column in resource.key]
    return {
        name: f"$request.body#/{pointer}" for name, pointer in zip(names, pointers, strict=True)
    }


def _filter(column: Column[Any]) -> Json:
    """Typed clients give a value, which the column equals, or operators as text."""
    about = f"Only rows whose `{column.name}` is this"
    described: Json = {"name": parameter(column.name), "in": "query"}
    if not is_comparable(column):
        return {**described, "description": f"{about}.", "schema": _STATE}
    names = ("decanter.operator", "decanter.operators")
    operators = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    return {
        **described,
        "description": f"{about}, or as one operator or all of several say.",
        "schema": {"anyOf": [filter_schema(column), *operators]},
    }


def _written(column: Column[Any]) -> str:
    """A column as `select` and `order` name it: in quotes where its name would be taken apart."""
    if "," not in column.name and not column.name.startswith('"'):
        return column.name
    return '"' + re.sub(r'(["\\])', r"\\\1", column.name) + '"'


def _escaped(name: str) -> str:
    return re.sub(r"([\^$\\.*+?()\[\]{}|/])", r"\\\1", name)


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _prefer(lines: Iterable[str], *examples: str, of: str = "write") -> Json:
    return {
        "name": "Prefer",
        "in": "header",
        "description": (
            f"How the {of} is to be taken and answered (RFC 7240), several separated by commas."
            " What is not known is ignored; `Preference-Applied` says what was honoured.\n\n"
            + "\n".join(f"- {line}" for line in lines)
        ),
        "schema": {"type": "string", "examples": list(examples)},
    }


# The examples of what is optional are in the schemas: Swagger UI would send them by itself.
_TAGS: Json = {
    "type": "string",
    "pattern": rf"^(\*|{_TAG}( *, *{_TAG}){{0,19}})$",
    "examples": [EXAMPLE_ETAG],
}
_WAIT_LINES = (
    f"`wait=N`: answer with the outcome if it is there within N seconds (at most"
    f" {MAX_WAIT_SECONDS}), with 202 if not",
    "`respond-async`: do not wait",
    "`return=representation`: if all was applied within `wait`, answer with the row or rows as they"
    " now are; it takes the scope to read",
    "`return=minimal`: answer without a body where all went well",
    "`missing-parent=reject`: reject at once a row that refers to one that is not there, instead of"
    " waiting for it",
)
_CREATE_LINES = (
    "`handling=lenient`: accept the rows that fit and list the others; `strict` (default): all or"
    " none",
    "`missing=default`: an empty field of CSV takes the column's default instead of NULL",
)
_MERGE_LINE = (
    "`resolution=merge-duplicates`: where the key is there already, set the members that were sent"
)
_IGNORE_LINE = (
    "`resolution=ignore-duplicates`: where the key is there already, leave that row as it is"
)
_COMPONENTS: Json = {
    "idempotency-key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": (
            "Makes a retry safe: the same key and content give the same receipt and one effect. The"
            " same key with other content is refused or rejected."
        ),
        "schema": {
            "type": "string",
            "pattern": (
                rf'^("([ !#-\[\]-~]|\\["\\]){{1,{_MAX_KEY}}}"'
                rf"|[!#-+\--:<-\[\]-~]{{1,{_MAX_KEY}}})$"
            ),
            "examples": ['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
        },
    },
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
    "prefer-list": _prefer(
        (f"`{COUNT}`: say in `Content-Range` how many rows the list has",), COUNT, of="list"
    ),
    "if-match": {
        "name": "If-Match",
        "in": "header",
        "description": (
            "The row has one of these ETags, or is there at all (`*`). It is judged when the write"
            " is poured; if it is not so, the write is rejected as `precondition-failed`. Not"
            " together with If-None-Match."
        ),
        "schema": _TAGS,
    },
    "if-none-match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The row is not there. Judged when the write is poured.",
        "schema": {"type": "string", "pattern": r"^\*$"},
    },
    "if-changed": {
        "name": "If-None-Match",
        "in": "header",
        "description": "ETags that the client has: 304 without a body where the row has one.",
        "schema": _TAGS,
    },
    "after": {
        "name": "after",
        "in": "query",
        "description": (
            "A receipt: the row is read once the writes that it names are applied, so that a client"
            " reads what it wrote."
        ),
        "schema": RECEIPT,
    },
    "wait-after": {
        "name": "wait",
        "in": "query",
        "description": f"Seconds to wait for `after`; {AFTER_SECONDS} if it is not said.",
        "schema": WAIT,
    },
    "wait": {
        "name": "wait",
        "in": "query",
        "description": "Seconds to wait for an outcome while the writes are pending.",
        "schema": {**WAIT, "default": 0},
    },
    "after-item": {
        "name": "after_item",
        "in": "query",
        "description": "Lists only what is behind this item, as `unlisted` and `Link` have it.",
        "schema": {"type": "integer", "minimum": 0, "maximum": MAX_ROWS - 1},
    },
    "receipt": {
        "name": "receipt",
        "in": "path",
        "required": True,
        "description": "As in the Location of the 202 answer.",
        "schema": RECEIPT,
        "example": EXAMPLE_RECEIPT,
    },
    "limit": {
        "name": "limit",
        "in": "query",
        "description": "Rows of a page.",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_LIMIT,
            "default": DEFAULT_LIMIT,
        },
    },
    "cursor": {
        "name": "cursor",
        "in": "query",
        "description": (
            "Where the page begins: as it stands in the `Link` of the page before, with the same"
            " filters and order."
        ),
        "schema": {"type": "string"},
    },
}
