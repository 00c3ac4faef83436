"""Rows that are small where they are stored and large where they are shown."""

import json
from functools import cache
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import UserDefinedType

from chalicelib.errors import RefusedByDatabase
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.resources import resources
from chalicelib.postgres.sql.sizes import shown_bytes, stored_bytes
from tests.kit.world import World


def named(sql: str) -> Any:
    class Named(UserDefinedType):
        cache_ok = True

        def get_col_spec(self) -> str:
            return sql

    return Named()


AMOUNT = pg.DOMAIN("amount", sa.Numeric(), create_type=False)
DIGITS = "1e131071"
TYPES = {
    "numeric": (sa.Numeric(), [DIGITS, "1e-16383", "-1e5", "NaN", "Infinity", "0", "1.50"]),
    "amount": (AMOUNT, [DIGITS, "12"]),
    "scaled": (sa.Numeric(1000, 500), ["1"]),
    "numerics": (pg.ARRAY(sa.Numeric()), [f"{{{DIGITS},NULL,{DIGITS}}}", "{1,2}", "{}"]),
    "scaleds": (pg.ARRAY(sa.Numeric(1000, 500)), ["{" + ",".join("1" * 500) + "}"]),
    "amounts": (pg.ARRAY(AMOUNT), [f"{{{DIGITS}}}"]),
    "range": (pg.NUMRANGE(), [f"[{DIGITS},)", "empty", f"[-{DIGITS},{DIGITS}]"]),
    "ranges": (pg.ARRAY(pg.NUMRANGE()), [f'{{"[0,{DIGITS}]",NULL,empty}}']),
    "multirange": (pg.NUMMULTIRANGE(), [f"{{[0,{DIGITS}],[2e131071,3e131071]}}", "{}"]),
    "document": (pg.JSONB(), [
        f'{{"a": [{{"b": {DIGITS}}}, 1e-16383, 1]}}', DIGITS, '"text"', "null", "[]",
        json.dumps({"x": "y" * 100_000}), json.dumps(list(range(1_000))), "[" + "0," * 999 + "0]",
    ]),
    "documents": (pg.ARRAY(pg.JSONB()), [f'{{"[{DIGITS}]",NULL}}']),
    "plain": (pg.JSON(), [f"[{DIGITS}]", json.dumps({"x": "y" * 100_000})]),
    "pair": (named("pair"), [f"({DIGITS},x)", "(,)"]),
    "pairs": (pg.ARRAY(named("pair")), [f'{{"({DIGITS},x)"}}']),
    "path": (named("jsonpath"), [f"$[*] ? (@ > {DIGITS})"]),
    "text": (sa.Text(), ["x" * 100_000, "ü" * 1_000, "\x01" * 1_000, ""]),
    "padded": (sa.CHAR(10_000), ["x"]),
    "paddeds": (pg.ARRAY(sa.CHAR(1_000)), ["{a,b,c}"]),
    "texts": (pg.ARRAY(sa.Text()), ["{" + "x" * 100_000 + "}"]),
    "integers": (pg.ARRAY(sa.Integer()), ["{" + "NULL," * 10_000 + "1}", "{1,2}"]),
    "bytes": (sa.LargeBinary(), ["\\x" + "00" * 10_000]),
    "bits": (pg.BIT(10_000), ["0" * 10_000]),
    "xml": (named("xml"), []),  # the server of the tests has none
    "words": (pg.TSVECTOR(), [" ".join(f"word{n}" for n in range(1_000))]),
    "colour": (pg.ENUM("red", "blue", name="colour", create_type=False), ["red"]),
    "colours": (pg.ARRAY(pg.ENUM("red", "blue", name="colour", create_type=False)), ["{red}"]),
    "moment": (sa.DateTime(timezone=True), ["infinity", "0044-03-15 BC", "12026-01-01"]),
    "interval": (pg.INTERVAL(), ["1 year 2 mons"]),
    "numberless": (pg.INT8RANGE(), ["[1,5)"]),
}  # fmt: skip
BESIDE = 200  # bytes of names, brackets and small values


@cache
def tables() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "things",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, type_) for name, (type_, _) in TYPES.items()),
    )
    sa.event.listen(metadata, "before_create", _types)
    return metadata


@pytest.fixture
def typed_world(make_world) -> World:
    return make_world(tables())


def _types(_: Any, connection: Any, **__: Any) -> None:
    connection.exec_driver_sql(
        "CREATE TYPE pair AS (n numeric, t text); CREATE TYPE colour AS ENUM ('red', 'blue');"
        " CREATE DOMAIN amount AS numeric"
    )


def question(**more: Any) -> dict[str, Any]:
    asked = {"resource": "things", "filters": "{}", "order": [["id", "asc"]], "limit": 100}
    return {"ask": "list", **asked, "from": None, **more}


def rows_of(body: str) -> list[Any]:
    return json.loads(body, parse_int=lambda digits: int(digits[:9]))  # Python takes no more


def walked(world: World, **more: Any) -> list[int | str]:
    """Ids of the rows, in the order in which a client gets them; as text those that are too large
    to be told."""
    found: list[int | str] = []
    start = None
    for _ in range(50):
        answer = world.read(question(**{**more, "from": start}))
        if answer.get("too_large"):
            found.append(str(json.loads(answer["next"])["id"]))
        else:
            found += [row["id"] for row in rows_of(answer["body"])]
        start = answer["next"]
        if start is None:
            return found
    raise AssertionError(f"the list does not end: {found}")


def test_a_row_is_estimated_about_as_large_as_it_is_shown(typed_world):
    resource = resources()["things"]
    columns = resource.table.columns
    sql = (
        f"SELECT {shown_bytes(columns, 'things')}, {stored_bytes(columns, 'things')},"
        " octet_length(row_to_json(things)::text) FROM things WHERE id = %s"
    )
    typed_world.execute("INSERT INTO things (id) VALUES (-1)")
    ((estimated, _, empty),) = typed_world.execute(sql, -1)
    assert estimated <= BESIDE

    for name, (_, values) in TYPES.items():
        for value in values:
            typed_world.execute("DELETE FROM things")
            typed_world.execute(f"INSERT INTO things (id, {name}) VALUES (1, %s)", value)
            ((estimated, stored, shown),) = typed_world.execute(sql, 1)
            text = shown - empty
            assert text / 7 - BESIDE <= estimated <= 5 * text + BESIDE, (name, value[:50])
            assert stored <= 5 * text + BESIDE, (name, value[:50])


LARGE = {
    "numerics": "{" + ",".join([DIGITS] * 9_000) + "}",
    "document": "[" + ",".join([DIGITS] * 9_000) + "]",
    "documents": '{"[' + ",".join([DIGITS] * 9_000) + ']"}',
    "ranges": "{" + ",".join([f'"[0,{DIGITS}]"'] * 9_000) + "}",
    "multirange": "{" + ",".join(f"[{n}e131060,{n}.5e131060]" for n in range(1, 9_000)) + "}",
    "text": "x" * 23_000_000,
    "plain": json.dumps("x" * 23_000_000),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_list_goes_on_behind_a_row_that_is_far_too_large_and_makes_no_text_of_it(
    typed_world, monkeypatch, name
):
    """Of most of these Postgres would make a text of a gigabyte, and give up."""
    typed_world.execute("INSERT INTO things (id) SELECT n FROM generate_series(1, 5) AS n")
    typed_world.execute(f"UPDATE things SET {name} = %s WHERE id = 3", LARGE[name])
    failed = failures(monkeypatch)

    assert walked(typed_world) == [1, 2, "3", 4, 5]
    assert walked(typed_world, limit=1) == [1, 2, "3", 4, 5]
    one = {"resource": "things", "key": '{"id":3}', "keys": '[{"id":2},{"id":3}]'}
    assert typed_world.read({"ask": "row", **one}) == {"too_large": True}
    assert typed_world.read({"ask": "rows", **one}) == {"too_large": True}
    assert failed == []


def failures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that fail from now on."""
    execute = Transaction.execute
    failed: list[str] = []

    def noted(self: Transaction, sql: str, *more: Any) -> Any:
        try:
            return execute(self, sql, *more)
        except Exception:
            failed.append(sql)
            raise

    monkeypatch.setattr(Transaction, "execute", noted)
    return failed


def test_many_rows_of_many_digits_make_pages_of_as_many_bytes_as_a_page_has(typed_world):
    """Each of them can be shown, and all of them together have gigabytes of text."""
    numbers = "{" + ",".join([DIGITS] * 8) + "}"
    typed_world.execute(
        "INSERT INTO things (id, numerics) SELECT n, %s FROM generate_series(1, 40) AS n", numbers
    )

    pages, start = [], None
    while start is not None or not pages:
        answer = typed_world.read(question(limit=1_000, **{"from": start}))
        pages.append([row["id"] for row in rows_of(answer["body"])])
        start = answer["next"]

    assert [id_ for page in pages for id_ in page] == [*range(1, 41)]
    assert {len(page) for page in pages} == {4}


def test_rows_behind_the_end_of_a_page_are_neither_measured_nor_shown(typed_world, monkeypatch):
    """They may be gigabytes."""
    execute = Transaction.execute
    read: list[int] = []

    def explained(self: Transaction, sql: str, *more: Any) -> Any:
        if "row_to_json" in sql:
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"
            (((plan,),),) = execute(self, explain, *more)
            read.append(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])
        return execute(self, sql, *more)

    monkeypatch.setattr(Transaction, "execute", explained)
    typed_world.execute(
        "ALTER TABLE things ALTER text SET STORAGE EXTERNAL, ALTER document SET STORAGE EXTERNAL"
    )

    for first, last in ((1, 3), (4, 12)):
        typed_world.execute(
            "INSERT INTO things (id, text, document)"
            " SELECT n, repeat('x', 2400000), to_jsonb(repeat('x', 2400000))"
            f" FROM generate_series({first}, {last}) AS n"
        )
        assert len(json.loads(typed_world.read(question())["body"])) == 1

    few, many = read
    assert many < 1.5 * few


def test_a_list_goes_on_where_postgres_gives_up_on_the_text_of_a_row(typed_world, monkeypatch):
    """Its type is one that the estimate knows nothing of."""
    typed_world.execute("INSERT INTO things (id) SELECT n FROM generate_series(1, 5) AS n")
    execute = Transaction.execute

    def give_up(self: Transaction, sql: str, values: Any = None, *more: Any) -> Any:
        found = execute(self, sql, values, *more)
        if any('"id":3' in str(text) for text, *_ in found):
            execute(self, "SELECT 1")
            raise RefusedByDatabase("string buffer exceeds maximum allowed length",
                                    kind="too-large")  # fmt: skip
        return found

    monkeypatch.setattr(Transaction, "execute", give_up)

    assert walked(typed_world) == [1, 2, "3", 4, 5]
    assert walked(typed_world, limit=2) == [1, 2, "3", 4, 5]


def test_a_place_that_is_too_long_to_be_sent_is_reported(typed_world):
    typed_world.execute("INSERT INTO things (id, text) SELECT n, repeat('x', 2000000)"
                        " FROM generate_series(1, 2) AS n")  # fmt: skip

    answer = typed_world.read(question(order=[["text", "asc"], ["id", "asc"]], limit=1))

    assert answer == {
        "unfit": "the values of a row in this order are too long; order by other columns"
    }


def test_a_condition_on_a_row_that_is_far_too_large_is_judged_without_its_text(
    typed_world, monkeypatch
):
    typed_world.execute("INSERT INTO things (id, document) VALUES (1, %s)", LARGE["document"])
    failed = failures(monkeypatch)

    typed_world.patch("things", 1, {"integers": [1]}, If_Match='"0"')
    typed_world.patch("things", 1, {"integers": [2]}, If_Match='"too large"'.replace(" ", ""))
    typed_world.put("things", 1, {"integers": [3]}, If_None_Match="*")
    typed_world.drain()
    assert typed_world.rejections() == [(0, "precondition-failed")] * 3

    typed_world.patch("things", 1, {"integers": [4]}, If_Match="*")
    typed_world.drain()
    assert typed_world.value("SELECT integers FROM things") == [4]
    assert failed == []
