"""Lists, from a query's parameters to the reader's question and to the next page."""

import json
import random
import re
from functools import partial
from string import ascii_letters
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import DOMAIN, JSONB, MONEY
from sqlalchemy.types import UserDefinedType

from tests.kit.api import problem
from tests.kit.reader_stub import Reader

PAGE = {"body": '[{"id":1}]', "next": None}
COUNTED = {**PAGE, "rows": 1, "count": 1}


class Xml(UserDefinedType):
    def get_col_spec(self) -> str:
        return "XML"


class Point(UserDefinedType):
    def get_col_spec(self) -> str:
        return "POINT"


METADATA = MetaData()
Table(
    "things",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("order", Text),
    Column("limit", Integer),
    Column("cursor", Text),
    Column("select", Text),
    Column("column.order", Text),
    Column("a", Text),
    Column("a.desc", Text),
    Column("a,b", Text),
    Column('"', Text),
    Column("ümlaut & co", Text),
    Column("price", Numeric(10, 2)),
    Column("ratio", Float),
    Column("active", Boolean),
    Column("born", DateTime(timezone=True)),
    Column("uuid", Uuid),
    Column("colour", Enum("red", "it's 100%", name="colour"), nullable=False),
    Column("raw", LargeBinary),
    Column("cost", MONEY),
    Column("tags", ARRAY(Text)),
    Column("doc", JSONB),
    Column("page", Xml),
    Column("sheet", DOMAIN("sheet", Xml())),
    Column("place", Point),
)
Table(
    "pairs",
    METADATA,
    Column("b", Integer, primary_key=True),
    Column("a", JSONB, primary_key=True),
    Column("n", Integer),
)
Table("others", METADATA, Column("id", Integer, primary_key=True), Column("n", Integer))
Table("lines", METADATA, Column("text", Text), info={"ordered": False})


@pytest.fixture
def reader(monkeypatch, compile_contract):
    compile_contract(METADATA)
    return partial(Reader, monkeypatch)


def asked(api, reader, query: str) -> dict[str, Any]:
    found = reader(PAGE)
    answer = api("GET", f"/things?{query}")
    assert answer.status_code == 200, answer.body
    return found.asked[0]


def next_of(answer: Any) -> str:
    """The path of the next page."""
    link = re.fullmatch(r'<([^<>]+)>; rel="next"', answer.headers["Link"])
    assert link
    assert answer.headers["Link"].isascii()
    return link[1]


def test_a_list_of_a_resource_in_front_says_how_far_behind_it_is(api, reader):
    for page in (PAGE, COUNTED):
        headers = {"Prefer": "count=exact"} if page is COUNTED else {}
        reader({**page, "lag": 0.449, "age": 12.3})
        assert api("GET", "/things", **headers).headers["Decanter-Lag"] == "0.4;age=12"
        for unknown in ({}, {"lag": None, "age": None}):
            reader({**page, **unknown})
            assert "Decanter-Lag" not in api("GET", "/things", **headers).headers


def test_a_list_without_parameters_is_that_of_the_key(api, reader):
    found = reader(PAGE)

    answer = api("GET", "/things")

    assert (answer.status_code, answer.body) == (200, b'[{"id":1}]')
    assert answer.headers["Content-Type"] == "application/json"
    assert "Link" not in answer.headers
    assert found.asked == [
        {
            "ask": "list",
            "resource": "things",
            "filters": "{}",
            "order": [["id", "asc"]],
            "limit": 100,
            "from": None,
        }
    ]


@pytest.mark.parametrize(
    ("query", "filters"),
    [
        ("a=x", '{"a":"x"}'),
        ("a=", '{"a":""}'),
        ("a=eq.null", '{"a":"null"}'),
        ("a=eq.", '{"a":""}'),
        ("a=eq.gte.5", '{"a":"gte.5"}'),
        ("a=eq.eq.eq.x", '{"a":"eq.eq.x"}'),
        ("a=eq.%22x%22", '{"a":"\\"x\\""}'),
        ("a=eq.a%0Ab", '{"a":"a\\nb"}'),
        ("a=www.example.com", '{"a":"www.example.com"}'),
        ("a=GTE.5", '{"a":"GTE.5"}'),
        ("a=gte", '{"a":"gte"}'),
        ("a=gte5.5", '{"a":"gte5.5"}'),
        ("a=Null", '{"a":"Null"}'),
        ("id=eq.007", '{"id":7}'),
        ("price=eq.1.50", '{"price":1.50}'),
        ("active=eq.false", '{"active":false}'),
        ("column.select=x", '{"select":"x"}'),
        ("a,b=x", '{"a,b":"x"}'),
        ("a=1", '{"a":"1"}'),
        ("id=007", '{"id":7}'),
        ("price=1.50", '{"price":1.50}'),
        ("price=100", '{"price":100}'),
        ("ratio=1e-7", '{"ratio":1E-7}'),
        ("ratio=NaN", '{"ratio":"NaN"}'),
        ("active=false", '{"active":false}'),
        ("born=2026-01-01T00:00:00.000001Z", '{"born":"2026-01-01T00:00:00.000001Z"}'),
        ("born=infinity", '{"born":"infinity"}'),
        ("raw=%5Cx00ff", '{"raw":"\\\\x00ff"}'),
        ("cost=$1.00", '{"cost":"$1.00"}'),
        ("colour=it%27s+100%25", '{"colour":"it\'s 100%"}'),
        ("%C3%BCmlaut%20%26%20co=%F0%9F%98%80", '{"ümlaut & co":"😀"}'),
        ("a=x&id=1", '{"a":"x","id":1}'),
        ("column.order=x", '{"order":"x"}'),
        ("column.limit=5", '{"limit":5}'),
        ("column.cursor=x", '{"cursor":"x"}'),
        ("column.column.order=x", '{"column.order":"x"}'),
    ],
)
def test_filters_have_the_types_of_their_columns(api, reader, query, filters):
    assert asked(api, reader, query)["filters"] == filters


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("id=gte.18&id=lt.65", [["id", "gte", False, ["18"]], ["id", "lt", False, ["65"]]]),
        ("id=not.gt.007", [["id", "gt", True, ["7"]]]),
        ("price=lte.1.50", [["price", "lte", False, ["1.50"]]]),
        ("ratio=neq.-1e-7", [["ratio", "neq", False, ["-1E-7"]]]),
        ("a=not.eq.x", [["a", "eq", True, ["x"]]]),
        ("a=gt.", [["a", "gt", False, [""]]]),
        ("a=lt.lt.null", [["a", "lt", False, ["lt.null"]]]),
        ("ratio=lt.NaN", [["ratio", "lt", False, ["NaN"]]]),
        ("active=gt.false", [["active", "gt", False, ["false"]]]),
        ("born=lt.infinity", [["born", "lt", False, ["infinity"]]]),
        ("colour=gte.red", [["colour", "gte", False, ["red"]]]),
        ("id=in.(1,02,3)", [["id", "in", False, ["1", "2", "3"]]]),
        ("id=not.in.(1)", [["id", "in", True, ["1"]]]),
        ("a=in.()", [["a", "in", False, []]]),
        ('a=in.("")', [["a", "in", False, [""]]]),
        ("a=in.(,)", [["a", "in", False, ["", ""]]]),
        ("a=in.(a b, c)", [["a", "in", False, ["a b", " c"]]]),
        ('a=in.(a,"c,d)","\\"","\\\\",null,5",(x)', [
            ["a", "in", False, ["a", "c,d)", '"', "\\", "null", '5"', "(x"]]]),
        ("a=in.(is.null,eq.x)", [["a", "in", False, ["is.null", "eq.x"]]]),
        ("tags=is.null", [["tags", "is", False, ["null"]]]),
        ("doc=not.is.null", [["doc", "is", True, ["null"]]]),
        ("place=is.not_null", [["place", "is", True, ["null"]]]),
        ("a=not.is.not_null", [["a", "is", False, ["null"]]]),
        ("active=not.is.true", [["active", "is", True, ["true"]]]),
        ("column.order=is.null", [["order", "is", False, ["null"]]]),
    ],
)  # fmt: skip
def test_operators_are_those_of_postgrest(api, reader, query, where):
    question = asked(api, reader, quote(query, safe="=&"))

    assert (question["ask"], question["filters"]) == ("search", "{}")
    assert question["where"] == where
    assert "select" not in question


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("id", ["id"]),
        ("doc,a,id", ["doc", "a", "id"]),
        ("order,select", ["order", "select"]),
        ('"a,b","a",a.desc,"\\""', ["a,b", "a", "a.desc", '"']),
        ("ümlaut & co", ["ümlaut & co"]),
    ],
)
def test_the_columns_to_show_are_chosen(api, reader, text, columns):
    assert asked(api, reader, urlencode({"select": text}))["select"] == columns
    found = reader({"body": "{}", "etag": "5f8a"})
    answer = api("GET", f"/things/1?{urlencode({'select': text})}")
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"5f8a"')
    assert found.asked == [
        {"ask": "part", "resource": "things", "key": '{"id":1}', "select": columns}
    ]


def test_a_list_that_every_version_of_the_reader_knows_is_asked_for_in_its_words(api, reader):
    """One that does not know a filter would leave it out, and answer with other rows."""
    for query in ("", "a=x", "a=eq.gt.x&id=7", "select=*", "order=a&limit=5"):
        assert asked(api, reader, query).keys() == {
            "ask", "resource", "filters", "order", "limit", "from",
        }  # fmt: skip
    for query in ("a=gt.x", "a=not.eq.x", "a=is.null", "select=a"):
        assert asked(api, reader, query)["ask"] == "search"
    found = reader(COUNTED)
    assert api("GET", "/things?a=x", Prefer="count=exact").status_code == 200
    assert found.asked[0]["ask"] == "counted"


@pytest.mark.parametrize(
    ("rows", "count", "start", "told"),
    [
        (25, 3_573_458, None, "0-24/3573458"),
        (1, 1, None, "0-0/1"),
        (0, 0, None, "*/0"),
        (25, 30, '{"id":1}', "*/30"),
    ],
)
def test_a_count_is_given_where_it_is_preferred(api, reader, rows, count, start, told):
    cursor = f"&cursor={given_cursor(api, reader, 'a=x', start)}" if start else ""
    found = reader({**COUNTED, "rows": rows, "count": count, "next": '{"id":2}'})

    answer = api("GET", f"/things?a=x{cursor}", Prefer='wait=5, count="exact"')

    assert answer.status_code == 200
    assert answer.headers["Content-Range"] == told
    assert answer.headers["Preference-Applied"] == "count=exact"
    assert "Link" in answer.headers
    assert [asked["ask"] for asked in found.asked] == ["counted"]


@pytest.mark.parametrize("prefer", ["count=planned", "count", "wait=5", "count=none, count=exact"])
def test_a_count_is_not_given_where_it_is_not_preferred(api, reader, prefer):
    found = reader(PAGE)

    answer = api("GET", "/things", Prefer=prefer)

    assert not {"Content-Range", "Preference-Applied"} & answer.headers.keys()
    assert found.asked[0]["ask"] == "list"


def test_a_reader_that_does_not_count_is_not_believed(api, reader):
    reader(PAGE)

    answer = api("GET", "/things", Prefer="count=exact")

    assert (answer.status_code, problem(answer)) == (503, "reader-busy")


@pytest.mark.parametrize(
    ("order", "columns"),
    [
        ("a", [["a", "asc"], ["id", "asc"]]),
        ("price.desc", [["price", "desc"], ["id", "asc"]]),
        ("price.desc,active.asc,born", [["price", "desc"], ["active", "asc"], ["born", "asc"],
                                        ["id", "asc"]]),
        ("id.desc", [["id", "desc"]]),
        ("id.desc,price", [["id", "desc"], ["price", "asc"]]),
        ("a.desc", [["a", "desc"], ["id", "asc"]]),
        ("a.desc.asc", [["a.desc", "asc"], ["id", "asc"]]),
        ("a.desc.desc", [["a.desc", "desc"], ["id", "asc"]]),
        ("column.order", [["column.order", "asc"], ["id", "asc"]]),
        ('"a,b".desc,"a"', [["a,b", "desc"], ["a", "asc"], ["id", "asc"]]),
        ("order.desc,limit", [["order", "desc"], ["limit", "asc"], ["id", "asc"]]),
    ],
)  # fmt: skip
def test_an_order_ends_with_the_key(api, reader, order, columns):
    assert asked(api, reader, f"order={quote(order)}")["order"] == columns


def test_a_key_that_cannot_be_filtered_by_is_an_order_still(api, reader):
    found = reader(PAGE)

    assert api("GET", "/pairs?order=n.desc&b=1").status_code == 200
    assert found.asked[0]["order"] == [["n", "desc"], ["b", "asc"], ["a", "asc"]]
    assert api("GET", "/pairs?a=1").status_code == 400


@pytest.mark.parametrize(("text", "limit"), [("1", 1), ("1000", 1000), ("0042", 42)])
def test_a_limit_is_passed_on(api, reader, text, limit):
    assert asked(api, reader, f"limit={text}")["limit"] == limit


@pytest.mark.parametrize(
    ("query", "pointer", "words"),
    [
        ("limit=0", "?limit", "from 1 to 1000"),
        ("limit=1001", "?limit", "from 1 to 1000"),
        ("limit=-1", "?limit", "from 1 to 1000"),
        ("limit=ten", "?limit", "from 1 to 1000"),
        ("limit=", "?limit", "from 1 to 1000"),
        ("limit=1.0", "?limit", "from 1 to 1000"),
        ("limit=%D9%A3", "?limit", "from 1 to 1000"),
        ("limit=" + "1" * 5000, "?limit", "from 1 to 1000"),
        ("limit=5&limit=5", "?limit", "more than once"),
        ("a=x&a=y", "?a", "more than once"),
        ("order=a&order=id", "?order", "more than once"),
        ("nothing=x", "?nothing", "there are: id, column.order, "),
        ("tags=x", "?tags", "is.null or not.is.null"),
        ("doc=%7B%7D", "?doc", "is.null or not.is.null"),
        ("page=x", "?page", "is.null or not.is.null"),
        ("sheet=x", "?sheet", "is.null or not.is.null"),
        ("place=x", "?place", "is.null or not.is.null"),
        ("column.a=x", "?column.a", "no such column"),
        ("a=null", "?a", "is.null finds rows without a value, and eq.null those with the text"),
        ("id=null", "?id", "is.null finds rows without a value"),
        ("id=gt.null", "?id", "is.null finds rows without a value"),
        ("tags=null", "?tags", "is.null finds rows without a value"),
        ("tags=in.(x)", "?tags", "is.null or not.is.null"),
        ("tags=is.true", "?tags", "is.null"),
        ("a=like.x*", "?a", "there is no like.; there are: eq, neq, gt, gte, lt, lte, in, is, "),
        ("a=like.x*", "?a", "to find the text itself: eq.like.x*"),
        ("a=not.ilike.x", "?a", "there is no not.ilike."),
        ("a=fts(english).x", "?a", "there is no fts(english)."),
        ("a=eq(any).%7Bx%7D", "?a", "there is no eq(any)."),
        ("a=not.x", "?a", "to find the text itself: eq.not.x"),
        ("a=not.null", "?a", "to find the text itself: eq.not.null"),
        ("a=not.www.x", "?a", "to find the text itself: eq.not.www.x"),
        ("a=is.x", "?a", "is.null, is.not_null, each also after not.; to find the text itself:"),
        ("a=is.true", "?a", "to find the text itself: eq.is.true"),
        ("active=is.maybe", "?active", "is.true, is.false, is.unknown"),
        ("a=in.example.com", "?a", "to find the text itself: eq.in.example.com"),
        ("a=in.(a,b", "?a", "a list in brackets"),
        ("a=in.(a),b", "?a", "a list in brackets"),
        ("a=in.(a)b)", "?a", "a list in brackets"),
        ("a=in.(%22a,b)", "?a", "a list in brackets"),
        ("a=in.(%22a%22b)", "?a", "a list in brackets"),
        ("id=in.(1,x)", "?id", 'a whole number, not "x"'),
        ("id=in.(1,)", "?id", "a whole number"),
        ("id=gte.9999999999", "?id", "at most 2147483647"),
        ("price=gt.1.005", "?price", "more than 2 decimal places"),
        ("a=gt.%00", "?a", "U+0000"),
        ("a=x&a=eq.y", "?a", "for several values, use in.(a,b)"),
        ("&".join(["id=gt.1"] * 21), "?id", "20 filters"),
        ("or=(a.eq.1,a.eq.2)", "?or", "in.(a,b)"),
        ("and=(a.eq.1)", "?and", "age=gte.18&age=lt.65"),
        ("not.or=(a.eq.1)", "?not.or", "not."),
        ("offset=5", "?offset", "Link"),
        ("doc-%3Ea=eq.1", "?doc->a", "aths into JSON are not supported"),
        ("select=", "?select", "there are: id, order, "),
        ("select=nothing", "?select", "there are: id, order, "),
        ("select=id,,a", "?select", "there are: id, order, "),
        ("select=id,a,id", "?select", "id appears more than once"),
        ("select=*,id", "?select", "* stands alone"),
        ("select=a::text", "?select", "casts are not supported"),
        ("select=b:a", "?select", "cannot be renamed"),
        ("select=others(*)", "?select", "nothing can be embedded"),
        ("select=id,others(id,n)", "?select", "nothing can be embedded"),
        ("select=id.sum()", "?select", "nothing can be embedded or computed"),
        ("select=doc-%3E%3Ea", "?select", "aths into JSON are not supported"),
        ("select=%22a,b", "?select", "there are: id, order, "),
        ("select=id&select=a", "?select", "more than once"),
        ("id=x", "?id", "a whole number"),
        ("id=1.5", "?id", "a whole number"),
        ("id=9999999999", "?id", "at most 2147483647"),
        ("id=", "?id", "a whole number"),
        ("price=x", "?price", "a number"),
        ("price=NaN", "?price", "a number"),
        ("active=1", "?active", "true or false"),
        ("colour=blue", "?colour", "blue"),
        ("raw=xyz", "?raw", "xyz"),
        ("a=%00", "?a", "U+0000"),
        ("order=", "?order", "not a column to order by"),
        ("order=a,,id", "?order", "not a column to order by"),
        ("order=nothing.desc", "?order", "not a column to order by"),
        ("order=tags", "?order", "not a column to order by"),
        ("order=page", "?order", "not a column to order by"),
        ("order=price.down", "?order", "use price.asc or price.desc"),
        ("order=price.nullsfirst", "?order", "is not a direction"),
        ("order=price.DESC", "?order", "is not a direction"),
        ("order=price.", "?order", "is not a direction"),
        ("order=a,price,a.asc", "?order", "a appears more than once"),
        ("order=id,id.desc", "?order", "id appears more than once"),
        ("cursor=", "?cursor", "start again"),
        ("cursor=x", "?cursor", "start again"),
        ("cursor=%C3%BC", "?cursor", "start again"),
        ("cursor=" + "A" * 100, "?cursor", "start again"),
    ],
)
def test_a_query_that_does_not_fit_is_reported_with_what_would(api, reader, query, pointer, words):
    found = reader(PAGE)

    answer = api("GET", f"/things?{query}")

    assert (answer.status_code, problem(answer)) == (400, "invalid-query")
    (fault,) = json.loads(answer.body)["errors"]
    assert fault["pointer"] == pointer
    assert words in fault["detail"]
    assert json.loads(answer.body)["detail"].startswith(f"{pointer}: ")
    assert found.asked == []


def test_the_text_null_is_offered_where_it_may_be_one(api, reader):
    reader(PAGE)

    for column, offered in (("a", True), ("id", False), ("colour", False), ("doc", False)):
        assert (b"eq.null" in api("GET", f"/things?{column}=null").body) is offered, column


def test_every_fault_is_reported(api, reader):
    reader(PAGE)

    answer = api("GET", "/things?limit=0&id=x&nothing=1&order=nothing")

    pointers = {fault["pointer"] for fault in json.loads(answer.body)["errors"]}
    assert pointers == {"?limit", "?id", "?nothing", "?order"}


def test_as_many_faults_are_reported_as_of_a_body(api, reader):
    unknown = "&".join(f"x{number}" for number in range(1_000))
    told = json.loads(api("GET", f"/things?{unknown}").body)

    assert [each["pointer"] for each in told["errors"]] == [f"?x{n}" for n in range(50)]


def test_a_table_without_a_key_has_no_list(api, reader):
    found = reader(PAGE)

    answer = api("GET", "/lines")

    assert (answer.status_code, problem(answer)) == (405, "op-not-allowed")
    assert answer.headers["Allow"] == "POST"
    assert found.asked == []


def test_a_list_needs_the_scope(api, reader):
    found = reader(PAGE)

    for path, scopes in (("/things", "things:write pairs:read"), ("/things?limit=0", "")):
        answer = api("GET", path, scopes=scopes)
        assert (answer.status_code, problem(answer)) == (403, "missing-scope")
    assert found.asked == []
    assert api("GET", "/things", scopes="things:read").status_code == 200


def test_a_link_leads_to_the_next_page_of_the_same_list(api, reader):
    start = '{"ümlaut & co":"😀 \\" & <>","id":7}'
    found = reader({"body": "[]", "next": start}, PAGE)
    query = {
        "ümlaut & co": "a&b=c >",
        "order": "ümlaut & co.desc",
        "limit": "5",
        "active": "true",
        "column.order": "",
    }

    path = next_of(api("GET", f"/things?{urlencode(query)}"))
    answer = api("GET", path)

    assert path.startswith("/things?")
    assert dict(parse_qsl(urlsplit(path).query, True)).items() >= query.items()
    assert answer.status_code == 200
    assert "Link" not in answer.headers
    first, second = found.asked
    assert second == {**first, "from": start}


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(
    deadline=None,  # other tests may run beside it
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(TEXTS, TEXTS, st.integers(1, 1000))
def test_any_link_can_be_followed(api, reader, value, place, limit):
    start = json.dumps({"a": place, "id": 1}, ensure_ascii=False)
    found = reader({"body": "[]", "next": start}, PAGE)
    query = urlencode({"a": f"eq.{value}", "order": "a", "limit": limit})

    assert api("GET", next_of(api("GET", f"/things?{query}"))).status_code == 200
    first, second = found.asked
    assert second == {**first, "from": start}


def given_cursor(api, reader, query: str = "a=x&order=price", start: str = '{"id":7}') -> str:
    reader({"body": "[]", "next": start}, PAGE)
    path = next_of(api("GET", f"/things?{query}"))
    return dict(parse_qsl(urlsplit(path).query))["cursor"]


def test_a_link_has_all_filters_of_a_column_and_the_columns_that_are_shown(api, reader):
    found = reader({**COUNTED, "next": '{"id":7}'})
    query = "id=gte.1&id=lt.9&a=x&a=not.is.null&select=a%2Cprice&order=price&limit=3"

    path = next_of(api("GET", f"/things?{query}"))
    assert api("GET", path).status_code == 200

    first, second = found.asked
    assert second == {**first, "from": '{"id":7}'}
    assert len(first["where"]) == 3


def test_a_page_may_show_other_columns_and_name_its_filters_in_another_order(api, reader):
    cursor = given_cursor(api, reader, "id=gte.1&id=lt.9&select=a")
    for query in ("id=lt.9&id=gte.01", "id=lt.9&id=gte.1&select=price,a"):
        reader(PAGE)
        assert api("GET", f"/things?{query}&cursor={cursor}").status_code == 200


@pytest.mark.parametrize(
    "query", ["id=1", "id=lt.9", "id=gt.1&id=lt.9", "id=not.gte.1&id=lt.9", "id=in.(1)&id=lt.9",
              "id=gte.1&id=lt.9&id=is.null", "price=gte.1&price=lt.9", "id=gte.1&id=lt.10"],
)  # fmt: skip
def test_a_cursor_is_of_one_list_of_operators(api, reader, query):
    cursor = given_cursor(api, reader, "id=gte.1&id=lt.9")

    answer = api("GET", f"/things?{query}&cursor={cursor}")

    assert (answer.status_code, problem(answer)) == (400, "invalid-query")
    assert json.loads(answer.body)["errors"][0]["pointer"] == "?cursor"


def test_the_limit_may_change_from_page_to_page(api, reader):
    cursor = given_cursor(api, reader, "a=x&id=1&order=price")

    assert api("GET", f"/things?a=x&id=1&order=price&limit=7&cursor={cursor}").status_code == 200
    assert api("GET", f"/things?cursor={cursor}&order=price.asc&id=01&a=x").status_code == 200


@pytest.mark.parametrize(
    "list_",
    [
        "/things?a=y&order=price",
        "/things?a=x",
        "/things?order=price",
        "/things?a=x&order=price.desc",
        "/things?a=x&order=price&active=true",
        "/things?column.order=x&order=price",
        "/things?",
        "/pairs?",
    ],
)
def test_a_cursor_is_of_one_list(api, reader, list_):
    cursor = given_cursor(api, reader)

    answer = api("GET", f"{list_}&cursor={cursor}")

    assert (answer.status_code, problem(answer)) == (400, "invalid-query")
    assert json.loads(answer.body)["errors"][0]["pointer"] == "?cursor"


def test_a_list_of_another_resource_with_the_same_columns_takes_no_cursor(api, reader):
    cursor = given_cursor(api, reader, "")

    assert api("GET", f"/things?cursor={cursor}").status_code == 200
    assert api("GET", f"/others?cursor={cursor}").status_code == 400


def test_every_page_leads_to_the_next_of_the_same_list(api, reader):
    starts = [f'{{"id":{n}}}' for n in range(4)]
    found = reader(*({"body": "[]", "next": start} for start in starts), PAGE)
    path = "/things?order=a.desc&price=1.0&a=x"
    for _ in starts:
        path = next_of(api("GET", path))
        assert path.count("cursor") == 1

    assert "Link" not in api("GET", path).headers
    assert [asked["from"] for asked in found.asked] == [None, *starts]
    assert len({json.dumps({**asked, "from": None}) for asked in found.asked}) == 1


def test_a_cursor_that_was_changed_anywhere_is_refused(api, reader):
    cursor = given_cursor(api, reader, "")
    forged = {
        cursor[:at] + other + cursor[at + 1 :] for at in range(len(cursor)) for other in "Ab-"
    }
    forged |= {cursor + "=", cursor + "A", cursor[:-1], cursor + " ", cursor.lower(), f"{cursor}=="}

    for each in forged - {cursor}:
        assert api("GET", f"/things?cursor={quote(each)}").status_code == 400, each
    assert api("GET", f"/things?cursor={cursor}").status_code == 200


def test_a_cursor_is_of_one_receipt_key(api, reader, monkeypatch):
    cursor = given_cursor(api, reader, "")
    monkeypatch.setenv("DECANTER_RECEIPT_KEY", "j" * 32)

    assert api("GET", f"/things?cursor={cursor}").status_code == 400


def test_a_cursor_of_a_key_that_still_verifies_is_good(api, reader, monkeypatch):
    cursor = given_cursor(api, reader, "")
    monkeypatch.setenv("DECANTER_RECEIPT_KEY", f"{'j' * 32} {'k' * 32}")

    assert api("GET", f"/things?cursor={cursor}").status_code == 200


def test_a_cursor_that_would_fit_no_header_is_reported_and_not_sent(api, reader):
    text = "".join(random.Random(1).choices(ascii_letters, k=8_000))
    reader({"body": "[]", "next": json.dumps({"a": text, "id": 1})})

    answer = api("GET", "/things?order=a")

    assert (answer.status_code, problem(answer)) == (400, "invalid-query")
    assert json.loads(answer.body)["errors"][0]["pointer"] == "?order"


def test_a_cursor_of_a_key_with_many_digits_is_short(api, reader):
    start = '{"id":1' + "0" * 131_071 + "}"
    found = reader({"body": "[]", "next": start}, PAGE)

    answer = api("GET", "/things")

    assert api("GET", next_of(answer)).status_code == 200
    assert found.asked[1]["from"] == start


def test_a_list_that_the_database_cannot_make_is_reported(api, reader):
    why = "the list took longer than 5 s; filter or order by an indexed column"
    reader({"unfit": why})

    answer = api("GET", "/things?a=x")

    assert (answer.status_code, problem(answer)) == (400, "invalid-query")
    assert json.loads(answer.body)["detail"] == why
    assert "errors" not in json.loads(answer.body)


def test_a_value_that_postgres_does_not_take_is_reported_with_its_parameter(api, reader):
    for value in ("soon", "5"):
        reader({"unfit": f'invalid input syntax for type timestamp with time zone: "{value}"'})

        answer = api("GET", f"/things?a=x&id=gt.5&born=in.(now,{value})")

        (fault,) = json.loads(answer.body)["errors"]
        assert fault["pointer"] == "?born"


def test_a_row_that_no_page_holds_is_reported_with_the_way_on(api, reader):
    found = reader({"too_large": True, "next": '{"id":7}'}, PAGE)

    answer = api("GET", "/things?limit=3")

    assert (answer.status_code, problem(answer)) == (422, "row-too-large-to-read")
    assert api("GET", next_of(answer)).status_code == 200
    assert found.asked[1]["from"] == '{"id":7}'
    reader({"too_large": True, "next": None})
    assert "Link" not in api("GET", "/things").headers
