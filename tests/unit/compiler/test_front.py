"""Resources behind DynamoDB: what their requests need to know, and which tables cannot be there."""

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from chalicelib.contract import resources
from chalicelib.contract.resources import Default
from chalicelib.postgres.resources import ModelError
from decanter.contract import compiled

FRONT = {"front": "dynamodb"}


def table(metadata, name, *items, key=sa.Text, info=FRONT, **arguments):
    return sa.Table(
        name, metadata, sa.Column("id", key, primary_key=True), *items, info=info, **arguments
    )


def with_column(*arguments, name="x", **more):
    metadata = sa.MetaData()
    table(metadata, "t", sa.Column(name, *arguments, **more))
    return metadata


@pytest.fixture
def front(compile_contract):
    def found(metadata, name="t"):
        compile_contract(metadata)
        return resources.resource(name).front

    return found


def new_id():
    """A docstring."""
    return str(uuid.uuid4())


def refusal(metadata):
    with pytest.raises(ModelError) as caught:
        compiled(SimpleNamespace(metadata=metadata))
    return str(caught.value)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (sa.Column(sa.Boolean, server_default="true"), True),
        (sa.Column(sa.Boolean, default=False), False),
        (sa.Column(sa.Integer, server_default=sa.text("7")), 7),
        (sa.Column(sa.Numeric(5, 2), server_default="1.50"), Decimal("1.50")),
        (sa.Column(sa.Numeric(5, 2), default=Decimal("1.5")), Decimal("1.5")),
        (sa.Column(sa.Float, server_default=sa.text("0.25")), Decimal("0.25")),
        (sa.Column(sa.Float, server_default="NaN"), "NaN"),
        (sa.Column(sa.Text, server_default="it's"), "it's"),
        (sa.Column(sa.Text, server_default=sa.text("'{}'")), "{}"),
        (sa.Column(sa.Enum("a", "b", name="e"), server_default="b"), "b"),
        (sa.Column(pg.JSONB, server_default='{"a": 1.50}'), {"a": Decimal("1.50")}),
        (sa.Column(pg.JSONB, server_default=sa.text("'[]'::jsonb")), []),
        (sa.Column(pg.JSONB, default={"a": [None]}), {"a": [None]}),
        (sa.Column(pg.JSONB, default=dict), {}),
        (sa.Column(pg.ARRAY(sa.Text), server_default="{}"), []),
        (sa.Column(pg.ARRAY(sa.Text), default=list), []),
        (sa.Column(sa.Date, default=date(2026, 1, 31)), "2026-01-31"),
        (sa.Column(sa.Text, server_default=sa.text("NULL")), None),
    ],
)
def test_a_constant_default_is_a_value(front, column, value):
    column.name = column.key = "x"
    metadata = sa.MetaData()
    table(metadata, "t", column)

    assert front(metadata).defaults == {"x": Default(value)}


@pytest.mark.parametrize(
    ("type_", "default", "made"),
    [
        (sa.Uuid, sa.text("gen_random_uuid()"), Default(make="uuid4")),
        (sa.Uuid, sa.func.gen_random_uuid(), Default(make="uuid4")),
        (sa.Uuid, sa.text("uuidv4()"), Default(make="uuid4")),
        (sa.Uuid, sa.text("UUIDv7()"), Default(make="uuid7")),
        (sa.Text, sa.text("(gen_random_uuid())::text"), None),
        (sa.Text, sa.text("gen_random_uuid()::text"), Default(make="uuid4")),
        (sa.DateTime(timezone=True), sa.func.now(), Default(make="now")),
        (sa.DateTime(timezone=True), sa.func.current_timestamp(), Default(make="now")),
        (sa.DateTime(timezone=True), sa.text("clock_timestamp()"), Default(make="now")),
        (sa.DateTime, sa.func.now(), Default(make="utcnow")),
        (sa.DateTime, sa.text("(now() AT TIME ZONE 'utc')"), Default(make="utcnow")),
        (sa.DateTime, sa.func.timezone("UTC", sa.func.now()), Default(make="utcnow")),
        (pg.TIMESTAMP(timezone=True, precision=3), sa.func.now(), Default(make="now", digits=3)),
        (sa.Date, sa.func.current_date(), Default(make="today")),
        (sa.Date, sa.func.now(), Default(make="today")),
    ],
)
def test_the_time_and_random_uuids_are_made_by_the_request(front, type_, default, made):
    server, client = with_column(type_, server_default=default), with_column(type_, default=default)
    if made is None:
        assert "cannot be made by a request" in refusal(server)
        return

    assert front(server).defaults == front(client).defaults == {"x": made}


@pytest.mark.parametrize(
    ("type_", "function", "make"),
    [
        (sa.Uuid, uuid4, "uuid4"),
        (sa.Uuid, lambda: uuid.uuid4(), "uuid4"),
        (sa.Text, lambda: str(uuid4()), "uuid4"),
        (sa.String(36), new_id, "uuid4"),
        (sa.DateTime(timezone=True), datetime.now, "now"),
        (sa.DateTime(timezone=True), lambda: datetime.now(UTC), "now"),
        (sa.DateTime, datetime.utcnow, "utcnow"),
        (sa.DateTime, lambda: datetime.now(UTC), "utcnow"),
        (sa.Date, date.today, "today"),
    ],
)
def test_known_functions_in_python_are_made_by_the_request(front, type_, function, make):
    assert front(with_column(type_, default=function)).defaults == {"x": Default(make=make)}
