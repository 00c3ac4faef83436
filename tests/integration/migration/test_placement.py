"""The placement of tables: steps of revisions that only engines which distribute tables take."""

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from alembic import command

from chalicelib.migrate import handler
from chalicelib.migrate.connection import locked
from chalicelib.postgres.engine import CITUS, POSTGRES, Engine
from chalicelib.postgres.resources import ModelError
from decanter.contract import engines
from decanter.migration.generation import generate
from tests.kit.revisions import CONVENTION

Write = Callable[[sa.MetaData], str]

PLACES = """
    SELECT logicalrelid::text, CASE partmethod WHEN 'h' THEN column_to_column_name(
        logicalrelid, partkey) END
    FROM pg_dist_partition WHERE NOT autoconverted
        AND logicalrelid <> 'decanter.two_phase'::regclass ORDER BY 1
"""

MOVED = ["undistribute 1", "create 1"]

MOVED = ["undistribute 1", "create 1"]


def models(
    stations: Any = "reference",
    readings: Any = "station",
    type_: Any = sa.String(4),  # noqa: B008
) -> sa.MetaData:
    """Readings of sensors that refer to stations."""

    def info(by: Any) -> dict[str, Any]:
        if by is None:
            return {}
        return {"reference": True} if by == "reference" else {"distribute_by": by}

    metadata = sa.MetaData(naming_convention=CONVENTION)
    sa.Table(
        "stations", metadata, sa.Column("code", sa.String(4), primary_key=True), info=info(stations)
    )
    sa.Table(
        "Readings",
        metadata,
        sa.Column("station", type_, sa.ForeignKey("stations.code"), primary_key=True),
        sa.Column("The moment", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, index=True),
        info=info(readings),
    )
    return metadata


@pytest.fixture
def write(new_database: Callable[[], str], folder: Path) -> Write:
    """`write(metadata)` returns the text of the next revision, "" where nothing changes."""

    def write(metadata: sa.MetaData) -> str:
        path = generate([metadata], "tables", new_database(), folder)
        return path.read_text() if path else ""

    return write


def steps(text: str, function: str = "upgrade") -> list[str]:
    body = text.partition(f"def {function}()")[2].partition("\ndef ")[0]
    return re.findall(r"(?:CREATE|ALTER|DROP|SELECT) [^\n(]*(?:\([^\n]*\))?", body)


def migrate(url: str, folder: Path, on: Engine, target: str = "heads") -> None:
    move = command.downgrade if target == "models@-1" else command.upgrade
    with locked(url) as connection:
        move(handler.alembic_config(connection, folder=folder, on=on), target)


def test_tables_are_placed_before_they_get_foreign_keys(write: Write) -> None:
    text = write(models())

    found = re.findall(r"SELECT \w+\([^)]*\)|ALTER TABLE \S+ ADD CONSTRAINT \S+", text)
    assert found == [
        "SELECT create_distributed_table('\"Readings\"', 'station')",
        "SELECT create_reference_table('stations')",
        'ALTER TABLE "Readings" ADD CONSTRAINT "fk_Readings_station_stations"',
    ]
    assert not any("undistribute" in each for each in steps(text, "downgrade"))
    assert write(models()) == ""


@pytest.mark.parametrize(
    ("after", "made", "undone"),
    [
        (models(None, None), ["undistribute 2"], ["create 2"]),
        (models(readings="The moment"), MOVED, MOVED),
        (models(type_=sa.Text), MOVED, MOVED),
    ],
)
def test_a_declaration_that_changes_is_migrated(
    write: Write, after: sa.MetaData, made: list[str], undone: list[str]
) -> None:
    write(models())
    text = write(after)

    for function, wanted in (("upgrade", made), ("downgrade", undone)):
        found = steps(text, function)
        places = [place for place, each in enumerate(found) if each.startswith("SELECT")]
        counted: dict[str, int] = {}
        for place in places:
            what = found[place].split()[1].split("_")[0]
            counted[what] = counted.get(what, 0) + 1
        assert [f"{what} {count}" for what, count in counted.items()] == wanted
        # No table has a foreign key meanwhile.
        [dropped] = [n for n, each in enumerate(found) if "DROP CONSTRAINT" in each]
        [added] = [n for n, each in enumerate(found) if "ADD CONSTRAINT" in each]
        assert dropped < min(places) <= max(places) < added
    assert write(after) == ""


def test_a_declaration_is_added_to_tables_that_exist(write: Write) -> None:
    write(models(None, None))
    found = steps(write(models()))

    assert [each.split("_")[0] for each in found] == [
        'ALTER TABLE "Readings" DROP CONSTRAINT "fk',
        "SELECT create",
        "SELECT create",
        'ALTER TABLE "Readings" ADD CONSTRAINT "fk',
    ]


def test_a_table_with_an_identity_is_not_moved(write: Write) -> None:
    def numbered(by: str | None) -> sa.MetaData:
        metadata = sa.MetaData(naming_convention=CONVENTION)
        key = sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True)
        sa.Table("log", metadata, key, info={"distribute_by": by} if by else {})
        return metadata

    write(numbered(None))
    text = write(numbered("id"))

    assert "SELECT create_distributed_table('log', 'id')" in text
    assert "No downgrade could be generated" in text
    with pytest.raises(ModelError, match=r"Citus does not move log, whose column id is an ident"):
        write(numbered(None))


def test_plain_postgres_leaves_the_steps_out(
    write: Write, new_database: Callable[..., str], ledger_template: str, folder: Path
) -> None:
    write(models(None, None))
    write(models())
    url = new_database(ledger_template)

    migrate(url, folder, POSTGRES)
    migrate(url, folder, POSTGRES, "models@-1")
    migrate(url, folder, POSTGRES)

    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute('INSERT INTO stations VALUES (1); INSERT INTO "Readings" VALUES (1, 2)')
        with pytest.raises(psycopg2.errors.ForeignKeyViolation):
            cursor.execute('INSERT INTO "Readings" VALUES (2, 2)')


def test_a_dry_run_shows_the_steps_where_they_are_taken(
    write: Write, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(models())

    for on in (POSTGRES, CITUS):
        config = handler.alembic_config(folder=folder, on=on)
        config.attributes["present"] = ()
        command.upgrade(config, "models@head", sql=True)
        assert ("create_distributed_table" in capsys.readouterr().out) == on.distributes


def test_tables_are_placed_on_citus(write: Write, folder: Path, citus_url: str) -> None:
    assert engines.objections([models()], "citus") == []

    def places() -> list[Any]:
        with closing(psycopg2.connect(citus_url)) as connection, connection.cursor() as cursor:
            cursor.execute(PLACES)
            return cursor.fetchall()

    write(models(None, None))
    migrate(citus_url, folder, CITUS)
    with closing(psycopg2.connect(citus_url)) as connection, connection.cursor() as cursor:
        cursor.execute('INSERT INTO stations VALUES (1); INSERT INTO "Readings" VALUES (1, 2)')
        connection.commit()
    assert places() == []
    for metadata, wanted in (
        (models(), [("stations", None), ('"Readings"', "station")]),
        (models(readings="The moment"), [("stations", None), ('"Readings"', "The moment")]),
        (models("code"), [("stations", "code"), ('"Readings"', "station")]),
    ):
        write(metadata)
        migrate(citus_url, folder, CITUS)
        assert sorted(places()) == sorted(wanted)
    migrate(citus_url, folder, CITUS, "models@-1")
    assert ('"Readings"', "The moment") in places()
    with closing(psycopg2.connect(citus_url)) as connection, connection.cursor() as cursor:
        cursor.execute('SELECT * FROM "Readings"')
        assert cursor.fetchall() == [("1", 2, None)]
