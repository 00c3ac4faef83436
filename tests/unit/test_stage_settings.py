"""What a stage chooses, and that a choice that cannot be is refused when app.py is imported."""

import os
import subprocess
import sys

import pytest

from chalicelib import stage
from chalicelib.errors import NotConfigured
from tests.kit.project import PROJECT

ROUTES = """
import app
routes = [route for methods in app.app.routes.values() for route in methods.values()]
print(sorted({type(route.authorizer).__name__ for route in routes}))
print(hasattr(app, "bearer"), {route.cors and route.cors.allow_origin for route in routes})
"""


def imported(**environment: str) -> "subprocess.CompletedProcess[str]":
    """app.py, imported by a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DECANTER_")}
    return subprocess.run(
        [sys.executable, "-c", ROUTES],
        cwd=PROJECT,
        env=kept | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("chosen", [None, "", "JWT", "none", "jwt,iam", " jwt"])
def test_a_stage_without_a_choice_is_refused(chosen: str | None) -> None:
    environment = {} if chosen is None else {"DECANTER_AUTH": chosen}

    with pytest.raises(NotConfigured, match=r'"jwt".*"iam".*\.chalice/config\.json'):
        stage.authentication(environment)


@pytest.mark.parametrize("chosen", ["jwt", "iam"])
def test_a_stage_chooses(chosen: str) -> None:
    assert stage.authentication({"DECANTER_AUTH": chosen}) == chosen


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "https://app.example.com:8443",
        "http://localhost:3000",
        "http://[::1]:3",
    ],
)
def test_an_origin_is_taken(origin: str) -> None:
    assert stage.cors_origin({"DECANTER_CORS_ORIGIN": origin}) == origin


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "app.example.com",
        "https://app.example.com/",
        "https://a.test,https://b.test",
        "https://a.test https://b.test",
        "https://*.example.com",
        "https://a.test'",
        "https://a.test\n",
        "ftp://a.test",
    ],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(NotConfigured, match="one origin"):
        stage.cors_origin({"DECANTER_CORS_ORIGIN": origin})


def test_no_other_origin_may_call_by_default() -> None:
    assert stage.cors_origin({}) is None
    assert stage.cors_origin({"DECANTER_CORS_ORIGIN": ""}) is None


def test_a_stage_with_tokens_has_an_authorizer_and_no_other_origin() -> None:
    done = imported(DECANTER_AUTH="jwt")

    # /health has none.
    assert done.stdout.splitlines() == ["['ChaliceAuthorizer', 'NoneType']", "True {None}"]


def test_a_stage_with_signatures_has_no_authorizer_function() -> None:
    done = imported(DECANTER_AUTH="iam", DECANTER_CORS_ORIGIN="https://app.test")

    assert done.stdout.splitlines() == [
        "['IAMAuthorizer', 'NoneType']",
        "False {'https://app.test'}",
    ]


@pytest.mark.parametrize(
    ("value", "chosen"),
    [
        ("", set()),
        (" ", set()),
        ("merge-duplicates", {"merge-duplicates"}),
        ("representation, merge-duplicates", {"representation", "merge-duplicates"}),
    ],
)
def test_what_signed_writes_may_prefer_is_chosen(value: str, chosen: set[str]) -> None:
    assert stage.iam_preferences({"DECANTER_IAM_PREFERENCES": value}) == chosen
    assert stage.iam_preferences({}) == set()


@pytest.mark.parametrize(
    ("environment", "cure"),
    [
        ({}, 'DECANTER_AUTH is not set. Set it to "jwt"'),
        ({"DECANTER_AUTH": "no"}, "DECANTER_AUTH is 'no'. Set it to \"jwt\""),
        ({"DECANTER_AUTH": "jwt", "DECANTER_CORS_ORIGIN": "*"}, "Name one origin"),
        ({"DECANTER_AUTH": "iam", "DECANTER_IAM_PREFERENCES": "*"}, "merge-duplicates and repr"),
    ],
)
def test_app_py_refuses_what_cannot_be(environment: dict[str, str], cure: str) -> None:
    done = imported(**environment)

    assert done.returncode != 0
    assert cure in done.stderr
    assert ".chalice/config.json" in done.stderr


def test_a_stage_may_have_another_cap_of_a_queue() -> None:
    assert stage.cap("ordered", 4, {}) == 4
    assert stage.cap("ordered", 4, {"DECANTER_ORDERED_CAP": "7"}) == 7
    assert stage.cap("unordered", 2, {"DECANTER_ORDERED_CAP": "7"}) == 2


@pytest.mark.parametrize("value", ["1", "1001", "-3", "2.5", "four"])
def test_a_cap_that_aws_refuses_is_refused(value: str) -> None:
    with pytest.raises(NotConfigured, match=rf"DECANTER_ORDERED_CAP is '{value}'.* from 2 to"):
        stage.cap("ordered", 4, {"DECANTER_ORDERED_CAP": value})
