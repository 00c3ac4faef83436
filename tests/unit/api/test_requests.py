"""The API function as clients see it, up to the queue: what is accepted, and every bad input."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib import asking
from chalicelib.api.http import idempotency
from chalicelib.api.http.caller import Caller
from chalicelib.api.http.request import Request
from chalicelib.api.reads import client
from chalicelib.messages.questions import RowAnswer
from chalicelib.messages.receipt import verify
from chalicelib.settings import MAX_BODY_BYTES
from tests.kit.api import (
    OBSERVATION,
    RECEIPT_KEY,
    STATION,
    assert_problem,
    body_of,
    station,
    token_of,
)
from tests.kit.project import PROJECT

# What is accepted


@pytest.mark.parametrize(
    ("method", "path", "body", "op"),
    [
        ("POST", "/stations", STATION, "create"),
        ("POST", "/stations", [STATION], "create"),
        ("PUT", "/stations/EDDF", station(icao=...), "replace"),
        ("PUT", "/stations/EDDF", STATION, "replace"),
        ("PATCH", "/stations/EDDF", {"active": False}, "merge"),
        ("DELETE", "/stations/EDDF", None, "delete"),
    ],
)
def test_a_write_is_accepted_with_a_receipt(api, recorder, method, path, body, op):
    answer = api(method, path, body)

    token = token_of(answer)
    assert body_of(answer) == {"receipt": token, "state": "pending", "writes": 1}
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == "application/json"
    (message,) = recorder.messages
    assert (message.op, message.resource, message.writes) == (op, "stations", 1)
    (part,) = message.sets
    assert json.loads(part.rows)["icao"] == "EDDF"
    assert {*part.members} == {*json.loads(part.rows)}
    receipt = verify(token, RECEIPT_KEY.encode(), "me")
    assert receipt is not None
    assert receipt.dedup_id(0) == message.dedup_id
    assert receipt.fingerprint == message.fingerprint
    assert receipt.accepted_at == message.accepted_at


def test_each_message_carries_who_has_sent_it_in_few_characters(api, recorder):
    api("POST", "/stations", [station(icao=f"X{n:03}") for n in range(50)], caller="someone")
    api("DELETE", "/stations/EDDF", caller="a" * 5_000 + "z")

    *many, last = [message.caller for message in recorder.messages]
    assert len(many) > 5
    assert {*many} == {"someone"}
    assert last.startswith("aaa")
    assert last.endswith("aaz")
    assert len(last) < 300


def test_all_writes_to_one_key_take_one_lane(api, recorder):
    api("POST", "/stations", STATION)
    api("PUT", "/stations/EDDF", station(icao=...))
    api("PATCH", "/stations/EDDF", {"active": False})
    api("DELETE", "/stations/%45DDF")

    assert len({entry.lane for _, entry in recorder.sent}) == 1
    assert {url for url, _ in recorder.sent} == {"https://queues.test/ordered.fifo"}
    assert len({part.digests for message in recorder.messages for part in message.sets}) == 1


def test_unordered_writes_take_the_other_queue(api, recorder):
    token_of(api("POST", "/observations", [OBSERVATION] * 3))

    ((url, entry),) = recorder.sent
    assert url == "https://queues.test/unordered"
    assert entry.lane is None
    assert recorder.messages[0].sets[0].digests == ()


def test_a_request_of_many_rows_is_split_by_lane_and_counted(api, recorder):
    answer = api("POST", "/stations", [station(icao=f"E{n:03}") for n in range(500)])

    receipt = verify(token_of(answer), RECEIPT_KEY.encode(), "me")
    assert receipt is not None
    assert receipt.writes == body_of(answer)["writes"] == 500
    assert receipt.messages == len(recorder.messages) > 1
    assert [m.dedup_id for m in recorder.messages] == [
        receipt.dedup_id(number) for number in range(receipt.messages)
    ]
    items = [i for m in recorder.messages for part in m.sets for i in part.items]
    assert sorted(items) == list(range(500))


def test_what_was_sent_is_what_travels(api, recorder):
    text = (
        b'{ "station": "EDDF", "observed_at":"2026-01-01T00:00:00+01:00",\n'
        b' "report": {"n": 0.12345678901234567890, "e": 1E+5}}'
    )

    token_of(api("POST", "/observations", text))

    assert recorder.messages[0].sets[0].rows == (
        '{"observed_at":"2026-01-01T00:00:00+01:00",'
        '"report":{"n": 0.12345678901234567890, "e": 1E+5},"station":"EDDF"}'
    )


def test_a_row_that_cannot_travel_by_its_values_travels_as_it_was_sent(api, recorder):
    text = (
        b'{ "station": "EDDF", "observed_at":"2026-01-01T00:00:00+01:00",\n "report": {"n": "\\n"}}'
    )

    token_of(api("POST", "/observations", text))

    (rows,) = recorder.messages[0].sets
    assert (rows.documents, rows.rows) == (None, text.decode().replace("\n", " "))


def test_rows_travel_by_their_values_only_if_these_are_no_longer(api, recorder):
    rows = [station_report({"n": 1}), station_report({str(n): "" for n in range(99)})]

    token_of(api("POST", "/observations", rows))

    sets = [rows for message in recorder.messages for rows in message.sets]
    assert [(rows.items, rows.documents) for rows in sets] == [((0,), ("report",)), ((1,), None)]


def station_report(report):
    return {"station": "EDDF", "observed_at": "2026-01-01T00:00:00Z", "report": report}


def test_the_same_idempotency_key_and_body_give_the_same_receipt_and_messages(api, recorder):
    rows = [station(icao=f"E{n:03}") for n in range(100)]

    one = api("POST", "/stations", rows, Idempotency_Key='"k"')
    two = api("POST", "/stations", rows, Idempotency_Key='"k"')

    assert token_of(one) == token_of(two)
    sent = [(entry.dedup_id, entry.lane) for _, entry in recorder.sent]
    assert sent[: len(sent) // 2] == sent[len(sent) // 2 :]
    assert len(set(sent)) == len(sent) // 2


def test_another_body_under_the_same_key_has_the_same_ids_and_another_fingerprint(api, recorder):
    one = token_of(api("PUT", "/stations/EDDF", STATION, Idempotency_Key="k"))
    idempotency._accepted.clear()  # another container
    two = token_of(api("PUT", "/stations/EDDF", station(name="x"), Idempotency_Key="k"))

    first, second = recorder.messages
    assert one != two
    assert first.dedup_id == second.dedup_id
    assert first.fingerprint != second.fingerprint


def test_the_container_that_took_a_key_refuses_another_body_at_once(api, recorder):
    one = token_of(api("PUT", "/stations/EDDF", STATION, Idempotency_Key="k"))

    refused = api("PUT", "/stations/EDDF", station(name="x"), Idempotency_Key="k")
    assert_problem(refused, 422, "key-reused")
    other = api("PUT", "/stations/EDDF", station(name="x"), Idempotency_Key="k", caller="you")
    assert token_of(other) != one
    assert token_of(api("PUT", "/stations/EDDF", STATION, Idempotency_Key="k")) == one
    assert len(recorder.sent) == 3


def test_without_a_key_every_request_is_one_of_its_own(api, recorder):
    assert token_of(api("POST", "/stations", STATION)) != token_of(
        api("POST", "/stations", STATION)
    )

    assert len({entry.dedup_id for _, entry in recorder.sent}) == 2


def test_another_key_or_caller_is_another_request(recorder, intake_environment):
    from chalicelib.api.writes import calls

    for caller, key in [("me", "a"), ("me", "b"), ("you", "a")]:
        named = Caller(caller, None)
        request = Request(
            "POST", "/stations", {"idempotency-key": key}, json.dumps(STATION).encode(), named
        )
        calls.create(request, "stations")

    assert len({entry.dedup_id for _, entry in recorder.sent}) == 3


@pytest.mark.parametrize(
    "type_",
    ["application/json", "Application/JSON; charset=utf-8", 'application/json;charset="UTF-8"',
     "application/json; profile=x; charset=utf-8", 'application/json; profile="a;charset=b"'],
)  # fmt: skip
def test_json_is_taken_in_all_its_spellings(api, type_):
    token_of(api("POST", "/stations", STATION, Content_Type=type_))
    token_of(
        api(
            "PATCH", "/stations/EDDF", {"active": True}, Content_Type="application/merge-patch+json"
        )
    )
    token_of(api("POST", "/stations", STATION, Content_Encoding="identity"))


def test_whole_numbers_may_have_a_point(api, recorder, compile_contract):
    from sqlalchemy import ARRAY, BigInteger, Column, Integer, MetaData, Table

    metadata = MetaData()
    Table(
        "counts",
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("n", Integer),
        Column("many", ARRAY(Integer)),
    )
    compile_contract(metadata)

    token_of(api("POST", "/counts", b'{"id": 1.0, "n": 1e3, "many": [1, 2.0, null]}'))
    token_of(api("PATCH", "/counts/1", b'{"n": 7}'))

    one, two = recorder.messages
    assert one.sets[0].rows == '{"id":1,"n":1000,"many":[1,2,null]}'
    assert two.sets[0].rows == '{"id":1,"n": 7}'
    assert one.sets[0].digests == two.sets[0].digests


# What is refused


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b"nope", b"[{}", b"{} {}", b"\xff", b"[" * 100_000, b'{"a": NaN}',
     b'{"icao": "A", "icao": "B"}', b'{"n": 1e999999999}', b"9" * 5_000,
     b'{"elevation_ft": 1e99999999999999999999}'],
)  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/stations"), ("PUT", "/stations/EDDF"), ("PATCH", "/stations/EDDF")],
)
def test_malformed_json_is_refused(api, recorder, method, path, body):
    problem = assert_problem(api(method, path, body), 400, "malformed-json")

    assert problem["errors"][0]["rule"] == "json"
    assert recorder.sent == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/nope", {}), ("PUT", "/nope/1", {}), ("PATCH", "/nope/1", {"a": 1}),
     ("DELETE", "/nope/1", None), ("GET", "/nope/1", None), ("POST", "/x-decanter", {})],
)  # fmt: skip
def test_an_unknown_resource_is_refused(api, recorder, method, path, body):
    problem = assert_problem(api(method, path, body), 404, "unknown-resource")

    assert "stations" in problem["detail"]
    assert recorder.sent == []


@pytest.mark.parametrize(
    ("rows", "pointer", "rule"),
    [
        (station(nope=1), "/nope", "additionalProperties"),
        (station(name=7), "/name", "type"),
        (station(name=None), "/name", "type"),
        (station(active="yes"), "/active", "type"),
        (station(active=1), "/active", "type"),
        (station(elevation_ft="364"), "/elevation_ft", "type"),
        (station(elevation_ft=100_000), "/elevation_ft", "maximum"),
        (station(elevation_ft=-100_000), "/elevation_ft", "minimum"),
        (station(elevation_ft=0.001), "/elevation_ft", "multipleOf"),
        (station(icao="EDDFX"), "/icao", "maxLength"),
        (station(country="DEU"), "/country", "maxLength"),
        (station(icao=...), "/icao", "required"),
        (station(name="a\0b"), "/name", "text"),
        (station(name="\ud800"), "/name", "text"),
        ([station(), station(icao="EDDM", name=7)], "/1/name", "type"),
        ([station(), 7], "/1", "type"),
        ([station(), None], "/1", "type"),
        ([[station()]], "/0", "type"),
        ([station(name="\0")], "/0/name", "text"),
        ("EDDF", "", "type"),
        (7, "", "type"),
        (None, "", "type"),
        ({}, "/icao", "required"),
        ([], "", "minItems"),
    ],
)
def test_a_row_that_is_none_is_refused_with_pointer_and_rule(api, recorder, rows, pointer, rule):
    problem = assert_problem(
        api("POST", "/stations", json.dumps(rows).encode()), 422, "invalid-row"
    )

    assert (pointer, rule) in [(e["pointer"], e["rule"]) for e in problem["errors"]]
    assert all(error["detail"] for error in problem["errors"])
    assert recorder.sent == []


@pytest.mark.parametrize(
    ("member", "value", "rule"),
    [
        ("observed_at", "yesterday", "pattern"),
        ("observed_at", "2026-01-01T00:00:00", "pattern"),
        ("observed_at", "2026-02-30T00:00:00Z", "pattern"),
        ("observed_at", "2026-01-01T00:00:00.1234567Z", "pattern"),
        ("temperature_c", 1000, "maximum"),
        ("temperature_c", 1.25, "multipleOf"),
        ("id", 7, "additionalProperties"),
    ],
)
def test_values_that_postgres_would_change_or_refuse_are_refused(
    api, recorder, member, value, rule
):
    problem = assert_problem(
        api("POST", "/observations", [OBSERVATION, {**OBSERVATION, member: value}]),
        422,
        "invalid-row",
    )

    assert rule in [error["rule"] for error in problem["errors"]]
    assert recorder.sent == []


def test_one_bad_row_among_good_ones_refuses_the_request(api, recorder):
    rows = [station(icao=f"E{n:03}") for n in range(100)]
    rows[63]["latitude"] = "north"

    problem = assert_problem(api("POST", "/stations", rows), 422, "invalid-row")

    assert [error["pointer"] for error in problem["errors"]] == ["/63/latitude"]
    assert recorder.sent == []


def test_faults_are_listed_up_to_a_number(api):
    problem = assert_problem(
        api("POST", "/stations", [station(name=n) for n in range(1_000)]), 422, "invalid-row"
    )

    assert len(problem["errors"]) == 50
    assert problem["errors"][49]["pointer"] == "/49/name"


@pytest.mark.parametrize(
    "rows",
    [
        station(icao="x" * 1_000_000),
        station(**{"n" * 1_000_000: 1}),
        {f"column_{n}": n for n in range(20_000)},
        [[] for _ in range(20_000)],
        ["x" * 1_000] * 1_000,
    ],
)
def test_an_answer_does_not_repeat_a_large_request(api, rows):
    answer = api("POST", "/stations", rows)

    problem = assert_problem(answer, 422, "invalid-row")
    assert all(len(error["detail"]) < 500 for error in problem["errors"])


def test_the_answer_to_a_large_key_is_small(api):
    assert_problem(api("DELETE", "/stations/" + "x" * 100_000), 422, "invalid-key")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_key_in_the_body_has_to_be_the_one_in_the_path(api, recorder, method):
    problem = assert_problem(api(method, "/stations/EDDM", STATION), 422, "key-differs")

    assert problem["errors"] == [
        {"pointer": "/icao", "rule": "key", "detail": 'the path has "EDDM"'}
    ]
    assert recorder.sent == []


@pytest.mark.parametrize(
    ("method", "path", "body", "rule"),
    [
        ("PUT", "/stations/EDDF", [STATION], "type"),
        ("PATCH", "/stations/EDDF", [{"active": True}], "type"),
        ("PATCH", "/stations/EDDF", [], "type"),
        ("PATCH", "/stations/EDDF", {}, "minProperties"),
        ("PATCH", "/stations/EDDF", {"icao": "EDDF"}, "minProperties"),
        ("PATCH", "/stations/EDDF", {"name": None}, "type"),
        ("PATCH", "/stations/EDDF", {"nope": 1}, "additionalProperties"),
        ("PUT", "/stations/EDDF", {"name": "x"}, "required"),
        ("PUT", "/stations/EDDF", "EDDF", "type"),
        ("PATCH", "/stations/EDDF", None, "type"),
    ],
)
def test_a_change_that_is_none_is_refused(api, recorder, method, path, body, rule):
    answer = api(method, path, json.dumps(body).encode())

    problem = assert_problem(answer, 422, "invalid-row")
    assert rule in [error["rule"] for error in problem["errors"]]
    assert recorder.sent == []


@pytest.mark.parametrize("path", ["/stations/EDDFX", "/stations/%00", "/stations/%FF"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "GET"])
def test_an_impossible_key_is_refused(api, recorder, method, path):
    body = None if method in ("DELETE", "GET") else {"active": True}

    problem = assert_problem(api(method, path, body), 422, "invalid-key")

    assert problem["errors"][0]["pointer"] == "/icao"
    assert recorder.sent == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "GET"])
def test_a_path_of_another_length_names_nothing(api, recorder, method):
    body = None if method in ("DELETE", "GET") else {"active": True}

    problem = assert_problem(api(method, "/stations/EDDF/x", body), 404, "unknown-path")

    assert "/stations/{icao}" in problem["detail"]
    assert recorder.sent == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_unordered_resources_only_take_creates(api, recorder, method):
    body = None if method == "DELETE" else OBSERVATION

    answer = api(method, "/observations/1", body)

    assert_problem(answer, 405, "op-not-allowed")
    assert answer.headers["Allow"] == "GET, HEAD"
    assert recorder.sent == []


@pytest.mark.parametrize(
    "type_",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/xml", "application/json; charset=latin-1", "application/jsonx",
     "application/json; x=y; charset=utf-16",
     "application/json; charset=utf-8; charset=utf-16", "application/json; charset", "json",
     "application/merge-patch+json", "application/octet-stream", "nonsense"],
)  # fmt: skip
def test_another_content_type_is_refused(api, recorder, type_):
    answer = api("POST", "/stations", STATION, Content_Type=type_)

    assert_problem(answer, 415, "unsupported-media-type")
    assert answer.headers["Accept"] == "application/json"
    assert recorder.sent == []


@pytest.mark.parametrize(
    ("type_", "body", "problem"),
    [
        ("application/json", b'{"icao": "A\xff"}', "malformed-json"),
        ("application/x-ndjson", b'{"icao": "A\xff"}', "malformed-json"),
        ("text/csv", b"icao\nA\xff\n", "malformed-csv"),
    ],
)
@pytest.mark.parametrize("by_gateway", [False, True])
def test_what_is_not_utf_8_is_refused(api, recorder, type_, body, problem, by_gateway):
    """API Gateway puts U+FFFD in the place of bytes that are none."""
    length = str(len(body))
    if by_gateway:
        body = body.decode(errors="replace").encode()

    answer = api("POST", "/stations", body, Content_Type=type_, Content_Length=length)

    assert "UTF-8" in assert_problem(answer, 400, problem)["detail"]
    assert recorder.sent == []


def test_a_replacement_character_of_the_client_is_taken(api, recorder):
    for body in (
        json.dumps(station(name="\ufffd")).encode(),
        json.dumps(station(name="\ufffd"), ensure_ascii=False).encode(),
    ):
        answer = api("POST", "/stations", body, Content_Length=str(len(body)))

        assert answer.status_code == 202

    assert len(recorder.sent) == 2


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_an_encoded_body_is_refused(api, recorder, encoding):
    answer = api("POST", "/stations", STATION, Content_Encoding=encoding)

    assert_problem(answer, 415, "unsupported-media-type")
    assert recorder.sent == []


def test_a_body_over_the_limit_is_refused(api, recorder):
    answer = api("POST", "/stations", b"[" + b" " * MAX_BODY_BYTES + b"]")

    assert_problem(answer, 413, "body-too-large")
    assert recorder.sent == []


def test_a_row_that_fits_no_message_is_refused(api, recorder):
    big = {**OBSERVATION, "report": {"x": "y" * 1_000_000}}

    problem = assert_problem(api("POST", "/observations", [OBSERVATION, big]), 413, "row-too-large")

    assert problem["errors"][0]["pointer"] == "/1"
    assert recorder.sent == []


@pytest.mark.parametrize(("method", "path"), [("POST", "/stations"), ("PATCH", "/stations/EDDF")])
def test_a_body_of_one_row_is_the_place_of_what_is_too_large(api, method, path):
    large = {**STATION, "name": "x" * 1_000_000}

    problem = assert_problem(api(method, path, large), 413, "row-too-large")

    assert problem["errors"][0]["pointer"] == ""


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256, '"a'])
def test_an_idempotency_key_that_does_not_fit_is_refused(api, recorder, key):
    for method, path, body in [("POST", "/stations", STATION), ("DELETE", "/stations/EDDF", None)]:
        answer = api(method, path, body, Idempotency_Key=key)

        assert_problem(answer, 400, "invalid-idempotency-key")
    assert recorder.sent == []


@pytest.mark.parametrize("depth", [99, 120, 300, 900])
def test_deep_values_are_taken_or_refused_but_never_break_anything(api, recorder, depth):
    report = b"[" * depth + b'"\\ud83d\\ude00"' + b"]" * depth
    answer = api("POST", "/observations", b'{"station":"EDDF","observed_at":"2026-01-01T00:00:00Z",'
                                          b'"report":' + report + b"}")  # fmt: skip
    if depth < 100:
        token_of(answer)
    else:
        assert_problem(answer, 400, "malformed-json")
        assert recorder.sent == []


@pytest.mark.parametrize("token", ["x", "A" * 80, "%00", "%2F", "ü", "A" * 10_000])
def test_a_forged_receipt_is_refused_without_a_look_up(api, monkeypatch, token):
    monkeypatch.setattr(asking, "_client", None)  # nobody may be asked

    assert_problem(api("GET", f"/writes/{token}"), 404, "unknown-receipt")


def test_a_receipt_of_another_caller_is_refused_without_a_look_up(api, monkeypatch):
    from chalicelib.messages.receipt import Receipt, issue, new_id

    monkeypatch.setattr(asking, "_client", None)
    token = issue(Receipt(new_id(1), 1, 1, 1, "0" * 32), RECEIPT_KEY.encode(), "somebody else")

    assert_problem(api("GET", f"/writes/{token}"), 404, "unknown-receipt")


def test_a_function_that_was_not_configured_says_what_to_do(api, recorder, monkeypatch):
    monkeypatch.delenv("DECANTER_ORDERED_QUEUE_URL")

    for method, path, body in [
        ("POST", "/stations", STATION),
        ("DELETE", "/stations/EDDF", None),
        ("GET", "/stations/EDDF", None),
        ("GET", "/writes/x", None),
    ]:
        problem = assert_problem(api(method, path, body), 503, "not-configured")

        assert "make dev" in problem["detail"]
        assert "DECANTER_ORDERED_QUEUE_URL" in problem["detail"]
    assert recorder.sent == []


def test_what_nobody_foresaw_is_a_problem_that_tells_nothing(api, monkeypatch):
    from chalicelib.buffer.sqs import put

    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(put, "send", fail)

    answer = api("POST", "/stations", STATION)

    assert_problem(answer, 500, "internal")
    assert b"secret" not in answer.body


def test_the_contract_is_served_as_it_is_committed(api):

    answer = api("GET", "/openapi.json")

    assert answer.status_code == 200
    assert answer.body == (PROJECT / "chalicelib/contract.json").read_bytes()


def test_health_needs_nothing(api):
    assert body_of(api("GET", "/health")) == {"status": "ok"}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*STATION, "x"]) | st.text(), inner, max_size=5)
    ),
    max_leaves=10,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.binary(max_size=50) | values.map(lambda value: json.dumps(value).encode()))
def test_no_body_is_a_500(api, recorder, body):
    for method, path in [("POST", "/stations"), ("PUT", "/stations/A"), ("PATCH", "/stations/A")]:
        assert api(method, path, body).status_code in (202, 400, 422)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/page.js", "/stations/EDDF"])
def test_head_is_answered_as_get_is(api, monkeypatch, path):
    """With the body, whose length is told; whoever sends it on leaves the body out."""
    row = RowAnswer('{"icao":"EDDF"}', "5f8a")
    monkeypatch.setattr(client, "ask", lambda *_: row)

    assert api("HEAD", path) == api("GET", path)
    assert api("HEAD", "/stations/EDDF", scopes="stations:write").status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/docs", "GET, HEAD"),
        ("POST", "/writes/x", "GET, HEAD"),
        ("PUT", "/stations", "GET, HEAD, POST"),
        ("POST", "/stations/EDDF", "GET, HEAD, PUT, PATCH, DELETE"),
    ],
)
def test_another_method_is_answered_with_those_that_there_are(api, method, path, allowed):
    answer = api(method, path, {})

    assert_problem(answer, 405, "op-not-allowed")
    assert answer.headers["Allow"] == allowed
