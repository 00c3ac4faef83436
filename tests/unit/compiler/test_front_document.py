"""The document of a resource behind DynamoDB: its calls are answered with their outcome."""

import json
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from chalicelib.postgres.resources import ModelError
from decanter import contract


@pytest.fixture(scope="module")
def document():
    metadata = sa.MetaData()
    for name, front in (("now", "dynamodb"), ("later", "sqs")):
        items = (sa.Column("id", sa.Text, primary_key=True), sa.Column("n", sa.Integer))
        sa.Table(name, metadata, *items, info={"front": front})
    return json.loads(contract.compiled(SimpleNamespace(metadata=metadata)))


CALLS = [
    ("/{}", "post", "200 201 204", "conflict missing-parent item-damaged", ""),
    ("/{}/{{id}}", "put", "200 201 204", "conflict missing-parent item-damaged", "failed"),
    ("/{}/{{id}}", "patch", "200 204", "conflict missing-parent item-damaged", "failed"),
    ("/{}/{{id}}", "delete", "204", "item-damaged", "failed"),
    ("/{}/{{id}}", "get", "200 304", "item-damaged", ""),
]


def call(document, path, method, name="now"):
    return document["paths"][path.format(name)][method]


def problems(document, operation, status):
    if status not in operation["responses"]:
        return set()
    name = operation["responses"][status]["$ref"].rsplit("/", 1)[1]
    content = document["components"]["responses"][name]["content"]
    return set(content["application/problem+json"]["examples"])


@pytest.mark.parametrize(("path", "method", "good", "conflicts", "failed"), CALLS)
def test_calls_are_answered_with_the_outcome(document, path, method, good, conflicts, failed):
    operation = call(document, path, method)

    assert " ".join(each for each in sorted(operation["responses"]) if each < "4") == good
    assert problems(document, operation, "409") == set(conflicts.split())
    assert bool(problems(document, operation, "412")) == bool(failed)
    assert "no-such-row" in problems(document, operation, "404") or method in ("post", "put")
    assert {"front-unavailable"} <= problems(document, operation, "503")
    assert not {"queue-unavailable", "reader-busy"} & problems(document, operation, "503")
    assert "backlog" not in problems(document, operation, "429")


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_resources_behind_sqs_are_answered_as_ever(document, method):
    operation = call(document, "/{}/{{id}}", method, "later")

    assert "202" in operation["responses"]
    assert "412" not in operation["responses"]
    assert "conflict" not in problems(document, operation, "409")
    assert "queue-unavailable" in problems(document, operation, "503")


def test_reads_tell_what_only_a_resource_in_front_has(document):
    def headers(path, name):
        return {
            header: each["$ref"].rsplit("/", 1)[1]
            for header, each in call(document, path, "get", name)["responses"]["200"][
                "headers"
            ].items()
        }

    lag, refused = {"Decanter-Lag": "decanter-lag"}, {"Decanter-Refused": "decanter-refused"}
    assert headers("/{}", "now") == {**headers("/{}", "later"), **lag}
    assert headers("/{}/{{id}}", "now") == {**headers("/{}/{{id}}", "later"), **refused}
    assert {*lag.values(), *refused.values()} <= document["components"]["headers"].keys()


def test_a_created_row_has_an_address_an_etag_and_a_status(document):
    headers = {
        (path, method, status): {
            name: each["$ref"].rsplit("/", 1)[1] for name, each in answer["headers"].items()
        }
        for path, method in (("/{}", "post"), ("/{}/{{id}}", "put"), ("/{}/{{id}}", "delete"))
        for status, answer in call(document, path, method)["responses"].items()
        if status < "3"
    }

    common = {"Link": "link.front", "Preference-Applied": "preference-applied"}
    row = {"ETag": "etag", **common}
    assert headers["/{}", "post", "201"] == {"Location": "location.front", **row}
    assert headers["/{}/{{id}}", "put", "200"] == row
    assert headers["/{}/{{id}}", "delete", "204"] == common
    known = document["components"]["headers"]
    assert {each for found in headers.values() for each in found.values()} <= set(known)


def test_a_row_is_read_without_waiting_for_anything(document):
    names = {
        name: [
            each.get("name") or document["components"]["parameters"][each["$ref"][24:]]["name"]
            for each in call(document, "/{}/{{id}}", "get", name)["parameters"]
        ]
        for name in ("now", "later")
    }

    assert names["now"] == ["select", "If-None-Match"]
    assert names["later"] == ["select", "If-None-Match", "after", "wait"]


@pytest.mark.parametrize(("path", "method"), [("/{}", "post"), ("/{}/{{id}}", "patch")])
def test_no_preference_waits(document, path, method):
    prefer = {
        name: next(
            document["components"]["parameters"][each["$ref"].rsplit("/", 1)[1]]["description"]
            for each in call(document, path, method, name)["parameters"]
            if "prefer" in each["$ref"]
        )
        for name in ("now", "later")
    }

    assert "wait=N" not in prefer["now"]
    assert "wait=N" in prefer["later"]
    assert "return=minimal" in prefer["now"]


def test_the_description_says_which_resources_answer_at_once(document):
    described = {each["name"]: each["description"] for each in document["tags"]}

    assert "answered with their outcome at once" in described["now"]
    assert "outcome" not in described["later"]


def test_a_closed_resource_is_described_as_behind_sqs_and_refused_as_behind_dynamodb():
    def compiled(front, **columns):
        metadata = sa.MetaData()
        sa.Table("t", metadata, sa.Column("id", sa.Text, primary_key=True),
                 sa.Column("n", sa.Integer, **columns), info={"front": front})  # fmt: skip
        return json.loads(contract.compiled(SimpleNamespace(metadata=metadata)))

    closed, queued = compiled("closed"), compiled("sqs")

    front = closed["x-decanter"]["resources"]["t"].pop("front")
    assert (front.pop("closed"), closed) == (True, queued)
    assert front == compiled("dynamodb")["x-decanter"]["resources"]["t"]["front"]
    assert "resource-closed" in problems(closed, call(closed, "/{}", "post", "t"), "503")
    with pytest.raises(ModelError, match="changes with every update"):
        compiled("closed", onupdate=1)
