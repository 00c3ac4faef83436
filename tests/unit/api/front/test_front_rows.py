"""Patches of documents in front: what RFC 7396 says, with all digits."""

import json

import pytest

from chalicelib.api.front.rows import merged
from chalicelib.contract import resources

RFC = [
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
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ("x", {}, {}),
    (None, {"a": None}, {}),
    ({"a": 1}, None, None),
]
"""The examples of RFC 7396, and a NULL on either side."""


@pytest.mark.parametrize(("target", "patch", "result"), RFC)
def test_a_column_is_patched_as_the_rfc_says(front, target, patch, result):
    places = resources.resource("places")
    row = {"code": "ZRH", "name": None, "size": 1, "detail": target}
    before = json.dumps(row)

    patched = merged(places, row, {"code": "other spelling", "detail": patch})

    assert patched == {**row, "detail": result}
    assert json.dumps(row) == before
