"""Names that Postgres would cut or take for something else are refused with their place."""

import enum
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chalicelib.postgres.resources import ModelError
from decanter.contract.names import check

LONG = "x" * 64
UMLAUTS = "ü" * 32  # 64 bytes
FITS = "ü" * 31


def table(*items: object, name: str = "things", convention: str = "", **options: object):
    metadata = sa.MetaData(naming_convention={"ix": convention} if convention else None)
    sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), *items, **options)
    return metadata


def declared(name: str) -> sa.MetaData:
    """A class of the user's, which SQLAlchemy names the type after."""

    class Base(DeclarativeBase):
        pass

    made = enum.Enum(name, ["A", "B"])

    class Thing(Base):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(sa.Enum(made))

    return Base.metadata


def two(first: object, second: object) -> sa.MetaData:
    metadata = table(first)
    sa.Table("others", metadata, sa.Column("id", sa.Integer, primary_key=True), second)
    return metadata


REFUSED: dict[str, tuple[Callable[[], sa.MetaData], str]] = {
    **{
        f"class {name}": (
            lambda name=name: declared(name),
            rf"Column things\.kind: its enum is called '{name.lower()}'.*Enum\(…, name=",
        )
        for name in ("Path", "Interval", "Trigger", "Text", "Box", "Any", "Character", "Pg_Class")
    },
    "domain": (
        lambda: table(sa.Column("p", pg.ARRAY(pg.DOMAIN("point", sa.Text)))),
        r"Column things\.p: its domain is called 'point'.*DOMAIN\(…, name=",
    ),
    "array's name": (
        lambda: table(sa.Column("p", pg.ENUM("a", name="_text"))),
        "its enum .*'_text'",
    ),
    "nameless enum": (lambda: table(sa.Column("p", sa.Enum("a"))), "its enum has no name"),
    "table": (lambda: table(name=LONG), "Table x+: its name .* has 64 bytes.*__tablename__"),
    "table in bytes": (lambda: table(name=UMLAUTS), "has 64 bytes"),
    "table of pg": (lambda: table(name="pg_class"), "Table pg_class: names that begin with pg_"),
    "schema": (lambda: table(schema=LONG), "its schema: its name"),
    "schema of pg": (lambda: table(schema="pg_mine"), "no schema that begins with pg_"),
    "column": (lambda: table(sa.Column(LONG, sa.Text)), "Column things.x+: its name"),
    "column in bytes": (lambda: table(sa.Column(UMLAUTS, sa.Text)), "has 64 bytes"),
    "column of the system": (lambda: table(sa.Column("xmin", sa.Text)), "things.xmin: every table"),
    "NUL": (lambda: table(sa.Column("a\0", sa.Text)), "not valid UTF-8 text"),
    "label": (
        lambda: table(sa.Column("c", sa.Enum("ok", UMLAUTS, name="mood"))),
        "Column things.c: the label 'ü+' of its enum has 64 bytes",
    ),
    "constraint": (
        lambda: table(sa.CheckConstraint("id > 0", name=LONG)),
        "CheckConstraint of things: its name",
    ),
    "index in bytes": (lambda: table(sa.Index(UMLAUTS, "id")), "Index of things: its name"),
    "convention": (
        lambda: table(sa.Index(None, "id"), convention=f"%(table_name)s_{UMLAUTS}"),
        "Index of things.*naming_convention",
    ),
    "sequence": (
        lambda: table(sa.Column("n", sa.Integer, sa.Sequence(LONG))),
        "Column things.n: its sequence: its name",
    ),
    "two indexes": (
        lambda: two(sa.Index("one", "id"), sa.Index("one", "id")),
        "Index of others has the name 'one', which Index of things has",
    ),
    "key as a table": (
        lambda: two(sa.UniqueConstraint("id", name="others"), sa.Column("n", sa.Text)),
        "Table others has the name 'others', which UniqueConstraint of things has",
    ),
    "type as a table": (
        lambda: two(sa.Column("c", sa.Enum("a", name="others")), sa.Column("n", sa.Text)),
        "Table others has the name 'others', which Type others has",
    ),
    "two enums": (
        lambda: two(
            sa.Column("c", sa.Enum("a", name="mood")), sa.Column("c", sa.Enum("b", name="mood"))
        ),
        "Column others.c: its enum 'mood' has other labels",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_name_that_postgres_would_not_keep_is_refused_with_its_place(case: str) -> None:
    make, told = REFUSED[case]

    with pytest.raises(ModelError, match=told):
        check([make()])


TAKEN = {
    "tables as types": lambda: table(name="path"),
    "names as long as they may be": lambda: table(
        sa.Column(FITS, sa.Enum(FITS, name=f"m{FITS}")), sa.Index(f"i{FITS}", "id"), name="x" * 63
    ),
    "enums in a schema": lambda: table(sa.Column("c", sa.Enum("a", name="path", schema="mine"))),
    "enums with a name of their own": lambda: declared("Mood"),
    "one enum in two tables": lambda: two(
        sa.Column("c", sa.Enum("a", name="mood")), sa.Column("c", sa.Enum("a", name="mood"))
    ),
    "what is no type": lambda: table(sa.Column("c", sa.Enum("a", name="path", native_enum=False))),
    "system columns": lambda: table(sa.Column("xmin", sa.Text, system=True)),
    "a convention that SQLAlchemy cuts": lambda: table(
        sa.Index(None, "id"), convention=f"%(table_name)s_{LONG}"
    ),
}


@pytest.mark.parametrize("case", TAKEN)
def test_other_names_are_taken(case: str) -> None:
    check([TAKEN[case]()])
