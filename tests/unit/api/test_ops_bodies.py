"""What operators send wrongly is refused with the places that are wrong, and nothing is asked."""

import json
from typing import Any

import pytest

from chalicelib.api.ops import bodies
from tests.kit.api import assert_problem

ID = "0193b0a0-0000-7000-8000-000000000000.0"
BEGIN = "/ops/acts"
TRY = "/ops/try"

FAULTS: list[tuple[str, Any, list[str]]] = [
    (BEGIN, [], [""]),
    (BEGIN, {}, ["/kind"]),
    (BEGIN, {"kind": ["resend"]}, ["/kind"]),
    (BEGIN, {"kind": "delete", "note": 7}, ["/kind", "/note"]),
    (BEGIN, {"kind": "resend", "note": "x" * 1_001}, ["/note"]),
    (BEGIN, {"kind": "resend", "note": "\0"}, ["/note"]),
    (BEGIN, {"kind": "resend"}, [""]),
    (BEGIN, {"kind": "resend", "ids": [ID], "filter": {}}, [""]),
    (BEGIN, {"kind": "resend", "ids": []}, ["/ids"]),
    (BEGIN, {"kind": "resend", "ids": ID}, ["/ids"]),
    (BEGIN, {"kind": "resend", "ids": [ID] * 1_001}, ["/ids"]),
    (BEGIN, {"kind": "resend", "ids": [ID, ID]}, ["/ids"]),
    (BEGIN, {"kind": "resend", "ids": [ID, "1.0", 5]}, ["/ids/1", "/ids/2"]),
    (BEGIN, {"kind": "resend", "ids": [ID + "1" * 9]}, ["/ids/0"]),
    (BEGIN, {"kind": "resend", "ids": [ID[:-1] + "00"]}, ["/ids/0"]),
    (BEGIN, {"kind": "resend", "ids": [ID], "expect": 2}, ["/expect"]),
    (BEGIN, {"kind": "resend", "filter": {}}, ["/expect"]),
    (BEGIN, {"kind": "resend", "filter": {}, "expect": "3"}, ["/expect"]),
    (BEGIN, {"kind": "resend", "filter": {}, "expect": True}, ["/expect"]),
    (BEGIN, {"kind": "resend", "filter": {}, "expect": -1}, ["/expect"]),
    (BEGIN, {"kind": "resend", "filter": [], "expect": 1}, ["/filter"]),
    (BEGIN, {"kind": "resend", "filter": {"table": "x"}, "expect": 1}, ["/filter/table"]),
    (BEGIN, {"kind": "resend", "filter": {"state": "all"}, "expect": 1}, ["/filter/state"]),
    (BEGIN, {"kind": "discard", "ids": [ID], "rows": {}, "a/b": 1}, ["/rows", "/a~1b"]),
    (BEGIN, {"kind": "resend", "ids": [ID], "rows": [1]}, ["/rows"]),
    (BEGIN, {"kind": "resend", "ids": [ID], "rows": {"1.0": {}}}, ["/rows/1.0"]),
    (BEGIN, {"kind": "resend", "filter": {}, "expect": 1, "rows": {ID: {}}}, [f"/rows/{ID}"]),
    (f"{BEGIN}/{ID[:-2]}/steps", {"more": 1}, ["/more"]),
    (f"{BEGIN}/{ID[:-2]}/stop", {"more": 1}, ["/more"]),
    (TRY, {}, ["/writes"]),
    (TRY, {"writes": [], "note": ""}, ["/note", "/writes"]),
    (TRY, {"writes": [{"id": ID}] * 1_001}, ["/writes"]),
    (TRY, {"writes": [{"id": ID}, {"id": ID}]}, ["/writes/1/id"]),
    (TRY, {"writes": [ID, {"id": 1}, {"row": {}}]}, ["/writes/0", "/writes/1/id", "/writes/2/id"]),
    (TRY, {"writes": [{"id": ID, "op": "merge"}]}, ["/writes/0"]),
]


@pytest.mark.parametrize(("path", "body", "pointers"), FAULTS, ids=str)
def test_each_fault_of_a_body_is_named(api, path, body, pointers):
    problem = assert_problem(api("POST", path, body, scopes="ops:write"), 422, "invalid-act")

    assert [each["pointer"] for each in problem["errors"]][: len(pointers)] == pointers
    assert all(each["detail"] for each in problem["errors"])


def test_a_body_that_is_no_json_is_refused_as_everywhere(api):
    answer = api("POST", BEGIN, b'{"kind": "resend", "kind": "discard"}', scopes="ops:write")

    assert_problem(answer, 400, "malformed-json")
    assert_problem(api("POST", TRY, b"[" * 10_000, scopes="ops:write"), 400, "malformed-json")


def test_a_body_that_lambda_could_not_hand_on_is_refused(api):
    large = json.dumps({"kind": "resend", "note": "x" * bodies.MAX_BYTES}).encode()

    assert_problem(api("POST", BEGIN, large, scopes="ops:write"), 413, "body-too-large")


@pytest.mark.parametrize("path", [BEGIN, f"{BEGIN}/{ID[:-2]}/steps", TRY])
def test_acts_need_the_scope_to_write(api, path):
    for scopes in ("ops:read", "*:write *:read", "ops:writes"):
        assert_problem(api("POST", path, {}, scopes=scopes), 403, "missing-scope")


def test_keys_are_as_those_of_writes(api):
    answer = api("POST", BEGIN, {"kind": "discard", "ids": [ID]}, scopes="ops:write",
                 Idempotency_Key="a b")  # fmt: skip

    assert_problem(answer, 400, "invalid-idempotency-key")


@pytest.mark.parametrize(
    "query",
    ["kind=delete", "who=%00", "since=yesterday", "cursor=1", "limit=0", "state=done", "kind="],
)
def test_unknown_parameters_of_the_list_are_refused(api, query):
    answer = api("GET", f"{BEGIN}?{query}", scopes="ops:read")

    (error,) = assert_problem(answer, 400, "invalid-query")["errors"]
    assert error["pointer"] == f"?{query.partition('=')[0]}"
