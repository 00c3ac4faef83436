"""`decanter.merge_patch` against RFC 7396."""

import json

import pytest
from sqlalchemy import JSON, Column, Integer, MetaData, Table
from sqlalchemy.dialects.postgresql import DOMAIN, JSONB
from sqlalchemy.types import UserDefinedType

from chalicelib.errors import Problem
from tests.integration.conftest import execute


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # the test cases of RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        # and what they leave open
        ({"a": 1}, {}, {"a": 1}),
        ("text", {}, {}),
        ({"a": [1]}, {"a": [None, {"b": None}, [None]]}, {"a": [None, {"b": None}, [None]]}),
        ({}, {"a": [{"b": None}], "c": {"d": [None]}}, {"a": [{"b": None}], "c": {"d": [None]}}),
        ({"a": {"": 1}}, {"a": {"": None, "b": {"": 2}}}, {"a": {"b": {"": 2}}}),
        ({"a": "x"}, {"a": {"b": {"c": None, "d": 1}}}, {"a": {"b": {"d": 1}}}),
        ({"a": {"b": None, "c": 1}}, {"a": {"c": 2}}, {"a": {"b": None, "c": 2}}),
    ],
)
def test_merge_patch_follows_rfc_7396(database_url, target, patch, result):
    ((merged,),) = execute(
        database_url,
        "SELECT decanter.merge_patch(%s, %s)::text",
        (json.dumps(target), json.dumps(patch)),
    )
    assert json.loads(merged) == result


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [(None, '{"a": 1, "b": null}', {"a": 1}), ('{"a": 1}', None, None), (None, None, None)],
)
def test_sql_null_counts_as_absent_target_and_as_null_patch(database_url, target, patch, result):
    rows = execute(database_url, "SELECT decanter.merge_patch(%s, %s)", (target, patch))
    assert rows == [(result,)]


def test_digits_of_numbers_survive_a_merge(database_url):
    ((merged,),) = execute(
        database_url,
        "SELECT decanter.merge_patch(%s, %s)::text",
        ('{"a": {"n": 0.12345678901234567890}}', '{"a": {"m": 12345678901234567890.10}}'),
    )
    assert merged == '{"a": {"m": 12345678901234567890.10, "n": 0.12345678901234567890}}'


def test_merge_patch_ignores_the_search_path_of_its_caller(database_url):
    rows = execute(
        database_url,
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
def test_merge_patch_goes_as_deep_as_a_row_may_be(database_url, target):
    ((merged,),) = execute(
        database_url,
        "SELECT decanter.merge_patch(%s, %s) #>> %s",
        (json.dumps(target), json.dumps(nested(99, {"x": None, "z": 3})), "{" + "a," * 98 + "a}"),
    )
    assert merged is not None
    assert "x" not in json.loads(merged)
    assert json.loads(merged)["z"] == 3


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
