"""The paths that are the same for all models."""

from typing import Any

from chalicelib.api.docs.page import PAGE
from chalicelib.api.http.files import TYPES
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
    types = {type_.partition(";")[0]: _TEXT for type_ in TYPES.values()}
    document, page = {JSON: {"schema": {"type": "object"}}}, {"text/html": _TEXT}
    names = {"type": "string", "enum": sorted(PAGE.assets)}
    asset = {"name": "asset", "in": "path", "required": True, "schema": names}
    status = {**answers.status(), **problems.responses("status")}
    receipt = parameters.shared("receipt", "wait", "after-item")
    rejections = {**answers.rejections(), **problems.responses("status")}
    return {
        "/health": {"get": {**_get("health", "Liveness", _health(), tag="health"), "security": []}},
        "/openapi.json": {"get": _get("contract", "This document", _found(document))},
        "/docs": {"get": _get("docs", "A page to browse this document", _found(page))},
        "/docs/{asset}": {
            "get": {
                **_get("asset", "A file of that page", _found(types, "asset")),
                "parameters": [asset],
            }
        },
        "/writes/{receipt}": {
            "get": {
                **_get("status", "The status of a request's writes", status, tag="writes"),
                "description": "Only the caller that sent them may ask.",
                "parameters": receipt,
            }
        },
        "/writes/{receipt}/rejections": {
            "get": {
                **_get("rejections", "All rejections of a request", rejections, tag="writes"),
                "description": (
                    "With the rows as they were sent, so that they can be put right and sent"
                    " again. `Link` leads to the next page. Only the caller that sent the writes"
                    " may ask; while the request is pending, more may come, of any item."
                ),
                "parameters": parameters.shared("receipt", "limit", "after-item"),
            }
        },
    }


def _get(name: str, summary: str, responses: Json, tag: str = "docs") -> Json:
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "security": security(),
        "responses": responses,
    }


def _found(content: Json, kind: str = "static") -> Json:
    return {"200": {"description": "Found.", "content": content}, **problems.responses(kind)}


def _health() -> Json:
    status = {"type": "string", "const": "ok"}
    schema = {"type": "object", "required": ["status"], "properties": {"status": status}}
    content = {JSON: {"schema": schema, "example": {"status": "ok"}}}
    return {"200": {"description": "The API answers.", "content": content}}
