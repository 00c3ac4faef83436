"""GET /ops/openapi.json: these calls, for programs of operators. The contract of clients leaves
them out, so that a client that is generated from it has only what clients may call."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request, only
from chalicelib.api.ops import filters, schemas
from chalicelib.settings import LEDGER_DAYS

Json = dict[str, Any]

_JSON = "application/json"


class _About(NamedTuple):
    """A call. answer, body: names of schemas. query: names of parameters. status: of success."""

    summary: str
    answer: str
    query: Sequence[str] = ()
    body: str = ""
    status: int = 200
    types: Sequence[str] = (_JSON,)


_PAGE = ("limit", "cursor")
_LINES = (_JSON, "application/x-ndjson", "text/csv")

CALLS: Mapping[tuple[str, str], _About] = {
    ("GET", "overview"): _About("Throughput, backlog, lag, connections", "Overview"),
    ("GET", "lanes"): _About("Lanes in which writes wait, and for what", "Lanes"),
    ("GET", "rejections"): _About(
        "Rejections, the newest first", "Rejections", (*filters.NAMES, *_PAGE), types=_LINES
    ),
    ("GET", "rejections/causes"): _About("Rejections by their causes", "Causes", filters.NAMES),
    ("GET", "rejections/*"): _About("A rejection", "Rejection"),
    ("GET", "traffic"): _About(
        "What was accepted and poured in the last days, by resource and hour", "Traffic", ("days",)
    ),
    ("GET", "writes"): _About(
        "Messages that were poured, by receipt, key or time",
        "Writes",
        ("receipt", "resource", "key", "since", "until", *_PAGE),
    ),
    ("GET", "writes/*"): _About("All that became of a message, or of a receipt", "Timeline"),
    ("POST", "try"): _About(
        "What would become of rejected writes now; nothing is changed", "Outcomes", body="Tried"
    ),
    ("GET", "acts"): _About(
        "What operators have done, the latest first",
        "Acts",
        ("kind", "who", "since", "until", *_PAGE),
    ),
    ("POST", "acts"): _About(
        "Begin an act, which is then done in steps. An Idempotency-Key begins it once",
        "Act",
        body="NewAct",
        status=201,
    ),
    ("GET", "acts/*"): _About("An act with its last steps", "ActWithSteps"),
    ("POST", "acts/*/steps"): _About("Do the next steps of an act, until it is over", "Act"),
    ("POST", "acts/*/stop"): _About("Stop an act; what was done stays done", "Act"),
    ("GET", "dead-letters"): _About("Look into a dead-letter queue", "DeadLetters", ("buffer",)),
    ("GET", "mappings"): _About("Whether the buffers are poured", "Mappings"),
    ("GET", "audit"): _About(
        "Whether what was accepted in an hour is accounted for", "Audit", ("hour", "cursor")
    ),
}
"""By method and path below /ops."""

_REQUIRED = {("dead-letters", "buffer"), ("audit", "hour")}
_PARAMETERS: Mapping[str, Json] = {
    "days": {"type": "integer", "minimum": 1, "maximum": LEDGER_DAYS, "default": 7},
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
    "key": {"type": "string", "description": "JSON object of the key, with `resource`"},
    "since": schemas.TIME,
    "until": schemas.TIME,
    "hour": schemas.TIME,
    "kind": schemas.KIND,
    "buffer": schemas.QUEUE,
    "state": schemas.FILTER["properties"]["state"],
}
_ABOUT = (
    "What operators may call, with the scopes `ops:read` and `ops:write`; with IAM, as policies"
    " decide by path."
)


def served(request: Request) -> Answer:
    """GET /ops/openapi.json."""
    only(request.query)
    return Answer(200, document())


def document() -> Json:
    """The document, OpenAPI 3.1."""
    paths: dict[str, Json] = {}
    for (method, path), about in CALLS.items():
        place = paths.setdefault(f"/ops/{path.replace('*', '{id}')}", {})
        place[method.lower()] = _operation(method, path, about)
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Operators of Decanter", "version": "1", "description": _ABOUT},
        "servers": [{"url": ".."}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"schemas": dict(schemas.SCHEMAS), "securitySchemes": {"bearer": bearer}},
    }


def _operation(method: str, path: str, about: _About) -> Json:
    words = [method.lower(), *path.replace("*", "one").replace("-", "/").split("/")]
    found: Json = {
        "operationId": "".join([words[0], *(word.capitalize() for word in words[1:])]),
        "summary": about.summary,
        "responses": {
            str(about.status): {
                "description": about.summary,
                "content": {
                    each: _content(about.answer) if each == _JSON else {"schema": schemas.TEXT}
                    for each in about.types
                },
            },
            "default": {
                "description": "A problem",
                "content": {"application/problem+json": _content("Problem")},
            },
        },
    }
    parameters = [_parameter(path, name) for name in about.query]
    if "*" in path:
        parameters.append({"name": "id", "in": "path", "required": True, "schema": schemas.TEXT})
    if parameters:
        found["parameters"] = parameters
    if about.body:
        content = {_JSON: _content(about.body)}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _content(schema: str) -> Json:
    return {"schema": {"$ref": f"#/components/schemas/{schema}"}}


def _parameter(path: str, name: str) -> Json:
    schema = _PARAMETERS.get(name, schemas.TEXT)
    is_required = (path, name) in _REQUIRED
    return {"name": name, "in": "query", "required": is_required, "schema": schema}
