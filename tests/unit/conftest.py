"""The API function without its neighbours: a contract of our own, a recorder for the queue."""

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chalice.local import LambdaEventConverter, LocalGatewayAuthorizer, RouteMatcher
from sqlalchemy import MetaData

from chalicelib.api.http import idempotency
from chalicelib.buffer.sqs import backlog, counts, put
from chalicelib.contract import resources
from tests.kit.api import RECEIPT_KEY, Answered, Recorder
from tests.kit.contracts import contract_of

ALLOWED = {"name": "me", "scopes": "*:read *:write", "exp": "99999999999"}
os.environ["DECANTER_AUTH"] = "jwt"  # app.py wants to know it when it is imported


@pytest.fixture
def intake_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that the API function needs to be told."""
    monkeypatch.setenv("DECANTER_ORDERED_QUEUE_URL", "https://queues.test/ordered.fifo")
    monkeypatch.setenv("DECANTER_UNORDERED_QUEUE_URL", "https://queues.test/unordered")
    monkeypatch.setenv("DECANTER_READER_FUNCTION", "reader")
    monkeypatch.setenv("DECANTER_OPERATE_FUNCTION", "operate")
    monkeypatch.setenv("DECANTER_RECEIPT_KEY", RECEIPT_KEY)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(put, "send", found.send)
    monkeypatch.setattr(counts, "counts", lambda _url: counts.Counts(0, 0, None))
    idempotency._accepted.clear()
    backlog._gates.clear()
    return found


@pytest.fixture
def authorizer(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the authorizer has found out about the caller; a test may change it."""
    found = dict(ALLOWED)

    def authorize(_: Any, path: str, event: dict[str, Any], context: Any) -> tuple[Any, Any]:
        event["requestContext"]["authorizer"] = found
        return event, context

    monkeypatch.setattr(LocalGatewayAuthorizer, "authorize", authorize)
    return found


@pytest.fixture
def api(intake_environment: None, recorder: Recorder) -> Callable[..., Answered]:
    """`api("POST", "/stations", body, **headers)`: call the API function, as `me` by a token.

    body: bytes as they are, or a JSON value. Underscores in names of headers stand for hyphens.
    caller, scopes: whom API Gateway's authorizer has let through; None: IAM did.
    """
    from app import app

    events = LambdaEventConverter(RouteMatcher(list(app.routes)))

    def call(
        method: str,
        path: str,
        body: Any = None,
        *,
        caller: str = "me",
        scopes: str | None = "*:read *:write",
        **headers: str,
    ) -> Answered:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named = {"Content-Type": "application/json", **named}
        event = events.create_lambda_event(method, path, named, b"" if body is None else content)
        if scopes is None:
            event["requestContext"]["identity"]["userArn"] = f"arn:aws:iam::1:user/{caller}"
        else:
            event["requestContext"]["authorizer"] = {
                "principalId": caller,
                "name": caller,
                "scopes": scopes,
                "exp": str(time.time() + 60),
            }
        answer = app(event, None)
        return Answered(
            answer["statusCode"],
            {**answer["headers"], **{n: v[-1] for n, v in answer["multiValueHeaders"].items()}},
            answer["body"].encode(),
        )

    return call


@pytest.fixture
def compile_contract(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[MetaData], None]]:
    """`compile_contract(metadata)`: from now on the API serves these tables."""

    def compile_(metadata: MetaData) -> None:
        monkeypatch.setattr(resources, "_FILE", contract_of(metadata))
        resources.forget()

    yield compile_
    resources.forget()
