"""Resources: which tables are served, and which cannot be."""

from enum import Enum
from types import SimpleNamespace
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase

from chalicelib.postgres.resources import ModelError, metadatas, recordset_type, resources_of


def key(name="id", **arguments):
    return sa.Column(name, sa.Integer, primary_key=True, **arguments)


def resources_with(*items, name="t", **arguments):
    metadata = sa.MetaData()
    sa.Table(name, metadata, *items, **arguments)
    return resources_of(metadata)


class Upper(sa.TypeDecorator):
    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value.upper()


class Colour(Enum):
    RED = "red"


class Shown(sa.TypeDecorator):
    impl = sa.Text
    cache_ok = True

    def process_result_value(self, value, dialect):
        return value.lower()


def test_every_metadata_of_the_module_counts_once():
    class Base(DeclarativeBase):
        pass

    one, other = sa.MetaData(), sa.MetaData()
    table = sa.Table("t", other, key())
    module = SimpleNamespace(
        Base=Base, again=Base, one=one, table=table, number=7, DB=DeclarativeBase
    )

    assert metadatas(module) == (Base.metadata, one, other)


def test_info_renames_hides_and_unorders_a_table():
    metadata = sa.MetaData()
    sa.Table("a", metadata, key(), info={"resource": "things"})
    sa.Table("b", metadata, key(), info={"resource": False})
    sa.Table("c", metadata, sa.Column("x", sa.Text), info={"ordered": False})

    found = resources_of(metadata)

    assert {name: r.ordered for name, r in found.items()} == {"things": True, "c": False}
    assert found["c"].key == ()


def test_parents_come_before_children():
    metadata = sa.MetaData()
    sa.Table("a", metadata, key(), sa.Column("b", sa.ForeignKey("b.id")))
    sa.Table("b", metadata, key(), sa.Column("c", sa.ForeignKey("c.id")))
    sa.Table("c", metadata, key())

    assert list(resources_of(metadata)) == ["c", "b", "a"]


def test_key_and_writable_columns_are_in_order():
    found = resources_with(
        key("b"),
        key("a"),
        sa.Column("always", sa.Integer, sa.Identity(always=True)),
        sa.Column("sometimes", sa.Integer, sa.Identity()),
        sa.Column("computed", sa.Integer, sa.Computed("a + b")),
    )["t"]

    assert [column.name for column in found.key] == ["b", "a"]
    assert [column.name for column in found.writable] == ["b", "a", "sometimes"]


@pytest.mark.parametrize(
    ("items", "arguments", "said"),
    [
        ([sa.Column("x", sa.Text)], {}, "has no primary key"),
        ([key(f"k{n}") for n in range(9)], {}, "has 9 key columns; a path takes 8"),
        ([key()], {"name": "writes"}, "the path /writes is Decanter's"),
        ([key()], {"name": "health"}, "the path /health is Decanter's"),
        ([key()], {"name": "odd name"}, "letters, digits, _ and -"),
        ([key()], {"info": {"resource": "a/b"}}, "letters, digits, _ and -"),
        ([key()], {"info": {"resource": True}}, "letters, digits, _ and -"),
        ([key()], {"info": {"ordered": "no"}}, "Make it True or False"),
        ([key()], {"schema": "decanter"}, "which holds the ledger"),
        ([key(), sa.Column("x", Upper)], {}, "t.x: Upper changes values in Python"),
        ([key(), sa.Column("x", sa.ARRAY(Upper))], {}, "t.x: Upper changes values in Python"),
        ([key(), sa.Column("x", sa.PickleType)], {}, "t.x: PickleType changes values in Python"),
        ([key(), sa.Column("x", sa.Interval(native=False))], {}, "t.x: Interval changes values"),
        ([key(), sa.Column("x", sa.Text, default=lambda c: c)], {}, "execution context"),
        ([key(), sa.Column("x", sa.Text, default=Colour.RED)], {}, "t.x: its default .* no value"),
        ([key(), sa.Column("x", sa.Text, onupdate=object())], {}, "t.x: its default .* no value"),
        (
            [key(), sa.Column("x", sa.Uuid(native_uuid=False), default=7)],
            {},
            "could send as CHAR.32.",
        ),
        ([key(), sa.Column("x", sa.Text, onupdate=lambda c: c)], {}, "execution context"),
    ],
)
def test_a_model_that_cannot_be_served_is_named_with_the_cure(items, arguments, said):
    with pytest.raises(ModelError, match=said.replace("(", r"\(")):
        resources_with(*items, **arguments)


def test_two_tables_of_one_name_are_refused():
    metadata = sa.MetaData()
    sa.Table("t", metadata, key())
    sa.Table("t", metadata, key(), schema="other")

    with pytest.raises(ModelError, match=r"Tables other\.t and t would both be the resource 't'"):
        resources_of(metadata)


@pytest.mark.parametrize(
    "column",
    [
        sa.Column("x", Shown),
        sa.Column("x", sa.ARRAY(Shown)),
        sa.Column("x", sa.Interval),
        sa.Column("x", sa.Uuid, default=uuid4),
        sa.Column("x", sa.JSON, default=dict),
        sa.Column("x", sa.Text, default=lambda: "x", onupdate=str),
        sa.Column("x", sa.Integer, default=sa.func.random()),
        sa.Column("x", sa.Integer, sa.Sequence("s")),
    ],
)
def test_what_postgres_can_do_alone_is_served(column):
    assert "t" in resources_with(key(), column)


@pytest.mark.parametrize(
    ("type_", "sql"),
    [
        (sa.String(3), "VARCHAR(3)"),
        (sa.String(3, collation="C"), 'VARCHAR(3) COLLATE "C"'),
        (sa.Numeric(5, 2), "NUMERIC(5, 2)"),
        (sa.Enum("a", name="Odd", schema="s"), 's."Odd"'),
        (sa.ARRAY(sa.Enum("a", name="e", schema="s")), "s.e[]"),
        (sa.Enum("a", name="100%", schema="s"), 's."100%"'),
        (sa.Text().with_variant(sa.Integer(), "postgresql"), "INTEGER"),
        (sa.BigInteger, "BIGINT"),
        (Shown, "TEXT"),
    ],
)
def test_columns_travel_in_their_own_type(type_, sql):
    (table,) = (r.table for r in resources_with(key(), sa.Column("x", type_)).values())
    assert recordset_type(table.c.x) == sql
