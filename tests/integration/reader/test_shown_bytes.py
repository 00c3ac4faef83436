"""What intake counts of a row is what Postgres shows of it."""

import json
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import UserDefinedType

from chalicelib.api.writes.body import json_body
from chalicelib.contract import resources, row_size
from chalicelib.errors import Problem
from tests.kit.world import World


class Pair(UserDefinedType):
    cache_ok = True

    def get_col_spec(self) -> str:
        return "pair"


DIGITS = "1e131071"
AMOUNT = pg.DOMAIN("amount", sa.Numeric(), create_type=False)
TYPES = {
    "number": (sa.Numeric(), [DIGITS, "-1E5", "1e-16383", "0e5", "0e-5", "-0", "1.50", "15e-1"]),
    "amount": (AMOUNT, [DIGITS]),
    "numbers": (sa.ARRAY(sa.Numeric()), [f"[{DIGITS},null,12345.5e-3]", "[1,2,3]"]),
    "scaled": (sa.ARRAY(sa.Numeric(1000, 500)), ["[" + "1," * 99 + "1e3]"]),
    "floats": (sa.ARRAY(sa.Double), ["[" + "1e300," * 99 + "1.5]", "[" + "1," * 999 + "1]"]),
    "document": (pg.JSONB(), [f'{{"a":[{DIGITS},1e-16383,{{"b":{DIGITS}}}]}}', f'"{DIGITS}"',
                              r'["\u0001\n\"\\é\u00e9",true,false,null,{}]']),
    "plain": (pg.JSON(), ['{"a":[1,2.50,"x"]}']),
    "range": (pg.NUMRANGE(), ['"[1,2.50)"', '"(,)"', '"empty"']),
    "multirange": (pg.NUMMULTIRANGE(), ['"{[0,1),(2,3]}"']),
    "pair": (Pair(), [f'"({DIGITS},1e-9)"', '"(1_0e13_0,x)"', '"(5.e130,)"', '"(.5e1,)"']),
    "pairs": (sa.ARRAY(Pair()), [f'["({DIGITS},x)",null]']),
    "path": (type("Path", (Pair,), {"get_col_spec": lambda _: "jsonpath"})(),
             [f'"$ ? (@ > {DIGITS})"']),
    "padded": (sa.CHAR(10_000), ['"x"', '"' + "é" * 500 + '"']),
    "paddeds": (sa.ARRAY(sa.CHAR(1_000)), ['["a","b",null]']),
    "text": (sa.Text(), [f'"{DIGITS} \\u0001\\u00e9 \U0001f600 \\ud83d\\ude00"', '""']),
    "bits": (pg.BIT(100), ['"' + "01" * 50 + '"']),
    "bytes": (sa.LargeBinary(), ['"\\\\x' + "00" * 500 + '"']),
}  # fmt: skip


@pytest.fixture
def typed_world(make_world) -> World:
    metadata = sa.MetaData()
    columns = (sa.Column(name, type_) for name, (type_, _) in TYPES.items())
    sa.Table("things", metadata, sa.Column("id", sa.Integer, primary_key=True), *columns)

    def types(_: Any, connection: Any, **__: Any) -> None:
        connection.exec_driver_sql(
            "CREATE TYPE pair AS (n numeric, t text); CREATE DOMAIN amount AS numeric"
        )

    sa.event.listen(metadata, "before_create", types)
    return make_world(metadata)


def test_bytes_of_a_row_are_counted_as_postgres_shows_it(typed_world):
    rows = [
        f'{{"id":{id_},"{name}":{value}}}'
        for id_, (name, value) in enumerate(
            ((name, value) for name, (_, values) in TYPES.items() for value in values), start=1
        )
    ]

    typed_world.post("things", f"[{','.join(rows)}]".encode())
    typed_world.drain()

    assert typed_world.rejections("item, reason") == []
    resource = resources.resource("things")
    for id_, row in enumerate(rows, start=1):
        (parsed,) = json_body(row.encode()).rows
        counted = sum(row_size.sizes(resource, parsed.value).values())
        ((text,),) = typed_world.execute(
            "SELECT octet_length(json_strip_nulls(row_to_json(things))::text)"
            " FROM things WHERE id = %s",
            id_,
        )
        # Blanks behind commas of JSONB are not counted, nor all quotes of a notation.
        assert 0.6 * text - 20 <= counted <= 1.4 * text + 40, (row[:60], text, counted)


def test_the_largest_row_that_is_taken_can_be_read(typed_world):
    most = f'{{"id":1,"document":[{",".join([DIGITS] * 7)}]}}'
    typed_world.post("things", most.encode())
    typed_world.post(
        "things", f'{{"id":2,"text":{json.dumps("é" * 499_000, ensure_ascii=False)}}}'.encode()
    )
    with pytest.raises(Problem) as problem:
        typed_world.post("things", most.replace("]", f",{DIGITS}]").encode())
    typed_world.drain()

    assert problem.value.type == "row-too-large"
    assert len(typed_world.row("things", id=1)) > 7 * 131_072
    question = {"ask": "list", "resource": "things", "filters": "{}", "order": [["id", "asc"]]}
    answer = typed_world.read({**question, "limit": 100, "from": None})
    assert answer["body"].count('"id":') == 2
    assert answer["next"] is None
