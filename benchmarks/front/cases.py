"""The measured requests to the tables of this benchmark."""

from dataclasses import replace

from benchmarks.front.tables import FRONT, QUEUED, UNIQUE, sent, stored
from benchmarks.harness import OURS, Json
from benchmarks.intake import cases as intake
from benchmarks.intake.cases import Case

BULK_ROWS = 100
KEYED = "POST, Idempotency-Key"
SQS = "sqs"
"""Decanter with the same table behind SQS."""

_CALLS = 40


def known() -> Json:
    """Return the row that is there."""
    return stored(sent(1)[0])


def cases() -> list[Case]:
    row, *rows = sent(BULK_ROWS + 1)
    key = {"id": known()["id"]}
    one = f"/{FRONT}/{{id}}"
    return [
        Case("POST", "POST", f"/{FRONT}", {}, row, _CALLS),
        Case("POST, unique value", "POST", f"/{UNIQUE}", {}, row, _CALLS),
        Case(KEYED, "POST", f"/{FRONT}", {}, row, _CALLS),
        Case("PUT", "PUT", one, key, row, _CALLS),
        Case("PATCH", "PATCH", one, key, {"wind_above_kt": 30.5, "active": False}, _CALLS),
        Case("GET", "GET", one, key, None, _CALLS),
        Case("POST 100 rows", "POST", f"/{FRONT}", {}, rows, 2, BULK_ROWS),
    ]


def event(case: Case, peer: str) -> Json:
    """Return the event that API Gateway passes on."""
    if peer == SQS:
        for table in (UNIQUE, FRONT):
            case = replace(case, route=case.route.replace(f"/{table}", f"/{QUEUED}"))
    made = intake.event(case, OURS if peer == SQS else peer)
    made["requestContext"]["authorizer"]["scopes"] = "*:read *:write"
    if case.name == KEYED:
        made["headers"]["Idempotency-Key"] = "a4a2c1fe-37f5-4b0e-9d57-6c1c5b7d8e9f"
        made["multiValueHeaders"]["Idempotency-Key"] = [made["headers"]["Idempotency-Key"]]
    if case.body is None:
        made["body"] = None
    return made
