"""The tables that Decanter writes to. This is the one file to edit.

Every table in the metadata becomes a resource with routes, validation, a queue and a pour.
``info`` says what a table cannot say by itself:

- ``{"ordered": False}``: create only, through the standard queue in large batches; for data that
  is only ever added to.
- ``{"front": "dynamodb"}``: written to a DynamoDB table, which answers at once whether the write
  succeeded, and poured from its stream; for data that people change and read back. A table that
  has rows already takes a way there over ``"closed"``, see docs/operating.md.
- ``{"resource": "name"}``: another name in the URL; ``{"resource": False}``: not served at all.
- ``{"distribute_by": "column"}``: on Citus, divided among the nodes by the values of that column;
  ``{"reference": True}``: whole on every node. Other engines take no notice.

``info={"example": …}`` of a column is its example in the contract, instead of one by its type.
``info={"unknowable": True}`` of a key column says that its default makes values that no client can
know before it is told, as ``uuid4`` does: such rows share no lane.

After a change: ``make contract`` and ``make migration``.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    MetaData,
    Numeric,
    String,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    # Named constraints can be altered by migrations, and are what a rejection tells the client.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Station(Base):
    """An airport that reports weather, by its ICAO code."""

    __tablename__ = "stations"
    __table_args__ = (
        CheckConstraint("latitude BETWEEN -90 AND 90", name="latitude"),
        CheckConstraint("longitude BETWEEN -180 AND 180", name="longitude"),
    )

    icao: Mapped[str] = mapped_column(String(4), primary_key=True, info={"example": "LSZH"})
    iata: Mapped[str | None] = mapped_column(String(3), info={"example": "ZRH"})
    name: Mapped[str] = mapped_column(info={"example": "Zurich Airport"})
    city: Mapped[str | None] = mapped_column(info={"example": "Zurich"})
    subdivision: Mapped[str | None] = mapped_column(info={"example": "Zurich"})
    country: Mapped[str] = mapped_column(String(2), info={"example": "CH"})
    elevation_ft: Mapped[Decimal] = mapped_column(Numeric(7, 2), info={"example": 1416})
    latitude: Mapped[Decimal] = mapped_column(Numeric(9, 6), info={"example": 47.4647})
    longitude: Mapped[Decimal] = mapped_column(Numeric(9, 6), info={"example": 8.549})
    timezone: Mapped[str] = mapped_column(info={"example": "Europe/Zurich"})
    active: Mapped[bool] = mapped_column(server_default="true")


class Observation(Base):
    """A weather report of a station; only ever added to."""

    __tablename__ = "observations"
    __table_args__ = {"info": {"ordered": False}}

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    station: Mapped[str] = mapped_column(ForeignKey("stations.icao"), index=True)
    observed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    temperature_c: Mapped[Decimal | None] = mapped_column(Numeric(4, 1), info={"example": -3.5})
    wind_kt: Mapped[Decimal | None] = mapped_column(Numeric(5, 1), info={"example": 12})
    pressure_hpa: Mapped[Decimal | None] = mapped_column(Numeric(6, 2), info={"example": 1013.25})
    report: Mapped[dict[str, Any]] = mapped_column(
        JSONB, server_default="{}", info={"example": {"visibility_m": 9999}}
    )
    received_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )


class Subscription(Base):
    """A wish to be told about strong wind at a station."""

    __tablename__ = "subscriptions"
    __table_args__ = (UniqueConstraint("email", "station"), {"info": {"front": "dynamodb"}})

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    email: Mapped[str] = mapped_column(String(254), info={"example": "ada@example.com"})
    station: Mapped[str] = mapped_column(ForeignKey("stations.icao"), index=True)
    wind_above_kt: Mapped[Decimal] = mapped_column(Numeric(5, 1), info={"example": 25})
    active: Mapped[bool] = mapped_column(server_default="true")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
