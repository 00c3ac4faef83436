"""The responses of successful calls, with their headers and links."""

import json
from typing import Any

from chalicelib.api.http.answers import path_to_rejections
from chalicelib.messages.address import path_to
from chalicelib.ops import OpFacts
from chalicelib.postgres.resources import ResourceTable
from decanter.contract import examples, parameters
from decanter.contract.columns import key_example
from decanter.contract.parameters import EXAMPLE_ETAG, EXAMPLE_RECEIPT
from decanter.contract.shared import schema

Json = dict[str, Any]

JSON = "application/json"
LINES = "application/x-ndjson"


def _answer(description: str, headers: str, **content: Any) -> Json:
    """headers: their names, with blanks between them; with `.front`, of a resource behind DynamoDB.
    content: of the JSON body, none without."""
    names = {name.partition(".")[0]: name.lower() for name in headers.split()}
    return {
        "description": description,
        "headers": {
            name: {"$ref": f"#/components/headers/{component}"} for name, component in names.items()
        },
        **({"content": {JSON: content}} if content else {}),
    }


def accepted(resource: ResourceTable, key_from: str | None) -> Json:
    """202. key_from: the part of the request that names the row, `path` or `body`, if any."""
    links: Json = {
        "status": {
            "operationId": "status",
            "description": "The status of the writes.",
            "parameters": {"receipt": "$response.body#/receipt"},
        }
    }
    if resource.key and key_from is not None:
        links["row"] = {
            "operationId": f"{resource.name}.read",
            "description": "The row, once the write is applied.",
            "parameters": {
                **parameters.link_parameters(resource, key_from),
                "after": "$response.body#/receipt",
            },
        }
    answer = _answer(
        "The writes are safe on the queue, and will be applied or rejected. There is no body if"
        " `return=minimal` was preferred.",
        "Location Retry-After Preference-Applied",
        schema=schema("decanter.accepted"),
        example={"receipt": EXAMPLE_RECEIPT, "state": "pending", "writes": 1},
    )
    return {**answer, "links": links}


def outcome(resource: ResourceTable, facts: OpFacts) -> Json:
    """200, 201 and 204 of a write whose client waited for the outcome."""
    headers = "Location Link Preference-Applied"
    row = schema(resource.name)
    rows = [row] if facts.names_row else [row, {"type": "array", "items": row}]
    document, returned = schema("decanter.outcome"), [] if facts.removes else rows
    examples_: Json = {"outcome": {"value": {"receipt": EXAMPLE_RECEIPT, **_status("applied")}}}
    if returned:
        examples_["row"] = {"value": examples.row(resource)}
    rejected = {"rejected": {"value": {"receipt": EXAMPLE_RECEIPT, **_status("rejected")}}}
    schema_ = {"oneOf": [document, *returned]} if returned else document
    if facts.names_row:
        text = "The outcome: applied or rejected. With `return=representation`, the row."
        empty = "Everything was applied, and `return=minimal` was preferred."
        return {
            "200": _answer(text, headers, schema=schema_, examples={**examples_, **rejected}),
            "204": _answer(empty, headers),
        }
    text = (
        "Everything was applied. With `return=representation`, the row or rows as they are now;"
        " with `return=minimal`, no body."
    )
    partly = "The outcome, if some or all rows were rejected or refused."
    return {
        "200": _answer(partly, headers, schema=document, examples=rejected),
        "201": _answer(text, headers, schema=schema_, examples=examples_),
    }


def at_once(resource: ResourceTable, facts: OpFacts) -> Json:
    """200, 201 and 204 of a write to a resource behind DynamoDB."""
    address = "" if facts.names_row else "Location.front "
    headers = f"{address}ETag Link.front Preference-Applied"
    content = _written(resource, facts)
    stored = "The row is stored" if facts.names_row else "The row is stored, or all rows are"
    known = f"{stored}; `Link` tells when Postgres has it too. With `return=minimal`, no body."
    found: Json = {}
    if facts.inserts:
        found["201"] = _answer(f"{known} It is new, or one of many is.", headers, **content)
    if not facts.removes:
        found["200"] = _answer(known, headers, **content)
    without = "There is no body with `return=minimal`, or without the scope to read what was merged"
    found["204"] = (
        _answer("The row is deleted.", "Link.front Preference-Applied")
        if facts.removes
        else _answer(f"{stored}. {without}.", headers)
    )
    return found


def _written(resource: ResourceTable, facts: OpFacts) -> Json:
    """The body of such an answer: the row, or what became of many."""
    row, shown = schema(resource.name), examples.row(resource)
    if facts.names_row:
        return {"schema": row, "example": shown}
    many = {"type": "array", "items": row}
    entry = {
        "item": 0,
        "status": 201,
        "location": path_to(f"/{resource.name}", (str(key_example(c)) for c in resource.key)),
        "etag": EXAMPLE_ETAG.strip('"'),
    }
    chunk = {"items": "0", "status": 201, "receipt": EXAMPLE_RECEIPT, "rows": [entry]}
    return {
        "schema": {"oneOf": [row, many, schema("decanter.stored")]},
        "examples": {
            "row": {"summary": "One row", "value": shown},
            "rows": {"summary": "Many rows", "value": {"chunks": [chunk]}},
        },
    }


def one(resource: ResourceTable) -> Json:
    """200 and 304 of a read."""
    row = {"schema": _whole_or_part(resource), "example": examples.row(resource)}
    unchanged = "The row still has one of the ETags in `If-None-Match`."
    headers = "ETag Decanter-Refused" if resource.is_fronted else "ETag"
    return {"200": _answer("The row.", headers, **row), "304": _answer(unchanged, headers)}


def many(resource: ResourceTable) -> Json:
    """200 of a list."""
    lag = " Decanter-Lag" if resource.is_fronted else ""
    answer = _answer(
        "A page of rows.",
        f"Link Content-Range Preference-Applied{lag}",
        schema={"type": "array", "items": _whole_or_part(resource)},
        example=[examples.row(resource)],
    )
    return {"200": answer}


def status() -> Json:
    """200 of `GET /writes/{receipt}`."""
    answer = _answer(
        "The status, with `Retry-After` while it is pending.",
        "Retry-After Link",
        schema=schema("decanter.status"),
        examples={state: {"value": _status(state)} for state in ("applied", "rejected")},
    )
    return {"200": answer}


def rejections() -> Json:
    """200 of `GET /writes/{receipt}/rejections`."""
    (rejection,) = _status("rejected")["rejections"]
    rejected = {**rejection, "row": {"icao": "LSZH"}}
    page = {"state": "rejected", "writes": 1, "rejected": 1, "rejections": [rejected], "next": None}
    answer = _answer(
        "A page of rejections, in the order of their items, with `Retry-After` while the request is"
        " pending. As NDJSON if `Accept` names it.",
        "Retry-After Link",
        schema=schema("decanter.rejections"),
        example=page,
    )
    lines = {"schema": schema("decanter.rejected-row"), "example": f"{json.dumps(rejected)}\n"}
    return {"200": {**answer, "content": {**answer["content"], LINES: lines}}}


def _whole_or_part(resource: ResourceTable) -> Json:
    """A row, or its selected columns."""
    return {"anyOf": [schema(resource.name), schema(f"{resource.name}.part")]}


def _status(state: str) -> Json:
    applied = state == "applied"
    reason = (
        'duplicate key value violates unique constraint "pk_stations": Key (icao)=(LSZH) already'
        " exists."
    )
    violation = {"sqlstate": "23505", "constraint": "pk_stations", "column": None}
    rejection = {"item": 0, "type": "conflict", "reason": reason, **violation}
    cause = {"type": "conflict", **violation}
    return {
        "state": state,
        "writes": 1,
        "applied": int(applied),
        "rejected": int(not applied),
        "accepted_at": "2026-01-31T12:00:00.000+00:00",
        "poured_at": "2026-01-31T12:00:00.250+00:00",
        "rejections": [] if applied else [rejection],
        "truncated": False,
        **({} if applied else {"causes": [{**cause, "count": 1, "items": "0"}]}),
        **({} if applied else {"all_rejections": path_to_rejections(EXAMPLE_RECEIPT)}),
    }
