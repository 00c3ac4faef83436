"""Lists on a real Postgres: filters of every type, bounds, plans, and what cannot be listed."""

import io
import json
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import UserDefinedType

from chalicelib.database.connection import Transaction
from chalicelib.errors import DatabaseMisfit, DatabaseUnwell, Problem, RefusedByDatabase
from chalicelib.intake import listing, reading
from chalicelib.intake.answers import Answer
from chalicelib.intake.caller import Caller
from chalicelib.intake.request import Request
from chalicelib.reader import answer as bounds
from chalicelib.reader import pages
from tests.integration.drain_fixtures import World
from tests.kit.waiting import LONG

Get = Callable[[str], Answer]


class Xml(UserDefinedType):
    def get_col_spec(self) -> str:
        return "XML"


class Point(UserDefinedType):
    def get_col_spec(self) -> str:
        return "POINT"


@pytest.fixture
def get(monkeypatch) -> Get:
    """`get("/stations?…")`: the API function, with the reader function behind it."""

    class Reader:
        def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
            answer = World("").read(json.loads(Payload))
            return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    monkeypatch.setattr(reading, "_client", Reader)

    def get(path: str) -> Answer:
        parts = urlsplit(path)
        query = parse_qs(parts.query, keep_blank_values=True)
        request = Request("GET", parts.path, {}, b"", Caller("me", None), query)
        return listing.rows(request, parts.path[1:])

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


@pytest.fixture
def things(make_world) -> World:
    metadata = sa.MetaData()
    sa.Table(
        "things",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("n", sa.Integer, index=True),
        sa.Column("text", sa.Text),
    )
    return make_world(metadata)


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


FILTERS = {
    "text": (sa.Text, "it's 100% \"ü😀\\", "other"),
    "blanks": (sa.CHAR(4), "a", "b"),
    "label": (pg.ENUM("it's 100%", "b", name="colour"), "it's 100%", "b"),
    "whole": (sa.BigInteger, "9007199254740993", "9007199254740992"),
    "numeric": (sa.Numeric, "1.50000000000000000001", "1.5"),
    "double": (sa.Double, "0.30000000000000004", "0.3"),
    "no number": (sa.Double, "NaN", "1"),
    "endless": (sa.REAL, "-Infinity", "0"),
    "flag": (sa.Boolean, "false", "true"),
    "day": (sa.Date, "2026-01-02", "2026-01-01"),
    "moment": (sa.DateTime, "2026-01-01T00:00:00.000001", "2026-01-01T00:00:00"),
    "instant": (sa.DateTime(timezone=True), "2026-01-01T01:00:00.5+01:00", "2026-01-01T00:00:00Z"),
    "uuid": (
        sa.Uuid,
        "6ba7b812-9dad-11d1-80b4-00c04fd430c8",
        "0" * 8 + "-0000" * 3 + "-" + "0" * 12,
    ),
    "bytes": (sa.LargeBinary, "\\x00ff", "\\x00"),
    "span": (pg.INTERVAL, "P1DT2H", "P1D"),
    "host": (pg.INET, "::1", "::2"),
    "money": (pg.MONEY, "$1.50", "$1.00"),
    "domain": (pg.DOMAIN("short", sa.Text()), "a", "b"),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_finds_the_rows_with_its_value(make_world, get, name):
    type_, value, other = FILTERS[name]
    metadata = sa.MetaData()
    sa.Table("filtered", metadata, sa.Column("id", sa.Integer, primary_key=True),
             sa.Column("limit", type_))  # fmt: skip
    world = make_world(metadata)
    world.execute("INSERT INTO filtered VALUES (1, %s), (2, %s), (3, NULL)", value, other)

    def ids(text: str) -> list[int]:
        (page,) = walked(get, f"/filtered?column.limit={quote(text)}")
        return [row["id"] for row in page]

    ((shown,),) = world.execute('SELECT to_json("limit") FROM filtered WHERE id = 1')
    assert ids(value) == [1]
    assert ids(other) == [2]
    if isinstance(shown, str):
        assert ids(shown) == [1]


def test_a_value_that_postgres_does_not_take_is_told(make_world, get):
    metadata = sa.MetaData()
    sa.Table("hosts", metadata, sa.Column("ip", pg.INET, primary_key=True),
             sa.Column("seen", sa.DateTime), sa.Column("n", sa.SmallInteger))  # fmt: skip
    world = make_world(metadata)
    world.execute("INSERT INTO hosts VALUES ('::1')")

    for path, parameter in (("/hosts?n=1&ip=nowhere", "?ip"), ("/hosts?n=1&seen=soon", "?seen")):
        with pytest.raises(Problem) as problem:
            get(path)
        assert problem.value.type == "invalid-query"
        assert [fault.pointer for fault in problem.value.faults] == [parameter]
    assert get("/hosts?ip=::1").body == '[{"ip":"::1","seen":null,"n":null}]'


@pytest.mark.parametrize("type_", [sa.JSON(), Xml(), Point()])
def test_a_type_without_equality_or_order_is_told(make_world, type_):
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


def test_a_column_that_is_not_there_is_told(things):
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


def test_a_row_that_fits_no_answer_is_told_with_the_way_on(things, get):
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
        RefusedByDatabase("string buffer exceeds maximum allowed length", sqlstate="54000"),
        DatabaseMisfit("invalid memory alloc request size 1073741824", sqlstate="XX000"),
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


def test_a_list_that_takes_too_long_is_told_and_not_tried_again(things, monkeypatch):
    things.execute("INSERT INTO things SELECT n FROM generate_series(1, 100) n")
    things.execute("ALTER TABLE things RENAME TO rows")
    things.execute(
        "CREATE VIEW public.things AS SELECT id, n, pg_sleep(600)::text AS text FROM rows"
    )
    statements = listed(monkeypatch)

    with monkeypatch.context() as patched:
        patched.setattr(pages, "LIST_SECONDS", 0.5)
        answer = things.read(question())

    assert answer == {
        "unfit": "the list took longer than 0.5 s; filter or order by an indexed column"
    }
    assert len(statements) == 1
    assert statements[0] <= 0.5
    things.execute("DROP VIEW public.things; ALTER TABLE rows RENAME TO things")
    assert "body" in things.read(question())


@pytest.mark.parametrize(("sqlstate", "seconds"), [("57014", 5.0), ("08006", 0.0)])
def test_a_list_that_ends_for_other_reasons_is_no_fault_of_the_query(
    things, monkeypatch, sqlstate, seconds
):
    """Somebody cancelled it before its time was over, or the connection was lost after that."""
    execute = Transaction.execute
    monkeypatch.setattr(pages, "LIST_SECONDS", seconds)

    def ended(self: Transaction, sql: str, *more: Any) -> Any:
        if "row_to_json" in sql:
            raise DatabaseUnwell("it ended", sqlstate=sqlstate)
        return execute(self, sql, *more)

    monkeypatch.setattr(Transaction, "execute", ended)

    assert things.read(question()) == {"unwell": True}


def test_a_list_does_not_wait_for_a_lock_for_long(things, monkeypatch):
    """It would be told that it took too long, if it did."""
    monkeypatch.setattr(pages, "_LOCK_MILLISECONDS", 200)
    monkeypatch.setattr(pages, "LIST_SECONDS", 30)
    with closing(psycopg2.connect(things.url)) as own, own.cursor() as cursor:
        cursor.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")

        assert things.read(question(), seconds=LONG) == {"unwell": True}
    assert "body" in things.read(question())


def test_a_database_that_lacks_a_column_is_a_failure(things):
    things.execute("ALTER TABLE things DROP COLUMN text")

    with pytest.raises(DatabaseMisfit):
        things.read(question())
    with pytest.raises(DatabaseMisfit):
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
    things.execute("INSERT INTO things SELECT n, nullif(n % 1000, 7), 'x'"
                   " FROM generate_series(1, 200000) AS n")  # fmt: skip
    things.execute("VACUUM ANALYZE things")
    plans = Plans(things, monkeypatch)

    for direction in ("asc", "desc"):
        for start in (None, '{"id":100000}'):
            (node,) = plans.of(order=[["id", direction]], **{"from": start})
            assert (node["Node Type"], node["Index Name"]) == ("Index Scan", "things_pkey")
            assert node["Actual Rows"] == 101
            assert node.get("Rows Removed by Filter", 0) == 0
            assert ("Index Cond" in node) is (start is not None)

        # By another column, of which 200 rows have each value.
        order = [["n", direction], ["id", "asc"]]
        for start in (None, '{"n":500,"id":100000}', '{"n":null,"id":1}'):
            nodes = plans.of(order=order, **{"from": start})
            scans = [node for node in nodes if node.get("Relation Name")]
            read = [n["Actual Rows"] + n.get("Rows Removed by Filter", 0) for n in scans]
            assert sum(read) <= 500, nodes
            assert all("Seq" not in node["Node Type"] for node in nodes)

    nodes = plans.of(filters='{"n":5}')
    assert all(node["Actual Rows"] <= 200 for node in nodes)


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
