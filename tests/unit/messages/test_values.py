"""Rows by their values say what their objects say, to the digit."""

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.messages import values
from chalicelib.messages.values import Columns

_ODD = '"\\\ufffe\uffff'
PLAIN = st.text(st.characters(exclude_characters=_ODD, exclude_categories=["Cc", "Cs"]))
NUMBERS = st.sampled_from(["0", "-0.0", "1E5", "1e-7", "12.500", "123456789012345678901234567890"])
SCALARS = PLAIN.map(lambda text: json.dumps(text, ensure_ascii=False)) | NUMBERS
SCALARS |= st.sampled_from(["true", "false", "null", '""'])
DOCUMENTS = st.recursive(
    PLAIN | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=8,
).map(lambda value: json.dumps(value, ensure_ascii=False))
NAMES = st.sampled_from(["id", "a b", "ä", "100%", "a,b", "{", "]", "x:y", "null", "%s"])
SPACES = st.sampled_from(["", " ", " \t"])


@st.composite
def rows(draw: st.DrawFn) -> tuple[tuple[str, ...], tuple[str, ...], list[list[str]], list[str]]:
    """Members, documents among them, the JSON texts of their values in each row, and the rows."""
    members = tuple(draw(st.lists(NAMES, min_size=1, max_size=5, unique=True)))
    documents = tuple(name for name in members if draw(st.booleans()))
    kinds = [DOCUMENTS if name in documents else SCALARS for name in members]
    found = draw(st.lists(st.tuples(*kinds), min_size=1, max_size=4))
    space = draw(SPACES)
    names = [json.dumps(name, ensure_ascii=False) for name in members]
    pairs = [zip(names, row, strict=True) for row in found]
    inner = [f"{space},{space}".join(f"{n}{space}:{space}{v}" for n, v in row) for row in pairs]
    texts = [f"{{{each}}}" for each in inner]
    return members, documents, [[*row] for row in found], texts


@given(rows())
def test_objects_come_back_from_their_lines(given_rows: Any) -> None:
    members, documents, sent, texts = given_rows

    lines = values.lines(members, documents, texts)

    known = [(line, row) for line, row in zip(lines, sent, strict=True) if line is not None]
    if known:
        text = "\n".join(line for line, _ in known)
        back = values.objects(tuple(sorted(members)), documents, text, len(known))
        pairs = [sorted(zip(members, row, strict=True)) for _, row in known]
        inner = [[f"{json.dumps(n, ensure_ascii=False)}:{v}" for n, v in row] for row in pairs]
        wanted = [f"{{{','.join(row)}}}" for row in inner]
        assert back == ",".join(wanted)
    scalar = [all(value[0] not in "[{" for value in row) for row in sent]
    assert all(line is not None for line, is_plain in zip(lines, scalar, strict=True) if is_plain)


@given(rows())
def test_a_line_is_csv_of_the_same_values(given_rows: Any) -> None:
    """As Postgres reads it: quoted fields are texts, and no quoted one is NULL."""
    members, documents, sent, texts = given_rows
    for line, row in zip(values.lines(members, documents, texts), sent, strict=True):
        if line is None:
            continue
        reader = csv.reader(io.StringIO(line), escapechar="\\", doublequote=False, strict=True)
        fields = next(reader)
        assert len(fields) == len(members)
        pairs = sorted(zip(members, row, strict=True))
        for field, (name, value) in zip(fields, pairs, strict=True):
            if name in documents or value[0] != '"':
                assert field == value
            else:
                assert field == json.loads(value)


@pytest.mark.parametrize(
    "odd",
    [
        r'{"a": "x\ny", "b": 1}',
        r'{"a": "\u00e9", "b": 1}',
        r'{"a": "say \"hi\"", "b": 1}',
        '{"a": "\ufffe", "b": 1}',
        '{"a": "\uffff", "b": 1}',
        '{"a": [1], "b": 1}',
        '{"a": {"b": 1}, "b": 1}',
        r'{"a": "\\", "b": {"a": "y", "b": 2}}',
    ],
)
def test_a_row_that_csv_says_otherwise_stays_an_object(odd: str) -> None:
    plain = '{"a": "x", "b": 1}'

    assert values.lines(("a", "b"), (), [plain, odd, plain]) == ['"x",1', None, '"x",1']
    assert values.lines(("a", "b"), (), [odd]) == [None]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ('{"q": [1.50, "x"]}', r'"{\"q\": [1.50, \"x\"]}"'),
        ('"text"', r'"\"text\""'),
        ("null", "null"),
        ("12.50", '"12.50"'),
        ("[[[[1]]]]", '"[[[[1]]]]"'),
        ("[[[[[1]]]]]", None),
        (r'{"q": "\n"}', None),
        ('{"q":\r1}', None),
    ],
)
def test_a_document_is_json_in_a_string(document: str, field: str | None) -> None:
    (line,) = values.lines(("id", "doc"), ("doc",), [f'{{"id":7,"doc":{document}}}'])

    assert line == (None if field is None else f"{field},7")
    if line:
        assert values.objects(("doc", "id"), ("doc",), line, 1) == f'{{"doc":{document},"id":7}}'


@pytest.mark.parametrize("count", [1, 49, 50, 600])
def test_many_rows_are_read_as_one_is(count: int) -> None:
    """A pattern of their own reads them where there are many."""
    rows = [f'{{"n": {n}, "b":"x{n}" ,"doc": {{"n":\t[{n}]}}}}' for n in range(count)]
    order = ("n", "b", "doc")

    found = values.lines(order, ("doc",), rows)

    assert found == [values.lines(order, ("doc",), [row])[0] for row in rows]
    assert found == [f'"x{n}","{{\\"n\\":\t[{n}]}}",{n}' for n in range(count)]
    back = values.objects(("b", "doc", "n"), ("doc",), "\n".join(map(str, found)), count)
    assert json.loads(f"[{back}]") == [json.loads(row) for row in rows]

    odd = [*rows, r'{"n": 1, "b": "\n", "doc": 1}', '{"n": 1, "b": [], "doc": 1}']
    assert values.lines(order, ("doc",), odd) == [*found, None, None]


def test_a_line_whose_document_is_no_json_is_given_back() -> None:
    assert values.objects(("a", "b"), ("b",), '1,"\\\\ \t"', 1) == '{"a":1,"b":\\ \t}'


def test_two_documents_are_told_apart_by_their_brackets() -> None:
    row = '{"d1":{"q":{"x":1},"d2":{"y":2}},"d2":{"z":"}"}}'

    (line,) = values.lines(("d1", "d2"), ("d1", "d2"), [row])

    assert line is not None
    assert values.objects(("d1", "d2"), ("d1", "d2"), line, 1) == row


@pytest.mark.parametrize("line", ['"x"', '"x",1,2', '"x,1', 'x"y,1', '"a"b",1'])
def test_a_line_that_is_not_of_the_members_becomes_no_json(line: str) -> None:
    found = values.objects(("a", "b"), (), f'"x",1\n{line}', 2)

    first, rest = found[: len('{"a":"x","b":1}')], found[len('{"a":"x","b":1}') + 1 :]
    assert json.loads(first) == {"a": "x", "b": 1}
    with pytest.raises(json.JSONDecodeError):
        json.loads(rest)


def test_columns_say_which_rows_travel_so() -> None:
    columns = Columns(frozenset({"a", "b"}), frozenset({"d"}), frozenset({"a"}))

    assert columns.documents_of(("a", "b")) == ()
    assert columns.documents_of(("d", "a")) == ("d",)
    assert columns.documents_of(("b", "d")) is None  # the model fills a
    assert columns.documents_of(("a", "list")) is None
    assert Columns(frozenset(), frozenset(), frozenset()).documents_of(()) is None


def test_numbers_keep_their_digits() -> None:
    (line,) = values.lines(("n",), (), ['{"n": 0.10000000000000000000000000000000001}'])

    assert line is not None
    assert json.loads(values.objects(("n",), (), line, 1), parse_float=Decimal) == {
        "n": Decimal("0.10000000000000000000000000000000001")
    }
