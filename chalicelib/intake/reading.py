"""What the API function reads: it asks the reader function, which alone may hold a connection."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from chalicelib.errors import Problem
from chalicelib.intake import contract, key
from chalicelib.intake.answers import Answer
from chalicelib.intake.body import render
from chalicelib.receipt import Receipt, verify
from chalicelib.settings import IntakeSettings


def status(token: str, caller: str) -> Answer:
    """GET /writes/{receipt}. A forged, mistyped or foreign receipt is a 404 without a look-up."""
    receipt = verify(token, IntakeSettings.from_environment().receipt_key, caller)
    if receipt is None:
        raise Problem(
            "unknown-receipt",
            "use the Location of the 202 answer as it was given, with the same credentials",
        )
    answer = _status(receipt)
    headers = {"Retry-After": "1"} if answer["pending"] else {}
    return Answer(200, answer["body"], headers)


def outcome(receipt: Receipt) -> dict[str, Any] | None:
    """What became of a request, as `status` tells it; None while it is pending."""
    answer = _status(receipt)
    return None if answer["pending"] else answer


def rows(resource: contract.Resource, keys: str) -> list[str | None]:
    """JSON text of the rows with these keys (a JSON array of objects), None for a missing one."""
    answer = _ask(
        IntakeSettings.from_environment(),
        {"ask": "rows", "resource": resource.name, "keys": keys},
    )
    found: list[str | None] = answer["rows"]
    return found


def _status(receipt: Receipt) -> dict[str, Any]:
    return _ask(
        IntakeSettings.from_environment(),
        {
            "ask": "status",
            "id": str(receipt.id),
            "accepted_at": receipt.accepted_at,
            "messages": receipt.messages,
            "writes": receipt.writes,
            "fingerprint": receipt.fingerprint,
        },
    )


def row(name: str, segments: Sequence[str]) -> Answer:
    """GET /{resource}/{key…}."""
    resource = contract.resource(name)
    members = key.from_path(resource, segments)
    answer = _ask(
        IntakeSettings.from_environment(),
        {"ask": "row", "resource": resource.name, "key": render(members)},
    )
    if answer["body"] is None:
        detail = f"{name} has no row {render(members)}; a write to it may still be pending"
        raise Problem("no-such-row", detail)
    return Answer(200, answer["body"])


@cache
def _client() -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "lambda",
        config=Config(
            connect_timeout=2,
            read_timeout=20,
            retries={"mode": "standard", "total_max_attempts": 1},
        ),
    )


def _ask(settings: IntakeSettings, question: Mapping[str, Any]) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        reply = _client().invoke(
            FunctionName=settings.reader_function, Payload=json.dumps(question).encode()
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "TooManyRequestsException":
            raise _busy("as many reads as the database is to carry are under way") from None
        raise _busy("the reader function did not take the call") from error
    except BotoCoreError as error:
        raise _busy("the reader function did not answer") from error
    payload: dict[str, Any] = json.loads(reply["Payload"].read())
    if "FunctionError" in reply:
        raise _busy("the reader function failed")
    if payload.get("unwell"):
        raise _busy("the database does not answer now; writes are still accepted")
    return payload


def _busy(detail: str) -> Problem:
    return Problem("reader-busy", detail, headers={"Retry-After": "1"})
