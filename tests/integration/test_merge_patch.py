"""`decanter.merge_patch` against RFC 7396."""

import json

import pytest

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
