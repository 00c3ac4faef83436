"""Patches of documents: target, patch, and what RFC 7396 makes of them."""

from typing import Any

PATCHES: list[tuple[Any, Any, Any]] = [
    # appendix A
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
    (None, {"a": None}, {}),
]
