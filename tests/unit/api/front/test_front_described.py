"""Every answer of a resource in front is one that the contract describes."""

import json

import jsonschema_rs
import pytest

from chalicelib.contract import resources

ALWAYS = {"Content-Type", "Cache-Control", "Vary", "X-Request-ID"}
PLACE = {"code": "A", "name": "Arosa", "size": 1.50}

ANSWERS = [
    ("POST", "/places", PLACE, {}, 201),
    ("POST", "/places", PLACE, {"Prefer": "return=minimal"}, 201),
    ("POST", "/places", {**PLACE, "code": "OLD"}, {}, 409),
    ("POST", "/places", {**PLACE, "code": "OLD"}, {"Prefer": "resolution=merge-duplicates"}, 200),
    ("POST", "/places", {**PLACE, "code": "OLD"}, {"Prefer": "resolution=ignore-duplicates"}, 200),
    ("POST", "/places", {"code": "OLD"},
     {"Prefer": "resolution=merge-duplicates, return=minimal"}, 204),
    ("POST", "/places", [PLACE], {}, 201),
    ("POST", "/places", [PLACE], {"Prefer": "return=representation"}, 201),
    ("POST", "/places", [PLACE], {"Prefer": "return=minimal"}, 201),
    ("POST", "/places", [PLACE, {"code": 1}], {"Prefer": "handling=lenient"}, 201),
    ("POST", "/places", [PLACE, {"code": "OLD"}], {}, 409),
    ("POST", "/places", [PLACE, PLACE], {}, 422),
    ("POST", "/alerts", {"name": "a", "place": "NONE"}, {}, 409),
    ("PUT", "/places/NEW", {"name": "x"}, {}, 201),
    ("PUT", "/places/OLD", {"name": "x"}, {}, 200),
    ("PUT", "/places/OLD", {"name": "x"}, {"Prefer": "return=minimal"}, 204),
    ("PUT", "/places/OLD", {"name": "x"}, {"If-None-Match": "*"}, 412),
    ("PATCH", "/places/OLD", {"name": "x"}, {}, 200),
    ("PATCH", "/places/OLD", {"name": "x"}, {"Prefer": "return=minimal"}, 204),
    ("PATCH", "/places/OLD", {"name": "x"}, {"If-Match": '"other"'}, 412),
    ("PATCH", "/places/NEW", {"name": "x"}, {}, 404),
    ("DELETE", "/places/OLD", None, {}, 204),
    ("DELETE", "/places/OLD", None, {"If-Match": '"other"'}, 412),
    ("DELETE", "/places/NEW", None, {}, 404),
    ("GET", "/places/OLD", None, {}, 200),
    ("GET", "/places/OLD?select=name", None, {}, 200),
    ("GET", "/places/NEW", None, {}, 404),
]  # fmt: skip


def described(method, path, status):
    """The document, and the answer that it has for a call."""
    document = json.loads(resources.document())
    name, _, key = path.partition("?")[0].lstrip("/").partition("/")
    call = document["paths"][f"/{name}/{{code}}" if key else f"/{name}"][method.lower()]
    answer = call["responses"][str(status)]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    return document, answer


@pytest.mark.parametrize(("method", "path", "body", "headers", "status"), ANSWERS)
def test_an_answer_is_described(api, front, method, path, body, headers, status):
    api("POST", "/places", {"code": "OLD", "detail": {"a": [1]}})

    answer = api(method, path, body, **{k.replace("-", "_"): v for k, v in headers.items()})

    assert answer.status_code == status, answer.body
    document, said = described(method, path, status)
    assert set(answer.headers) - ALWAYS <= set(said.get("headers", {}))
    if not answer.body:
        return
    (content,) = said["content"].values()
    schema = {**content["schema"], "components": document["components"]}
    faults = jsonschema_rs.validator_for(schema).iter_errors(json.loads(answer.body))
    assert [f"{fault.instance_path} {fault.message}" for fault in faults] == []
    if status >= 400:
        types = {f"urn:decanter:problem:{each}" for each in content["examples"]}
        assert json.loads(answer.body)["type"] in types


def test_chunks_of_a_problem_are_described(api, front, monkeypatch):
    monkeypatch.setattr("chalicelib.buffer.dynamodb.table.MAX_ACTIONS", 2)
    api("POST", "/places", {"code": "OLD"})

    answer = api("POST", "/places", [{"code": "A"}, {"code": "B"}, {"code": "OLD"}])

    document, said = described("POST", "/places", 409)
    (content,) = said["content"].values()
    schema = {**content["schema"], "components": document["components"]}
    found = json.loads(answer.body)
    assert [chunk["status"] for chunk in found["chunks"]] == [201, 409]
    assert jsonschema_rs.validator_for(schema).is_valid(found)
    found["chunks"][0].pop("items")
    assert not jsonschema_rs.validator_for(schema).is_valid(found)
