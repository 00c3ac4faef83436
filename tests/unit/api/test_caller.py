"""Who calls, of what API Gateway says, and what they may do."""

import time
from typing import Any

import pytest

from chalicelib import stage
from chalicelib.api.http.caller import Caller, caller
from chalicelib.errors import Problem
from chalicelib.ops import READ, scopes

WRITES = scopes()
OPS = sorted({*WRITES, READ})
ROLE = "arn:aws:sts::123456789012:assumed-role/weather"


def token(**members: Any) -> dict[str, Any]:
    """A request context as the authorizer's answer makes it: all values are text."""
    known = {"name": "https://issuer.test me", "scopes": "a:read", "exp": str(time.time() + 60)}
    return {"authorizer": {**known, **members}, "identity": {"sourceIp": "127.0.0.1"}}


def allowed(scopes: str) -> set[tuple[str, str]]:
    """The (resource, op) that the scopes open, of two resources."""
    return {
        (resource, op)
        for resource in ("stations", "observations")
        for op in OPS
        if may(scopes, resource, op)
    }


def may(scopes: str, resource: str, op: str) -> bool:
    try:
        Caller("me", frozenset(scopes.split())).require(resource, op)
    except Problem:
        return False
    return True


def test_a_missing_scope_is_named() -> None:
    with pytest.raises(Problem, match="stations:read") as raised:
        Caller("me", frozenset()).require("stations", "read")

    assert (raised.value.type, raised.value.status) == ("missing-scope", 403)


def test_a_token_names_the_caller_and_the_scopes() -> None:
    found = caller(token(scopes="stations:read *:write"))

    assert found.name == "https://issuer.test me"
    assert found.scopes == {"stations:read", "*:write"}


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ("", set()),
        ("stations:read", {("stations", "read")}),
        ("stations:merge", {("stations", "merge")}),
        ("stations:write", {("stations", op) for op in WRITES}),
        ("*:delete", {("stations", "delete"), ("observations", "delete")}),
        ("*:write", {(name, op) for name in ("stations", "observations") for op in WRITES}),
        (
            "*:read observations:create",
            {("stations", "read"), ("observations", "read"), ("observations", "create")},
        ),
        ("stations stations: :read read * *:* station:read stations:readx", set()),
    ],
)
def test_scopes_open_what_they_name(scopes: str, expected: set[tuple[str, str]]) -> None:
    assert allowed(scopes) == expected


def test_every_op_that_is_asked_for_is_needed() -> None:
    one = Caller("me", frozenset({"stations:create"}))

    with pytest.raises(Problem, match="stations:merge") as raised:
        one.require("stations", "create", "merge")

    assert "stations:create" not in raised.value.detail
    Caller("me", frozenset({"stations:create", "stations:merge"})).require(
        "stations", "create", "merge"
    )


def test_who_is_known_by_iam_is_not_limited() -> None:
    found = caller({"identity": {"userArn": "arn:aws:iam::123456789012:user/anna"}})

    assert found == Caller("arn:aws:iam::123456789012:user/anna", None)
    for op in OPS:
        found.require("stations", op)


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        (f"{ROLE}/session-7", ROLE),
        (f"{ROLE}/i-0123@host.test", ROLE),
        ("arn:aws-cn:sts::1:assumed-role/a/b", "arn:aws-cn:sts::1:assumed-role/a"),
        ("arn:aws:sts::1:assumed-role/path/role/s", "arn:aws:sts::1:assumed-role/path/role"),
        ("arn:aws:sts::1:federated-user/a", "arn:aws:sts::1:federated-user/a"),
        ("arn:aws:iam::1:user/team/anna", "arn:aws:iam::1:user/team/anna"),
    ],
)
def test_the_session_is_not_part_of_the_name(arn: str, name: str) -> None:
    assert caller({"identity": {"userArn": arn}}).name == name


@pytest.mark.parametrize("exp", ["0", str(time.time() - 1), "", "soon", "nan", None])
def test_a_token_that_expired_in_the_gateways_memory_is_refused(exp: str | None) -> None:
    with pytest.raises(Problem, match="expired") as raised:
        caller(token(exp=exp))

    assert (raised.value.type, raised.value.status) == ("unauthorized", 401)
    assert "invalid_token" in raised.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"authorizer": None, "identity": None},
        {"authorizer": {}, "identity": {"userArn": None, "sourceIp": "127.0.0.1"}},
        {"authorizer": {"principalId": "me", "exp": "99999999999"}},
        {"authorizer": {"name": "", "exp": "99999999999"}},
    ],
)
def test_a_request_that_names_nobody_is_refused(context: dict[str, Any]) -> None:
    with pytest.raises(Problem, match="names no caller") as raised:
        caller(context)

    assert raised.value.type == "unauthorized"
    assert raised.value.headers["WWW-Authenticate"] == "Bearer"


def test_an_expired_token_is_not_replaced_by_another_identity() -> None:
    context = token(exp="0") | {"identity": {"userArn": "arn:aws:iam::1:user/a"}}

    with pytest.raises(Problem, match="expired"):
        caller(context)


def test_a_token_without_scopes_may_do_nothing() -> None:
    context = token()
    del context["authorizer"]["scopes"]

    assert caller(context).scopes == frozenset()


@pytest.mark.parametrize("preference", stage.BEYOND)
def test_a_signature_allows_no_more_than_the_method(
    preference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed, with_token = Caller("me", None), Caller("me", frozenset())

    with_token.require_preference(preference)  # scopes say it
    with pytest.raises(Problem, match=f"{preference} for all.*DECANTER_IAM_PREFERENCES") as raised:
        signed.require_preference(preference)
    monkeypatch.setenv("DECANTER_IAM_PREFERENCES", preference)
    signed.require_preference(preference)

    assert (raised.value.type, raised.value.status) == ("forbidden", 403)
