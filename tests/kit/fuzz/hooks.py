"""Hooks of schemathesis for this API.

OpenAPI cannot express some rules, such as that one header excludes another. Cases meant to be valid
are changed to follow them; invalid ones stay as generated. No check is disabled: `filter_failure`
lists the few failures that do not count, each with its reason.
"""

import json
import re
import uuid
from typing import Any

import schemathesis
from schemathesis.core.failures import Failure, ServerError
from schemathesis.openapi.checks import RejectedPositiveData, UnsupportedMethodResponse

PROBLEM = "urn:decanter:problem:"
OPERATED = re.compile(r"(not\.)?(eq|neq|gte?|lte?|in|is)\.")
STATION = "FUZZ"
"""A station that exists before the first call."""


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    """Serialize each item as a line; a body that is not a list becomes a line that is not a row."""
    rows = value if isinstance(value, list) else [[value]]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@schemathesis.serializer("text/csv")
def comma_separated(context: Any, value: Any) -> bytes:
    """Serialize the members that all rows have; text is quoted, and null an empty field."""
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    names = [name for name in (rows[0] if rows else {}) if all(name in row for row in rows)]
    schemas = _rows_of(context.case.operation)["properties"]
    records = [
        [_quoted(name) for name in names],
        *([_field(row[name], "type" in schemas.get(name, ())) for name in names] for row in rows),
    ]
    return "\r\n".join(map(",".join, records)).encode()


def _field(value: Any, is_typed: bool) -> str:
    if value is None:
        return ""
    return _quoted(value if isinstance(value, str) and is_typed else json.dumps(value))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _rows_of(operation: Any) -> Any:
    """Return the schema of an operation's row; columns of JSON have no type in it."""
    name = operation.tags[0]
    return operation.schema.raw_schema["components"]["schemas"][f"{name}.create"]


@schemathesis.hook
def filter_case(_: Any, case: Any) -> bool:
    """Skip invalid CSV: a value of a wrong type can become valid once it is text."""
    return not (case.media_type == "text/csv" and case.meta.generation.mode.is_negative)


@schemathesis.hook
def before_call(_: Any, case: Any, __: Any) -> None:
    """Make valid cases follow the rules that are not in schemas."""
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    headers, query = case.headers, case.query or {}
    if "Idempotency-Key" in headers:  # one key names one request
        headers["Idempotency-Key"] = _unique(headers["Idempotency-Key"])
    if "If-Match" in headers:  # the row is there, or it is not
        headers.pop("If-None-Match", None)
    query.pop("cursor", None)  # cursors are made by the API
    if "after" not in query and not case.path.startswith("/writes/"):
        query.pop("wait", None)  # of a read, for one that comes after a write
    if "order" in query:  # each column once
        terms = {term.partition(".")[0]: term for term in str(query["order"]).split(",")}
        query["order"] = ",".join(terms.values())
    if "select" in query:  # likewise
        query["select"] = ",".join(dict.fromkeys(str(query["select"]).split(",")))
    for name, value in query.items():
        query[name] = _fitting(value)
    if case.method in ("PUT", "PATCH") and isinstance(case.body, dict):
        # The key is that of the path. A patch changes a member beside those of the key.
        body = {name: each for name, each in case.body.items() if name not in case.path_parameters}
        case.body = body or {"active": True}
    if case.method == "POST":
        rows = case.body if isinstance(case.body, list) else [case.body]
        found = [_addressable(row) if isinstance(row, dict) else row for row in rows]
        case.body = found if isinstance(case.body, list) else found[0]


def _fitting(value: Any) -> Any:
    """Return a filter whose operator suits any column, because others need a value of its type."""
    if isinstance(value, list):
        return ["not.is.null" for _ in value]
    return "not.is.null" if OPERATED.match(str(value)) else value


def _addressable(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with an existing station, since a missing parent is waited for up to a minute,
    and with an id of its own, since a request has each row once. Empty text as a key has no path,
    so links cannot lead to it."""
    if "id" in row:
        row = {**row, "id": str(uuid.uuid4())}
    if "station" in row:
        return {**row, "station": STATION}
    return {**row, "icao": row["icao"] or "-"} if "icao" in row else row


def _unique(key: str) -> str:
    unique = uuid.uuid4().hex
    if len(key) > 200:
        return key
    return f'{key[:-1]}{unique}"' if key.startswith('"') else f"{key}{unique}"


@schemathesis.check
def problem_is_described(_: Any, response: Any, case: Any) -> None:
    """Check that the contract lists the problem's type for the call and status."""
    if response.status_code < 400 or response.status_code in (404, 405):
        return  # whatever is asked for may be nothing of ours
    described = case.operation.responses.find_by_status_code(response.status_code)
    assert described is not None, f"{response.status_code} is not described"
    examples = described.definition["content"]["application/problem+json"]["examples"]
    type_ = json.loads(response.content)["type"].removeprefix(PROBLEM)
    assert type_ in examples, f"{type_} is not described"


@schemathesis.hook
def filter_failure(_: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Whether a failure counts."""
    if isinstance(failure, RejectedPositiveData):
        # 412: a condition that does not hold is no fault of the data.
        return response.status_code != 412 and not _has_an_unfit_header(case)
    if isinstance(failure, UnsupportedMethodResponse):
        # API Gateway has no methods but those of its routes, and answers the others itself.
        by_gateway = case.method in ("TRACE", "QUERY") or case.path == "/health"
        return not (by_gateway and response.status_code == 404)
    if isinstance(failure, ServerError) and response.status_code == 503:
        # Not now, says the API, and when to ask again.
        type_ = json.loads(response.content)["type"].removeprefix(PROBLEM)
        passing = type_ in (
            "not-yet-applied", "reader-busy", "queue-unavailable", "front-unavailable",
        )  # fmt: skip
        return not (passing and "retry-after" in response.headers)
    return True


def _has_an_unfit_header(case: Any) -> bool:
    """Whether a header has a value of another case, which schemathesis takes for valid."""
    for parameter in case.operation.headers:
        pattern = parameter.definition.get("schema", {}).get("pattern")
        value = (case.headers or {}).get(parameter.name)
        if pattern and value is not None and not re.search(pattern, str(value)):
            return True
    return False
