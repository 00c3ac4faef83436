"""Paths: one key is one row through every front, and what a front changes is refused."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote

import pytest
from chalice.local import LambdaEventConverter, RouteMatcher
from sqlalchemy import Column, MetaData, Table, Text

METADATA = MetaData()
Table("keys", METADATA, Column("id", Text, primary_key=True), Column("v", Text))
Table(
    "pairs",
    METADATA,
    Column("a", Text, primary_key=True),
    Column("b", Text, primary_key=True),
    Column("v", Text),
)


def _event(method: str, path: str, route: str, given: Mapping[str, str]) -> dict[str, Any]:
    return {
        "resource": route,
        "path": path,
        "httpMethod": method,
        "headers": {},
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": dict(given),
        "stageVariables": None,
        "requestContext": {"resourcePath": route, "httpMethod": method, "path": f"/api{path}"},
        "body": None,
        "isBase64Encoded": False,
    }


def _matched(path: str) -> tuple[str, dict[str, str]]:
    """Route and segments, as API Gateway finds them."""
    names = ["resource", *(f"key{number}" for number in range(1, 9))]
    found = dict(zip(names, path.strip("/").split("/"), strict=False))
    return "".join(f"/{{{name}}}" for name in found), found


def gateway(method: str, path: str) -> dict[str, Any]:
    return _event(method, path, *_matched(path))


def with_decoded_parameters(method: str, path: str) -> dict[str, Any]:
    route, found = _matched(path)
    return _event(method, path, route, {name: unquote(each) for name, each in found.items()})


def with_a_domain(method: str, path: str) -> dict[str, Any]:
    """Of one's own, which maps /of/ours to the stage."""
    return {**gateway(method, path), "path": f"/of/ours{path}"}


def chalice_local(method: str, path: str) -> dict[str, Any]:
    from app import app

    return LambdaEventConverter(RouteMatcher(list(app.routes))).create_lambda_event(  # type: ignore[no-any-return]
        method, path, {}, b""
    )


FRONTS = (gateway, with_decoded_parameters, with_a_domain, chalice_local)
KEYS = [
    "a/b", "100%41", "100%2541", "100%", "%", "a b", " ", "a+b", "a;b", ";", "a\nb", "\r\n", "\t",
    "a?b", "a#b", "a&b=c", "ü", "日本", "😀", ".", "..", "../x", "./", "/", "//", "a/", "/a",
    "a\\b", '"', "'", "<>", "{}", "{key1}", "[1]", "a|b", "^`", "~", "-._~", "a:b@c",
    "null", "x" * 3_000,
]  # fmt: skip


REFUSALS = ((400, "bad-request"), (404, "unknown-path"))


@pytest.fixture
def send(
    intake_environment: None, compile_contract: Callable[[MetaData], None]
) -> Callable[[dict[str, Any]], tuple[int, Any]]:
    from app import app

    compile_contract(METADATA)

    def send(event: dict[str, Any]) -> tuple[int, Any]:
        credentials = {"name": "me", "scopes": "*:write *:read", "exp": str(time.time() + 60)}
        event["requestContext"]["authorizer"] = credentials
        answer = app(event, None)
        return answer["statusCode"], json.loads(answer["body"])

    return send


@pytest.mark.parametrize("front", FRONTS)
def test_a_key_is_the_same_through_every_front(front, send, recorder):
    for key in KEYS:
        status, told = send(front("DELETE", f"/keys/{quote_all(key)}"))
        assert status == 202, (key, told)
        if key not in (".", ".."):
            assert send(front("DELETE", f"/keys/{quote(key, safe='')}"))[0] == 202
        assert send(front("DELETE", f"/pairs/{quote_all(key)}/{quote_all('/' + key)}"))[0] == 202

    rows = [json.loads(part.rows) for message in recorder.messages for part in message.sets]
    assert {row["id"] for row in rows if "id" in row} == set(KEYS)
    assert [(row["a"], row["b"]) for row in rows if "a" in row] == [(k, f"/{k}") for k in KEYS]


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize(
    "path",
    ["/keys/.", "/keys/..", "/pairs/../a", "/keys/100%", "/keys/%4", "/keys/%zz", "/keys/a b%41",
     "/keys/ü%41", "/keys/%u0041", "/pairs//a", "/pairs/a//", "/keys//a"],
)  # fmt: skip
def test_a_path_that_can_be_read_in_two_ways_is_refused(front, path, send, recorder):
    status, told = send(front("DELETE", path))

    assert (status, told["type"].rpartition(":")[2]) in (
        (400, "bad-request"),
        (404, "unknown-path"),
    )
    assert recorder.sent == []


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("/keys/100%2541", "/keys/100A"),  # decoded twice
        ("/keys/a%2Fb", "/keys/a"),
        ("/pairs/a%2Fb", "/pairs/a/b"),  # decoded, and taken apart
        ("/pairs/a%2Fb/c", "/pairs/a/b/c"),
        ("/keys/a;b", "/keys/a"),  # cut
        ("/keys//a", "/keys/a"),  # put together
        ("/keys/../pairs/a/b", "/pairs/c/b"),
        ("/keys/a%2f..%2fb", "/keys/b"),
        ("/keys/A", "/keys/a"),
        ("/keys/a+b", "/keys/a b"),
        ("/keys", "/keys/a"),
    ],
)
def test_a_front_that_reads_another_key_is_refused(path, read, send, recorder):
    status, told = send({**gateway("DELETE", read), "path": path})

    assert (status, told["type"]) == (400, "urn:decanter:problem:bad-request")
    assert "percent-encode" in told["detail"]
    assert recorder.sent == []


def test_a_resource_has_one_spelling_only(send, recorder):
    """Policies of IAM compare paths: what they deny must not be had in another spelling."""
    assert send(gateway("DELETE", "/%6Beys/a"))[0] == 404
    assert send(with_decoded_parameters("DELETE", "/%6Beys/a"))[0] == 404
    assert recorder.sent == []


def test_a_header_in_two_spellings_is_one_that_came_twice(send, recorder):
    event = {**gateway("DELETE", "/keys/a")}
    event["multiValueHeaders"] = {"Idempotency-Key": ["a"], "idempotency-key": ["b"]}

    status, told = send(event)

    assert (status, told["type"].rpartition(":")[2]) == (400, "invalid-idempotency-key")
    assert recorder.sent == []


def test_a_slash_at_the_end_of_a_path_means_nothing(send, recorder):
    assert send(gateway("DELETE", "/keys/a/"))[0] == 202
    assert send(gateway("DELETE", "/keys/"))[0] == 405

    assert json.loads(recorder.messages[0].sets[0].rows) == {"id": "a"}


def quote_all(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())
