"""The problems of each kind of call, and when they occur."""

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from chalicelib.api.http.answers import faults_json
from chalicelib.errors import PROBLEMS, Fault
from chalicelib.ops import OPS, OpFacts
from chalicelib.settings import (
    LEDGER_DAYS,
    MAX_BODY_BYTES,
    MAX_FRONT_ROWS,
    MAX_MESSAGE_BYTES,
    MAX_ROWS,
    MAX_SHOWN_BYTES,
)

Json = dict[str, Any]

WHEN: Mapping[str, str] = {
    "malformed-json": (
        "The body is not JSON in UTF-8, has a duplicate member, NaN or Infinity, or is nested more"
        " than 100 levels deep."
    ),
    "malformed-csv": (
        "The body is not CSV in UTF-8, or its first line does not name each column once."
    ),
    "invalid-idempotency-key": (
        "The `Idempotency-Key` is empty, longer than 255 characters, or not one string."
    ),
    "invalid-preference": "A preference is understood, but cannot be honoured for this resource.",
    "invalid-precondition": (
        "`If-Match` or `If-None-Match` is not a list of ETags or `*`, contradicts the other, or"
        " is sent with a POST."
    ),
    "invalid-query": (
        "A query parameter is unknown, appears more than once, or has an invalid value."
    ),
    "bad-request": "The request is malformed, before any rule of this API applies.",
    "unauthorized": "The token or signature is missing, invalid or expired.",
    "forbidden": "The credentials are valid, but a policy does not allow this call.",
    "missing-scope": "The token lacks the scope that this call needs.",
    "unknown-resource": "The first segment of the path is not the name of a resource.",
    "unknown-path": "There is nothing at this path.",
    "unknown-receipt": (
        "The receipt was mistyped, forged, or issued to other credentials than these."
    ),
    "no-such-row": "There is no row with this key; a write to it may still be pending.",
    "no-such-entry": (
        "There is no rejection, write or act with this ID under `/ops`; it may have been forgotten."
    ),
    "write-rejected": "The write that `after` names was rejected, so it did not change the row.",
    "op-not-allowed": (
        "The path does not have this method, or the resource does not have this operation;"
        " `Allow` lists the available methods."
    ),
    "conflict": (
        "There is a row with this key, or with the same values of a unique constraint; nothing was"
        " written."
    ),
    "missing-parent": "The row refers to a row that does not exist; nothing was written.",
    "item-damaged": (
        "The row was changed in DynamoDB by other hands and cannot be read, which PUT or DELETE"
        " mends."
    ),
    "receipt-expired": (
        f"The writes that `after` names were accepted more than {LEDGER_DAYS} days ago; whether"
        " they were applied is no longer known."
    ),
    "precondition-failed": (
        "`If-Match` or `If-None-Match` does not hold for the row as it is; nothing was written."
    ),
    "body-too-large": (
        f"The body takes more than {MAX_BODY_BYTES:,} bytes in a Lambda event, where quotes,"
        f" backslashes and line breaks count twice; or it has more than {MAX_ROWS:,} rows, or"
        f" {MAX_FRONT_ROWS:,} of a resource behind DynamoDB; or its rows take more than"
        f" {MAX_SHOWN_BYTES:,} bytes as JSON or when they are read, or cannot all be checked and"
        " sent in time. Nothing was accepted."
    ),
    "row-too-large": (
        f"A row takes more than {MAX_MESSAGE_BYTES:,} bytes, either as it is sent or as it is read,"
        " with all digits of its numbers; or its item takes more than 400 KB in DynamoDB, which has"
        " the row twice."
    ),
    "unsupported-media-type": (
        "The body's `Content-Type` is not supported here, it is not UTF-8, or it has a"
        " `Content-Encoding`."
    ),
    "invalid-row": "A row does not match its schema; `errors` lists the faults.",
    "invalid-act": (
        "The body of a call under `/ops` does not describe an act; `errors` lists the faults."
    ),
    "invalid-key": "The key in the path does not match the types of the key columns.",
    "key-differs": "The key in the body is not the key in the path.",
    "row-too-large-to-read": (
        "A row has more JSON than a Lambda response holds (6 MB); in a list, `Link` leads past it."
    ),
    "key-reused": "The `Idempotency-Key` was used before, for a request with different content.",
    "backlog": "Queued writes are older than this stage allows; nothing was accepted.",
    "too-many-waiting": (
        "More messages with writes of this caller wait in the queue than this stage allows; nothing"
        " was accepted."
    ),
    "throttled": "There are more requests than this stage accepts.",
    "internal": "An unexpected error in the service, which was logged.",
    "queue-refuses": (
        "The queue refuses writes until an operator has removed the cause; some of the request may"
        " have been accepted."
    ),
    "front-refuses": (
        "DynamoDB refuses requests until an operator has removed the cause; nothing was written."
    ),
    "not-configured": "A setting of the service is missing.",
    "queue-unavailable": (
        "The queue did not confirm every message; some of the request may have been accepted."
    ),
    "resource-closed": (
        "The resource is being moved to another buffer and takes no writes until that is done;"
        " nothing was accepted."
    ),
    "front-unavailable": "DynamoDB is throttled or busy, or its answer was lost.",
    "reader-busy": (
        "The database, or the function that reads from it, cannot answer now, or did not in time."
    ),
    "not-yet-applied": "The write that `after` names was not applied within `wait` seconds.",
    "unavailable": "A part of the service is unavailable, or did not answer in time.",
}
"""When each type of problem occurs. docs/api.md has these sentences too, with what to do."""

_ALWAYS = ("bad-request", "unauthorized", "forbidden", "throttled", "internal", "unavailable")
_OF_FRONT = ("not-configured", "front-refuses", "front-unavailable", "item-damaged")
"""Of calls that use the DynamoDB table; for resources behind SQS, it keeps Idempotency-Keys."""

_WRITE = (
    *_ALWAYS, *_OF_FRONT, "missing-scope", "invalid-query", "invalid-idempotency-key",
    "invalid-precondition", "key-reused", "resource-closed",
)  # fmt: skip
_QUEUED = ("backlog", "too-many-waiting", "queue-refuses", "queue-unavailable")
_BODY = ("malformed-json", "body-too-large", "row-too-large", "unsupported-media-type",
         "invalid-row")  # fmt: skip
_STATUS = (*_ALWAYS, "invalid-query", "not-configured", "reader-busy")
_READ = (*_STATUS, "missing-scope", "row-too-large-to-read")
_READS: Mapping[str, tuple[str, ...]] = {
    "list": _READ,
    "read": (
        *_READ, "invalid-key", "invalid-precondition", "no-such-row", "write-rejected",
        "receipt-expired", "unknown-receipt", "not-yet-applied",
    ),
    "read.front": (
        *_ALWAYS, *_OF_FRONT, "missing-scope", "invalid-query", "invalid-key",
        "invalid-precondition", "no-such-row",
    ),
    "status": (*_STATUS, "unknown-receipt"),
    "static": (*_ALWAYS, "invalid-query"),
    "asset": (*_ALWAYS, "invalid-query", "unknown-path"),
}  # fmt: skip

_WITH_RETRY = frozenset({429, 503})
_FAULTS = {
    "invalid-row": Fault("/name", "type", "it must be text or null, not 1"),
    "invalid-query": Fault("?limit", "query", "there is no such parameter"),
}


def responses(kind: str) -> Json:
    """The problem responses of a kind of call by status, as references.

    kind: an op or another call; of a resource behind DynamoDB, with `.front`.
    """
    return {
        str(status): {"$ref": f"#/components/responses/{_name(status, types)}"}
        for status, types in _by_status(kind).items()
    }


def components() -> Json:
    """The problem responses of all kinds of call, by name."""
    return {
        _name(status, types): _response(status, types)
        for kind in _types()
        for status, types in _by_status(kind).items()
    }


@cache
def _types() -> Mapping[str, tuple[str, ...]]:
    """Types of problem by kind of call. Undocumented paths and methods give unknown-resource,
    unknown-path and op-not-allowed, those under /ops no-such-entry and invalid-act."""
    writes = [facts for facts in OPS.values() if facts.resolution is None]
    return {
        **{facts.op: (*_of_write(facts), *_QUEUED) for facts in writes},
        **{f"{facts.op}.front": (*_of_write(facts), *_at_once(facts)) for facts in writes},
        **_READS,
    }


def _of_write(facts: OpFacts) -> tuple[str, ...]:
    body = _BODY if facts.schema else ("row-too-large",)
    if not facts.names_row:
        return (*_WRITE, *body, "malformed-csv", "invalid-preference")
    return (*_WRITE, *body, "invalid-key", *(["key-differs"] if facts.schema else []))


def _at_once(facts: OpFacts) -> tuple[str, ...]:
    """What a resource behind DynamoDB refuses at once, where others tell it as a rejection."""
    return (
        *(() if facts.removes else ("conflict", "missing-parent")),
        *(("precondition-failed",) if facts.names_row else ("invalid-key",)),
        *(() if facts.inserts else ("no-such-row",)),
    )


@cache
def _by_status(kind: str) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    types = _types()[kind]
    for type_, (status, _) in PROBLEMS.items():
        if type_ in types:
            found.setdefault(status, []).append(type_)
    return found


def _name(status: int, types: list[str]) -> str:
    """Kinds of call that answer with the same types share a response."""
    kinds = [kind for kind in _types() if status in _by_status(kind)]
    same = [kind for kind in kinds if _by_status(kind)[status] == types]
    return str(status) if same == kinds else f"{status}.{same[0]}"


def _response(status: int, types: list[str]) -> Json:
    headers: Json = {}
    if status in _WITH_RETRY:
        headers["Retry-After"] = {"$ref": "#/components/headers/retry-after"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/www-authenticate"}
    return {
        "description": "\n".join(f"- `{type_}`: {WHEN[type_]}" for type_ in types),
        **({"headers": headers} if headers else {}),
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/decanter.problem"},
                "examples": {type_: {"value": _example(type_)} for type_ in types},
            }
        },
    }


def _example(type_: str) -> Json:
    status, title = PROBLEMS[type_]
    return {
        "type": f"urn:decanter:problem:{type_}",
        "title": title,
        "status": status,
        "detail": WHEN[type_].replace("`", ""),
        "instance": "/the/path/of/the/request",
        **({"errors": faults_json([_FAULTS[type_]])} if type_ in _FAULTS else {}),
    }
