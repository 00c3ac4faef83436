"""The paths that are the same for all models."""

from typing import Any

from chalicelib.api.docs.page import ASSETS
from decanter.contract import answers, parameters, problems
from decanter.contract.answers import JSON
from decanter.contract.operations import security

Json = dict[str, Any]

_TEXT: Json = {"schema": {"type": "string"}}

TAGS: list[Json] = [
    {"name": "writes", "description": "The status of writes."},
    {"name": "docs", "description": "This document, and a page to browse it."},
    {"name": "health", "description": "Liveness. The only call that needs no credentials."},
]


def paths() -> Json:
    """Liveness, the contract, the page to browse it, and receipts."""
    types: dict[str, Json] = {}
    for type_ in ASSETS.values():
        types.setdefault(type_.partition(";")[0], _TEXT)
    return {
        "/health": {"get": _health()},
        "/openapi.json": {
            "get": _get("contract", "docs", "This document", {JSON: {"schema": {"type": "object"}}})
        },
        "/docs": {
            "get": _get("docs", "docs", "A page to browse this document", {"text/html": _TEXT})
        },
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
                "summary": "The status of a request's writes",
                "description": "Only the caller that sent them may ask.",
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
        "summary": "Liveness",
        "security": [],
        "responses": {
            "200": {
                "description": "The API answers.",
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
            "200": {"description": summary + ".", "content": content},
            **problems.responses("asset" if operation == "asset" else "static"),
        },
    }
