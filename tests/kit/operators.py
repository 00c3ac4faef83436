"""Calls to the API function that reach a real reader, as operators and clients make them."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from chalicelib import asking, aws
from chalicelib.api.http.answers import respond
from chalicelib.api.http.caller import Caller
from chalicelib.api.http.request import Request
from chalicelib.api.ops import routes
from tests.kit.api import Answered
from tests.kit.described_answers import check
from tests.kit.world import World

_MOST_BYTES = 6_291_456  # of an answer of Lambda


@dataclass(frozen=True)
class Functions:
    """The functions with a database, invoked in this process. world: has their database."""

    world: World

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        functions = {"reader": self.world.read, "operate": self.world.operate}
        answer = json.dumps(functions[FunctionName](json.loads(Payload))).encode()
        assert len(answer) <= _MOST_BYTES, len(answer)
        return {"Payload": io.BytesIO(answer)}


def connect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have questions of the API function answered from a world, however long that takes."""
    monkeypatch.setattr(aws, "within", lambda _, call: call())
    monkeypatch.setattr(asking, "_client", lambda: Functions(world))


def break_next_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the operate function fail once, when a step is to be recorded."""
    invoke = Functions.invoke
    is_broken = [True]

    def broken(self: Functions, FunctionName: str, Payload: bytes) -> Any:
        if FunctionName == "operate" and is_broken and json.loads(Payload)["what"] == "record":
            is_broken.clear()
            raise TimeoutError
        return invoke(self, FunctionName, Payload)

    monkeypatch.setattr(Functions, "invoke", broken)


def call(handler: Callable[..., Any], address: str, caller: Caller, **headers: str) -> Answered:
    """GET an address; its path is for the handler to read. The answer fits into Lambda's."""
    parts = urlsplit(address)
    query = parse_qs(parts.query, keep_blank_values=True)
    sent = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    request = Request("GET", parts.path, sent, b"", caller, query)
    response = respond(lambda: handler(request), parts.path)
    assert len(json.dumps(response.body)) <= _MOST_BYTES
    return _answered(request, response)


def ops(address: str, **headers: str) -> Answered:
    """GET an address below /ops, as an operator who may read."""
    caller = Caller("olga", frozenset({"ops:read"}))
    segments = urlsplit(address).path.removeprefix("/ops/").split("/")
    return call(lambda request: routes.answer(request, segments), address, caller, **headers)


def post(address: str, body: Any = None, who: str = "olga", **headers: str) -> Answered:
    """POST to an address below /ops, as an operator who may write. body: a JSON value, or bytes as
    they are."""
    caller = Caller(who, frozenset({"ops:write"}))
    given = body if isinstance(body, bytes) else json.dumps(body).encode()
    content = b"" if body is None else given
    sent = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    request = Request("POST", f"/ops/{address}", sent, content, caller)
    response = respond(lambda: routes.answer(request, address.split("/")), request.path)
    return _answered(request, response)


def _answered(request: Request, response: Any) -> Answered:
    """The answer, which is as described if it is to an operator."""
    headers = {name: str(value) for name, value in response.headers.items()}
    type_ = headers.get("Content-Type", "")
    check(request.method, request.path, response.status_code, type_, response.body)
    return Answered(response.status_code, headers, response.body.encode())


def next_page(answer: Answered) -> str | None:
    """The address of the next page, if there is one."""
    link = answer.headers.get("Link")
    return None if link is None else link[1 : link.index(">")]
