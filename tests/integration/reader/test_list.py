"""Lists on a real Postgres: filters of every type, bounds, plans, and what cannot be listed."""

import io
import json
import time
from collections.abc import Callable
from contextlib import closing
from functools import cache
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import UserDefinedType

from chalicelib import asking
from chalicelib.api.http.answers import Answer
from chalicelib.api.http.caller import Caller
from chalicelib.api.http.request import Request
from chalicelib.api.reads import calls
from chalicelib.errors import DatabaseUnavailable, Problem, RefusedByDatabase, SchemaMismatch
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.reader import answer as bounds
from chalicelib.reader import pages
from tests.kit.waiting import LONG
from tests.kit.world import World

Get = Callable[..., Answer]


class Xml(UserDefinedType):
    def get_col_spec(self) -> str:
        return "XML"


class Point(UserDefinedType):
    def get_col_spec(self) -> str:
        return "POINT"


@pytest.fixture
def get(monkeypatch) -> Get:
    """`get("/stations?…", **headers)`: the API function, with the reader function behind it."""

    class Reader:
        def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
            answer = World("").read(json.loads(Payload))
            return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    monkeypatch.setattr(asking, "_client", Reader)

    def get(path: str, **headers: str) -> Answer:
        parts = urlsplit(path)
        query = parse_qs(parts.query, keep_blank_values=True)
        request = Request("GET", parts.path, headers, b"", Caller("me", None), query)
        name, *key = parts.path[1:].split("/")
        return calls.row(request, name, key) if key else calls.rows(request, name)

    return get


def walked(get: Get, path: str | None) -> list[list[Any]]:
    """The pages that lead on from one to the next."""
    found = []
    while path is not None:
        answer = get(path)
        found.append(json.loads(answer.body))
        link = answer.headers.get("Link")
        path = link and link.partition(">")[0].removeprefix("<")
        assert len(found) < 50
    return found


@cache
def tables() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "things",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("n", sa.Integer, index=True),
        sa.Column("text", sa.Text),
    )
    return metadata


@pytest.fixture
def things(make_world) -> World:
    return make_world(tables())


def question(**more: Any) -> dict[str, Any]:
    return {
        "ask": "list",
        "resource": "things",
        "filters": "{}",
        "order": [["id", "asc"]],
        "limit": 100,
        "from": None,
        **more,
    }


def test_links_lead_through_a_list_to_its_end(world, get):
    world.execute(
        "INSERT INTO stations SELECT 'S' || n, NULL, 'Ü ' || n % 3, NULL, NULL, 'DE', n / 2.0, 0,"
        " 0, 'UTC', n % 2 = 0 FROM generate_series(100, 149) AS n"
    )
    ordered = "active AND country = 'DE' ORDER BY name DESC, elevation_ft, icao"
    expected = [icao for (icao,) in world.execute(f"SELECT icao FROM stations WHERE {ordered}")]

    query = {"active": "true", "country": "DE", "order": "name.desc,elevation_ft", "limit": "7"}
    found = walked(get, f"/stations?{urlencode(query)}")

    assert [row["icao"] for page in found for row in page] == expected
    assert [len(page) for page in found] == [7, 7, 7, 4]
    assert len(walked(get, "/stations?limit=50")) == 1
    assert [len(page) for page in walked(get, "/stations?limit=49")] == [49, 1]
    assert walked(get, "/stations?country=FR") == [[]]


# Values in the order in which Postgres has them. No write gives all of them.
ORDERED = {
    "text": (sa.Text(collation="C"), ["", "B", "a", 'a"b\\', "gte.5", "it's 100%", "null", "ü,😀"]),
    "blanks": (sa.CHAR(4), ["a", "b"]),
    "short": (sa.String(3), ["a", "a ", "b"]),
    "label": (pg.ENUM("z", "it's 100%", "a", name="colour"), ["z", "it's 100%", "a"]),
    "whole": (sa.BigInteger, ["-9223372036854775808", "9007199254740992", "9007199254740993"]),
    "numeric": (sa.Numeric, ["-1", "1.5", "1.50000000000000000001", "1e30"]),
    "scaled": (sa.Numeric(6, 2), ["-0.01", "1.50", "10"]),
    "double": (sa.Double, ["-Infinity", "0.3", "0.30000000000000004", "Infinity", "NaN"]),
    "single": (sa.REAL, ["0.1", "0.2"]),
    "flag": (sa.Boolean, ["false", "true"]),
    "day": (sa.Date, ["-infinity", "0044-03-15 BC", "2026-01-01", "12026-01-01", "infinity"]),
    "moment": (sa.DateTime, ["2026-01-01T00:00:00", "2026-01-01T00:00:00.000001"]),
    "rounded": (pg.TIMESTAMP(precision=0), ["2026-01-01T00:00:00", "2026-01-01T00:00:01"]),
    "instant": (sa.DateTime(timezone=True), ["2026-01-01T01:30:00+01:00", "2026-01-01T00:30:01Z"]),
    "uuid": (sa.Uuid, ["6ba7b812-9dad-11d1-80b4-00c04fd430c8", "6ba7b813" + "-0000" * 4 + "0" * 8]),
    "bytes": (sa.LargeBinary, ["\\x", "\\x00", "\\x00ff"]),
    "span": (pg.INTERVAL, ["P1D", "P1DT2H"]),
    "host": (pg.INET, ["10.0.0.1", "::1"]),
    "money": (pg.MONEY, ["$1.00", "$1.50"]),
    "domain": (pg.DOMAIN("short", sa.Text()), ["a", "b"]),
    "class": (pg.REGCLASS, ["pg_type", "pg_class"]),
    "bits": (pg.BIT(2), ["01", "10"]),
    "range": (pg.INT4RANGE, ["[1,5)", "[1,6)"]),
}  # fmt: skip


def test_comparisons_of_every_type_agree_with_the_order_of_the_list(make_world, get):
    metadata = sa.MetaData()
    columns = [sa.Column(name, type_) for name, (type_, _) in ORDERED.items()]
    sa.Table("filtered", metadata, sa.Column("id", sa.Integer, primary_key=True), *columns)
    world = make_world(metadata)
    world.execute("INSERT INTO filtered SELECT generate_series(-1, 7)")
    for name, (_, values) in ORDERED.items():
        for id_, value in enumerate(values):
            world.execute(f'UPDATE filtered SET "{name}" = %s WHERE id = %s', value, id_)

    def listed(*values: str) -> str:
        escaped = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
        return ",".join(f'"{value}"' for value in escaped)

    for name, (_, values) in ORDERED.items():
        every = list(range(len(values)))
        without = [id_ for id_ in range(-1, 8) if id_ not in every]
        assert ids(get, name) == [*every, *without], name
        for at, value in enumerate(values):
            ((shown,),) = world.execute(f'SELECT to_json("{name}") FROM filtered WHERE id = {at}')
            others = [n for n in every if n != at]
            for found, filters in (
                ([at], [f"eq.{value}"]),
                ([at], [f"eq.{shown}"] if isinstance(shown, str) else [value]),
                (others, [f"neq.{value}"]),
                (others, [f"not.eq.{value}"]),
                (every[at + 1 :], [f"gt.{value}"]),
                (every[at + 1 :], [f"not.lte.{value}"]),
                (every[at:], [f"gte.{value}"]),
                (every[: at + 1], [f"lte.{value}", f"gte.{values[0]}"]),
                ([at], [f"in.({listed(value)})"]),
            ):
                assert ids(get, name, *filters) == found, (name, filters)
        assert ids(get, name, f"in.({listed(*values[:2])})") == every[:2]
        assert ids(get, name, f"not.in.({listed(*values[:2])})") == every[2:]
        assert ids(get, name, "in.()") == []
        assert ids(get, name, "not.in.()") == every
        assert ids(get, name, "is.null") == without
        assert ids(get, name, "not.is.null", f"not.lt.{values[1]}") == every[1:]


def ids(get: Get, name: str, *filters: str) -> list[int]:
    query = [*((name, each) for each in filters), ("limit", 5), ("order", name)]
    found = walked(get, f"/filtered?{urlencode(query)}")
    return [row["id"] for page in found for row in page]


def test_states_are_asked_of_any_column(make_world, get):
    metadata = sa.MetaData()
    sa.Table("things", metadata, sa.Column("id", sa.Integer, primary_key=True),
             sa.Column("doc", sa.JSON), sa.Column("tags", pg.ARRAY(sa.Text)),
             sa.Column("flag", sa.Boolean))  # fmt: skip
    world = make_world(metadata)
    world.execute("INSERT INTO things VALUES (1, '{}', '{}', true), (2, 'null', NULL, false)")
    world.execute("INSERT INTO things VALUES (3)")

    for query, ids in (
        ("doc=is.null", [3]),
        ("doc=not.is.null&tags=is.null", [2]),
        ("flag=is.true", [1]),
        ("flag=not.is.true&order=flag.desc", [2, 3]),
        ("flag=is.unknown&order=flag&limit=1", [3]),
        ("flag=not.is.unknown&order=flag&limit=1", [2, 1]),
    ):
        pages = walked(get, f"/things?{query}")
        assert [row["id"] for page in pages for row in page] == ids, query


def test_a_value_is_not_cut_or_rounded_to_fit_its_column(make_world):
    """It would find other rows. The contract refuses most of these; the reader does not rely on
    it."""
    metadata = sa.MetaData()
    sa.Table("things", metadata, sa.Column("id", sa.Integer, primary_key=True),
             sa.Column("odd", sa.Numeric(4, 1)), sa.Column("short", sa.String(2)),
             sa.Column("bits", pg.BIT(2)), sa.Column("at", pg.TIMESTAMP(precision=0)),
             sa.Column("kept", pg.DOMAIN("kept", sa.String(2))))  # fmt: skip
    world = make_world(metadata)
    world.execute("INSERT INTO things VALUES (1, 1.0, 'ab', '10', '2026-01-01 00:00:01', 'ab')")

    for name, value in (
        ("odd", "0.96"), ("short", "abc"), ("bits", "101"), ("kept", "abc"),
        ("at", "2026-01-01T00:00:00.9"),
    ):  # fmt: skip
        for op in ("eq", "in"):
            asked = question(ask="search", where=[[name, op, False, [value]]])
            assert world.read(asked)["body"] == "[]", (name, op)


def test_columns_are_chosen_in_their_order_and_pages_follow_by_others(things, get):
    things.execute("INSERT INTO things SELECT n, 9 - n, 'x' FROM generate_series(1, 5) AS n")

    found = walked(get, "/things?select=text,n&order=n.desc&limit=2&id=gt.1")

    assert found == [[{"text": "x", "n": n} for n in part] for part in ((7, 6), (5, 4))]
    assert get("/things?select=text,n&limit=1").body == '[{"text":"x","n":8}]'
    assert get("/things?select=text&order=n&id=5").body == '[{"text":"x"}]'


def test_a_row_is_shown_in_part_with_the_etag_of_the_whole(things, get):
    things.execute("INSERT INTO things VALUES (1, 2, 'x'), (2, 3, repeat('x', 23000000))")

    part = get("/things/1?select=n,id")

    assert (part.status, part.body) == (200, '{"n":2,"id":1}')
    assert part.headers == get("/things/1").headers
    assert get("/things/1?select=n", **{"if-none-match": part.headers["ETag"]}).status == 304
    with pytest.raises(Problem) as missing:
        get("/things/7?select=n")
    assert missing.value.type == "no-such-row"
    # What is too large as a whole can be shown in part, and its list too.
    large = get("/things/2?select=n")
    assert (large.body, dict(large.headers)) == ('{"n":3}', {})
    assert get("/things?select=id,n").body == '[{"id":1,"n":2},{"id":2,"n":3}]'
    with pytest.raises(Problem):
        get("/things/2?select=id,text")


def test_rows_are_counted_where_it_is_asked_for(things, get, monkeypatch):
    things.execute("INSERT INTO things SELECT n, n, 'x' FROM generate_series(1, 30) AS n")
    statements: list[str] = []
    execute = Transaction.execute

    def noted(self: Transaction, sql: str, *more: Any) -> Any:
        statements.append(sql)
        return execute(self, sql, *more)

    monkeypatch.setattr(Transaction, "execute", noted)

    def counts() -> int:
        return sum("count(*)" in sql for sql in statements)

    # Rows without a value are a part of their own of a list by n, unless it has none.
    for query, parts in (("limit=100", 2), ("n=gt.10", 1), ("n=not.is.null", 1), ("n=is.null", 2)):
        statements.clear()
        get(f"/things?order=n&{query}")
        assert sum("row_to_json" in sql for sql in statements) == parts, query

    get("/things?n=gt.10&limit=5&select=id")
    assert counts() == 0
    first = get("/things?n=gt.10&limit=5&select=id", prefer="count=exact")
    assert first.headers["Content-Range"] == "0-4/20"
    assert counts() == 1
    second = get(first.headers["Link"].partition(">")[0][1:], prefer="count=exact")
    assert second.headers["Content-Range"] == "*/20"
    # A list that is all on one page is counted already.
    statements.clear()
    for query, told in (("n=gt.10", "0-19/20"), ("n=gt.99", "*/0"), ("n=in.(1,2)", "0-1/2")):
        assert get(f"/things?{query}", prefer="count=exact").headers["Content-Range"] == told
    assert counts() == 0


@pytest.mark.needs("settings")
def test_a_count_that_takes_too_long_is_reported_with_what_to_do(things, monkeypatch, get):
    """Its page is had in time on any machine; half a second is left when the count begins."""
    things.execute("INSERT INTO things SELECT n FROM generate_series(1, 100) n")
    late = 0.0

    def slow(*_: Any) -> str:
        nonlocal late
        late = pages.LIST_SECONDS - 0.5
        return "SELECT pg_sleep(600)"

    monkeypatch.setattr(pages, "LIST_SECONDS", 600.0)
    monkeypatch.setattr(pages, "count_query", slow)
    monkeypatch.setattr(pages, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + late))

    assert get("/things?limit=1").status == 200
    assert late == 0
    with pytest.raises(Problem) as problem:
        get("/things?limit=1", prefer="count=exact")

    assert (problem.value.status, problem.value.type) == (400, "invalid-query")
    assert problem.value.detail == (
        "the list took longer than 600 s; filter by an indexed column, or ask without count=exact"
    )


def test_a_version_of_the_reader_that_does_not_know_a_filter_does_not_leave_it_out(things):
    for unknown in ({"ask": "searched"}, {"ask": "search", "where": [["n", "like", False, ["x"]]]}):
        with pytest.raises(KeyError):
            things.read(question(**unknown))


def test_a_value_that_postgres_does_not_take_is_reported(make_world, get):
    metadata = sa.MetaData()
    sa.Table("hosts", metadata, sa.Column("ip", pg.INET, primary_key=True),
             sa.Column("seen", sa.DateTime), sa.Column("n", sa.SmallInteger),
             sa.Column("kind", pg.REGCLASS), sa.Column("words", pg.TSQUERY))  # fmt: skip
    world = make_world(metadata)
    world.execute("INSERT INTO hosts VALUES ('::1')")

    # The last ones are refused as if something lacked in the database.
    for name, value in (
        ("ip", "nowhere"), ("seen", "soon"), ("kind", "in.(pg_class,nosuch)"), ("words", "gt.a b"),
    ):  # fmt: skip
        for headers in ({}, {"prefer": "count=exact"}):
            with pytest.raises(Problem) as problem:
                get(f"/hosts?n=1&{name}={value}", **headers)
            assert problem.value.type == "invalid-query"
            assert [fault.pointer for fault in problem.value.faults] == [f"?{name}"]
    assert get("/hosts?ip=::1&select=ip,n").body == '[{"ip":"::1","n":null}]'


@pytest.mark.parametrize("type_", [sa.JSON(), Xml(), Point()])
def test_a_type_without_equality_or_order_is_reported(make_world, type_):
    metadata = sa.MetaData()
    sa.Table("things", metadata, sa.Column("id", sa.Integer, primary_key=True),
             sa.Column("odd", type_))  # fmt: skip
    world = make_world(metadata)
    world.execute("INSERT INTO things VALUES (1, NULL), (2, NULL)")

    for asked in (
        question(order=[["odd", "asc"], ["id", "asc"]]),
        question(filters='{"odd":"1"}'),
        question(order=[["id", "asc"], ["odd", "desc"]], **{"from": '{"id":1,"odd":null}'}),
    ):
        assert list(world.read(asked)) == ["unfit"], asked
    assert world.read(question())["body"] == '[{"id":1,"odd":null},{"id":2,"odd":null}]'


def test_a_column_that_is_not_there_is_reported(things):
    assert "nothing" in things.read(question(filters='{"nothing":1}'))["unfit"]
    assert "nothing" in things.read(question(order=[["nothing", "asc"]]))["unfit"]


def test_a_page_ends_before_it_has_too_many_bytes(things):
    things.execute(
        "INSERT INTO things SELECT n, 0, repeat('x', 999000) FROM generate_series(1, 12) n"
    )

    sizes, start = [], None
    while True:
        answer = things.read(question(**{"from": start}))
        sizes.append(len(json.loads(answer["body"])))
        assert len(answer["body"].encode()) <= bounds.PAGE_BYTES + 100
        start = answer["next"]
        if start is None:
            break
    assert sizes == [5, 5, 2]


def test_a_page_ends_before_its_escaped_text_has_too_many_bytes(things):
    things.execute(
        "INSERT INTO things SELECT n, 0, repeat('ü', 400000) FROM generate_series(1, 5) n"
    )

    answer = things.read(question())

    assert len(json.loads(answer["body"])) == 2  # of 800 kB each, and 2.4 MB as \u00fc
    assert len(json.dumps(answer)) <= bounds.ANSWER_BYTES + 200
    assert answer["next"] == '{"id":2}'


@pytest.mark.parametrize("sizes", [(5_200_000, 5_200_000, 5_200_000), (1, 5_200_000, 5_200_000)])
@pytest.mark.parametrize("values", [(1, 2, 3), (1, 2, None), (1, None, None)])
def test_a_page_has_a_row_whatever_its_bytes(things, sizes, values):
    """It may be larger than a page, and then stands alone on one. Rows without a value are another
    part of the list."""
    for id_, (size, value) in enumerate(zip(sizes, values, strict=True)):
        things.execute("INSERT INTO things VALUES (%s, %s, repeat('x', %s))", id_, value, size)
    order = [["n", "asc"], ["id", "asc"]]

    found, start = [], None
    for _ in range(3):
        answer = things.read(question(order=order, **{"from": start}))
        found.append([row["id"] for row in json.loads(answer["body"])])
        start = answer["next"]

    assert found == [[0], [1], [2]]
    assert start is None


def test_a_row_that_fits_no_answer_is_reported_with_the_way_on(things, get):
    things.execute("INSERT INTO things SELECT n, 0, 'x' FROM generate_series(1, 5) n")
    things.execute("UPDATE things SET text = repeat('x', 5600000) WHERE id = 3")
    things.execute("UPDATE things SET text = repeat('ü', 1100000) WHERE id = 4")

    def way_on(path: str) -> str:
        with pytest.raises(Problem) as problem:
            get(path)
        assert problem.value.type == "row-too-large-to-read"
        return problem.value.headers["Link"].partition(">")[0].removeprefix("<")

    before = get("/things")
    assert [row["id"] for row in json.loads(before.body)] == [1, 2]
    path = before.headers["Link"].partition(">")[0].removeprefix("<")
    assert [[row["id"] for row in page] for page in walked(get, way_on(way_on(path)))] == [[5]]
    for id_ in (3, 4):
        one = {"resource": "things", "key": f'{{"id":{id_}}}', "keys": f'[{{"id":{id_}}}]'}
        assert things.read({"ask": "row", **one}) == {"too_large": True}
        assert things.read({"ask": "rows", **one}) == {"too_large": True}


def test_pages_lead_on_behind_numbers_of_any_length(make_world, get):
    metadata = sa.MetaData()
    sa.Table("things", metadata, sa.Column("id", sa.Integer, primary_key=True),
             sa.Column("n", sa.Numeric))  # fmt: skip
    world = make_world(metadata)
    world.execute("INSERT INTO things VALUES (1, 'NaN'), (2, '-1e9000'), (3, '1e9000'), (4, 5)")

    pages = walked(get, "/things?order=n&limit=1&select=id")
    assert [row["id"] for page in pages for row in page] == [2, 4, 3, 1]


def test_numbers_that_are_longer_when_they_are_read_are_bounded(make_world):
    metadata = sa.MetaData()
    sa.Table("things", metadata, sa.Column("id", sa.Integer, primary_key=True),
             sa.Column("doc", pg.JSONB))  # fmt: skip
    world = make_world(metadata)
    numbers = "[" + ",".join(["1e131071"] * 50) + "]"
    world.execute("INSERT INTO things VALUES (1, %s), (2, '{}')", numbers)

    assert world.read(question()) == {"too_large": True, "next": '{"id":1}'}
    one = {"resource": "things", "key": '{"id":1}', "keys": '[{"id":2},{"id":1}]'}
    assert world.read({"ask": "row", **one}) == {"too_large": True}
    assert world.read({"ask": "rows", **one}) == {"too_large": True}


@pytest.mark.parametrize(
    "error",
    [
        RefusedByDatabase("string buffer exceeds maximum allowed length", kind="too-large"),
        SchemaMismatch("invalid memory alloc request size 1073741824", kind="out-of-memory"),
    ],
)
def test_a_text_that_postgres_gives_up_on_is_too_large(things, monkeypatch, error):
    """It would take a gigabyte of memory to see it."""
    execute = Transaction.execute

    def give_up(self: Transaction, sql: str, *more: Any) -> Any:
        if "row_to_json" in sql:
            execute(self, "SELECT 1")
            raise error
        return execute(self, sql, *more)

    monkeypatch.setattr(Transaction, "execute", give_up)

    assert things.read(question()) == {"too_large": True, "next": None}
    one = {"resource": "things", "key": '{"id":1}', "keys": '[{"id":1}]'}
    assert things.read({"ask": "row", **one}) == {"too_large": True}
    assert things.read({"ask": "rows", **one}) == {"too_large": True}


def listed(monkeypatch) -> list[float]:
    """The seconds that each statement of a list is given."""
    given = []
    execute = Transaction.execute

    def noted(self: Transaction, sql: str, values: Any = None, *more: Any, **limits: Any) -> Any:
        if "row_to_json" in sql:
            given.append(more[0] if more else limits["seconds"])
        return execute(self, sql, values, *more, **limits)

    monkeypatch.setattr(Transaction, "execute", noted)
    return given


@pytest.mark.needs("settings")
def test_a_list_that_takes_too_long_is_reported_and_not_tried_again(things, monkeypatch):
    things.execute("INSERT INTO things SELECT n FROM generate_series(1, 100) n")
    things.execute("ALTER TABLE things RENAME TO rows")
    things.execute(
        "CREATE VIEW public.things AS SELECT id, n, pg_sleep(600)::text AS text FROM rows"
    )
    statements = listed(monkeypatch)

    # No time passes before the first statement, which is given all that there is.
    with monkeypatch.context() as patched:
        patched.setattr(pages, "LIST_SECONDS", 0.5)
        clock = SimpleNamespace(monotonic=lambda: 0.5 * len(statements))
        patched.setattr(pages, "time", clock)
        answer = things.read(question())

    assert answer == {
        "unfit": "the list took longer than 0.5 s; filter or order by an indexed column"
    }
    assert statements == [0.5]
    things.execute("DROP VIEW public.things; ALTER TABLE rows RENAME TO things")
    assert "body" in things.read(question())


@pytest.mark.parametrize(("kind", "seconds"), [("cancelled", 5.0), ("other", 0.0)])
def test_a_list_that_ends_for_other_reasons_is_no_fault_of_the_query(
    things, monkeypatch, kind, seconds
):
    """Somebody cancelled it before its time was over, or the connection was lost after that."""
    execute = Transaction.execute
    monkeypatch.setattr(pages, "LIST_SECONDS", seconds)

    def ended(self: Transaction, sql: str, *more: Any) -> Any:
        if "row_to_json" in sql:
            raise DatabaseUnavailable("it ended", kind=kind)
        return execute(self, sql, *more)

    monkeypatch.setattr(Transaction, "execute", ended)

    assert things.read(question()) == {"unwell": True}


@pytest.mark.needs("waits_for_locks")
def test_a_list_does_not_wait_for_a_lock_for_long(things, monkeypatch):
    """It would be told that it took too long, if it did."""
    monkeypatch.setattr(pages, "_LOCK_SECONDS", 0.2)
    monkeypatch.setattr(pages, "LIST_SECONDS", 30)
    with closing(psycopg2.connect(things.url)) as own, own.cursor() as cursor:
        cursor.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")

        assert things.read(question(), seconds=LONG) == {"unwell": True}
    assert "body" in things.read(question())


def test_a_database_that_lacks_a_column_is_a_failure(things):
    things.execute("ALTER TABLE things DROP COLUMN text")

    with pytest.raises(SchemaMismatch):
        things.read(question())
    with pytest.raises(SchemaMismatch):
        things.read({"ask": "row", "resource": "things", "key": '{"id":1}'})


def test_a_row_that_loses_its_value_meanwhile_is_not_shown_twice(things, monkeypatch):
    """A page of rows with and without a value takes two statements."""
    things.execute("INSERT INTO things VALUES (1, 1), (2, NULL)")
    execute = Transaction.execute

    def meanwhile(self: Transaction, sql: str, *more: Any) -> Any:
        found = execute(self, sql, *more)
        if "IS NOT NULL" in sql:
            things.execute("UPDATE things SET n = NULL")
        return found

    monkeypatch.setattr(Transaction, "execute", meanwhile)

    answer = things.read(question(order=[["n", "asc"], ["id", "asc"]]))

    assert [(row["id"], row["n"]) for row in json.loads(answer["body"])] == [(1, 1), (2, None)]
    assert things.value("SELECT count(n) FROM things") == 0


class Plans:
    """Plans of the statements that lists are read by, with what they have done."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.nodes: list[dict[str, Any]] = []
        execute = Transaction.execute

        def explained(transaction: Transaction, sql: str, *more: Any) -> Any:
            if "row_to_json" in sql:
                explain = f"EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) {sql}"
                (((plan,),),) = execute(transaction, explain, *more)
                self.nodes += self._flat(plan["Plan"])
            return execute(transaction, sql, *more)

        monkeypatch.setattr(Transaction, "execute", explained)

    def of(self, **more: Any) -> list[dict[str, Any]]:
        """Nodes that read the table, and those that sort."""
        self.nodes.clear()
        assert len(json.loads(self.world.read(question(**more))["body"])) == 100
        return [each for each in self.nodes if each.get("Relation Name") or "Sort Key" in each]

    def _flat(self, node: dict[str, Any]) -> list[dict[str, Any]]:
        return [node, *(each for child in node.get("Plans", []) for each in self._flat(child))]


def test_a_page_of_a_large_table_costs_what_a_page_costs(things, monkeypatch):
    things.execute("INSERT INTO things SELECT n, nullif(n % 2000, 7), 'x'"
                   " FROM generate_series(1, 200000) AS n")  # fmt: skip
    # Statistics of all rows: of a sample, how often a value is there comes out otherwise each time.
    things.execute("ALTER TABLE things ALTER n SET STATISTICS 10000")
    things.execute("VACUUM ANALYZE things")
    plans = Plans(things, monkeypatch)

    for direction in ("asc", "desc"):
        for start in (None, '{"id":100000}'):
            (node,) = plans.of(order=[["id", direction]], **{"from": start})
            assert (node["Node Type"], node["Index Name"]) == ("Index Scan", "things_pkey")
            assert node["Actual Rows"] == 101
            assert node.get("Rows Removed by Filter", 0) == 0
            assert ("Index Cond" in node) is (start is not None)

        # By another column, of which 100 rows have each value.
        order = [["n", direction], ["id", "asc"]]
        for start in (None, '{"n":500,"id":100000}', '{"n":null,"id":1}'):
            nodes = plans.of(order=order, **{"from": start})
            scans = [node for node in nodes if node.get("Relation Name")]
            read = [n["Actual Rows"] + n.get("Rows Removed by Filter", 0) for n in scans]
            assert sum(read) <= 500, nodes
            assert all("Seq" not in node["Node Type"] for node in nodes)

    nodes = plans.of(filters='{"n":5}')
    assert all(node["Actual Rows"] <= 200 for node in nodes)

    # By ranges and several values of the other column: Postgres knows them when it plans.
    for where in (
        [["n", "gte", False, ["1998"]]],
        [["n", "gt", False, ["499"]], ["n", "lt", False, ["501"]]],
        [["n", "in", False, ["5", "500"]]],
        [["n", "lt", True, ["1999"]]],
        [["n", "is", False, ["null"]]],
    ):
        asked = {"ask": "search", "where": where}
        nodes = plans.of(**asked)
        read = [n["Actual Rows"] + n.get("Rows Removed by Filter", 0) for n in nodes]
        assert max(read) <= 200, (where, nodes)
        assert all("Seq" not in node["Node Type"] for node in nodes), where
    # Behind a row, and of a range, no more is read than the page.
    for direction, start in (("asc", '{"n":500,"id":100500}'), ("desc", '{"n":900,"id":100500}')):
        (node,) = plans.of(
            ask="search",
            where=[["n", "gte", False, ["250"]], ["n", "lt", False, ["990"]]],
            order=[["n", direction], ["id", direction]],
            **{"from": start},
        )[-1:]
        assert "Index" in node["Node Type"]
        assert node["Actual Rows"] + node.get("Rows Removed by Filter", 0) <= 500, node


def test_a_row_becomes_text_once(things, monkeypatch):
    """It is what a page costs most, and it would be made again to know its length."""
    things.execute("INSERT INTO things SELECT n FROM generate_series(1, 100) AS n")
    plans = Plans(things, monkeypatch)

    plans.of()

    made = [
        node["Actual Loops"]
        for node in plans.nodes
        for each in node.get("Output", [])
        if "row_to_json" in each and ".text" in each
    ]
    assert made == [100]


def test_text_that_is_too_much_does_not_leave_the_database(things, monkeypatch):
    things.execute(
        "INSERT INTO things SELECT n, 0, repeat('x', 2000000) FROM generate_series(1, 4) n"
    )
    execute = Transaction.execute
    told: list[str] = []

    def noted(self: Transaction, sql: str, *more: Any) -> Any:
        found = execute(self, sql, *more)
        if "row_to_json" in sql:
            told.extend(row[0] for row in found if row[0] is not None)
        return found

    monkeypatch.setattr(Transaction, "execute", noted)

    keys = '[{"id":1},{"id":2},{"id":3}]'
    assert things.read({"ask": "rows", "resource": "things", "keys": keys}) == {"too_large": True}
    assert told == []
    assert json.loads(things.read(question())["next"]) == {"id": 2}
    assert len(told) == 2
