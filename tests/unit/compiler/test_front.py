"""Resources behind DynamoDB: what their requests need to know, and which tables cannot be there."""

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from chalicelib.contract import resources
from chalicelib.contract.resources import Default, Parent
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


SHIFT = timedelta(days=1)
utc = timezone(timedelta(hours=1))  # which it is not


def later(shift):
    return lambda: datetime.now(UTC) + shift


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
        (
            sa.Column(pg.JSONB, server_default='{"a": 0.10000000000000000001}'),
            {"a": Decimal("0.10000000000000000001")},
        ),
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
        (sa.Text, sa.text("gen_random_uuid()::text"), Default(make="uuid4")),
        (sa.DateTime(timezone=True), sa.func.now(), Default(make="now")),
        (sa.DateTime(timezone=True), sa.func.current_timestamp(), Default(make="now")),
        (sa.DateTime(timezone=True), sa.text("clock_timestamp()"), Default(make="now")),
        (sa.DateTime, sa.func.now(), Default(make="utcnow")),
        (sa.DateTime, sa.text("(now() AT TIME ZONE 'utc')"), Default(make="utcnow")),
        (
            sa.DateTime,
            sa.text("CURRENT_TIMESTAMP AT TIME ZONE 'UTC'::text"),
            Default(make="utcnow"),
        ),
        (sa.DateTime, sa.func.timezone("UTC", sa.func.now()), Default(make="utcnow")),
        (pg.TIMESTAMP(timezone=True, precision=3), sa.func.now(), Default(make="now", digits=3)),
        (sa.Date, sa.func.current_date(), Default(make="today")),
        (sa.Date, sa.func.now(), Default(make="today")),
    ],
)
def test_the_time_and_random_uuids_are_made_by_the_request(front, type_, default, made):
    server, client = with_column(type_, server_default=default), with_column(type_, default=default)
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


def test_a_default_in_sql_is_as_good_in_parentheses(front):
    found = front(with_column(sa.Uuid, server_default=sa.text("((gen_random_uuid()))")))

    assert found.defaults == {"x": Default(make="uuid4")}


def test_unique_constraints_and_indexes_are_judged_where_equality_is_known(front):
    metadata = sa.MetaData()
    table(
        metadata,
        "t",
        sa.Column("email", sa.Text, unique=True),
        sa.Column("at", sa.DateTime(timezone=True)),
        sa.Column("n", sa.Numeric(5, 2), index=True, unique=True),
        sa.Column("upper", sa.Text, index=True),
        sa.UniqueConstraint("at", "n", name="named", deferrable=True),
        sa.UniqueConstraint("id", "email", name="with_the_key"),
    )

    found = front(metadata).unique

    assert [(each.name, [(c.name, c.kind) for c in each.columns]) for each in found] == [
        ("ix_t_n", [("n", "numeric")]),
        ("named", [("at", "timestamptz"), ("n", "numeric")]),
        ("t_email_key", [("email", "text")]),
    ]
    assert found[0].columns[0].validator.is_valid(1.25)
    assert not found[0].columns[0].validator.is_valid(1.255)


def test_a_constraint_that_only_postgres_can_judge_is_left_to_it(front):
    metadata = sa.MetaData()
    found = table(
        metadata,
        "t",
        sa.Column("a", sa.Text),
        sa.Column("address", pg.INET, unique=True),
        sa.Column("folded", sa.Text(collation="nocase"), unique=True),
        sa.UniqueConstraint("a", postgresql_nulls_not_distinct=True),
    )
    sa.Index("lower", sa.func.lower(found.c.a), unique=True)
    sa.Index("some", found.c.a, unique=True, postgresql_where=found.c.a > "b")
    sa.Index("nulls", found.c.a, unique=True, postgresql_nulls_not_distinct=True)
    sa.Index("backwards", found.c.a.desc(), unique=True)

    assert front(metadata).unique == ()


def test_a_foreign_key_onto_the_key_of_a_resource_behind_the_same_front_is_a_parent(front):
    metadata = sa.MetaData()
    parent = [sa.Column("a", sa.Text, primary_key=True), sa.Column("b", sa.Date, primary_key=True)]
    sa.Table("p", metadata, *parent, info={**FRONT, "resource": "parents"})
    sa.Table("queued", metadata, sa.Column("id", sa.Text, primary_key=True))
    table(metadata, "numbers", key=sa.Numeric)
    table(metadata, "unique", sa.Column("u", sa.Text, unique=True))
    table(
        metadata,
        "t",
        *(sa.Column(name, sa.Text) for name in ("a", "q", "u")),
        sa.Column("b", sa.Date),
        sa.Column("n", sa.Integer),
        sa.Column("self", sa.ForeignKey("t.id", name="own", ondelete="RESTRICT")),
        sa.ForeignKeyConstraint(["b", "a"], ["p.b", "p.a"]),
        sa.ForeignKeyConstraint(["q"], ["queued.id"]),
        sa.ForeignKeyConstraint(["u"], ["unique.u"]),
        sa.ForeignKeyConstraint(["n"], ["numbers.id"]),  # 1 and 1.0 are different texts
    )

    assert front(metadata).parents == (
        Parent("own", ("self",), "t"),
        Parent("t_b_a_fkey", ("a", "b"), "parents"),
    )


def test_resources_behind_sqs_have_no_front(front):
    metadata = sa.MetaData()
    table(metadata, "t", sa.Column("x", sa.Text, unique=True), info={"front": "sqs"})

    assert front(metadata) is None


DEFAULTS = [
    (sa.Column("x", sa.Uuid, server_default=sa.text("uuid_generate_v1()")), "uuid_generate_v1()"),
    (sa.Column("x", sa.Text, server_default=sa.text("lower(gen_random_uuid()::text)")), "lower"),
    (sa.Column("x", sa.String(35), server_default=sa.text("gen_random_uuid()")), "gen_random"),
    (sa.Column("x", sa.Integer, server_default=sa.text("nextval('s')")), "default nextval('s')"),
    (sa.Column("x", sa.Integer, sa.Sequence("s")), "its number"),
    (sa.Column("x", sa.Integer, sa.Identity()), "its number"),
    (sa.Column("x", sa.Integer, default=sa.func.random()), "its default random()"),
    (sa.Column("x", sa.Text, server_default=sa.func.now()), "its default now()"),
    (sa.Column("x", sa.DateTime, server_default=sa.func.current_date()), "default CURRENT_DATE"),
    (sa.Column("x", sa.DateTime, server_default="now"), "its default now cannot"),
    (sa.Column("x", pg.ARRAY(sa.Text), server_default="{a}"), "its default {a} cannot"),
    (sa.Column("x", sa.DateTime, server_default=sa.FetchedValue()), "its default cannot"),
    (sa.Column("x", pg.DOMAIN("d", sa.Integer, default="7")), "its default cannot"),
    (sa.Column("x", sa.Text, default=lambda: "x" + str(uuid4())), "its default in Python"),
    (sa.Column("x", sa.Text, default=lambda: str(uuid.uuid1())), "its default in Python"),
    (sa.Column("x", sa.DateTime, default=lambda: datetime(2026, 1, 31)), "its default in Python"),
    (sa.Column("x", sa.DateTime(timezone=True), default=date.today), "its default in Python"),
    (sa.Column("x", sa.DateTime, default=later(SHIFT)), "its default in Python"),
    (sa.Column("x", sa.DateTime, default=lambda: datetime.now(UTC) + SHIFT), "default in Python"),
    (sa.Column("x", sa.DateTime, default=lambda: datetime.now(utc)), "its default in Python"),
]


@pytest.mark.parametrize(("column", "named"), DEFAULTS)
def test_a_default_that_a_request_cannot_make_is_refused(column, named):
    metadata = sa.MetaData()
    table(metadata, "t", column)

    said = refusal(metadata)

    assert said.startswith("Column t.x: ")
    assert named in said
    assert "cannot be made by a request" in said
    assert 'leave info["front"] out' in said


def keyed(*arguments, **more):
    return [sa.Column("id", *arguments, primary_key=True, **more)]


def child(**actions):
    return [*keyed(sa.Text), sa.Column("x", sa.ForeignKey("p.id", **actions))]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (keyed(sa.Integer), "Column t.id is a key that Postgres numbers"),
        (keyed(sa.BigInteger, sa.Identity()), "Column t.id is a key that Postgres numbers"),
        (keyed(sa.BigInteger, sa.Sequence("s")), "Column t.id is a key that Postgres numbers"),
        (keyed(sa.BigInteger, sa.Identity(always=True)), "Column t.id is a key that Postgres num"),
        (keyed(pg.CITEXT), "Column t.id is a key of type CITEXT"),
        (keyed(sa.Text(collation="nocase")), "Column t.id is a key of type TEXT COLLATE nocase"),
        (keyed(sa.Float), "Column t.id is a key of type FLOAT"),
        (keyed(sa.Uuid(native_uuid=False)), "Column t.id is a key of type CHAR(32)"),
        ([*keyed(sa.Text), sa.Column("x", sa.Text, sa.Computed("id"))], "t.x: Postgres computes"),
        (
            [*keyed(sa.Text), sa.Column("x", sa.Integer, sa.Identity(always=True))],
            "Column t.x: Postgres generates",
        ),
        ([*keyed(sa.Text), sa.Column("xmin", pg.OID, system=True)], "t.xmin: Postgres generates"),
        (
            [*keyed(sa.Text), sa.Column("x", sa.DateTime, onupdate=sa.func.now())],
            "Column t.x: it changes with every update",
        ),
        (
            [*keyed(sa.Text), sa.Column("x", sa.Text, server_onupdate=sa.FetchedValue())],
            "Column t.x: it changes with every update",
        ),
        ([*keyed(sa.Text), sa.Column("x", pg.MONEY)], "Column t.x: Postgres shows MONEY"),
        ([*keyed(sa.Text), sa.Column("x", pg.ARRAY(pg.MONEY))], "t.x: Postgres shows MONEY[]"),
        ([*keyed(sa.Text), sa.Column("x", pg.HSTORE)], "Column t.x: Postgres shows HSTORE"),
        ([*keyed(sa.Text), sa.Column("x", pg.OID)], "Column t.x: Postgres shows OID"),
        (child(ondelete="CASCADE"), "its foreign key of x is ON DELETE CASCADE"),
        (child(ondelete="SET NULL"), "its foreign key of x is ON DELETE SET NULL"),
        (child(onupdate="cascade"), "its foreign key of x is ON UPDATE CASCADE"),
    ],
)
def test_a_table_that_cannot_be_behind_dynamodb_is_named_with_the_cure(items, said):
    metadata = sa.MetaData()
    sa.Table("p", metadata, *keyed(sa.Text))
    sa.Table("t", metadata, *items, info=FRONT)

    found = refusal(metadata)

    assert said in found
    assert 'leave info["front"] out' in found


def test_a_table_without_a_key_cannot_be_behind_dynamodb():
    metadata = sa.MetaData()
    sa.Table("t", metadata, sa.Column("x", sa.Text), info=FRONT)

    assert refusal(metadata).startswith("Table t has no primary key")


def test_an_unordered_table_cannot_be_behind_dynamodb():
    metadata = sa.MetaData()
    table(metadata, "t", info={**FRONT, "ordered": False})

    assert refusal(metadata) == (
        "Table t is unordered, but a row behind DynamoDB is written and read by its key. Leave"
        ' info["ordered"] or info["front"] out.'
    )


@pytest.mark.parametrize("given", ["dynamo", None, True, ["dynamodb"]])
def test_a_front_has_one_of_three_names(given):
    metadata = sa.MetaData()
    table(metadata, "t", info={"front": given})

    assert refusal(metadata) == (
        f"Table t: info[\"front\"] is {given!r}. Make it one of 'sqs', 'closed', 'dynamodb'."
    )


@pytest.mark.parametrize(
    "type_",
    [sa.Boolean, sa.SmallInteger, sa.Numeric(5), sa.Numeric(5, 2), sa.Numeric, sa.Float, sa.Text,
     sa.CHAR(3), sa.Enum("a", name="e"), sa.Date, sa.DateTime, sa.Time, sa.Interval, sa.Uuid,
     sa.LargeBinary, sa.JSON, pg.JSONB, pg.INET, pg.INT4RANGE, pg.ARRAY(sa.Integer), pg.CITEXT],
)  # fmt: skip
def test_a_type_that_reads_as_it_is_written_can_be_behind_dynamodb(front, type_):
    assert front(with_column(type_)).defaults == {}
