"""Values that fit a schema, and that Postgres would change."""

from decimal import Decimal

import pytest

from chalicelib.contract.validator import EXACT, compiled


def takes(judge, value):
    return compiled({EXACT: judge}).is_valid(value)


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("", True),
        (" ", True),
        ('"a"=>"1"', True),
        ('"a"=>"1", b=>NULL , "c d" => "x, \\"y=>z"', True),
        ('"a"=>"1", "A"=>"1"', True),
        ('"a"=>"1", "a"=>"2"', False),
        ("a=>1, a=>1", False),
        ('a=>1, "\\a"=>NULL', False),
        ('"a"', False),
        ("a=>1 b=>2", False),
        ("now", False),
    ],
)
def test_an_hstore_names_each_key_once(text, is_kept):
    assert takes("hstore", text) is is_kept


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("'a b':1A,16383 c", True),
        ("'it''s':2 d\\'e", False),
        ("'it''s':2", True),
        ("a:16384", False),
        (f"a:{','.join(map(str, range(1, 256)))}", True),
        (f"a:{','.join(map(str, range(1, 257)))}", False),
        (f"a:{','.join(map(str, range(1, 200)))} a:{','.join(map(str, range(200, 300)))}", False),
        ("'a", False),
    ],
)
def test_a_tsvector_keeps_its_positions(text, is_kept):
    assert takes("tsvector", text) is is_kept


def test_every_number_of_a_shape_is_looked_at():
    assert takes("float8s", "((0.1,-1e300),(2.5,.5))")
    assert not takes("float8s", "((0.1,1),(2,0.12345678901234567890))")


@pytest.mark.parametrize("judge", ["float4", "float8"])
@pytest.mark.parametrize("number", [10**400, Decimal("1E+131071"), -(10**400), Decimal("1E-16383")])
def test_a_number_beyond_all_binary_ones_is_refused(judge, number):
    assert not takes(judge, number)


@pytest.mark.parametrize("judge", ["float4", "float4s", "float8", "float8s", "hstore", "tsvector"])
@pytest.mark.parametrize("value", [None, [], {}])
def test_values_of_other_types_are_left_to_the_schema(judge, value):
    assert takes(judge, value)


def test_a_number_that_would_change_is_answered_with_what_it_becomes():
    (error,) = compiled({EXACT: "float8"}).iter_errors(9007199254740993)

    assert "it becomes 9007199254740992" in error.message
    assert error.kind.name == EXACT
