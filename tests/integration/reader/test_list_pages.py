"""Pages joined are the list: random tables, orders and page sizes; rows that come and go."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count, permutations, product
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import UserDefinedType

from chalicelib.postgres.resources import resources_of, sql_type
from chalicelib.postgres.sql.names import DIALECT
from chalicelib.reader import answer as sizes
from chalicelib.reader import pages
from tests.kit.world import World

_numbers = count(1)
QUICK = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)


class BitVarying(UserDefinedType):
    def get_col_spec(self) -> str:
        return "BIT VARYING(8)"


@dataclass(frozen=True)
class Kind:
    """A type and some of its values as Postgres reads them, a few of them equal."""

    type_: Any
    values: tuple[str, ...]


KINDS = (
    Kind(sa.Integer(), ("-1", "0", "2147483647")),
    Kind(sa.BigInteger(), ("9007199254740992", "9007199254740993", "-9223372036854775808")),
    Kind(sa.Numeric(), ("NaN", "Infinity", "-Infinity", "1.10", "1.1", "1e-20", "0",
                        "12345678901234567890.123456789")),
    Kind(sa.Double(), ("NaN", "Infinity", "-Infinity", "-0.0", "0.0", "5e-324", "0.1",
                       "0.30000000000000004", "1.7976931348623157e308")),
    Kind(sa.REAL(), ("NaN", "0.1", "16777217", "1e-45", "-Infinity")),
    Kind(sa.Text(), ("", "a", "A", "a b", "ä", "😀", '"', "\\", "\n", "%s", "it's", "null")),
    Kind(sa.Text(collation="C"), ("a", "B", "b", "ä")),
    Kind(sa.String(3), ("a", "a ", "ab")),
    Kind(sa.CHAR(3), ("a", "a  ", "ab", "")),
    Kind(sa.Boolean(), ("true", "false")),
    Kind(sa.Date(), ("infinity", "-infinity", "0044-03-15 BC", "2026-01-01", "12026-01-01")),
    Kind(sa.DateTime(), ("2026-01-01 00:00:00.000001", "2026-01-01 00:00:00", "infinity")),
    Kind(sa.DateTime(timezone=True), ("2026-01-01 00:00:00.000001+00", "2026-01-01 01:00+01",
                                      "2026-01-01 00:00:00+00", "-infinity", "0001-01-01 BC")),
    Kind(sa.Time(), ("00:00:00", "23:59:59.999999", "24:00:00")),
    Kind(pg.TIME(timezone=True), ("00:00:00+01", "01:00:00+02", "00:00:00.000001-05:30")),
    Kind(pg.INTERVAL(), ("1 mon", "30 days", "-1 day", "P1DT2H", "0.000001 s", "1 year -1 day")),
    Kind(sa.Uuid(), ("6ba7b812-9dad-11d1-80b4-00c04fd430c8", "0" * 32)),
    Kind(sa.LargeBinary(), ("\\x", "\\x00", "\\xff00")),
    Kind(pg.INET(), ("::1", "10.0.0.1/8", "10.0.0.1")),
    Kind(pg.MONEY(), ("1.00", "-1234.50", "0")),
    Kind(BitVarying(), ("", "0", "01", "1")),
    Kind(pg.ARRAY(sa.Integer()), ("{}", "{1,NULL}", "{1,2}")),
    Kind(pg.JSONB(), ("1.0", "1.00", '"a"', "[]", "{}")),
    Kind(pg.INT4RANGE(), ("empty", "[1,5)", "(,5)")),
    Kind(pg.ENUM("z", "it's 100%", "a", name="colour", create_type=False), ("z", "it's 100%", "a")),
    Kind(pg.DOMAIN("short", sa.Text(), create_type=False), ("a", "b ", "")),
)  # fmt: skip
COMPARED = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
NAMES = ('a"b', "50%", "order", "told", "ä b", "target", "page", "given", "c.d")


@dataclass(frozen=True)
class Tables:
    """A database whose reader knows the tables that are made here."""

    world: World
    cursor: Any
    monkeypatch: pytest.MonkeyPatch

    def make(self, table: sa.Table) -> None:
        self.cursor.execute(str(CreateTable(table).compile(dialect=DIALECT)))
        known = resources_of(table.metadata)
        self.monkeypatch.setattr(pages, "resources", lambda: known)

    def insert(self, table: sa.Table, lines: list[tuple[Any, ...]]) -> None:
        """Rows of values as Postgres reads them; not those whose key is there already."""
        types = [sql_type(column.type).split(" COLLATE ")[0] for column in table.columns]
        row = ", ".join(f"%s::{type_}" for type_ in types)
        for line in lines:
            sql = f"INSERT INTO {table.name} VALUES ({row}) ON CONFLICT DO NOTHING"
            self.cursor.execute(sql, line)

    def read(self, sql: str) -> list[Any]:
        self.cursor.execute(sql)
        return self.cursor.fetchall()

    def page(self, question: dict[str, Any], start: str | None) -> dict[str, Any]:
        answer = self.world.read({"ask": "list", **question, "from": start})
        assert "body" in answer, answer
        return answer


@pytest.fixture
def tables(make_world, monkeypatch) -> Iterator[Tables]:
    metadata = sa.MetaData()
    sa.Table("first", metadata, sa.Column("id", sa.Integer, primary_key=True))
    world = make_world(metadata)
    # As Decanter's own connections are.
    options = "-c timezone=UTC -c intervalstyle=iso_8601 -c search_path=public"
    with closing(psycopg2.connect(world.url, options=options)) as own, own.cursor() as cursor:
        own.autocommit = True
        cursor.execute("CREATE TYPE colour AS ENUM ('z', 'it''s 100%', 'a')")
        cursor.execute("CREATE DOMAIN short AS text CHECK (length(VALUE) < 5)")
        yield Tables(world, cursor, monkeypatch)


@st.composite
def columns(draw: st.DrawFn) -> list[tuple[str, Kind, bool, bool]]:
    """Name, kind, whether it is of the key, whether it may be NULL; at least one is of the key."""
    names = draw(st.permutations(NAMES))[: draw(st.integers(1, 5))]
    key = draw(st.sampled_from([1, 1, 2, 3]))
    mostly = st.sampled_from([True, True, True, False])
    return [
        (name, draw(st.sampled_from(KINDS)), place < key, place >= key and draw(mostly))
        for place, name in enumerate(names)
    ]


def pages_of(tables: Tables, question: dict[str, Any]) -> list[str]:
    answer = tables.page(question, None)
    found = [answer["body"]]
    while answer["next"] is not None:
        assert len(found) < 100
        answer = tables.page(question, answer["next"])
        found.append(answer["body"])
    return found


@QUICK
@given(data=st.data())
def test_pages_joined_are_the_whole_table_in_order(tables, data):
    made = data.draw(columns())
    table = sa.Table(
        f"t{next(_numbers)}",
        sa.MetaData(),
        *(
            sa.Column(name, kind.type_, primary_key=is_key, nullable=nullable)
            for name, kind, is_key, nullable in made
        ),
    )
    tables.make(table)
    values = st.tuples(
        *(
            st.sampled_from((*kind.values[:3], None, None) if nullable else kind.values)
            for _, kind, _, nullable in made
        )
    )
    fewest = data.draw(st.sampled_from([0, 5, 15]))
    tables.insert(table, data.draw(st.lists(values, min_size=fewest, max_size=25)))
    order = [
        [name, data.draw(st.sampled_from(["asc", "desc"]))]
        for name in data.draw(st.permutations([name for name, *_ in made]))
    ]
    optional = [name for name, _, is_key, _ in made if not is_key]
    left_out = data.draw(st.sets(st.sampled_from(optional))) if optional else set()
    order = [[name, direction] for name, direction in order if name not in left_out]
    filters, tests, given = "{}", ["true"], []
    limit = data.draw(st.integers(1, 8))
    if filled := cells(tables, table):
        name, text, place = data.draw(st.sampled_from([*filled, (None, "", "")]))
        if name is not None:
            filters = f"{{{json.dumps(name)}:{text}}}"
            own = quoted(name)
            value = f"SELECT {own} FROM {table.name} WHERE ctid = '{place}'"
            tests.append(f"{own} = ({value})")
        for _ in range(data.draw(st.sampled_from([0, 1, 2]))):
            cell = data.draw(st.sampled_from(filled))
            same = [each for each in filled if each[0] == cell[0]]
            ours = [cell, data.draw(st.sampled_from(same))]
            op = data.draw(st.sampled_from([*COMPARED, "in", "is"]))
            negated = data.draw(st.booleans())
            texts = {"in": [text_of(each) for each in ours], "is": ["null"]}
            given.append([cell[0], op, negated, texts.get(op, [text_of(cell)])])
            tests.append(f"{'NOT ' if negated else ''}({sql_of(table, op, ours)})")
    where = f"WHERE {' AND '.join(tests)}"
    asked = {"resource": table.name, "filters": filters, "order": order, "limit": limit}

    found = pages_of(tables, {**asked, "where": given})

    texts = whole(tables, table, order, where)
    expected = [texts[at : at + limit] for at in range(0, len(texts), limit)] or [[]]
    assert found == [f"[{','.join(each)}]" for each in expected]


def test_every_order_of_a_few_columns_has_every_row_once(tables):
    """A page of one row begins behind each row, with and without NULLs, in all directions. Three
    columns are in one order only: what may differ between columns, two show."""
    table = sa.Table(
        "few",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("a", sa.Integer),
        sa.Column("b", sa.Integer),
        sa.Column("c", sa.Integer, nullable=False),
    )
    tables.make(table)
    values = product([1, 2, None], [1, 2, None], [1, 2])
    tables.insert(table, [(id_, *each) for id_, each in enumerate(values)])
    named = [list(each) for size in range(3) for each in permutations("abc", size)]
    named.append(["b", "c", "a"])

    for names in named:
        for directions in product(["asc", "desc"], repeat=len(names) + 1):
            order = [list(each) for each in zip([*names, "id"], directions, strict=True)]
            found = pages_of(
                tables, {"resource": "few", "filters": "{}", "order": order, "limit": 1}
            )
            assert found == [f"[{text}]" for text in whole(tables, table, order, "")], order


PAGE, ROW, ANSWER = 300, 400, 500


@QUICK
@given(
    lines=st.lists(
        st.tuples(st.sampled_from([1, 2, None]), st.sampled_from("xü"), st.integers(0, 200)),
        max_size=12,
    ),
    limit=st.integers(1, 5),
    order=st.sampled_from([["id"], ["n", "id"]]),
)
def test_pages_with_few_bytes_have_every_row_that_an_answer_holds(tables, lines, limit, order):
    for name, most in (("PAGE_BYTES", PAGE), ("ROW_BYTES", ROW), ("ANSWER_BYTES", ANSWER)):
        tables.monkeypatch.setattr(sizes, name, most)
    table = sa.Table(
        f"t{next(_numbers)}",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("n", sa.Integer),
        sa.Column("text", sa.Text),
    )
    tables.make(table)
    tables.insert(table, [(id_, n, sign * size) for id_, (n, sign, size) in enumerate(lines)])
    ways = [[name, "asc"] for name in order]
    question = {"resource": table.name, "filters": "{}", "order": ways, "limit": limit}

    found: list[str] = []
    start: str | None = None
    while True:
        answer = tables.world.read({"ask": "list", **question, "from": start})
        if answer.get("too_large"):
            id_ = json.loads(answer["next"])["id"]
            (text,) = whole(tables, table, ways, f"WHERE id = {id_}")
            assert len(text.encode()) > ROW or len(json.dumps(text)) > ANSWER - 2
            found.append(text)
        else:
            texts = [json.dumps(row, ensure_ascii=False, separators=(",", ":"))
                     for row in json.loads(answer["body"])]  # fmt: skip
            assert answer["body"] == f"[{','.join(texts)}]"
            assert len(texts) <= 1 or sum(len(text.encode()) for text in texts) <= PAGE
            assert len(json.dumps(answer["body"])) <= ANSWER + limit
            found += texts
        start = answer["next"]
        if start is None:
            break
        assert len(found) < 30

    assert found == whole(tables, table, ways, "")


def text_of(cell: tuple[str, str, str]) -> str:
    value = json.loads(cell[1], parse_int=str, parse_float=str)
    return str(value).lower() if isinstance(value, bool) else str(value)


def sql_of(table: sa.Table, op: str, ours: list[tuple[str, str, str]]) -> str:
    """The filter, with values that are read from where they are."""
    own = quoted(ours[0][0])
    values = [f"(SELECT {own} FROM {table.name} WHERE ctid = '{place}')" for *_, place in ours]
    if op == "is":
        return f"{own} IS NULL"
    if op == "in":
        return " OR ".join(f"{own} = {value}" for value in values)
    return f"{own} {COMPARED[op]} {values[0]}"


def cells(tables: Tables, table: sa.Table) -> list[tuple[str, str, str]]:
    """Column, JSON text and place of every value that is a single one."""
    found = []
    for column in table.columns:
        if isinstance(column.type, pg.ARRAY | pg.JSONB):
            continue
        name = quoted(column.name)
        sql = f"SELECT to_json({name})::text, ctid::text FROM {table.name} WHERE {name} IS NOT NULL"
        found += [(column.name, text, place) for text, place in tables.read(sql)]
    return found


def whole(tables: Tables, table: sa.Table, order: list[list[str]], where: str) -> list[str]:
    """The list as Postgres makes it, in one statement without a page."""
    columns = ", ".join(quoted(column.name) for column in table.columns)
    by = ", ".join(f"{quoted(name)} {direction} NULLS LAST" for name, direction in order)
    found = f"SELECT {columns} FROM {table.name} {where} ORDER BY {by}"
    return [text for (text,) in tables.read(f"SELECT row_to_json(x)::text FROM ({found}) AS x")]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@QUICK
@given(data=st.data())
def test_rows_that_come_and_go_between_pages_move_no_others(tables, data):
    table = sa.Table(
        f"t{next(_numbers)}",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("n", sa.Integer),
        sa.Column("d", sa.Integer, nullable=False),
    )
    tables.make(table)
    ids = iter(data.draw(st.permutations(range(60))))
    small = st.one_of(st.none(), st.integers(0, 2))
    lines = st.lists(st.tuples(small, st.integers(0, 2)), max_size=6)

    def come(rows: list[tuple[int | None, int]]) -> set[int]:
        new = [(next(ids), n, d) for n, d in rows]
        tables.insert(table, new)
        return {id_ for id_, _, _ in new}

    present = come(data.draw(st.lists(st.tuples(small, st.integers(0, 2)), max_size=20)))
    stayed = set(present)
    directions = st.sampled_from(["asc", "desc"])
    named = data.draw(st.lists(st.sampled_from(["n", "d"]), unique=True))
    order = [[name, data.draw(directions)] for name in [*named, "id"]]
    question = {"resource": table.name, "filters": "{}", "order": order,
                "limit": data.draw(st.integers(1, 5))}  # fmt: skip

    shown: list[Any] = []
    start = None
    for _ in range(6):
        answer = tables.page(question, start)
        shown += json.loads(answer["body"])
        start = answer["next"]
        if start is None:
            break
        gone = data.draw(st.sets(st.sampled_from(sorted(present)))) if present else set()
        tables.cursor.execute(f"DELETE FROM {table.name} WHERE id = ANY(%s)", (list(gone),))
        present -= gone
        stayed -= gone
        present |= come(data.draw(lines))
    while start is not None:
        answer = tables.page(question, start)
        shown += json.loads(answer["body"])
        start = answer["next"]

    seen = [row["id"] for row in shown]
    assert len(seen) == len(set(seen))
    assert stayed <= set(seen)
    assert shown == sorted(shown, key=lambda row: [place(row[name], way) for name, way in order])


def place(value: int | None, direction: str) -> tuple[bool, int]:
    number = value or 0
    return value is None, -number if direction == "desc" else number
