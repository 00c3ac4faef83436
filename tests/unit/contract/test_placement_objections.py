"""Where tables are placed is checked on all engines; what Citus refuses is told by name."""

import re
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Integer, MetaData, String
from sqlalchemy.dialects import postgresql

from chalicelib.postgres.engine import ENGINES
from chalicelib.postgres.resources import ModelError
from decanter.contract import engines, placement

Info = dict[str, Any]

REFERENCE: Info = {"reference": True}
BY_STATION: Info = {"distribute_by": "station"}


def models(*items: Any, info: Info, stations: Info | None = None) -> list[MetaData]:
    """Readings by station and moment, and the table of stations."""
    metadata = MetaData()
    sa.Table("stations", metadata, Column("code", String(4), primary_key=True), info=stations or {})
    sa.Table(
        "readings",
        metadata,
        Column("station", String(4), primary_key=True),
        Column("moment", Integer, primary_key=True, autoincrement=False),
        *items,
        info=info,
    )
    return [metadata]


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        ({"distribute_by": "town"}, "is 'town', which is none of its columns. Name one of station"),
        ({"distribute_by": 3}, "is 3, which is none of its columns"),
        ({"distribute_by": ["station"]}, r"is \['station'\], which is none of its columns"),
        ({**BY_STATION, **REFERENCE}, 'has "distribute_by" and "reference". Leave one out'),
        ({"reference": "yes"}, "is 'yes'. Make it True, or leave it out"),
    ],
)  # fmt: skip
def test_a_declaration_without_sense_is_refused(info: Info, sentence: str) -> None:
    with pytest.raises(ModelError, match=f"Table readings: info.*{sentence}"):
        placement.check(models(info=info))


@pytest.mark.parametrize("info", [{}, BY_STATION, REFERENCE, {"reference": False}])
def test_a_declaration_is_taken(info: Info) -> None:
    placement.check(models(info=info))

    for name in ENGINES:
        assert engines.objections(models(info=info), name) == []


def to_stations(column: str = "station", **named: Any) -> ForeignKeyConstraint:
    return ForeignKeyConstraint([column], ["stations.code"], **named)


OTHER = Column("other", String(4), ForeignKey("stations.code"))
BY_CODE: Info = {"distribute_by": "code"}


@pytest.mark.parametrize(
    ("items", "info", "stations", "sentence"),
    [
        ([], {"distribute_by": "moment"}, {}, None),
        ([Column("n", Integer)], {"distribute_by": "n"}, {},
         "which may be null.*nullable=False.*primary key over station, moment has no n. Add n"),
        ([Column("j", sa.JSON, primary_key=True)], {"distribute_by": "j"}, {}, "j, which is JSON"),
        ([Column("g", Integer, sa.Computed("moment"), primary_key=True)], {"distribute_by": "g"},
         {}, "by g, which is generated. Take another column"),
        ([sa.UniqueConstraint("moment")], BY_STATION, {}, "unique constraint over moment has no"),
        ([sa.UniqueConstraint("moment", "station")], BY_STATION, {}, None),
        ([sa.UniqueConstraint("moment")], REFERENCE, {}, None),
        ([sa.Index("i", "moment", unique=True)], BY_STATION, {}, "unique index i has no station"),
        ([sa.Index("i", sa.text("lower(station)"), unique=True)], BY_STATION, {}, "index i has no"),
        ([sa.Index("i", "moment", "station", unique=True)], BY_STATION, {}, None),
        ([sa.Index("i", "moment")], BY_STATION, {}, None),
        ([postgresql.ExcludeConstraint(("moment", "="), name="e")], BY_STATION, {},
         "exclusion constraint e has no station with =. Add station to it"),
        ([postgresql.ExcludeConstraint(("station", "<>"), ("moment", "="))], BY_STATION, {},
         "exclusion constraint without a name has no station with ="),
        ([postgresql.ExcludeConstraint(("station", "="), ("moment", "="))], BY_STATION, {}, None),
        ([to_stations(initially="deferred", name="f")], BY_STATION, REFERENCE, "f is deferred. L"),
        ([to_stations(deferrable=True)], BY_STATION, REFERENCE, None),
        ([to_stations()], BY_STATION, REFERENCE, None),
        ([to_stations()], {}, REFERENCE, None),
        ([to_stations()], REFERENCE, REFERENCE, None),
        ([to_stations()], BY_STATION, BY_CODE, None),
        ([to_stations()], BY_STATION, {}, "to stations, which is on one node only. Make"),
        ([to_stations()], REFERENCE, {}, "to stations, which is on one node only. Make station"),
        ([to_stations()], REFERENCE, BY_CODE, "is distributed, and readings is a reference table."),
        ([to_stations()], {}, BY_CODE, "is distributed, and readings is on one node only"),
        ([OTHER], BY_STATION, BY_CODE, "distributed by code. Have it refer from station to"),
        ([to_stations(ondelete="SET NULL")], BY_STATION, REFERENCE, "ON DELETE SET NULL, which"),
        ([to_stations(onupdate="CASCADE")], BY_STATION, BY_CODE, "ON UPDATE CASCADE, which"),
        ([to_stations(ondelete="CASCADE")], BY_STATION, BY_CODE, None),
        ([Column("up", Integer), ForeignKeyConstraint(
            ["station", "up"], ["readings.station", "readings.moment"])], BY_STATION, {}, None),
        ([Column("up", String), Column("to", Integer), ForeignKeyConstraint(
            ["up", "to"], ["readings.station", "readings.moment"])], BY_STATION, {},
         "over up, to is to readings, which is distributed by station. Have it refer"),
    ],
)  # fmt: skip
def test_what_citus_refuses_is_told(
    items: list[Any], info: Info, stations: Info, sentence: str | None
) -> None:
    metadatas = models(*items, info=info, stations=stations)

    found = "\n".join(engines.objections(metadatas, "citus"))

    if sentence is None:
        assert found == ""
    else:
        assert re.search(f"table readings.*{sentence}", found, re.DOTALL)
    assert engines.objections(metadatas, "postgres") == []
    if sentence:
        with pytest.raises(ModelError, match="DECANTER_ENGINE 'citus', which cannot hold"):
            engines.check(metadatas, "citus")


@pytest.mark.parametrize("info", [BY_STATION, REFERENCE])
def test_what_an_upsert_cannot_set_on_citus_is_told(info: Info) -> None:
    def found(onupdate: Any, info: Info = info) -> list[str]:
        column = Column("changed", sa.DateTime(True), onupdate=onupdate)
        return engines.objections(models(column, info=info), "citus")

    for onupdate in (sa.func.now(), sa.text("CURRENT_TIMESTAMP"), sa.Sequence("numbers")):
        [objection] = found(onupdate)
        assert re.search(r"readings.changed has the onupdate .*onupdate=lambda: datet", objection)
        assert found(onupdate, {}) == []
    for onupdate in (lambda: None, "constant", sa.text("'(constant)'")):
        assert found(onupdate) == []


def test_tables_distributed_by_unlike_columns_cannot_refer() -> None:
    metadata = MetaData()
    sa.Table("stations", metadata, Column("code", sa.Text, primary_key=True), info=BY_CODE)
    station = Column("station", ForeignKey("stations.code"), primary_key=True)
    table = sa.Table("readings", metadata, station, info=BY_STATION)
    assert engines.objections([metadata], "citus") == []

    table.c.station.type = String(4)

    [found] = engines.objections([metadata], "citus")
    assert "distributed by a TEXT. Give station of readings that type." in found


@pytest.mark.parametrize(
    ("named", "is_refused"),
    [
        ({}, True),
        ({"nullable": False}, False),
        ({"server_default": "1"}, False),
        ({"default": 1}, False),
    ],
)
def test_a_row_without_any_value_is_refused_of_a_reference_table(
    named: dict[str, Any], is_refused: bool
) -> None:
    metadata = MetaData()
    sa.Table("log", metadata, Column("a", Integer), Column("b", Integer, **named), info=REFERENCE)

    found = engines.objections([metadata], "citus")

    assert [each for each in found if "takes a row without any value" in each] == found
    assert bool(found) == is_refused
