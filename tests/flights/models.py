"""Tables as a user has them who never saw the samples: flights, their planes and their weather.

Written the old way and the new one, with what Postgres offers and a sample leaves out.
"""

import enum
from datetime import date, datetime, time
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Computed, ForeignKeyConstraint, Identity, Index, MetaData
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, declarative_base

metadata = MetaData(schema="air")
Tailnum = pg.DOMAIN("tailnum", sa.Text, check=sa.text("VALUE ~ '^[A-Z0-9]+$'"), schema="air")


class Base(DeclarativeBase):
    metadata = metadata


class Engine(enum.Enum):
    turbo_fan = "Turbo-fan"
    reciprocating = "Reciprocating"


class Plane(Base):
    __tablename__ = "planes"
    __table_args__ = (
        sa.CheckConstraint("seats > 0"),
        Index("by_maker", sa.text("lower(trim(manufacturer))")),
        Index("by_owner", sa.text("(papers -> 'owner' ->> 'name')")),
    )

    tailnum: Mapped[str] = mapped_column(Tailnum, primary_key=True, info={"example": "N504MQ"})
    year: Mapped[int | None] = mapped_column(sa.SmallInteger)
    engine: Mapped[Engine]
    manufacturer: Mapped[str] = mapped_column(sa.String(60))
    seats: Mapped[int] = mapped_column(sa.CheckConstraint("seats < 1000"))
    papers: Mapped[dict[str, Any]] = mapped_column(pg.JSONB, server_default=sa.text("'{}'"))
    leased: Mapped[bool] = mapped_column(
        sa.Boolean(create_constraint=True, name="is_leased"), server_default=sa.false()
    )


class Flight(Base):
    __tablename__ = "flights"
    __table_args__ = (
        ForeignKeyConstraint(["tailnum"], ["air.planes.tailnum"], ondelete="RESTRICT"),
        Index("late", "carrier", postgresql_where=sa.text("dep_delay > 60")),
        {"postgresql_partition_by": "RANGE (day)"},
    )

    carrier: Mapped[str] = mapped_column(sa.String(2), primary_key=True)
    flight: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    tailnum: Mapped[str | None] = mapped_column(Tailnum, info={"example": "N504MQ"})
    sched: Mapped[time | None]
    dep_delay: Mapped[int | None]
    arr_delay: Mapped[int | None]
    gained: Mapped[int | None] = mapped_column(Computed("dep_delay - arr_delay", persisted=True))


class Weather(Base):
    __tablename__ = "weather"
    __table_args__ = {"info": {"ordered": False}}

    id: Mapped[int] = mapped_column(sa.BigInteger, Identity(always=True, start=1000), primary_key=True)
    origin: Mapped[str] = mapped_column(pg.ENUM("EWR", "JFK", "LGA", name="origin", schema="air"))
    seen_at: Mapped[datetime] = mapped_column(sa.DateTime)
    readings: Mapped[list[float] | None] = mapped_column(pg.ARRAY(sa.Float))
    place: Mapped[Any | None] = mapped_column(pg.TSVECTOR)


OldBase = declarative_base()

crew = sa.Table(
    "Crew Members",
    OldBase.metadata,
    sa.Column("staff no", sa.Integer, Identity(), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("rest", pg.TSTZRANGE),
    sa.Column("note", sa.Text, sa.CheckConstraint("note <> ''"), server_default=sa.text("'50% \" \\:a'")),
    sa.Index("search", sa.text("to_tsvector('simple'::regconfig, name || ' ' || coalesce(note, ''))"), postgresql_using="gin"),
    sa.Index("sorted", sa.text('name COLLATE "C"')),
    info={"resource": "crew"},
)

duties = sa.Table(
    "duties",
    OldBase.metadata,
    sa.Column("staff", sa.Integer, sa.ForeignKey(crew.c["staff no"]), primary_key=True),
    sa.Column("during", pg.INT8RANGE, primary_key=True, info={"example": "[1,5)"}),
    sa.Column("order", sa.Integer),
    pg.ExcludeConstraint(("during", "&&"), name="one_duty"),
)
