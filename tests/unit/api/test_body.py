"""Request bodies: rows in the client's own text, and faults that say where."""

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.api.writes import body as module
from chalicelib.api.writes.body import ParsedRow, json_body, malformed, unstorable
from chalicelib.contract.json_text import render
from chalicelib.errors import Problem
from tests.kit.growth import LINEAR, growth

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
spaces = st.text(" \t\n\r", max_size=3)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=30), st.integers(0, 60))
def test_a_body_is_as_large_as_it_stands_in_an_event(text, most):
    size = len(json.dumps(text, ensure_ascii=False).encode()) - len('""')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_BODY_BYTES", most)
        if size <= most:
            module.refuse_large(text.encode())
            return
        with pytest.raises(Problem) as caught:
            module.refuse_large(text.encode())
    assert caught.value.type == "body-too-large"
    assert f"takes {size} in a Lambda event" in caught.value.detail


def parse(body: bytes) -> tuple[bool, list[ParsedRow]]:
    found = json_body(body)
    for each in found.broken:
        raise malformed(each.faults[0].detail, each.faults[0].pointer)
    return found.many, list(found.rows)


def refused(body: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        parse(body)
    assert caught.value.status == 400
    assert caught.value.type == "malformed-json"
    assert caught.value.faults
    assert len(caught.value.detail) < 500
    return caught.value


@given(st.lists(json_values, max_size=5), spaces, st.sampled_from([None, 2]), st.booleans())
def test_every_row_says_what_its_part_of_the_body_says(rows, space, indent, ascii_):
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_)
    body = space + text + space

    is_array, found = parse(body.encode("utf-8", "surrogatepass"))

    assert is_array
    assert [json.loads(row.text) for row in found] == json.loads(body)
    assert all(row.text in body for row in found)


@given(json_values.filter(lambda value: not isinstance(value, list)), spaces)
def test_a_single_value_is_one_row(value, space):
    is_array, found = parse((space + json.dumps(value) + space).encode())

    assert not is_array
    assert [row.text for row in found] == [json.dumps(value)]


@given(json_values)
def test_a_parsed_value_is_rendered_as_the_same_value(value):
    _, (row,) = parse(json.dumps([value]).encode())

    assert json.loads(render(row.value)) == json.loads(json.dumps(value))


def test_digits_are_in_the_text_and_in_the_value():
    _, (row,) = parse(b'{"n": 0.12345678901234567890, "i": 123456789012345678901, "m": 1.50}')

    assert row.text == '{"n": 0.12345678901234567890, "i": 123456789012345678901, "m": 1.50}'
    assert row.value == {
        "n": Decimal("0.12345678901234567890"),
        "i": 123456789012345678901,
        "m": Decimal("1.50"),
    }
    assert render(row.value) == '{"n":0.12345678901234567890,"i":123456789012345678901,"m":1.50}'


def test_a_byte_order_mark_is_let_through():
    assert parse(b"\xef\xbb\xbf[{}]") == (True, [ParsedRow("{}", {})])


def test_an_empty_array_has_no_rows():
    assert parse(b" [ ] ") == (True, [])


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        (b"", "", "empty"),
        (b" \n\t ", "", "empty"),
        (b"\xef\xbb\xbf", "", "empty"),
        (b"{", "", "character 1"),
        (b"nope", "", "character 0"),
        (b"{'a': 1}", "", "character 1"),
        (b'{"a": 1,}', "", "character"),
        (b'{"a": 01}', "", "character"),
        (b'{"a": "line\nbreak"}', "", "control character"),
        (b'{"a": "\x00"}', "", "control character"),
        (b'{"a": "\\x"}', "", "escape"),
        (b"{} {}", "", "text after the JSON value, at character 2"),
        (b"{}x", "", "unexpected text after"),
        (b"[{}]]", "", "unexpected text after the array"),
        (b"[{}] x", "", "unexpected text after the array"),
        (b"[{}", "/1", "expected , or ]"),
        (b"[{} {}]", "/1", "expected , or ]"),
        (b"[{},", "/1", "character 4"),
        (b"[{},]", "/1", "character 4"),
        (b"[,]", "/0", "character 1"),
        (b"[{}, {}, {a}]", "/2", "character"),
        (b"\xff{}", "", "not UTF-8: byte 0"),
        (b'{"a": "\xed\xa0\x80"}', "", "not UTF-8: byte 7"),
        ('{"a": 1}'.encode("utf-16"), "", "not UTF-8"),
        (b'[{"a": NaN}]', "/0", "NaN is not JSON"),
        (b'[{}, {"a": [Infinity]}]', "/1", "Infinity is not JSON"),
        (b'{"a": -Infinity}', "", "-Infinity is not JSON"),
        (b'[{}, {"a": 1, "b": 2, "a": 3}]', "/1", "'a' appears more than once"),
        (b'{"x": {"a": 1, "\\u0061": 1}}', "", "'a' appears more than once"),
        (b"[" * 100_000, "/0", "nested too deeply"),
        (b'{"a":' * 100_000, "", "nested too deeply"),
        (b'[{"a":' + b"[" * 2_000 + b"]" * 2_000 + b"}]", "/0", "nested too deeply"),
        (b'[{"n": 1e999999999}]', "/0", "beyond what a numeric holds"),
        (b'[{"n": 12e131071}]', "/0", "beyond what a numeric holds"),
        (b'{"n": ' + b"9" * 131_073 + b".5}", "", "beyond what a numeric holds"),
        (b'[{"n": 1e-999999999}]', "/0", "beyond what a numeric holds"),
        (b'[{"n": 1e99999999999999999999}]', "/0", "beyond what a numeric holds"),
        (b'[{"n": -0.0e99999999999999999999}]', "/0", "beyond what a numeric holds"),
        (b'[{"n": ' + b"9" * 5_000 + b"}]", "/0", "digits"),
        (b'[{"j": ' + b"[" * 100 + b"]" * 100 + b"}]", "/0", "100 levels"),
        (b'{"j": [1, {"x": ' + b"[" * 98 + b"]" * 98 + b"}]}", "", "100 levels"),
    ],
)
def test_a_malformed_body_is_refused_with_the_place(body, pointer, detail):
    problem = refused(body)

    assert problem.faults[0].pointer == pointer
    assert detail in problem.detail
    assert problem.faults[0].detail == problem.detail


def test_numbers_at_the_limits_of_a_numeric_are_taken():
    for text in (b"1e131071", b"1e-16383", b"9" * 4_000, b"0." + b"1" * 16_383, b"-0.0"):
        _, (row,) = parse(b'{"n":' + text + b"}")
        assert row.text == f'{{"n":{text.decode()}}}'


def test_a_member_that_is_there_twice_is_found_among_many():
    def work(times):
        last = 2_500 * times - 1
        body = json.dumps({str(i): i for i in range(last + 1)})[:-1].encode() + b',"%d":1}' % last
        assert f"'{last}' appears more than once" in refused(body).detail
        return lambda: refused(body)

    assert growth(work) < LINEAR


@given(st.binary(max_size=60))
def test_no_bytes_break_the_parser(body):
    with suppress(Problem):
        parse(body)


@given(st.text('[]{}",:0123456789eE+-.tfn \\u\n', max_size=40))
def test_what_is_taken_is_json_and_what_is_json_is_taken(text):
    try:
        expected = json.loads(text, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        refused(text.encode())
        return
    try:
        is_array, rows = parse(text.encode())
    except Problem:
        assert any(word in refused(text.encode()).detail for word in ("beyond", "twice"))
        return
    values = [json.loads(row.text) for row in rows]
    assert (values if is_array else values[0]) == expected


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        (r'{"name": "a\u0000b"}', "/name"),
        (r'{"list": [1, {"x": "\u0000"}]}', "/list/1/x"),
        (r'{"a/b": {"c~d": "\u0000"}}', "/a~1b/c~0d"),
        (r'{"x": {"\u0000": 1}}', "/x"),
        (r'{"name": "\ud800"}', "/name"),
        (r'{"name": "\uDFFFx"}', "/name"),
        (r'{"name": "\udc00\ud800"}', "/name"),
        (r'{"x": {"\ud800": 1}}', "/x"),
    ],
)
def test_text_that_postgres_cannot_store_is_named(text, pointer):
    _, (row,) = parse(text.encode())

    fault = unstorable(row)

    assert fault is not None
    assert fault.pointer == pointer
    json.dumps(fault.pointer).encode()


@pytest.mark.parametrize(
    "text",
    [
        r'{"name": "a\\u0000b"}',
        r'{"name": "\\ud800"}',
        r'{"name": "\ud83d\ude00"}',
        '{"name": "😀 \x7f \ufffe \uffff"}',
        r'{"name": "\ufffe\uffff\u0001"}',
        "{}",
    ],
)
def test_text_that_postgres_can_store_passes(text):
    _, (row,) = parse(text.encode())

    assert unstorable(row) is None


def test_rows_may_be_wide_and_a_hundred_levels_deep():
    deep = b"[" * 99 + b'"\\ud83d\\ude00"' + b"]" * 99
    wide = b"[" + b"[]," * 1_000 + b"{}]"

    _, (row, _) = parse(b'[{"j":' + deep + b',"n":1.0},{"j":' + wide + b"}]")

    assert unstorable(row) is None
    assert render(row.value).startswith('{"j":[[[')
