"""`decanter.merge_patch` against RFC 7396, in PL/pgSQL and in SQL."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import JSON, Column, Integer, MetaData, Table
from sqlalchemy.dialects.postgresql import DOMAIN, JSONB
from sqlalchemy.types import UserDefinedType

from chalicelib.errors import Problem
from tests.kit.databases import drop, execute
from tests.kit.merge_patches import PATCHES


@pytest.fixture(scope="module", params=["ledger_template", "dsql_template"])
def functions(request: pytest.FixtureRequest, new_database: Callable[..., str]) -> Iterator[str]:
    """A database with the functions of each layout, which no test changes."""
    url = new_database(request.getfixturevalue(request.param))
    yield url
    drop(url)


@pytest.mark.parametrize(("target", "patch", "result"), PATCHES)
def test_merge_patch_follows_rfc_7396(functions, target, patch, result):
    ((merged,),) = execute(
        functions,
        "SELECT decanter.merge_patch(%s, %s)::text",
        (json.dumps(target), json.dumps(patch)),
    )
    assert json.loads(merged) == result


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [(None, '{"a": 1, "b": null}', {"a": 1}), ('{"a": 1}', None, None), (None, None, None)],
)
def test_sql_null_counts_as_absent_target_and_as_null_patch(functions, target, patch, result):
    rows = execute(functions, "SELECT decanter.merge_patch(%s, %s)", (target, patch))
    assert rows == [(result,)]


def test_digits_of_numbers_survive_a_merge(functions):
    ((merged,),) = execute(
        functions,
        "SELECT decanter.merge_patch(%s, %s)::text",
        ('{"a": {"n": 0.12345678901234567890}}', '{"a": {"m": 12345678901234567890.10}}'),
    )
    assert merged == '{"a": {"m": 12345678901234567890.10, "n": 0.12345678901234567890}}'


def test_merge_patch_ignores_the_search_path_of_its_caller(functions):
    rows = execute(
        functions,
        """
        CREATE SCHEMA trap;
        CREATE FUNCTION trap.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS 'SELECT ''null''';
        SET search_path = trap, pg_catalog;
        SELECT decanter.merge_patch('{"a": 1}', '{"b": 2}')
        """,
    )
    assert rows == [({"a": 1, "b": 2},)]


def nested(levels, innermost):
    for _ in range(levels):
        innermost = {"a": innermost}
    return innermost


@pytest.mark.parametrize("target", [{}, nested(99, {"x": 1, "y": 2}), nested(500, {"x": 1})])
def test_merge_patch_goes_as_deep_as_a_row_may_be(functions, target):
    ((merged,),) = execute(
        functions,
        "SELECT decanter.merge_patch(%s, %s) #>> %s",
        (json.dumps(target), json.dumps(nested(99, {"x": None, "z": 3})), "{" + "a," * 98 + "a}"),
    )
    assert merged is not None
    assert "x" not in json.loads(merged)
    assert json.loads(merged)["z"] == 3


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", "null", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "b", "", "null", "ü"]), inner, max_size=4)
    ),
    max_leaves=12,
)
ASKED = """
    SELECT decanter.readable(decanter.merge_patch(target, patch))::text
    FROM ROWS FROM (json_to_recordset(%s) AS (target jsonb, patch jsonb))
        WITH ORDINALITY AS pair (target, patch, place)
    ORDER BY place
"""


def test_both_layouts_merge_alike(new_database, ledger_template, dsql_template):
    urls = [new_database(ledger_template), new_database(dsql_template)]
    with closing(psycopg2.connect(urls[0])) as one, closing(psycopg2.connect(urls[1])) as other:

        def merged(connection, pairs):
            with connection.cursor() as cursor:
                cursor.execute(ASKED, (json.dumps(pairs),))
                return cursor.fetchall()

        pairs = st.fixed_dictionaries({"target": DOCUMENTS, "patch": DOCUMENTS})

        @given(st.lists(pairs, min_size=1, max_size=20))
        def alike(found):
            assert merged(one, found) == merged(other, found)

        alike()
    for url in urls:
        drop(url)


class Pair(UserDefinedType):
    cache_ok = True

    def get_col_spec(self, **_):
        return "public.pair"


def test_a_patch_is_merged_into_documents_of_all_types(make_world):
    metadata = MetaData()
    types = (JSON, JSONB, DOMAIN("doc", JSONB), DOMAIN("text doc", JSON))
    columns = [Column(f"c{n}", type_) for n, type_ in enumerate(types)]
    Table("t", metadata, Column("id", Integer, primary_key=True), *columns)
    world = make_world(metadata)
    names = [column.name for column in columns]

    world.post("t", {"id": 1, **{key: {"a": {"b": 1, "c": [1]}, "d": 1} for key in names}})
    world.patch("t", 1, {key: {"a": {"c": [None], "b": None}, "e": 2} for key in names})
    world.drain()

    row = json.loads(world.row("t", id=1))
    assert world.rejections() == []
    assert row == {"id": 1, **{key: {"a": {"c": [None]}, "d": 1, "e": 2} for key in names}}


def test_an_object_is_refused_where_postgres_would_lose_members(make_world, make_database):
    bare = MetaData()
    Table("t", bare, Column("id", Integer, primary_key=True))
    url = make_database(bare)
    execute(
        url, "CREATE TYPE public.pair AS (a int, b text); ALTER TABLE public.t ADD pair public.pair"
    )
    metadata = MetaData()
    Table("t", metadata, Column("id", Integer, primary_key=True), Column("pair", Pair))
    world = make_world(metadata, url)

    world.post("t", {"id": 1, "pair": "(1,x)"})
    for write in (
        lambda: world.patch("t", 1, {"pair": {"a": 2}}),
        lambda: world.post("t", {"id": 2, "pair": {"a": 2, "unknown": 1}}),
    ):
        with pytest.raises(Problem) as caught:
            write()
        assert caught.value.type == "invalid-row"
        assert caught.value.faults[0].pointer == "/pair"
    world.drain()

    assert json.loads(world.row("t", id=1))["pair"] == {"a": 1, "b": "x"}


def document(numbers: int, text: str = "") -> str:
    members = [f'"{n}": 1e131071' for n in range(numbers)]
    return "{" + ", ".join([*members, f'"text": "{text}"']) + "}"


@pytest.mark.parametrize("type_", [JSONB, JSON])
def test_a_document_does_not_grow_patch_by_patch_until_nobody_can_read_it(make_world, type_):
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("document", type_),
          Column("n", Integer))  # fmt: skip
    world = make_world(metadata)
    full = document(41) if type_ is JSONB else document(1)  # as text, those are bytes by now
    for id_ in (1, 2, 3):
        world.execute("INSERT INTO things (id, document) VALUES (%s, %s)", id_, full)
    world.execute("INSERT INTO things (id, document) VALUES (4, %s)", document(9_000))

    def patch(id_: int, text: str) -> None:
        world.patch("things", id_, f'{{"document": {text}}}'.encode())

    patch(1, '{"more": 1e131071}')
    patch(2, '{"more": 1}')
    patch(3, '{"0": null, "more": 1e131071}')
    patch(4, '{"more": 1}')
    world.patch("things", 4, {"n": 4})
    world.drain()
    said = "item, type, sqlstate, reason LIKE '%the document would be too large to be read%'"
    sqlstate = "54000" if world.engine.partitions else "22P02"
    refused = [(0, "value", sqlstate, True)]
    assert world.rejections(said) == refused * (2 if type_ is JSONB else 1)
    assert world.value("SELECT n FROM things WHERE id = 4") == 4

    patch(4, "null")
    patch(2, '{"text": null}')
    world.drain()
    assert len(world.rejections()) == (2 if type_ is JSONB else 1)
    assert world.value("SELECT document IS NULL FROM things WHERE id = 4")


TOO_LARGE = (psycopg2.errors.ProgramLimitExceeded, psycopg2.errors.InvalidTextRepresentation)
READABLE = "SELECT decanter.readable(decanter.merge_patch(%s, %s)) IS NOT NULL"


def test_a_document_of_many_bytes_grows_no_further(functions):
    large = json.dumps({"text": "x" * 21_900_000})
    larger = json.dumps({"more": "y" * 200_000})

    assert execute(functions, READABLE, (large, "{}")) == [(True,)]
    with pytest.raises(TOO_LARGE, match="too large to be read"):
        execute(functions, READABLE, (large, larger))


@pytest.mark.parametrize(
    "numbers", [["1e131071"] * 41, ["-1e-16383"] * 335, ["0", "1.5", "null", '"1e131071"'] * 9_999]
)
def test_digits_of_a_document_are_counted_wherever_they_are(functions, numbers):
    for text in (f"[{','.join(numbers)}]", f'{{"a": [{{"b": [{",".join(numbers)}]}}]}}'):
        assert execute(functions, READABLE, ("{}", text)) == [(True,)]


@pytest.mark.parametrize("numbers", [["1e131071"] * 42, ["-1e-16383"] * 336])
def test_digits_of_a_document_are_limited_wherever_they_are(functions, numbers):
    for text in (f"[{','.join(numbers)}]", f'{{"a": [{{"b": [{",".join(numbers)}]}}]}}'):
        with pytest.raises(TOO_LARGE, match="too large to be read"):
            execute(functions, READABLE, ("{}", text))
