"""What operators may ask for under /ops: who they are, filters, pages."""

import json
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Date, Identity, Integer, MetaData, Table, Text, func

from chalicelib.api.ops import filters
from chalicelib.errors import Fault
from chalicelib.messages.message import caller_name
from chalicelib.messages.receipt import Receipt, issue, keyed_id, span
from tests.kit.api import assert_problem, body_of, problem
from tests.kit.reader_stub import RECEIPT, TOKEN, Reader

ID = "01890000-0000-7000-8000-000000000000"
PLACE = f"1769860800000000.{ID}.7"
NONE = {"body": '{"rejections": [], "next": null}', "next": None, "rows": 0}

METADATA = MetaData()
Table("pets", METADATA, Column("id", Integer, primary_key=True, autoincrement=False),
      Column("name", Text, primary_key=True))  # fmt: skip
Table("events", METADATA, Column("id", Integer, primary_key=True, autoincrement=False),
      info={"ordered": False})  # fmt: skip
Table("days", METADATA, Column("day", Date, primary_key=True, server_default=func.current_date()),
      Column("id", Integer, primary_key=True, autoincrement=False))  # fmt: skip
Table("made", METADATA, Column("id", Integer, Identity(always=True), primary_key=True))
Table("heap", METADATA, Column("id", Integer), info={"ordered": False})


@pytest.fixture(autouse=True)
def contract(compile_contract):
    compile_contract(METADATA)


def get(api: Any, path: str, **more: Any) -> Any:
    return api("GET", path, scopes="ops:read", **more)


@pytest.mark.parametrize("scopes", ["*:read *:write", "ops:write", "ops", ""])
@pytest.mark.parametrize("path", ["rejections", "rejections/causes", f"rejections/{ID}.0"])
def test_only_operators_see_rejections(api, monkeypatch, path, scopes):
    reader = Reader(monkeypatch, NONE)

    assert_problem(api("GET", f"/ops/{path}", scopes=scopes), 403, "missing-scope")
    assert_problem(api("POST", f"/ops/{path}", {}, scopes="ops:read"), 405, "op-not-allowed")
    assert not reader.asked


FAULTS = {
    "nonsense=1": ("?nonsense", "resource, type, constraint"),
    "type=a&type=b": ("?type", "more than once"),
    "resource=%00": ("?resource", "text"),
    "caller=" + "a" * 1_001: ("?caller", "1000 characters"),
    "since=yesterday": ("?since", "2026-01-31T12:00:00Z"),
    "since=2026-01-31": ("?since", "offset"),
    "since=2026-13-31T12:00:00Z": ("?since", "offset"),
    "until=0001-01-01T00:00:00%2B10:00": ("?until", "offset"),
    "since=2026-01-31T12:00:00Z&until=2026-01-31T13:00:00%2B01:00": ("?until", "later than since"),
    "receipt=mine": ("?receipt", "UUID"),
    f"receipt={ID.upper().replace('-', '')}": ("?receipt", "UUID"),
    f"receipt={TOKEN[:-4]}": ("?receipt", "receipt"),
    "key={}": ("?resource", "a key needs its resource"),
    "key={}&resource=nothing": ("?resource", "no resource 'nothing'"),
    "key={}&resource=heap": ("?key", "heap has no key"),
    "key={}&resource=pets": ("?key", "id, name"),
    "key=[1]&resource=pets": ("?key", "JSON object"),
    "key={&resource=pets": ("?key", "JSON object"),
    'key={"id":"1","name":"a"}&resource=pets': ("?key", "id: "),
    'key={"id":1,"name":"a","more":1}&resource=pets': ("?key", "id, name"),
    "state=done": ("?state", "open, resent, discarded, all"),
    "limit=0": ("?limit", "from 1 to 1000"),
    "limit=1001": ("?limit", "from 1 to 1000"),
    "limit=²": ("?limit", "from 1 to 1000"),
    "cursor=abc": ("?cursor", "start again"),
    f"cursor=1.{ID}.99999999999": ("?cursor", "start again"),
    f"cursor=1.{ID}": ("?cursor", "start again"),
}


@pytest.mark.parametrize("query", FAULTS)
def test_a_parameter_that_makes_no_sense_is_named_with_what_would(api, monkeypatch, query):
    reader = Reader(monkeypatch, NONE)

    answer = get(api, "/ops/rejections?" + quote(query, safe="=&%"))

    pointer, words = FAULTS[query]
    (fault,) = assert_problem(answer, 400, "invalid-query")["errors"]
    assert fault["pointer"] == pointer
    assert words in fault["detail"]
    assert not reader.asked


def test_all_faults_are_named_at_once(api):
    faults = body_of(get(api, "/ops/rejections?since=1&receipt=2&state=3"))["errors"]

    assert [each["pointer"] for each in faults] == ["?since", "?receipt", "?state"]


FILTERS: dict[str, Any] = {
    "": {},
    "resource=pets&type=check&constraint=&column=c&sqlstate=23505&caller=you%20%26%20me": {
        "resource": "pets",
        "type": "check",
        "constraint": "",
        "column": "c",
        "sqlstate": "23505",
        "caller": "you & me",
    },
    "since=2026-01-31T13:00:00.25%2B01:00&until=2026-02-01T00:00:00Z": {
        "since": "2026-01-31T12:00:00.250000+00:00",
        "until": "2026-02-01T00:00:00+00:00",
    },
    f"receipt={ID}": {"messages": [ID, ID]},
    f"receipt={TOKEN}": {"messages": [str(RECEIPT.id), RECEIPT.dedup_id(1)]},
    "state=all": {"state": "all"},
    'resource=events&key={"id":7}': {"resource": "events", "values": {"id": "7"}},
}


@pytest.mark.parametrize("query", FILTERS)
def test_a_filter_reaches_the_reader_checked(api, monkeypatch, query):
    reader = Reader(monkeypatch, NONE)

    assert get(api, f"/ops/rejections?{query}&limit=2&cursor={PLACE}").status_code == 200
    assert get(api, f"/ops/rejections/causes?{query}").status_code == 200

    expected = {"state": "open", **FILTERS[query]}
    given = {"filter": expected, "limit": 2, "cursor": PLACE, "form": "json"}
    assert reader.asked == [
        {"ask": "ops", "what": "rejections", "given": given},
        {"ask": "ops", "what": "causes", "given": {"filter": expected}},
    ]


def test_equal_keys_have_one_digest_and_days_that_a_client_may_leave_out_are_compared(api):
    def of(resource: str, **key: Any) -> dict[str, Any]:
        faults: list[Fault] = []
        found = filters.from_json({"resource": resource, "key": key}, "", faults)
        assert not faults
        return {name: found.get(name) for name in ("digest", "values")}

    assert of("pets", id=1, name="a") == of("pets", id=1, name="a")
    assert of("pets", id=1, name="a") != of("pets", id=2, name="a")
    assert of("pets", id=1, name="a")["values"] == {}
    assert len(of("pets", id=1, name="a")["digest"]) == 16
    one, other = of("days", day="2026-01-31", id=1), of("days", day="2026-02-01", id=1)
    assert one["digest"] == other["digest"]
    assert one["values"] == {"day": "2026-01-31"}


def test_the_whole_name_of_a_caller_finds_what_is_kept_of_it():
    faults: list[Fault] = []

    found = filters.from_json({"caller": "a" * 900}, "", faults)

    assert found["caller"] == caller_name("a" * 900)
    assert len(found["caller"]) < 300
    assert not faults


def test_a_receipt_with_an_idempotency_key_covers_all_splits(api, monkeypatch):
    reader = Reader(monkeypatch, NONE)
    receipt = Receipt(keyed_id("me", "k"), 0, 3, 9, "0" * 32)
    token = issue(receipt, b"another key", "somebody")

    get(api, f"/ops/rejections?receipt={token}")

    expected = [str(each) for each in span(receipt.id, 3)]
    assert reader.asked[0]["given"]["filter"]["messages"] == expected


@pytest.mark.parametrize("identity", [UUID(int=2**128 - 1), UUID(int=0), UUID(int=4 << 76)])
def test_a_token_that_no_version_has_issued_is_no_receipt(api, identity):
    token = issue(Receipt(identity, 0, 3, 9, "0" * 32), b"", "")

    assert problem(get(api, f"/ops/rejections?receipt={token}")) == "invalid-query"


def test_the_next_page_has_the_same_filters(api, monkeypatch):
    Reader(monkeypatch, {**NONE, "next": PLACE})
    sent = {"caller": "you & me", "constraint": "", "limit": "7", "type": "é"}

    link = get(api, f"/ops/rejections?{urlencode(sent)}&cursor={PLACE}0").headers["Link"]

    address = link[1 : link.index(">")]
    assert link == f'<{address}>; rel="next"'
    assert urlsplit(address).path == "/ops/rejections"
    query = parse_qs(urlsplit(address).query, keep_blank_values=True)
    assert query == {**{name: [text] for name, text in sent.items()}, "cursor": [PLACE]}


@pytest.mark.parametrize(
    ("accept", "form", "type_"),
    [
        ("*/*", "json", "application/json"),
        ("application/x-ndjson", "lines", "application/x-ndjson"),
        ("Application/NDJSON;q=1", "lines", "application/x-ndjson"),
        ("text/html, text/csv;q=0.5, */*", "csv", "text/csv; charset=utf-8; header=present"),
        ("application/json, text/csv", "json", "application/json"),
    ],
)
def test_a_client_chooses_the_form_of_a_page(api, monkeypatch, accept, form, type_):
    reader = Reader(monkeypatch, {"body": "x", "next": None, "rows": 1})

    answer = get(api, "/ops/rejections", Accept=accept)

    assert reader.asked[0]["given"]["form"] == form
    assert (answer.headers["Content-Type"], answer.body) == (type_, b"x")


def test_a_filter_in_a_body_has_its_faults_by_pointers():
    faults: list[Fault] = []

    filters.from_json({"since": 1, "a/b": 1, "type": None, "state": []}, "/filter", faults)
    filters.from_json([], "/filter", faults)

    assert [each.pointer for each in faults] == [
        "/filter/a~1b",
        "/filter/type",
        "/filter/since",
        "/filter/state",
        "/filter",
    ]


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["pets", "days", "id"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "name", "x"]), inner),
    max_leaves=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*filters.NAMES, "x"]), _values))
def test_no_filter_breaks_the_api(given):
    faults: list[Fault] = []

    found = filters.from_json(given, "", faults)

    json.dumps(found).encode()
    assert faults or found["state"] in filters.STATES
