"""The API function without its neighbours: a contract of our own, a recorder for the queue."""

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

import pytest
from chalice.test import Client, HTTPResponse
from sqlalchemy import MetaData

from chalicelib.intake import contract, queue
from chalicelib.message import Message, decode
from decanter.contract import compiled

RECEIPT_KEY = "k" * 32
SIGNED = {"X-Amz-Date": "20260101T000000Z", "Authorization": "AWS4-HMAC-SHA256 Credential=me"}


@dataclass
class Recorder:
    """Stands where SQS is: keeps what `queue.send` was given."""

    sent: list[tuple[str, queue.Entry]] = field(default_factory=list)

    def send(self, queue_url: str, entries: list[queue.Entry]) -> None:
        self.sent += [(queue_url, entry) for entry in entries]

    @property
    def messages(self) -> list[Message]:
        return [decode(entry.body) for _, entry in self.sent]


@pytest.fixture
def intake_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that the API function needs to be told."""
    monkeypatch.setenv("DECANTER_ORDERED_QUEUE_URL", "https://queues.test/ordered.fifo")
    monkeypatch.setenv("DECANTER_UNORDERED_QUEUE_URL", "https://queues.test/unordered")
    monkeypatch.setenv("DECANTER_READER_FUNCTION", "reader")
    monkeypatch.setenv("DECANTER_RECEIPT_KEY", RECEIPT_KEY)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(queue, "send", found.send)
    return found


@pytest.fixture
def api(intake_environment: None, recorder: Recorder) -> Iterator[Callable[..., HTTPResponse]]:
    """`api("POST", "/stations", body, **headers)`: call the API function, signed as `me`.

    body: bytes as they are, or a JSON value. Underscores in names of headers stand for hyphens.
    """
    from app import app

    with Client(app) as client:

        def call(method: str, path: str, body: Any = None, **headers: str) -> HTTPResponse:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            named = {"Content-Type": "application/json", **SIGNED, **named}
            with warnings.catch_warnings():
                # The test client lets requests through that API Gateway would check.
                warnings.filterwarnings("ignore", "IAMAuthorizer")
                return client.http.request(
                    method, path, headers=named, body=b"" if body is None else content
                )

        yield call


@pytest.fixture
def compile_contract(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[MetaData], None]]:
    """`compile_contract(metadata)`: from now on the API serves these tables."""

    def compile_(metadata: MetaData) -> None:
        file = tmp_path / "contract.json"
        file.write_text(_contract(metadata), encoding="utf-8")
        monkeypatch.setattr(contract, "_FILE", file)
        _forget_contract()

    yield compile_
    _forget_contract()


@cache
def _contract(metadata: MetaData) -> str:
    models = ModuleType("models")
    models.metadata = metadata  # type: ignore[attr-defined]
    return compiled(models)


def _forget_contract() -> None:
    for remembered in (
        contract.document,
        contract._parsed,
        contract.resource,
        contract._validator,
    ):
        remembered.cache_clear()
