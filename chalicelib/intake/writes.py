"""The four calls that write: request → rows → messages → queue → 202 with a receipt.

No database is known here. What is checked is what the contract says; what only the database can
tell (conflicts, missing rows, missing parents) becomes a rejection that the receipt shows.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from chalicelib.errors import Fault, Problem
from chalicelib.intake import body, contract, key, queue
from chalicelib.intake.answers import Answer
from chalicelib.intake.idempotency import idempotency_key
from chalicelib.intake.split import Row, split
from chalicelib.message import Message, Op, encode
from chalicelib.receipt import Receipt, fingerprint, issue, keyed_id, new_id
from chalicelib.settings import MAX_BODY_BYTES, IntakeSettings

_MAX_FAULTS = 50
_JSON = ("application/json",)
_MERGE = ("application/merge-patch+json", *_JSON)


@dataclass(frozen=True)
class Request:
    """What a write's handler needs of an HTTP request.

    headers: names in any case. path: as sent, percent-encoded. caller: who the credentials name.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    caller: str


def create(request: Request, name: str) -> Answer:
    """POST /{resource}: one object, or an array of them."""
    resource = contract.resource(name)
    is_array, found = body.parse(_body(request, _JSON))
    if not found:
        fault = Fault("", "minItems", "send at least one row")
        raise Problem("invalid-row", fault.detail, (fault,))
    _check(resource, "create", found, is_array)
    return _accept(
        request,
        resource,
        "create",
        len(found),
        lambda request_id: [
            _row(resource, item, row, f"{request_id}/{item}") for item, row in enumerate(found)
        ],
    )


def replace(request: Request, name: str, segments: Sequence[str]) -> Answer:
    """PUT /{resource}/{key…}: insert, or overwrite the whole row."""
    return _change(request, name, segments, "replace", _JSON)


def merge(request: Request, name: str, segments: Sequence[str]) -> Answer:
    """PATCH /{resource}/{key…}: JSON Merge Patch (RFC 7396)."""
    return _change(request, name, segments, "merge", _MERGE)


def delete(request: Request, name: str, segments: Sequence[str]) -> Answer:
    """DELETE /{resource}/{key…}."""
    resource = _ordered(name)
    members = key.from_path(resource, segments)
    row = body.Row(body.render(members), members)
    return _accept(request, resource, "delete", 1, lambda _: [_row(resource, 0, row)])


def _change(
    request: Request, name: str, segments: Sequence[str], op: Op, types: tuple[str, ...]
) -> Answer:
    resource = _ordered(name)
    members = key.from_path(resource, segments)
    is_array, found = body.parse(_body(request, types))
    if is_array:
        fault = Fault("", "type", "the path names one row: send one JSON object, not an array")
        raise Problem("invalid-row", fault.detail, (fault,))
    _check(resource, op, found, is_array)
    row = _with_key(resource, members, found[0])
    if op == "merge" and len(row.value) == len(members):
        fault = Fault("", "minProperties", "name at least one member to change besides the key")
        raise Problem("invalid-row", fault.detail, (fault,))
    return _accept(request, resource, op, 1, lambda _: [_row(resource, 0, row)])


def _ordered(name: str) -> contract.Resource:
    resource = contract.resource(name)
    if not resource.ordered:
        raise contract.op_not_allowed(resource)
    return resource


def _body(request: Request, types: tuple[str, ...]) -> bytes:
    headers = {name.lower(): value for name, value in request.headers.items()}
    sent, _, parameters = headers.get("content-type", types[0]).partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    if sent.strip().lower() not in types or charset not in ("", "charset=utf-8"):
        raise _unsupported(f"this takes {' or '.join(types)} in UTF-8", {"Accept": types[0]})
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        detail = "send the body without Content-Encoding"
        raise _unsupported(detail, {"Accept-Encoding": "identity"})
    if len(request.body) > MAX_BODY_BYTES:
        detail = f"the body has {len(request.body)} bytes; at most {MAX_BODY_BYTES} are taken"
        raise Problem("body-too-large", detail)
    return request.body


def _unsupported(detail: str, headers: Mapping[str, str]) -> Problem:
    return Problem("unsupported-media-type", detail, headers=headers)


def _check(resource: contract.Resource, op: Op, rows: Sequence[body.Row], is_array: bool) -> None:
    validator = resource.validator(op)
    faults: list[Fault] = []
    for item, row in enumerate(rows):
        place = f"/{item}" if is_array else ""
        if not validator.is_valid(row.value):
            for error in validator.iter_errors(row.value):
                pointer = "".join(
                    f"/{str(part).replace('~', '~0').replace('/', '~1')}"
                    for part in error.instance_path
                )
                faults.append(Fault(place + pointer, error.kind.name, error.message))
        elif fault := body.unstorable(row):
            faults.append(Fault(place + fault.pointer, fault.rule, fault.detail))
        if len(faults) >= _MAX_FAULTS:
            break
    if faults:
        detail = f"{faults[0].pointer or 'the body'}: {faults[0].detail}"
        raise Problem(
            "invalid-row",
            detail,
            faults[:_MAX_FAULTS],
        )


def _with_key(resource: contract.Resource, members: Mapping[str, Any], row: body.Row) -> body.Row:
    faults = [
        Fault(
            f"/{column.name}",
            "key",
            f"the path says {body.render(members[column.name])}",
        )
        for column in resource.key
        if column.name in row.value
        and not key.same(column, row.value[column.name], members[column.name])
    ]
    if faults:
        detail = "the key in the body is not the key in the path; leave it out of the body"
        raise Problem("key-differs", detail, faults)
    missing = {name: value for name, value in members.items() if name not in row.value}
    if not missing:
        return row
    comma = "," if row.value else ""
    text = body.render(missing)[:-1] + comma + row.text[1:]
    return body.Row(text, {**missing, **row.value})


def _row(resource: contract.Resource, item: int, row: body.Row, keyless: str = "") -> Row:
    """keyless: what to take for the digest when the database will make the key."""
    text = row.text
    if any(_has_decimal(row.value.get(name)) for name in resource.integers):
        whole = {name: _whole(row.value[name]) for name in resource.integers if name in row.value}
        text = body.render({**row.value, **whole})
    digest = None
    if resource.ordered:
        named = {column.name: row.value.get(column.name, column.default) for column in resource.key}
        known = None not in named.values()
        digest = key.digest(resource, named) if known else key.number(keyless)
    return Row(item, tuple(sorted(row.value)), digest, text.replace("\n", " "))


def _has_decimal(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_decimal, value))
    return isinstance(value, Decimal)


def _whole(value: Any) -> Any:
    """`1.0` and `1e3` are integers to JSON Schema, and not to Postgres."""
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return int(value) if isinstance(value, Decimal) else value


def _accept(
    request: Request,
    resource: contract.Resource,
    op: Op,
    writes: int,
    rows: Callable[[str], list[Row]],
) -> Answer:
    settings = IntakeSettings.from_environment()
    now_ms = time.time_ns() // 1_000_000
    retry_key = idempotency_key(request.headers)
    request_id = (
        new_id(now_ms)
        if retry_key is None
        else keyed_id(settings.receipt_key, request.caller, retry_key)
    )
    parts = split(rows(str(request_id)))
    receipt = Receipt(
        id=request_id,
        accepted_at=now_ms if retry_key is None else 0,
        messages=len(parts),
        writes=writes,
        fingerprint=fingerprint(request.method, request.path, request.body),
    )
    queue.send(
        settings.ordered_queue_url if resource.ordered else settings.unordered_queue_url,
        [
            queue.Entry(
                dedup_id=receipt.dedup_id(number),
                lane=lane,
                body=encode(
                    Message(
                        dedup_id=receipt.dedup_id(number),
                        fingerprint=receipt.fingerprint,
                        accepted_at=now_ms,
                        resource=resource.name,
                        op=op,
                        sets=sets,
                    )
                ),
            )
            for number, (lane, sets) in enumerate(parts)
        ],
    )
    token = issue(receipt, settings.receipt_key, request.caller)
    return Answer(
        202,
        {"receipt": token, "state": "pending", "writes": writes},
        {"Location": f"/writes/{token}", "Retry-After": "1"},
    )
