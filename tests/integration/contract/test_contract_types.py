"""What the contract accepts, Postgres stores as it was sent; what it refuses, Postgres refuses too
or would change.

`make property` tries more values; DECANTER_EXAMPLES says how many.
"""

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product, zip_longest

import psycopg2
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql as pg

from chalicelib.api.writes.body import json_body
from chalicelib.contract.json_text import render
from chalicelib.contract.validator import compiled
from chalicelib.postgres.resources import recordset_type
from decanter.contract.columns import write_schema
from decanter.contract.forms import holds_integers
from decanter.contract.names import _TYPES
from decanter.contract.rules import checked
from tests.kit.databases import create_tables, execute
from tests.kit.raw import Raw

EXAMPLES = int(os.environ.get("DECANTER_EXAMPLES", "40"))

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
    Case(
        sa.REAL,
        ("0.1", "3.4028235e38", "16777216", "21.123457", "1e-45", '"NaN"', '"-Infinity"'),
        ("3.5e38", "16777217", "21.123456789", "1.4e-45", "1e-46"),
        ('"0.1"',),
    ),
    Case(sa.Float(24), ("0.5",), ("3.5e38", "16777217")),
    Case(
        sa.Double,
        (
            *("0.1", "1.50", "1.7976931348623157e308", "5e-324", '"Infinity"'),
            *("0.30000000000000004", "9007199254740992", "1e22", "-0.0"),
        ),
        (
            *("1e309", "-1e309", "9007199254740993", "123456789012345678"),
            *("0.1234567890123456789", "3.14159265358979323846", "1e-400"),
        ),
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
        ('"0001-01-01"', '"9999-12-31"', '"2024-02-29"', '"20000229"'),
        (
            '"2023-02-29"',
            '"1900-02-29"',
            '"19000229"',
            '"0000-01-01"',
            '"2024-13-01"',
            '"2024-01-01T10:00:00"',
            '""',
        ),
        ('"10000-01-01"', '"infinity"', '"0044-03-15 BC"', '"2024-1-1"', '"yesterday"'),
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
            '"2024-01-01 00:00:00Z"',
            '"2024-01-01t00:00:00z"',
            '"2024-01-01T24:00:00Z"',
            '"2024-12-31 24:00 +05:30"',
            '"2024-01-01T10:15-0230"',
            '"2024-01-01 10:15:00.123456000+02"',
            '"20240101T101500.5Z"',
            '"20240101 1015+00"',
        ),
        (
            '"2024-01-01T00:00:00.1234567Z"',
            '"2016-12-31T23:59:60Z"',
            '"2024-01-01T24:00:01Z"',
            '"2024-01-01T00:00:00+16:00"',
            '"0000-01-01T00:00:00Z"',
            '"2023-02-29T00:00:00Z"',
        ),
        (
            '"2024-01-01T00:00:00"',
            '"2024-1-1T00:00:00Z"',
            '"10000-01-01T00:00:00Z"',
            '"infinity"',
            '"now"',
            '"2024-01-01T00:00:00 Europe/Zurich"',
        ),
    ),
    Case(
        pg.TIMESTAMP(timezone=True, precision=3),
        ('"2024-01-01T00:00:00.123Z"', '"2024-01-01T00:00:00.123000Z"'),
        ('"2024-01-01T00:00:00.1234Z"',),
    ),
    Case(
        pg.TIMESTAMP(precision=0),
        ('"2024-01-01T00:00:00"', '"2024-01-01T00:00:00.000"'),
        ('"2024-01-01T00:00:00.5"',),
    ),
    Case(
        sa.DateTime,
        (
            '"2024-02-29T12:00:00"',
            '"9999-12-31T23:59:59.999999"',
            '"0001-01-01T00:00:00.1"',
            '"2013-01-01 10:00:00"',
            '"2013-01-01 10:00"',
            '"2013-01-01t24:00"',
            '"20130101 1000"',
        ),
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
        (
            '"00:00:00"',
            '"23:59:59.999999"',
            '"05:15"',
            '"24:00:00"',
            '"24:00"',
            '"05:15:00.5000000"',
        ),
        ('"23:59:60"', '"10:00:00Z"', '"25:00:00"', '"10:00:00.1234567"'),
        ('"5:15"', '"10 am"'),
    ),
    Case(pg.TIME(precision=1), ('"10:00:00.5"',), ('"10:00:00.55"',)),
    Case(
        sa.Time(timezone=True),
        ('"10:00:00+02:00"', '"10:00:00Z"', '"24:00z"', '"10:00 -0530"', '"10:00:00+02"'),
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
    Case(
        sa.Interval,
        (
            *('"1 day 02:00:00"', '"P1Y2M3W4DT5H6M7.123456S"', '"PT0S"', '"P-1DT2H"', '"PT-0.5S"'),
            *('"1 year 2 mons -3 days"', '"90 minutes"', '"1.5 seconds"', '"-1 days +02:00:00"'),
        ),
        (*('"PT0.1234567S"', '"00:00:00.1234567"', '"1 parsec"', '"P"', '""', '"PT1.5"'),),
        ("1", '"1.5 days"', '"P0.5Y"', '"1 day ago"', '"PT5"', '"5"', '"1 day 1"', '"infinity"'),
    ),
    Case(
        pg.INTERVAL(precision=2),
        ('"PT1.25S"', '"00:00:01.25"', '"1.25 seconds"'),
        ('"PT1.239S"', '"00:00:01.239"', '"1.239 seconds"'),
    ),
    Case(pg.INTERVAL(precision=0), ('"PT1S"',), ('"PT1.5S"', '"00:00:01.5"')),
    Case(
        pg.INTERVAL(fields="DAY TO SECOND", precision=2),
        ('"1 day 00:00:01.23"', '"P1Y1DT1.5S"'),
        ('"1 day 00:00:01.239"',),
    ),
    Case(
        pg.INTERVAL(fields="YEAR TO MONTH"),
        ('"P1Y2M"', '"1 year 2 mons"', '"P-1M"'),
        ('"P1Y2M3D"', '"1 day"', '"PT1S"', '"1 year 2 mons 03:00:00"', '"P1W"'),
    ),
    Case(pg.INTERVAL(fields="YEAR"), ('"P1Y"', '"2 years"'), ('"P1Y2M"', '"14 mons"')),
    Case(pg.INTERVAL(fields="MONTH"), ('"P1Y2M"',), ('"P1D"',)),
    Case(pg.INTERVAL(fields="DAY"), ('"P1M2D"', '"2 weeks"'), ('"P1DT1H"', '"25:00:00"')),
    Case(
        pg.INTERVAL(fields="HOUR"),
        ('"P1DT2H"', '"1 day 02:00:00"'),
        ('"PT2H30M"', '"02:30:00"', '"90 minutes"'),
    ),
    Case(
        pg.INTERVAL(fields="DAY TO MINUTE"),
        ('"P1DT2H90M"', '"02:30:00"'),
        ('"PT2H30M1S"', '"02:30:01"', '"61 secs"'),
    ),
    Case(pg.INTERVAL(fields="MINUTE TO SECOND"), ('"01:02:03"', '"PT1M2.5S"'), (), ('"01:02"',)),
    Case(
        pg.INET,
        ('"10.0.0.1"', '"10.0.0.1/8"', '"::1"', '"2001:db8::/32"', '"::ffff:1.2.3.4"'),
        ('"10"', '"10.0.0.256"', '"x"'),
        ('"010.0.0.1"',),
    ),
    Case(
        pg.CIDR,
        ('"10.0.0.0/8"', '"10.0.0.1"', '"::/0"'),
        ('"10"', '"128.1"', '"0x0a000001"'),
    ),
    Case(pg.MACADDR, ('"08:00:2b:01:02:03"', '"08-00-2B-01-02-03"'), (), ('"08002b:010203"',)),
    Case(pg.MACADDR8, ('"08:00:2b:01:02:03:04:05"',), ('"08:00:2b:01:02:03"',)),
    Case(
        pg.INT4RANGE,
        ('"[1,6)"', '"empty"', '"[1, 5)"', '"(,5)"', '"[,]"'),
        ('"[1.5,2)"', '"[now,)"'),
        ('"[0x10,)"',),
    ),
    Case(pg.NUMRANGE, ('"[1.50,2)"', '"[-0.1,Infinity)"'), ('"[1,x)"',), ('"[1e3,)"',)),
    Case(
        pg.DATERANGE,
        ('"[2026-01-01,10000-02-01)"', '"[2026-01-01,infinity)"', '"[,\\"0044-03-15 BC\\")"'),
        ('"[2026-01-01 23:00,)"', '"[today,)"', '"[,tomorrow)"'),
        ('"[20260101,)"', '"[epoch,)"'),
    ),
    Case(
        pg.TSRANGE,
        ('"[2026-01-01T00:00:00,2026-01-01 01:00:00.5]"', '"[\\"2026-01-01 00:00:00\\",)"'),
        (
            *('"[2026-01-01 00:00:00+02,)"', '"[now,)"', '"[,NOW)"'),
            *('"[2026-01-01 00:00:00.1234567,)"', '"[2016-12-31 23:59:60,)"'),
        ),
        ('"[2026-01-01,)"', '"[epoch,)"', '"[\\"now\\",)"', '"[2026-01-01 00:00:00Z,)"'),
    ),
    Case(
        pg.TSTZRANGE,
        (
            *('"[2026-01-01T00:00:00Z,2026-01-01 05:30:00+05:30]"', '"(,infinity)"'),
            '"[\\"2026-01-01 00:00:00+00\\",)"',
        ),
        (
            *('"[2026-01-01 00:00:00.1234567Z,)"', '"[yesterday,)"', '"[Today,)"'),
            *('"[2016-12-31 23:59:60Z,)"', '"[now,)"'),
        ),
        ('"[2026-01-01 00:00:00,)"',),
    ),
    Case(pg.TSTZMULTIRANGE, ('"{}"', '"{[2026-01-01T00:00:00Z,)}"'), ('"{[now,)}"',)),
    Case(
        pg.TSMULTIRANGE,
        ('"{[2026-01-01 00:00:00,2026-01-02 00:00:00)}"',),
        ('"{[2026-01-01 00:00:00+02,)}"', '"{[2026-01-01 00:00:00.1234567,)}"'),
    ),
    Case(pg.DATEMULTIRANGE, ('"{[2026-01-01,2026-01-02)}"',), ('"{[today,)}"',)),
    Case(pg.INT8MULTIRANGE, ('"{[1,2),[5,9)}"',), ('"{[1.5,2)}"',)),
    Case(sa.ARRAY(pg.TSRANGE), ('["[2026-01-01 00:00:00,)"]',), ('["[now,)"]',)),
    Case(sa.ARRAY(pg.INTERVAL(precision=0)), ('["PT1S"]',), ('["PT1.5S"]',)),
    Case(sa.ARRAY(sa.REAL), ("[0.1, null]",), ("[16777217]",)),
    Case(pg.DOMAIN("span", pg.TSRANGE, schema="odd types"), ('"(,)"',), ('"[now,)"',)),
    Case(pg.DOMAIN("ints", sa.ARRAY(sa.Integer), schema="odd types"), ("[1.0]",), ("[1.5]",)),
    Case(
        pg.TSVECTOR,
        ("\"'a' 'b'\"", "\"'a':1A,16383 'b c':2\""),
        ("\"'a':16384\"", f"\"'a':{','.join(map(str, range(1, 258)))}\""),
    ),
    Case(pg.JSONPATH, ('"$.\\"a\\""',)),
    Case(pg.OID, ('"5"', "4294967295", '"0"'), ("4294967296", "-1", '"-1"', '"010"')),
    Case(Raw("xid8"), ("18446744073709551615",), ("-1",)),
    Case(Raw('"char"'), ('"a"',), ('"abc"', '"é"')),
    Case(Raw("name"), (f'"{"x" * 63}"',), (f'"{"x" * 64}"', f'"{"é" * 40}"')),
    Case(Raw("bpchar(3)"), ('"abc"',), ('"abc "',)),
    Case(Raw("numeric(5,2)[]"), ("[1.25]",), ("[0.001]",)),
    Case(
        Raw("vector(3)"),
        ("[1,2,3]", "[0.1,-2.5,1e3]", '"[0.1,-2.5,1e3]"', '"[1, 2, 3]"'),
        (
            "[16777217,0,0]",
            "[0.123456789,1,2]",
            '"[0.123456789,1,2]"',
            "[1,2]",
            '"[1,2,3,4]"',
            "[]",
        ),
        ("[null,1,2]", '["1",2,3]', '"1,2,3"', "{}"),
    ),
    Case(Raw("point"), ('"(1,2)"',), ('"(0.12345678901234567890,1)"',)),
    Case(
        Raw('"odd types".pair'), ('"(1,x)"',), ('{"a":1,"b":"x","c":2}',), ('{"a":1}', '[{"a":1}]')
    ),
    Case(
        Raw('"odd types".event'),
        ('"(1,\\"2026-01-01 00:00:00\\")"',),
        ('"(1,now)"', '"(1,\\"today 10:00\\")"'),
    ),
    Case(
        Raw('"odd types".hours'),
        ('"[2026-01-01 00:00:00,)"', '"empty"'),
        ('"[now,)"', '"[, tomorrow )"', '"[\\"Yesterday\\",)"'),
    ),
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
        return moment(value)
    return value


def moment(text):
    """The instant or the clock's time that a text stands for; a text that is none."""
    match = re.fullmatch(r"(\d{4}-?\d\d-?\d\d)([Tt ])?(\d\d.*)?", text)
    if match is None:
        return text
    day, _, clock = match.groups()
    if clock is None:
        return datetime.fromisoformat(day)
    try:
        found = datetime.fromisoformat(f"{day}T00:00")
        clock, zone = re.fullmatch("(.*?)([Zz]|[+-].*)?", clock.replace(" ", "")).groups()
        hour, minute, second = (re.sub(r"^(\d\d)(\d\d)", r"\1:\2:", clock) + ":0:0").split(":")[:3]
        if Decimal(second or 0) >= 60:  # a leap second, which Postgres takes for another one
            return text
        found += timedelta(
            hours=int(hour), minutes=int(minute), microseconds=int(Decimal(second or 0) * 1_000_000)
        )
        if zone is None:
            return found
        aware = datetime.fromisoformat(f"2000-01-01T00:00{zone.upper()}")
        return found.replace(tzinfo=aware.tzinfo).astimezone(UTC)
    except (ValueError, OverflowError):
        return text


def record(value):
    """A value of a type that only Postgres knows, without the names of its fields."""
    if isinstance(value, dict):
        return [str(part).replace("T", " ") for part in value.values()]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str) and value.startswith(("(", "[")):
        return [part.strip(' "()[]') for part in value.split(",")]
    return value


UNITS = {
    "Y": 12, "year": 12, "M": 1, "mon": 1, "month": 1, "W": 7, "week": 7, "D": 1, "day": 1,
    "H": 3600, "hour": 3600, "min": 60, "minute": 60, "S": 1, "sec": 1, "second": 1,
}  # fmt: skip
MONTHS, DAYS = {"Y", "M", "year", "mon", "month"}, {"W", "D", "week", "day"}


def span(text):
    """Months, days and seconds of an interval, counted here and not by Postgres."""
    found = [Decimal(0)] * 3
    date, _, time_ = text.partition("T") if text.startswith("P") else (text, "", "")
    for is_time, part in ((False, date), (True, time_)):
        for number, unit in re.findall(r"([+-]?[0-9.]+) ?([A-Za-z]+)", part):
            unit = unit if len(unit) == 1 else unit.removesuffix("s")
            at = 0 if unit in MONTHS and not is_time else 1 if unit in DAYS else 2
            found[at] += Decimal(number) * (60 if is_time and unit == "M" else UNITS[unit])
    if clock := re.search(r"([+-]?)([0-9]+):([0-9]+):([0-9.]+)", date):
        sign = -1 if clock[1] == "-" else 1
        factors = (3600, 60, 1)
        found[2] += sign * sum(
            f * Decimal(n) for f, n in zip(factors, clock.groups()[1:], strict=True)
        )
    return found


def bounds(text):
    """The bounds of a range or of ranges, infinite, numeric or in time."""
    if not isinstance(text, str):
        return text
    return [bound(each) for each in re.findall(r'[^\[(){}\],"]+|,', text)]


def bound(text):
    text = text.strip().lower()
    try:
        return Decimal(text)
    except ArithmeticError:
        pass
    return moment(text)


def same(type_, sent, stored):
    type_ = sa.types.to_instance(type_)
    if isinstance(type_, pg.MONEY):
        return Decimal(stored.replace("$", "").replace(",", "")) == sent
    if isinstance(type_, Raw) and type_.sql.startswith("vector"):
        numbers = json.loads(sent, parse_float=Decimal) if isinstance(sent, str) else sent
        return json.loads(stored, parse_float=Decimal) == numbers
    if isinstance(type_, Raw) and isinstance(stored, str | dict):
        return record(stored) == record(sent)
    if isinstance(type_, sa.Interval | pg.INTERVAL):
        return span(stored) == span(sent)
    if isinstance(type_, pg.ranges.AbstractRange):
        return bounds(stored) == bounds(sent)
    if isinstance(type_, pg.INET | pg.CIDR | pg.MACADDR):
        return re.sub("^([0-9.]+)/32$", r"\1", stored) == re.sub("-", ":", sent.lower())
    if isinstance(type_, pg.OID):
        return stored == str(sent)
    if isinstance(type_, sa.CHAR):
        return stored.rstrip() == sent and len(stored) == type_.length
    if isinstance(type_, sa.Uuid | sa.LargeBinary):
        return stored == sent.lower()
    if isinstance(type_, sa.Time):
        return moment(f"2026-01-01 {stored}") == moment(f"2026-01-01 {sent}") and not (
            stored.startswith("24") and not sent.startswith("24")  # what a leap second becomes
        )
    if isinstance(type_, sa.ARRAY) and isinstance(sent, list):
        pairs = zip_longest(sent, stored)
        return all(one is other or same(type_.item_type, one, other) for one, other in pairs)
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
        cursor.execute(
            """
            CREATE SCHEMA "odd types";
            CREATE EXTENSION vector;
            CREATE TYPE "odd types".pair AS (a int, b text);
            CREATE TYPE "odd types".event AS (a int, at timestamp);
            CREATE TYPE "odd types".hours AS RANGE (SUBTYPE = timestamp);
            SET intervalstyle = iso_8601;
            SET timezone = 'UTC';
            SET extra_float_digits = 1
            """
        )
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
    validator = compiled(checked(write_schema(column)))
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
    validator = compiled(checked(write_schema(column)))
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
    assert compiled(checked(write_schema(column))).is_valid(None)
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


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
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
    accepted = compiled(checked(write_schema(column))).is_valid(value)
    with connection.cursor() as cursor:
        try:
            cursor.execute(
                f"SELECT %s::numeric::{recordset_type(column)} = %s::numeric", (value, value)
            )
            (kept,) = cursor.fetchone()
        except psycopg2.DataError:
            kept = False
    assert accepted == kept


def accepts(type_, value):
    column = sa.Column("x", type_)
    sa.Table("t", sa.MetaData(), column)
    return compiled(checked(write_schema(column))).is_valid(value)


def cast(connection, value, sql):
    """What row_to_json shows of the value as one of that type; None if Postgres refuses it."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(
                f"SELECT row_to_json(r)::text FROM json_to_recordset(%s::json) AS r (v {sql})",
                (f'[{{"v":{render(value)}}}]',),
            )
        except (psycopg2.DataError, psycopg2.errors.SyntaxError):
            return None
        (shown,) = cursor.fetchone()
    return json.loads(shown, parse_float=Decimal)["v"]


FIELDS = [None, "YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "YEAR TO MONTH", "DAY TO HOUR",
          "DAY TO MINUTE", "DAY TO SECOND", "HOUR TO MINUTE", "HOUR TO SECOND",
          "MINUTE TO SECOND"]  # fmt: skip


NUMBERS = st.from_regex(r"[-+]?[0-9]{1,3}(\.[0-9]{1,8})?", fullmatch=True)
CLOCKS = st.from_regex(r"([-+]?[0-9]{1,2}:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,8})?)?)?")


@st.composite
def intervals(draw):
    """Fields, precision, and a text, which may have what the fields or the precision do not."""
    fields = draw(st.sampled_from(FIELDS))
    precise = fields is None or "SECOND" in fields
    precision = draw(st.none() | st.integers(0, 6)) if precise else None
    units = draw(st.lists(st.sampled_from([u for u in UNITS if len(u) > 1]), unique=True))
    words = [f"{draw(NUMBERS)} {unit}{draw(st.sampled_from(['', 's']))}" for unit in units]
    clock = draw(CLOCKS)
    date = "".join(f"{draw(NUMBERS)}{unit}" for unit in "YMWD" if draw(st.booleans()))
    time_ = "".join(f"{draw(NUMBERS)}{unit}" for unit in "HMS" if draw(st.booleans()))
    iso = f"P{date}T{time_}" if time_ else f"P{date}"
    text = draw(st.sampled_from([iso, " ".join(filter(None, [*words, clock.strip()]))]))
    return fields, precision, text


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(interval=intervals())
@example(interval=("MINUTE TO SECOND", None, "01:02:03"))
def test_an_interval_that_is_accepted_is_kept_whatever_its_fields(tables, interval):
    fields, precision, text = interval
    type_ = pg.INTERVAL(fields=fields, precision=precision)
    if accepts(type_, text):
        shown = cast(tables[0], text, recordset_type(sa.Column("x", type_)))
        assert shown is None or span(shown) == span(text)


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(
    type_=st.sampled_from([pg.TSRANGE, pg.TSTZRANGE, pg.DATERANGE, pg.TSMULTIRANGE]),
    bound=st.from_regex(
        r"2026-0[1-4]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-6][0-9](\.[0-9]{1,8})?)?)?"
        r"(Z|[+-][01][0-9]:?([0-5][0-9])?)?|now|TODAY|epoch|-?infinity",
        fullmatch=True,
    ),
    is_quoted=st.booleans(),
)
def test_a_range_of_times_that_is_accepted_is_kept(tables, type_, bound, is_quoted):
    quoted = f'"{bound}"' if is_quoted else bound
    text = f"[{quoted},)" if type_ is not pg.TSMULTIRANGE else f"{{[{quoted},)}}"
    if accepts(type_, text):
        shown = cast(tables[0], text, recordset_type(sa.Column("x", type_)))
        assert shown is None or bounds(shown) == bounds(text)


@st.composite
def decimals(draw):
    digits = draw(st.integers(-(10**18), 10**18) | st.integers(-(10**9), 10**9))
    return Decimal(digits).scaleb(draw(st.integers(-60, 40) | st.integers(-330, 310)))


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(
    number=decimals()
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda n: Decimal(repr(n)))
    | st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda n: Decimal(repr(n))),
    type_=st.sampled_from([sa.REAL, sa.Double]),
)
@example(number=Decimal(16777217), type_=sa.REAL)
@example(number=Decimal(46727086616294700), type_=sa.Double)
@example(number=Decimal("9e9"), type_=sa.REAL)
@example(number=Decimal("1e-45"), type_=sa.REAL)
@example(number=Decimal("1.1754944e-38"), type_=sa.REAL)
@example(number=Decimal("-0.0"), type_=sa.Double)
def test_a_binary_number_is_accepted_exactly_when_postgres_shows_it_again(tables, number, type_):
    shown = cast(tables[0], number, recordset_type(sa.Column("x", type_)))
    assert accepts(type_, number) == (shown is not None and Decimal(shown) == number)


EVERY_WORD = [f"{word}{rest}" for rest in ("", " 10:00") for word in
              ("now", "Today", "TOMORROW", "yesterday")]  # fmt: skip


PLACES = ["{}", "[{},)", "(,{})", '["{}",)', "{{[{},)}}", " {} "]


@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_no_type_takes_a_word_that_means_another_time_each_day(tables, number, case):
    connection, made = tables
    for word, place in product(EVERY_WORD, PLACES):
        text = place.format(word)
        if accepts(case.type_, text):
            shown = cast(connection, text, recordset_type(*made[number].columns))
            assert shown is None or word.lower() in str(shown).lower(), shown


def test_no_type_of_postgres_is_missing_from_the_names_that_are_refused(database_url):
    # Types that begin with pg_ are refused as a whole.
    known = "typnamespace = 'pg_catalog'::regnamespace AND typname !~ '^(_|pg_)'"

    found = execute(database_url, f"SELECT typname FROM pg_type WHERE {known}")

    assert {name for (name,) in found} - _TYPES == set()
