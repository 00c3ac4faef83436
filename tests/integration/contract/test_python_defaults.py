"""Values that the model makes in Python are stored as SQLAlchemy would store them."""

import enum
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from uuid import UUID

import psycopg2
import pytest
import sqlalchemy as sa
from psycopg2.extras import DateTimeTZRange, NumericRange
from sqlalchemy.dialects import postgresql as pg

from tests.kit.databases import execute


class Colour(enum.Enum):
    RED = "red"
    BLUE = "it's 100% blue"


class Named(enum.StrEnum):
    ONE = "one"


class Wrapped(sa.TypeDecorator):
    impl = sa.Uuid(native_uuid=False)
    cache_ok = True


ID = UUID("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11")
AT = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
CASES = [
    (sa.Uuid, ID),
    (sa.Uuid(native_uuid=False), ID),
    (sa.Uuid(native_uuid=False, as_uuid=False), str(ID)),
    (sa.Uuid(as_uuid=False), str(ID)),
    (Wrapped, ID),
    (sa.Uuid().with_variant(sa.Uuid(native_uuid=False), "postgresql"), ID),
    (pg.ARRAY(sa.Uuid(native_uuid=False)), [ID, None]),
    (pg.INT4RANGE, pg.Range(1, 5, bounds="(]")),
    (pg.INT4RANGE, pg.Range(None, 5)),
    (pg.INT8RANGE, pg.Range(empty=True)),
    (pg.INT8RANGE, NumericRange(1, None)),
    (pg.INT8RANGE, NumericRange(empty=True)),
    (pg.NUMRANGE, pg.Range(Decimal("1.50"), None)),
    (pg.DATERANGE, pg.Range(date(2026, 1, 1), date(2026, 2, 1))),
    (pg.TSRANGE, pg.Range(datetime(2026, 1, 1, 0, 0, 0, 5), None)),
    (pg.TSTZRANGE, pg.Range(AT, None)),
    (pg.TSTZRANGE, DateTimeTZRange(AT, None, "(]")),
    (pg.INT4RANGE, "[1,5)"),
    (pg.ARRAY(pg.INT4RANGE), [pg.Range(1, 5)]),
    (sa.LargeBinary, b"\x00\xff"),
    (sa.LargeBinary, bytearray(b"\x00")),
    (sa.LargeBinary, memoryview(b"\xff")),
    (pg.ARRAY(sa.LargeBinary), [b"a", b""]),
    (sa.Interval, timedelta(days=1, hours=2, microseconds=3)),
    (sa.Interval, timedelta(days=-1, seconds=5)),
    (pg.INTERVAL(precision=0), timedelta(seconds=-1)),
    (pg.ARRAY(sa.Interval), [timedelta(days=400)]),
    (sa.Enum(Colour, name="colour"), Colour.BLUE),
    (sa.Enum(Colour, name="hue", values_callable=lambda e: [m.value for m in e]), Colour.BLUE),
    (sa.Enum(Colour, native_enum=False), Colour.RED),
    (pg.ARRAY(sa.Enum(Colour, name="colour")), [Colour.RED, None]),
    (pg.ARRAY(sa.Enum(Colour, name="colour"), dimensions=2), [[Colour.RED, Colour.BLUE]]),
    (sa.Text, Named.ONE),
    (sa.Date, date(1, 2, 3)),
    (sa.Date, AT),
    (sa.Time, time(1, 2, 3, 4)),
    (sa.Time(timezone=True), time(1, 2, tzinfo=UTC)),
    (sa.DateTime, datetime(2026, 1, 1, 0, 0, 0, 1)),
    (sa.DateTime(timezone=True), AT),
    (pg.ARRAY(sa.DateTime(timezone=True)), [AT]),
    (sa.Numeric, Decimal("1.10")),
    (sa.Numeric, Decimal("NaN")),
    (sa.Numeric, Decimal("1E+20")),
    (sa.Double, float("-inf")),
    (pg.ARRAY(sa.Double), [float("nan"), 1.5]),
    (sa.Boolean, 1),
    (sa.Integer, 0),
    (sa.Text, "100% 'x' \\ %(rows)s"),
    (pg.ARRAY(sa.Text), ["a,b", '"', None, ""]),
    (pg.ARRAY(sa.Text), ()),
    (pg.ARRAY(sa.Integer, dimensions=2), [[1, 2], [3, 4]]),
    (sa.JSON, {"a": [1.5, None, {"b": "é"}]}),
    (pg.JSONB, ["x"]),
    (pg.JSONB, "text"),
    (pg.JSONB, 1.5),
    (pg.BIT(3), pg.BitString("101")),
    (pg.INET, "10.0.0.1"),
    (pg.MONEY, Decimal("12.50")),
    (pg.DOMAIN("id", sa.Uuid), ID),
]
MULTIRANGES = [  # which SQLAlchemy itself cannot send through psycopg2
    (pg.INT4MULTIRANGE, [pg.Range(1, 5), pg.Range(7, 9)], "{[1,5),[7,9)}"),
    (pg.INT4MULTIRANGE, [], "{}"),
    (pg.INT4MULTIRANGE, "{[1,2)}", "{[1,2)}"),
    (pg.INT4MULTIRANGE, pg.ranges.MultiRange([pg.Range(1, None)]), "{[1,)}"),
    (
        pg.TSTZMULTIRANGE,
        [pg.Range(AT, None, bounds="()")],
        '{("2026-01-31 12:00:00.123456+00",)}',
    ),
    (pg.ARRAY(pg.INT4MULTIRANGE), [[pg.Range(1, 5)], []], ["{[1,5)}", "{}"]),
    (pg.INET, IPv4Address("10.0.0.1"), "10.0.0.1"),
]


def table(types_and_values, how):
    """A table with a default for each: the value itself, or a function that makes it."""
    metadata = sa.MetaData()
    columns = [
        sa.Column(f"c{n}", type_, default=how(value))
        for n, (type_, value, *_) in enumerate(types_and_values)
    ]
    return sa.Table("t", metadata, sa.Column("id", sa.Integer, primary_key=True), *columns)


def made_by(value):
    return lambda: value


@pytest.mark.parametrize("how", [made_by, lambda value: value], ids=["function", "constant"])
def test_a_default_is_stored_as_sqlalchemy_stores_it(make_world, how):
    made = table(CASES, how)
    world = make_world(made.metadata)
    engine = sa.create_engine(
        "postgresql+psycopg2://",
        creator=lambda: psycopg2.connect(world.url, options="-c timezone=UTC"),
    )
    with engine.begin() as connection:
        connection.execute(made.insert(), {"id": 1})
    engine.dispose()

    world.post("t", {"id": 2})
    world.drain()

    assert world.rejections("reason") == []
    stored = execute(world.url, "SELECT to_jsonb(t) - 'id' FROM t ORDER BY id")
    assert len(stored) == 2
    (theirs,), (ours,) = stored
    for n, case in enumerate(CASES):
        assert ours[f"c{n}"] == theirs[f"c{n}"], case


@pytest.mark.parametrize("how", [made_by, lambda value: value], ids=["function", "constant"])
def test_a_default_that_only_newer_drivers_take_is_stored(make_world, how):
    made = table(MULTIRANGES, how)
    world = make_world(made.metadata)

    world.post("t", {"id": 2})
    world.drain()

    row = json.loads(world.row("t", id=2))
    assert [row[f"c{n}"] for n in range(len(MULTIRANGES))] == [shown for *_, shown in MULTIRANGES]


def test_what_a_change_sets_in_python_is_stored_likewise(make_world):
    metadata = sa.MetaData()
    made = sa.Table(
        "t",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("n", sa.Integer),
        sa.Column("by", sa.Uuid(native_uuid=False), onupdate=lambda: ID),
        sa.Column("during", pg.INT4MULTIRANGE, onupdate=[pg.Range(1, 2)]),
    )
    world = make_world(made.metadata)

    world.post("t", {"id": 1, "n": 1})
    world.patch("t", 1, {"n": 2})
    world.drain()

    assert json.loads(world.row("t", id=1)) == {
        **{"id": 1, "n": 2},
        **{"by": ID.hex, "during": "{[1,2)}"},
    }
