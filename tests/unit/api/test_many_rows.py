"""Many rows of one request: read, checked and split together as each would be by itself."""

import json
from decimal import Decimal
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.api.writes import body, rows
from chalicelib.api.writes.body import ParsedRow, json_body, json_lines
from chalicelib.contract import resources
from chalicelib.contract.validator import Check
from chalicelib.errors import Problem
from chalicelib.messages import split
from chalicelib.messages.split import KeyedRow
from tests.kit.api import STATION, body_of, station

NAMES = ['"a"', '"b"', r'"\u0061"', '"c:"', r'"d\""', '"e"\t']
PLAIN = ["1", "-0", "0.10", "1.5", "true", "null", '""', '"x"', '"a:b"', r'"\":"', '"}, {"', '"0e"']
ODD = ["1e5", "12E-3", "NaN", "-Infinity", "1e999999", "[" * 101 + "]" * 101, "9" * 4_301]
BROKEN = ["01", "1.", "'x'", '"\t"', "{", "]", r'"\x"', "tru", ""]
SPACES = st.sampled_from(["", " ", "\t", "\r "])


def objects(inner):
    members = st.tuples(st.sampled_from(NAMES), SPACES, inner).map("{0[0]}:{0[1]}{0[2]}".format)
    return st.tuples(SPACES, st.lists(members, max_size=4)).map(
        lambda found: f"{{{found[0]}{','.join(found[1])}}}"
    )


values = st.recursive(
    st.sampled_from(PLAIN) | st.sampled_from(ODD),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]") | objects(inner)
    ),
    max_leaves=4,
)
flat = objects(st.sampled_from(PLAIN))
items = st.lists(st.one_of(flat, flat, objects(values), values), max_size=8)


def oracle(text):
    """The value of a JSON text, with the standard library; None if it cannot be accepted."""

    def members(pairs):
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    def number(text):
        found = Decimal(text)
        assert not found or (found.adjusted() < 131_072 and found.as_tuple().exponent > -16_384)
        return found

    def constant(_text):
        raise AssertionError

    try:
        value = json.loads(
            text, object_pairs_hook=members, parse_float=number, parse_constant=constant
        )
    except (ValueError, AssertionError):
        return None
    return None if "[" * 101 in text else (value,)


def described(value):
    """A value with the types and digits of its numbers."""
    if isinstance(value, dict):
        return {name: described(part) for name, part in value.items()}
    if isinstance(value, list):
        return [described(part) for part in value]
    return type(value), str(value)


def assert_read(found, texts):
    expected = [oracle(text) for text in texts]
    assert [each.item for each in found.broken] == [
        item for item, value in enumerate(expected) if value is None
    ]
    assert [(row.item, row.text, described(row.value)) for row in found.rows] == [
        (item, texts[item], described(value[0]))
        for item, value in enumerate(expected)
        if value is not None
    ]


@given(items, st.sampled_from([",", ", ", " ,\n  "]), SPACES)
def test_items_of_an_array_are_read_as_each_by_itself(texts, comma, space):
    found = json_body(f"[{space}{comma.join(texts)}{space}]".encode())

    assert_read(found, texts)


USUAL_NAMES = ['"a"', '"b:"', '"c"', '"é"']
USUAL = [*PLAIN[:8], '"é"', '"a, b"', '"2026-01-01T00:00:00Z"', '"a" ', "12.50", '"1e4f"', '"a1E5"']
ODDITIES = [
    *(
        '"}, {"',
        '"{"',
        '"}"',
        '"["',
        r'"\":"',
        r'"\\"',
        '" :"',
        "1.5E5",
        "[-1e5]",
        "NaN",
        '{"a":1,"a":2}',
    ),
    *('{"a" :1,"a":2}', "[[1],[{}]]", '[{"a":1}, {"a":1}]', r'{"a":"\t"}', "[" * 12 + "]" * 12),
    '{"a":' * 12 + "1" + "}" * 12,
    "[" * 101 + "]" * 101,
]


@settings(max_examples=3 * settings.default.max_examples)
@given(
    st.lists(
        st.lists(
            st.sampled_from(USUAL) | st.sampled_from(['{"a":1, "c": "x"}', '[1, ["a:", 2.5]]']),
            min_size=len(USUAL_NAMES),
            max_size=len(USUAL_NAMES),
        ),
        min_size=1,
        max_size=5,
    ),
    st.dictionaries(st.integers(0, 4), st.sampled_from(ODDITIES), max_size=2),
    st.sampled_from([",", ", ", " ,\n  "]),
    st.sampled_from([":", ": ", " :"]),
)
def test_rows_with_an_oddity_among_them_are_read_as_each_by_itself(drawn, odd, comma, colon):
    texts = []
    for item, values in enumerate(drawn):
        named = zip(USUAL_NAMES, [*values[:-1], odd.get(item, values[-1])], strict=True)
        texts.append(f"{{{comma.join(f'{name}{colon}{value}' for name, value in named)}}}")
    with pytest.MonkeyPatch.context() as patch:
        if not odd:
            patch.setattr(body, "Scanner", None)  # so that all are read at once

        found = json_body(f"[{comma.join(texts)}]".encode())

    assert_read(found, texts)
    used = {value for item, value in odd.items() if item < len(texts)}
    assert found.has_exponents == (not used.isdisjoint(["1.5E5", "[-1e5]"]))


@pytest.mark.parametrize(
    "texts",
    [
        ['{"a":1,"a":2}', '{"b":1}'],
        ['{"a":1,"a" :2}', '{"b":":"}'],
        [r'{"a":1,"a":2}', r'{"b":"\":"}'],
        ['{"a":{"b":1,"b":1}}', '{"a":{"b":1}}'],
        ['{"a":"}, {"}', '{"a":1},{"a":2}'],
        ['{"a":[{}, {}]}', '{"a":1},{"a":2}'],
        ['{"a":"{"}', '{"a":"}"}'],
        ['{"a":1}', '{"a":2},{"a":3}'],
        ["{}", "[{}]"],
    ],
)
def test_what_looks_usual_is_read_as_each_by_itself(texts):
    text = f"[{', '.join(texts)}]"
    rows_ = json.loads(text)

    found = json_body(text.encode())

    assert_read(found, texts if len(rows_) == len(texts) else [texts[0], *texts[1].split(",")])


@pytest.mark.parametrize(
    "texts",
    [
        ['{"a":"}, {"}', '{"a":"{"}'],
        ['{"a":[{"b":1}, {"b":2}]}', '{"a":[[{}]]}'],
        ['{"a": "b:c"}', '{"b" : 1.50}'],
        ['{"a":"c0e1d"}', '{"a":"x-0e-1"}'],
    ],
)
@pytest.mark.parametrize("between", [",", ", ", "\n,"])
def test_objects_are_read_at_once_whatever_is_in_them(texts, between, monkeypatch):
    monkeypatch.setattr(body, "Scanner", None)

    found = json_body(f"[{texts[0]}{between}{texts[1]} , {texts[0]}]".encode())

    assert_read(found, [*texts, texts[0]])


@given(items, SPACES)
def test_lines_are_read_as_each_by_itself(texts, space):
    found = json_lines("\n".join(f"{space}{text}{space}" for text in texts).encode())

    assert_read(found, texts)


@pytest.mark.parametrize("before", ['{"a":1}', '{"a":{}}'])
@given(broken=st.sampled_from(BROKEN), names=st.lists(st.sampled_from(NAMES), max_size=2))
def test_what_is_wrong_is_told_as_the_standard_library_tells_it(before, broken, names):
    item = "{" + "".join(f"{name}:1," for name in dict.fromkeys(names)) + f'"z":{broken}}}'
    text = f"[{before}, {item}]"
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)

    with pytest.raises(Problem) as caught:
        json_body(text.encode())

    assert caught.value.type == "malformed-json"
    assert caught.value.faults[0].pointer == "/1"
    place = f"{expected.value.msg.removesuffix(' at')} at character {expected.value.pos}"
    assert caught.value.detail == place


# Checks

metadata = sa.MetaData()
sa.Table(
    "things",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("amount", sa.Numeric(4, 2)),
    sa.Column("name", sa.String(3)),
)
THINGS = [
    *('{"id":1}', '{"id":2,"amount":1.25,"name":"abc"}', '{"id":3,"amount":null}'),
    *('{"id":4,"amount":99.990}', '{"id":5,"amount":1.255}', '{"id":6,"amount":100}'),
    *('{"id":7,"name":"abcd"}', '{"id":8,"other":1}', '{"name":"x"}', "7"),
    r'{"id":9,"name":"\u0041"}',
    *(r'{"id":10,"name":"\u0000"}', r'{"id":11,"name":"\ud800"}', '{"id":12,"amount":1.5e1}'),
    *('{"id":"13"}', '{"id":14.0}', '{"id":15,"amount":0.' + "1" * 40 + "}"),
]  # fmt: skip


def as_body(texts):
    """Without the mark that numbers have exponents, which has rows measured one by one."""
    return json_body(f"[{','.join(texts)}]".encode())._replace(has_exponents=False)


def checked(resource, found):
    try:
        good, refused = rows.check(resource, "create", found, lenient=True)
    except Problem:
        good, refused = [], None
    return [row.item for row in good], refused


def test_rows_are_checked_together_as_each_by_itself(compile_contract, monkeypatch):
    compile_contract(metadata)
    resource = resources.resource("things")
    alone = {
        text: rows.check(resource, "create", as_body([THINGS[0], text]), lenient=True)[0]
        for text in THINGS
    }

    @given(st.lists(st.sampled_from(THINGS), min_size=1, max_size=9), st.sampled_from([1, 2, 50]))
    def check(texts, block):
        monkeypatch.setattr(rows, "_BLOCK", block)
        monkeypatch.setattr(rows, "_PART", min(block, 3))
        good, refused = checked(resource, as_body(texts))
        expected = [item for item, text in enumerate(texts) if len(alone[text]) == 2]
        assert good == expected
        if good and refused is not None:
            assert [each.item for each in refused] == [
                item for item in range(len(texts)) if item not in expected
            ]
            assert all(each.faults for each in refused)

    check()
    assert {text for text in THINGS if len(alone[text]) == 2} == {
        *(THINGS[at] for at in (0, 1, 2, 3, 10, 13, 15))
    }


def test_valid_rows_are_not_checked_one_by_one(api, recorder, monkeypatch):
    monkeypatch.setattr(Check, "is_valid", None)

    answer = api("POST", "/stations", [station(icao=f"K{n:03}") for n in range(120)])

    assert body_of(answer)["writes"] == 120


def test_a_bad_row_costs_its_block_alone(api, monkeypatch):
    asked = []
    is_valid = Check.is_valid
    monkeypatch.setattr(Check, "is_valid", lambda *given: asked.append(given) or is_valid(*given))

    answer = api("POST", "/stations", [STATION] * 120 + [{}], Prefer="handling=lenient")

    assert body_of(answer)["refused_count"] == 1
    assert len(asked) <= rows._PART


def test_each_row_of_many_bad_ones_is_asked_about_once(api, monkeypatch):
    asked = []
    is_valid = Check.is_valid
    monkeypatch.setattr(Check, "is_valid", lambda *given: asked.append(given) or is_valid(*given))
    monkeypatch.setattr(Check, "are_valid", lambda *_: False)

    answer = api("POST", "/stations", [STATION, {}] * 60, Prefer="handling=lenient")

    assert body_of(answer)["refused_count"] == 60
    assert len(asked) == 120


def test_large_rows_are_not_checked_together(compile_contract, monkeypatch):
    """The validator copies what it is given."""
    compile_contract(metadata)
    resource = resources.resource("things")
    sizes = []
    are_valid = Check.are_valid
    monkeypatch.setattr(rows, "_LARGE", 500)
    monkeypatch.setattr(
        Check, "are_valid", lambda self, block: sizes.append(len(block)) or are_valid(self, block)
    )

    rows.check(resource, "create", as_body(['{"id":1}'] * 110), False)

    assert sum(sizes) == 110
    assert max(sizes) * len('{"id":1}') <= 500


# Splitting


REQUEST = UUID("01890000-0000-8000-8000-000000000000")


def test_a_row_among_others_has_the_digest_that_it_has_alone(compile_contract):
    tables = sa.MetaData()
    sa.Table(
        "things",
        tables,
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
    )
    compile_contract(tables)
    resource = resources.resource("things")
    values = [{"id": 1, "day": "2026-01-01"}, {"day": "2026-01-01"}, {"id": 1, "day": "20260101"}]
    sent = [ParsedRow(json.dumps(value), value, item) for item, value in enumerate(values)]

    found = rows.to_split(resource, "create", sent, REQUEST)

    assert found == [
        each for row in sent for each in rows.to_split(resource, "create", [row], REQUEST)
    ]
    assert found[0].digest == found[2].digest != found[1].digest


@given(
    st.lists(
        st.tuples(
            st.sampled_from([("a",), ("a", "b")]),
            st.integers(0, 12),
            st.sampled_from(["x", "é", "\uffff", "x" * 3_000]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
def test_rows_that_fit_into_one_set_make_the_message_that_they_make_row_by_row(drawn, is_ordered):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECANTER_MESSAGE_BYTES", "10000")
        sent = [
            KeyedRow(
                item, members, digest if is_ordered else None, json.dumps(text, ensure_ascii=False)
            )
            for item, (members, digest, text) in enumerate(drawn)
        ]

        found = split._messages(sent)

        assert found == [split._sets(kinds) for kinds in split._chunks(sent)]
