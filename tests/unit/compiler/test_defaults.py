"""Defaults of key columns: constants, what no client can know before it is told, and the rest."""

import os
import random
import secrets
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from chalicelib.postgres.resources import ModelError, json_value, resources_of
from decanter.contract.defaults import PREDICTABLE, UNKNOWABLE, completed_by, constant_default
from decanter.contract.examples import check


def in_table(type_, *items, **arguments):
    column = sa.Column("x", type_, *items, primary_key=True, **arguments)
    sa.Table("t", sa.MetaData(), column, sa.Column("n", sa.Integer))
    return column


def resource_with(column):
    metadata = sa.MetaData()
    sa.Table("t", metadata, sa.Column("id", sa.Integer, primary_key=True), column)
    return resources_of(metadata)["t"]


def new_id():
    return f"order-{uuid4()}"


NUMBERED = [
    in_table(sa.Integer),
    in_table(sa.BigInteger, sa.Identity()),
    in_table(sa.BigInteger, sa.Identity(always=True)),
    in_table(sa.BigInteger, sa.Sequence("s")),
    in_table(sa.BigInteger, server_default=sa.Sequence("s").next_value()),
]


@pytest.mark.parametrize("column", NUMBERED)
def test_a_number_of_the_database_is_unknowable(column):
    assert completed_by(column) == UNKNOWABLE


@pytest.mark.parametrize(
    ("type_", "sql"),
    [
        (sa.Uuid, "gen_random_uuid()"),
        (sa.Uuid, "uuidv7()"),
        (sa.Uuid, "uuidv7(INTERVAL '-1 day')"),
        (sa.Uuid, "public.uuid_generate_v4()"),
        (sa.Text, "gen_random_uuid()::text"),
        (sa.Text, "(gen_random_uuid())::character varying"),
        (sa.Text, "CAST(gen_random_uuid() AS text)"),
        (sa.Text, "'order-' || gen_random_uuid()"),
        (sa.Text, "replace(gen_random_uuid()::text, '-', '')"),
        (sa.Text, "encode(gen_random_bytes(16), 'hex')"),
        (sa.Text, "md5(random()::text)"),
        (sa.BigInteger, "nextval('s')"),
        (sa.BigInteger, "nextval('s'::regclass)"),
        (sa.Text, "('INV-'::text || nextval('s'::regclass))"),
        (sa.Double, "random()"),
    ],
)
@pytest.mark.parametrize("by", ["server_default", "default"])
def test_an_expression_that_draws_its_value_is_unknowable(type_, sql, by):
    assert completed_by(in_table(type_, **{by: sa.text(sql)})) == UNKNOWABLE


@pytest.mark.parametrize(
    ("type_", "sql"),
    [
        (sa.Date, "CURRENT_DATE"),
        (sa.DateTime(timezone=True), "now()"),
        (sa.DateTime(timezone=True), "clock_timestamp()"),
        (sa.Date, "CURRENT_DATE + 1"),
        (sa.Text, "to_char(now(), 'YYYY-MM')"),
        (sa.Text, "current_user"),
        (sa.Integer, "40 + 2"),
        (sa.Integer, "random()"),
        (sa.Integer, "(random() * 10)::int"),
        (sa.BigInteger, "nextval('s') % 10"),
        (sa.Text, "left(gen_random_uuid()::text, 1)"),
        (sa.Text, "encode(gen_random_bytes(1), 'hex')"),
        (sa.Text, "coalesce(current_setting('app.tenant', true), gen_random_uuid()::text)"),
        (sa.Text, "my_default()"),
        (sa.Text, "'ab'::varchar(1)"),
        (sa.Text, "'01'::int"),
    ],
)
@pytest.mark.parametrize("by", ["server_default", "default"])
def test_any_other_expression_is_predictable(type_, sql, by):
    assert completed_by(in_table(type_, **{by: sa.text(sql)})) == PREDICTABLE


@pytest.mark.parametrize(
    "function",
    [
        uuid4,
        uuid.uuid1,
        lambda: uuid4(),
        lambda: str(uuid.uuid4()),
        lambda: uuid4().hex,
        new_id,
        lambda: new_id(),
        secrets.token_hex,
        partial(secrets.token_urlsafe, 16),
        lambda: os.urandom(16),
    ],
)
def test_a_function_that_draws_its_value_is_unknowable(function):
    assert completed_by(in_table(sa.Text, default=function)) == UNKNOWABLE


@pytest.mark.parametrize(
    "function",
    [
        datetime.now,
        date.today,
        lambda: datetime.now(UTC),
        lambda: uuid5(NAMESPACE_URL, "x"),
        partial(uuid5, NAMESPACE_URL, "x"),
        lambda: os.environ.get("REGION", "x"),
        lambda: random.choice("ab"),
        lambda: "main",
        str,
    ],
)
def test_any_other_function_is_predictable_unless_the_model_says_more(function):
    assert completed_by(in_table(sa.Text, default=function)) == PREDICTABLE
    told = in_table(sa.Text, default=function, info={"unknowable": True})
    assert completed_by(told) == UNKNOWABLE


@pytest.mark.parametrize(
    ("type_", "default"),
    [
        (pg.DOMAIN("d", sa.Text, default="x"), None),
        (pg.DOMAIN("d", pg.DOMAIN("e", sa.Date, default=sa.text("CURRENT_DATE"))), None),
        (sa.Text, sa.FetchedValue()),
        (sa.DateTime(timezone=True), "2026-01-01 00:00:00"),
        (sa.DateTime(timezone=True), "now"),
        (sa.DateTime, "2026-01-01 00:00:00+02"),
        (sa.DateTime, "2026-01-01 00:00:00.1234567"),
        (pg.TIMESTAMP(precision=0), "2026-01-01 00:00:00.5"),
        (sa.Date, "today"),
        (sa.Integer, "1.5"),
        (sa.Integer, " 1"),
        (sa.Numeric(5, 2), "1.005"),
        (sa.String(3), "abc "),
        (sa.Uuid, "{a0eebc999c0b4ef8bb6d6bb9bd380a11}"),
        (sa.Boolean, "maybe"),
        (sa.LargeBinary, "abc"),
    ],
)
def test_a_constant_that_is_another_in_postgres_is_predictable(type_, default):
    column = in_table(type_, server_default=default, autoincrement=False)
    assert constant_default(column) is None
    assert completed_by(column) == PREDICTABLE


def test_a_computed_column_is_predictable():
    assert completed_by(in_table(sa.Integer, sa.Computed("n + 1"))) == PREDICTABLE


def test_a_column_without_any_default_has_to_be_named():
    assert completed_by(in_table(sa.Text)) is None
    assert completed_by(in_table(sa.Integer, autoincrement=False)) is None


@pytest.mark.parametrize(
    ("type_", "given", "value"),
    [
        (sa.Text, {"server_default": "it's"}, "it's"),
        (sa.Text, {"server_default": sa.text("'it''s'::text")}, "it's"),
        (sa.String(3), {"server_default": sa.text("'abc'::character varying")}, "abc"),
        (sa.Text, {"default": "x"}, "x"),
        (sa.Integer, {"server_default": "42"}, 42),
        (sa.Integer, {"server_default": sa.text("-42")}, -42),
        (sa.Integer, {"default": 42}, 42),
        (sa.Numeric(5, 2), {"server_default": "1.50"}, Decimal("1.50")),
        (sa.Boolean, {"server_default": sa.true()}, True),
        (sa.Boolean, {"server_default": "y"}, True),
        (sa.Boolean, {"server_default": "off"}, False),
        (sa.Date, {"server_default": "2026-01-31"}, "2026-01-31"),
        (sa.DateTime, {"server_default": "2026-01-31 10:00"}, "2026-01-31T10:00:00"),
        (
            sa.DateTime(timezone=True),
            {"default": datetime(2026, 1, 31, tzinfo=UTC)},
            "2026-01-31T00:00:00+00:00",
        ),
        (sa.Uuid, {"default": UUID(int=1)}, str(UUID(int=1))),
        (sa.Uuid(native_uuid=False), {"default": UUID(int=1)}, UUID(int=1).hex),
        (sa.LargeBinary, {"default": b"\0"}, "\\x00"),
        (sa.Enum("a", "b", name="e"), {"server_default": "a"}, "a"),
    ],
)
def test_a_constant_is_known_without_the_database(type_, given, value):
    column = in_table(type_, autoincrement=False, **given)
    assert constant_default(column) == value
    assert completed_by(column) is None


@pytest.mark.parametrize(
    ("type_", "default"),
    [
        (sa.String(3), "abcd"),
        (sa.Enum("red", name="e"), "gren"),
        (sa.SmallInteger, 70_000),
        (sa.Numeric(5, 2), Decimal("1.005")),
        (pg.DOMAIN("d", sa.String(1)), "ab"),
    ],
)
def test_a_model_whose_default_is_no_value_of_its_column_is_refused(type_, default):
    resource = resource_with(sa.Column("x", type_, default=default))
    with pytest.raises(ModelError, match=r"Column t\.x: its default .* Change the default"):
        check(resource)


@pytest.mark.parametrize(
    ("type_", "default"),
    [
        (sa.Numeric, Decimal("NaN")),
        (sa.Integer, "5"),
        (sa.REAL, 3.141592653589793),
        (sa.Text, 5),
        (sa.Boolean, 1),
        (sa.DateTime(timezone=True), datetime(2026, 1, 1)),
        (pg.INT4MULTIRANGE, [pg.Range(1, 2)]),
    ],
)
def test_a_default_that_postgres_takes_is_left_to_it(type_, default):
    check(resource_with(sa.Column("x", type_, default=default)))


def test_an_hstore_is_written_as_text():
    assert json_value(pg.HSTORE(), {"a": "1", "b": None}) == '"a"=>"1", "b"=>NULL'
