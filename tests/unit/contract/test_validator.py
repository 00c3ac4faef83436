"""The fast check says of every row what the whole schema says."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.validator import Check, compiled

MONEY = {
    "type": ["number", "null"],
    "minimum": Decimal("-99.99"),
    "maximum": Decimal("99.99"),
    "multipleOf": Decimal("0.01"),
}
WIDE = {
    "type": "number",
    "minimum": -(Decimal(10) ** 28),
    "maximum": Decimal(10) ** 28,
    "multipleOf": Decimal("1E-10"),
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "maxLength": 3},
        "money": MONEY,
        "wide": WIDE,
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
        "any": {"type": ["number", "string"], **{k: v for k, v in MONEY.items() if k != "type"}},
    },
}
WHOLE = compiled(SCHEMA)
CHECK = Check(SCHEMA)

numbers = st.one_of(
    st.integers(-101, 101),
    st.integers(),
    st.decimals(min_value=-101, max_value=101, places=2),
    st.decimals(min_value=-101, max_value=101, places=3),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [Decimal(text) for text in ("1.50", "1.500", "1E+1", "1E+90", "-0.00", "1E-90", "99.990")]
    ),
)
others = st.one_of(st.none(), st.booleans(), st.text(max_size=4), st.just([]), st.just({}))
rows = st.one_of(
    others,
    st.dictionaries(
        st.sampled_from(["name", "money", "wide", "count", "any", "else"]),
        st.one_of(numbers, others),
    ).map(lambda row: {"name": "a", **row}),
    st.fixed_dictionaries({"name": st.just("a"), "money": numbers, "wide": numbers}),
)


@given(rows)
def test_a_row_is_valid_where_the_whole_schema_says_so(row):
    assert CHECK.is_valid(row) == WHOLE.is_valid(row)


@given(
    st.sets(st.sampled_from(["money", "wide", "count", "any", "else"])).flatmap(
        lambda names: st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["a", "abc", "abcd"]),
                    **dict.fromkeys(
                        names, st.one_of(numbers, st.none(), st.sampled_from([1, 2, True, "1"]))
                    ),
                }
            ),
            min_size=2,
            max_size=4,
        )
    )
)
def test_rows_with_the_same_members_are_valid_where_each_is(rows):
    are_valid = all(map(WHOLE.is_valid, rows))

    assert CHECK.are_valid(rows) == are_valid or (are_valid and not are_simple(rows))


def are_simple(rows):
    """Whether a sum of numbers has all their digits."""
    parts = [part for row in rows for part in row.values() if isinstance(part, Decimal)]
    return all(part.as_tuple().exponent > -8 and part.adjusted() < 20 for part in parts)


@pytest.mark.parametrize(
    ("money", "fits"),
    [("1.25", True), ("1.250", True), ("1.255", False), ("99.99", True), ("100", False)],
)
def test_numbers_have_bounds_and_digits(money, fits):
    assert CHECK.is_valid({"name": "a", "money": Decimal(money)}) is fits


def test_errors_are_those_of_the_whole_schema():
    row = {"name": "a", "money": Decimal("100.001"), "count": 10}

    found = [(error.kind.name, error.message) for error in CHECK.iter_errors(row)]

    assert found == [(error.kind.name, error.message) for error in WHOLE.iter_errors(row)]
    assert {kind for kind, _ in found} == {"maximum", "multipleOf"}


def test_a_row_that_fits_is_not_checked_by_fractions(monkeypatch):
    check = Check(SCHEMA)

    assert check.is_valid({"name": "a", "money": Decimal("1.25"), "wide": 3})

    assert "_whole" not in vars(check)


@pytest.mark.parametrize("money", [True, "1", 1.255, [], {}])
def test_only_numbers_are_compared_with_bounds(money):
    assert not CHECK.are_valid([{"name": "a", "money": money}, {"name": "b", "money": money}])


def test_digits_are_not_lost_in_the_sum_of_large_numbers():
    money = {**MONEY, "maximum": Decimal(10) ** 200}
    check = Check({"type": "object", "properties": {"money": money}})

    for last, fits in (("1.25", True), ("1.255", False)):
        rows = [{"money": Decimal(10) ** 199}, {"money": Decimal(last)}]
        assert check.are_valid(rows) in {fits, False}
        assert all(map(check.is_valid, rows)) is fits


def test_rows_of_different_members_are_valid_where_each_is():
    rows = [{"name": "a"}, {"name": "b", "money": Decimal("1.25")}, {"money": None, "name": "c"}]

    assert CHECK.are_valid(rows)
    for wrong in ({"name": "abcd"}, {}, {"name": "a", "money": Decimal("1.255")}, 7, []):
        assert not CHECK.are_valid([*rows, wrong])
        assert not CHECK.are_valid([wrong, rows[0]])
