"""The paths that are the same for every model."""

from typing import Any

from chalicelib.api.docs.page import ASSETS
from decanter.contract import answers, parameters, problems
from decanter.contract.answers import JSON
from decanter.contract.operations import security

Json = dict[str, Any]

_TEXT: Json = {"schema": {"type": "string"}}

TAGS: list[Json] = [
    {"name": "writes", "description": "What became of writes."},
    {"name": "docs", "description": "This document, and the page that shows it."},
    {"name": "health", "description": "Whether the API answers. The only call that is open."},
]


def paths() -> Json:
    """Liveness, the contract, the page that shows it, and receipts."""
    types: dict[str, Json] = {}
    for type_ in ASSETS.values():
        types.setdefault(type_.partition(";")[0], _TEXT)
    return {
        "/health": {"get": _health()},
        "/openapi.json": {
            "get": _get("contract", "docs", "This document", {JSON: {"schema": {"type": "object"}}})
        },
        "/docs": {"get": _get("docs", "docs", "A page that shows it", {"text/html": _TEXT})},
        "/docs/{asset}": {
            "get": {
                **_get("asset", "docs", "A file of that page", types),
                "parameters": [
                    {
                        "name": "asset",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string", "enum": sorted(ASSETS)},
                    }
                ],
            }
        },
        "/writes/{receipt}": {
            "get": {
                "operationId": "status",
                "tags": ["writes"],
                "summary": "What became of a request's writes",
                "description": "Only whoever sent them can ask.",
                "security": security(),
                "parameters": parameters.shared("receipt", "wait", "after-item"),
                "responses": {**answers.status(), **problems.responses("status")},
            }
        },
    }


def _health() -> Json:
    schema = {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"type": "string", "const": "ok"}},
    }
    return {
        "operationId": "health",
        "tags": ["health"],
        "summary": "Whether the API answers",
        "security": [],
        "responses": {
            "200": {
                "description": "It does.",
                "content": {JSON: {"schema": schema, "example": {"status": "ok"}}},
            }
        },
    }


def _get(operation: str, tag: str, summary: str, content: Json) -> Json:
    return {
        "operationId": operation,
        "tags": [tag],
        "summary": summary,
        "security": security(),
        "responses": {
            "200": {"description": "Here it is.", "content": content},
            **problems.responses("asset" if operation == "asset" else "static"),
        },
    }
