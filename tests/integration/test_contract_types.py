"""What the contract accepts, Postgres stores as it was sent; what it refuses, Postgres refuses too
or would change."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal

import jsonschema_rs
import psycopg2
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql as pg

from chalicelib.database.resources import recordset_type
from chalicelib.intake.body import json_body, render
from decanter.contract.columns import write_schema
from decanter.contract.forms import holds_integers
from tests.integration.conftest import create_tables


class Raw(sa.types.UserDefinedType):
    cache_ok = True

    def __init__(self, sql):
        self.sql = sql

    def get_col_spec(self, **_):
        return self.sql


MOOD = pg.ENUM("a", "it's", name="mood", schema="odd types")
CENTS = pg.DOMAIN("cents", sa.Numeric(5, 2), schema="odd types")
CODE = pg.DOMAIN("code", sa.String(3), schema="odd types", check="VALUE <> 'xxx'")


@dataclass(frozen=True)
class Case:
    """JSON texts. kept: stored as sent. lost: refused, as Postgres refuses or changes it.
    foreign: refused, though Postgres would take it: not a form of the contract's."""

    type_: object
    kept: tuple[str, ...]
    lost: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


CASES = [
    Case(
        sa.SmallInteger,
        ("0", "32767", "-32768", "1.0", "1e3"),
        ("32768", "-32769", "1.5"),
        ('"1"',),
    ),
    Case(sa.Integer, ("2147483647", "-2147483648"), ("2147483648", "-2147483649", "true")),
    Case(
        sa.BigInteger,
        ("9223372036854775807", "-9223372036854775808"),
        ("9223372036854775808", "-9223372036854775809", "1e30", "0.5"),
    ),
    Case(
        sa.Numeric(5, 2),
        ("999.99", "-999.99", "0.01", "1e2", "0", "-0.0", "1.10", "1.1000"),
        ("1000", "-1000", "999.991", "0.001", "1e3", "-999.999"),
        ('"1.5"', '"NaN"'),
    ),
    Case(
        sa.Numeric(38, 10),
        ("9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999"),
        ("10000000000000000000000000000", "9999999999999999999999999999.99999999991", "1e-11"),
    ),
    Case(sa.Numeric(3), ("999", "-999"), ("1000", "0.5")),
    Case(Raw("numeric(2, -3)"), ("99000", "-1000", "0", "1e3"), ("100000", "1500", "1")),
    Case(Raw("numeric(3, 5)"), ("0.00999", "-0.00001"), ("0.01", "0.000001")),
    Case(sa.Numeric, ("1e1000", "1e-1000", "12345678901234567890.12345678901234567890")),
    Case(sa.REAL, ("0.1", "3.4028235e38", '"NaN"', '"-Infinity"'), ("3.5e38",), ('"0.1"',)),
    Case(sa.Float(24), ("0.5",), ("3.5e38",)),
    Case(
        sa.Double,
        ("0.1", "1.7976931348623157e308", "5e-324", '"Infinity"'),
        ("1e309", "-1e309"),
        ('"inf"',),
    ),
    Case(sa.Float, ("0.1", "1e308"), ("1e309",)),
    Case(sa.String(3), ('""', '"abc"', '"äöü"', '"😀😀😀"', '" a "'), ('"abcd"', '"abc "'), ("1",)),
    Case(sa.CHAR(3), ('"ab"', '"abc"', '""'), ('"abcd"', '"abc "')),
    Case(sa.String(3, collation="C"), ('"abc"',), ('"abcd"',)),
    Case(sa.Text, ('""', '"a\\nb"', '"\\ud83d\\ude00"', '"\\"{}\\\\"'), (), ("{}", "true")),
    Case(sa.Boolean, ("true", "false"), (), ("1", '"yes"', '"true"')),
    Case(
        sa.Date,
        ('"0001-01-01"', '"9999-12-31"', '"2024-02-29"'),
        ('"2023-02-29"', '"0000-01-01"', '"2024-13-01"', '"2024-01-01T10:00:00"', '""'),
        ('"10000-01-01"', '"infinity"', '"0044-03-15 BC"', '"20240101"', '"yesterday"'),
    ),
    Case(
        sa.DateTime(timezone=True),
        (
            '"2024-02-29T12:00:00Z"',
            '"2024-02-29T23:59:59.999999+15:59"',
            '"2024-02-29T00:00:00.1-15:59"',
            '"0001-01-01T00:00:00Z"',
            '"9999-12-31T23:59:59.999999Z"',
            '"2024-01-01T00:00:00-00:00"',
        ),
        (
            '"2024-01-01T00:00:00.1234567Z"',
            '"2016-12-31T23:59:60Z"',
            '"2024-01-01T24:00:00Z"',
            '"2024-01-01T00:00:00+16:00"',
            '"0000-01-01T00:00:00Z"',
            '"2023-02-29T00:00:00Z"',
        ),
        (
            '"2024-01-01T00:00:00"',
            '"2024-01-01 00:00:00Z"',
            '"2024-01-01t00:00:00z"',
            '"10000-01-01T00:00:00Z"',
            '"infinity"',
            '"now"',
            '"2024-01-01T00:00:00 Europe/Zurich"',
        ),
    ),
    Case(
        pg.TIMESTAMP(timezone=True, precision=3),
        ('"2024-01-01T00:00:00.123Z"',),
        ('"2024-01-01T00:00:00.1234Z"',),
    ),
    Case(
        pg.TIMESTAMP(precision=0),
        ('"2024-01-01T00:00:00"',),
        ('"2024-01-01T00:00:00.5"',),
    ),
    Case(
        sa.DateTime,
        ('"2024-02-29T12:00:00"', '"9999-12-31T23:59:59.999999"', '"0001-01-01T00:00:00.1"'),
        (
            '"2024-01-01T00:00:00+02:00"',
            '"2024-01-01T00:00:00Z"',
            '"2024-01-01T23:59:60"',
            '"2024-04-31T00:00:00"',
            '"2024-02-30T00:00:00"',
            '"0000-01-01T00:00:00"',
        ),
        ('"2024-01-01"', '"epoch"'),
    ),
    Case(
        sa.Time,
        ('"00:00:00"', '"23:59:59.999999"'),
        ('"23:59:60"', '"10:00:00Z"', '"25:00:00"', '"10:00:00.1234567"'),
        ('"10:00"', '"24:00:00"'),
    ),
    Case(pg.TIME(precision=1), ('"10:00:00.5"',), ('"10:00:00.55"',)),
    Case(
        sa.Time(timezone=True),
        ('"10:00:00+02:00"', '"10:00:00Z"'),
        ('"10:00:00+16:00"',),
        ('"10:00:00"',),
    ),
    Case(
        sa.Uuid,
        ('"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"', '"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"'),
        ('"a0eebc99"', '""'),
        (
            '"{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"',
            '"a0eebc999c0b4ef8bb6d6bb9bd380a11"',
        ),
    ),
    Case(
        sa.LargeBinary,
        ('"\\\\x"', '"\\\\x00fF"'),
        ('"\\\\x0"', '"\\\\xzz"', '"abc"', '"\\\\x 00"'),
    ),
    Case(MOOD, ('"a"', '"it\'s"'), ('""', '"A"', '"b"')),
    Case(CENTS, ("1.25", "-999.99"), ("0.001", "1000")),
    Case(CODE, ('"abc"',), ('"abcd"', '"abc "')),
    Case(sa.Enum("x", "yy", native_enum=False), ('"x"', '"yy"'), ('"zzz"',), ('""',)),
    Case(sa.Uuid(native_uuid=False), ('"a0eebc999c0b4ef8bb6d6bb9bd380a11"',)),
    Case(
        sa.ARRAY(sa.Integer),
        ("[]", "[1, null, 3]", "[1.0]"),
        ("[2147483648]", "[1.5]"),
        ("[[1, 2]]", '"{1,2}"', "1"),
    ),
    Case(
        sa.ARRAY(sa.Integer, dimensions=2),
        ("[]", "[[1, 2], [3, null]]"),
        ("[[]]", "[[], []]", "[[1], null]"),
        ("[1, 2]",),
    ),
    Case(sa.ARRAY(sa.String(3)), ('["abc", "", null]',), ('["abcd"]', '["abc "]')),
    Case(sa.ARRAY(sa.Numeric(5, 2)), ("[1.25]",), ("[0.001]", "[1000]")),
    Case(sa.ARRAY(MOOD), ('["a", "it\'s", null]', "[]"), ('["b"]', '[""]')),
    Case(sa.ARRAY(sa.DateTime(timezone=True)), ("[]",), ('["2016-12-31T23:59:60Z"]',)),
    Case(
        pg.JSONB,
        ('{"a": 1.10, "b": [null]}', "[]", '"x"', "true", "0", "1e3", "12345678901234567890.1"),
    ),
    Case(sa.JSON, ('{"a": 1.10}', "[[1], 2]", '""', "false")),
    Case(sa.ARRAY(pg.JSONB), ('[{"a": [1]}, null, "x", 1]', "[]"), (), ("[[1], [2]]",)),
    Case(pg.BIT(3), ('"101"',), ('"10"', '"1011"', '"12"')),
    Case(pg.BIT(), ('"1"',), ('""', '"11"')),
    Case(pg.BIT(3, varying=True), ('""', '"1"', '"101"'), ('"1011"',)),
    Case(pg.BIT(varying=True), ('""', '"10111"'), ('"2"',)),
    Case(pg.MONEY, ("12.34", "-92233720368547758.07"), ("0.001", "92233720368547758.08")),
    Case(sa.Interval, ('"1 day 02:00:00"',), (), ("1",)),
    Case(pg.INET, ('"10.0.0.1"', '"10.0.0.1/8"', '"::1"')),
    Case(pg.CIDR, ('"10.0.0.0/8"',)),
    Case(pg.MACADDR, ('"08:00:2b:01:02:03"',)),
    Case(pg.INT4RANGE, ('"[1,6)"', '"empty"')),
    Case(pg.TSTZMULTIRANGE, ('"{}"',)),
    Case(pg.TSVECTOR, ("\"'a' 'b'\"",)),
    Case(pg.JSONPATH, ('"$.\\"a\\""',)),
    Case(pg.OID, ('"5"',)),
    Case(Raw("point"), ('"(1,2)"',)),
    Case(Raw('"odd types".pair'), ('{"a":1,"b":"x"}',)),
]


def whole(value):
    """As intake does for integers."""
    if isinstance(value, list):
        return [whole(part) for part in value]
    return int(value) if isinstance(value, Decimal) and value == int(value) else value


def plain(value):
    """A value in the one spelling that equal ones share."""
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).astimezone(UTC) if "T" in value[8:] else value
        except (ValueError, OverflowError):
            return value
    return value


def same(type_, sent, stored):
    type_ = sa.types.to_instance(type_)
    if isinstance(type_, pg.MONEY):
        return Decimal(stored.replace("$", "").replace(",", "")) == sent
    if isinstance(type_, sa.Float) and not isinstance(sent, str):
        return float(stored) == float(sent)
    if isinstance(type_, sa.CHAR):
        return stored.rstrip() == sent and len(stored) == type_.length
    if isinstance(type_, sa.Uuid | sa.LargeBinary):
        return stored == sent.lower()
    if isinstance(type_, sa.Time):
        if stored == "24:00:00":  # what a leap second becomes
            return False
        return time.fromisoformat(stored) == time.fromisoformat(sent)
    if isinstance(type_, sa.DateTime) and not type_.timezone:
        return stored == sent
    if isinstance(type_, sa.ARRAY):
        return stored == sent
    return plain(stored) == plain(sent)


@pytest.fixture(scope="module")
def tables(new_database):
    metadata = sa.MetaData()
    made = [
        sa.Table(f"case_{number}", metadata, sa.Column("the value", case.type_))
        for number, case in enumerate(CASES)
    ]
    url = new_database()
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute('CREATE SCHEMA "odd types"; CREATE TYPE "odd types".pair AS (a int, b text)')
    create_tables(url, metadata)
    yield connection, made
    connection.close()


def stored(connection, table, text):
    """What row_to_json shows of a value poured as the drain does. Raises psycopg2.DataError."""
    (column,) = table.columns
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table.name} SELECT sent.* FROM json_to_recordset(%s::json)"
            f' AS sent("the value" {recordset_type(column)})'
            f" RETURNING row_to_json({table.name})::text",
            (f'[{{"the value":{text}}}]',),
        )
        (shown,) = cursor.fetchone()
    return json.loads(shown, parse_float=Decimal)["the value"]


NUMBERED = [
    pytest.param(i, case, id=f"{i}-{type(case.type_).__name__}") for i, case in enumerate(CASES)
]


@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_what_the_contract_accepts_is_stored_as_it_was_sent(tables, number, case):
    connection, made = tables
    (column,) = made[number].columns
    validator = jsonschema_rs.validator_for(write_schema(column), validate_formats=True)
    for text in case.kept:
        (row,) = json_body(b'{"v":' + text.encode() + b"}").rows
        value = row.value["v"]
        assert validator.is_valid(value), text
        if holds_integers(column.type):
            value = whole(value)
        shown = stored(connection, made[number], render(value))
        assert same(case.type_, value, shown), (text, shown)


@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_what_the_contract_refuses_postgres_refuses_or_changes(tables, number, case):
    connection, made = tables
    (column,) = made[number].columns
    validator = jsonschema_rs.validator_for(write_schema(column), validate_formats=True)
    for text in (*case.lost, *case.foreign):
        (row,) = json_body(b'{"v":' + text.encode() + b"}").rows
        assert not validator.is_valid(row.value["v"]), text
    for text in case.lost:
        try:
            shown = stored(connection, made[number], text)
        except (psycopg2.DataError, psycopg2.IntegrityError):
            continue
        sent = json.loads(text, parse_float=Decimal)
        assert not same(case.type_, sent, shown), (text, shown)


@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_null_goes_in_and_comes_out(tables, number, case):
    connection, made = tables
    (column,) = made[number].columns
    assert jsonschema_rs.validator_for(write_schema(column)).is_valid(None)
    assert stored(connection, made[number], "null") is None


@st.composite
def numerics(draw):
    """Precision, scale, and a value that is near a bound or a last digit half of the time."""
    precision, scale = draw(st.integers(1, 60)), draw(st.integers(-10, 60))
    digits = draw(st.integers(0, 10**62) | st.integers(-2, 2).map(lambda n: 10**precision + n))
    exponent = draw(st.integers(-65, 12) | st.integers(-1, 1).map(lambda n: n - scale))
    zeros = draw(st.integers(0, 9))
    digits_ = tuple(map(int, str(max(digits, 0)))) + (0,) * zeros
    return precision, scale, Decimal((draw(st.integers(0, 1)), digits_, exponent - zeros))


@settings(deadline=None, max_examples=500, suppress_health_check=list(HealthCheck))
@given(numeric=numerics())
@example(numeric=(1, 0, Decimal("9.5")))
@example(numeric=(16, 0, Decimal("1499599550073220.875000")))
@example(numeric=(16, 0, Decimal("9999999999999999.5")))
@example(numeric=(16, 1, Decimal("9999999999999999.95")))
@example(numeric=(29, 0, Decimal(10**29 - 1)))
@example(numeric=(38, 0, Decimal("1e38")))
def test_a_numeric_is_accepted_exactly_when_postgres_keeps_it(tables, numeric):
    precision, scale, value = numeric
    connection, _ = tables
    column = sa.Column("x", Raw(f"numeric({precision}, {scale})"))
    sa.Table("t", sa.MetaData(), column)
    accepted = jsonschema_rs.validator_for(write_schema(column)).is_valid(value)
    with connection.cursor() as cursor:
        try:
            cursor.execute(
                f"SELECT %s::numeric::{recordset_type(column)} = %s::numeric", (value, value)
            )
            (kept,) = cursor.fetchone()
        except psycopg2.DataError:
            kept = False
    assert accepted == kept
