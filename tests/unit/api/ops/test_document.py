"""/ops/openapi.json describes every call of operators, and what it answers."""

import pytest
from openapi_spec_validator import validate

from chalicelib.api.ops import document, routes
from tests.kit.api import assert_problem, body_of
from tests.kit.described_answers import check


def test_it_describes_every_call_and_is_valid():
    found = document.document()

    validate(found)
    assert {*document.CALLS} == {(each.method, each.path) for each in routes.CALLS} - {
        ("GET", "openapi.json")
    }
    names = [each["operationId"] for path in found["paths"].values() for each in path.values()]
    assert len({*names}) == len(names) == len(document.CALLS)


def test_operators_get_it_and_clients_do_not(ops, api):
    answer = ops("GET", "/ops/openapi.json")

    assert answer.headers["Content-Type"] == "application/json"
    assert body_of(answer) == document.document()
    assert_problem(ops("GET", "/ops/openapi.json", scopes="*:read"), 403, "missing-scope")
    assert "/ops/acts" not in body_of(api("GET", "/openapi.json"))["paths"]


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, "{}"), (200, '{"lanes": [], "basis": "", "more": 1}'), (201, "{}"), (404, "{}")],
)
def test_an_answer_that_is_not_as_described_is_found(status, body):
    type_ = "application/json" if status < 300 else "application/problem+json"
    with pytest.raises(AssertionError, match="lanes"):
        check("GET", "/ops/lanes", status, type_, body)
    check("GET", "/ops/lanes", 200, "application/json", '{"lanes": [], "basis": "so"}')
