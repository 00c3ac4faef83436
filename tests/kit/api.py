"""Requests, answers and sent messages for tests of the API function."""

import json
from dataclasses import dataclass, field
from typing import Any

from chalicelib.buffer.sqs import put
from chalicelib.messages.message import Message, decode

RECEIPT_KEY = "k" * 32


@dataclass
class Recorder:
    """Replaces the sending side of SQS, and records the entries."""

    sent: list[tuple[str, put.QueueEntry]] = field(default_factory=list)

    def send(self, queue_url: str, entries: list[put.QueueEntry], _deadline: float) -> None:
        self.sent += [(queue_url, entry) for entry in entries]

    @property
    def messages(self) -> list[Message]:
        return [decode(entry.body) for _, entry in self.sent]


@dataclass(frozen=True)
class Answered:
    """An answer as a client sees it."""

    status_code: int
    headers: dict[str, str]
    body: bytes


STATION: dict[str, Any] = {
    "icao": "EDDF",
    "iata": "FRA",
    "name": "Frankfurt",
    "city": "Frankfurt am Main",
    "subdivision": "Hesse",
    "country": "DE",
    "elevation_ft": 364,
    "latitude": 50.0264,
    "longitude": 8.54313,
    "timezone": "Europe/Berlin",
}

OBSERVATION: dict[str, Any] = {"station": "EDDF", "observed_at": "2026-01-01T00:00:00Z"}


def station(**changes: Any) -> dict[str, Any]:
    """Return a station with changed members; `...` removes one."""
    return {name: value for name, value in {**STATION, **changes}.items() if value is not ...}


def body_of(answer: Any) -> Any:
    return json.loads(answer.body)


def assert_problem(answer: Any, status: int, type_: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(answer.body)
    assert problem["type"] == f"urn:decanter:problem:{type_}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"].startswith("/")
    assert len(answer.body) < 50_000
    return problem


def token_of(answer: Any) -> str:
    assert answer.status_code == 202, answer.body
    prefix, token = answer.headers["Location"].rsplit("/", 1)
    assert prefix == "/writes"
    assert body_of(answer)["receipt"] == token
    return str(token)


def problem(answer: Any) -> str:
    assert answer.headers["Content-Type"] == "application/problem+json"
    return str(json.loads(answer.body)["type"]).removeprefix("urn:decanter:problem:")
