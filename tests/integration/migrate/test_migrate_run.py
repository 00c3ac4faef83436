"""What the migrate function answers: dry runs, refusals by name, versions that come and go."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import MetaData

import chalicelib
from chalicelib.errors import MigrationRefused
from chalicelib.migrate import handler
from chalicelib.migrate.handler import FOLDER
from chalicelib.postgres.resources import resources
from decanter.local.postgres import Postgres, program
from decanter.migration.generation import generate
from tests.kit.databases import LEDGER_REVISIONS, drop, execute, name_of

FIRST = """
    CREATE TYPE mood AS ENUM ('calm', 'odd');
    CREATE DOMAIN cents AS numeric(12, 2) CHECK (VALUE >= 0);
    CREATE TABLE things (
        id int PRIMARY KEY, name varchar(20), note text NOT NULL DEFAULT '', amount numeric(8, 2),
        count int, at timestamptz(3), mood mood DEFAULT 'calm', moods mood[], price cents,
        tags varchar(5)[], flag bit(3));
    CREATE TABLE other (id int PRIMARY KEY, thing int REFERENCES things);
    CREATE TABLE inner_part (id int PRIMARY KEY, text text)
"""
SNAPSHOT = """
    SELECT table_schema, table_name, column_name, data_type, udt_name, numeric_precision,
        character_maximum_length, column_default, is_nullable
    FROM information_schema.columns
    WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2, 3
"""
REBUILT = """
    ALTER TYPE mood RENAME TO mood_before;
    CREATE TYPE mood AS ENUM ('calm');
    ALTER TABLE things ALTER mood DROP DEFAULT, ALTER mood TYPE mood USING mood::text::mood,
        ALTER moods TYPE mood[] USING moods::text[]::mood[];
    DROP TYPE mood_before
"""


def tables(*more: str) -> MetaData:
    """The models that the first revision is of; more: columns of `things`."""
    metadata = MetaData()
    columns = ("name", "note", "amount", "count", "at", "mood", "moods", "price", "tags", "flag")
    sa.Table(
        "things",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        *[sa.Column(name, sa.Text) for name in (*columns, *more)],
    )
    sa.Table(
        "other",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("thing", sa.ForeignKey("things.id")),
    )
    sa.Table(
        "inner_part",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        info={"resource": False},
    )
    return metadata


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[MetaData], None]]:
    """`serve(metadata)`: these are the models."""

    def serve(metadata: MetaData) -> None:
        models = ModuleType("models")
        models.metadata = metadata  # type: ignore[attr-defined]
        monkeypatch.setattr(chalicelib, "models", models)
        monkeypatch.setitem(sys.modules, "chalicelib.models", models)
        resources.cache_clear()

    yield serve
    resources.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The revisions: those shipped, and the first of the models."""
    found = tmp_path / "migrations"
    shutil.copytree(FOLDER, found, ignore=shutil.ignore_patterns("__pycache__", "0*.py"))
    monkeypatch.setitem(handler.alembic_config.__kwdefaults__, "folder", found)
    for path in (FOLDER / "versions" / "decanter").glob("*.py"):
        shutil.copy(path, found / "versions/decanter")
    revise(found, FIRST)
    return found


def revise(folder: Path, *statements: str, alone: bool = False, body: str = "") -> Path:
    """Write the next revision. alone: outside of a transaction. body: lines of Python instead."""
    versions = folder / "versions" / "models"
    versions.mkdir(exist_ok=True)
    number = len(list(versions.glob("*.py"))) + 1
    lines = [f"op.execute({statement!r})" for statement in statements] + body.splitlines()
    if alone:
        lines = ["with op.get_context().autocommit_block():", *(f"    {line}" for line in lines)]
    path = versions / f"{number:04}_step.py"
    path.write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, depends_on = '{number:04}', None\n"
        f"down_revision = {f'{number - 1:04}' if number > 1 else None!r}\n"
        f"branch_labels = {('models',) if number == 1 else None!r}\n"
        "def upgrade():\n" + "".join(f"    {line}\n" for line in lines)
    )
    return path


@pytest.fixture(scope="module")
def first_template(new_database: Callable[..., str], ledger_template: str) -> str:
    """Name of a database at the first revision."""
    url = new_database(ledger_template)
    execute(url, f"SET search_path = public; {FIRST}")
    execute(url, "INSERT INTO decanter.alembic_version VALUES ('0001')")
    return name_of(url)


@pytest.fixture
def url(
    new_database: Callable[..., str],
    first_template: str,
    folder: Path,
    serve: Callable[[MetaData], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """A database at the first revision, which the migrate function is for."""
    url = new_database(first_template)
    serve(tables())
    monkeypatch.setenv("DECANTER_DATABASE_URL", url)
    yield url
    drop(url)


def revisions(url: str) -> list[str]:
    rows = execute(url, "SELECT version_num FROM decanter.alembic_version ORDER BY 1")
    return [revision for (revision,) in rows]


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("ALTER TABLE things DROP COLUMN note", "things.note is dropped"),
        ("ALTER TABLE things RENAME note TO remark", "things.note is renamed to remark"),
        ("ALTER TABLE things RENAME TO items", "things is renamed to items"),
        ("CREATE SCHEMA s; ALTER TABLE other SET SCHEMA s", "other is renamed to s.other"),
        ("DROP TABLE other", "other is dropped"),
        (
            "ALTER TABLE things ALTER name TYPE varchar(10)",
            "things.name is narrowed: character varying(20) becomes character varying(10)",
        ),
        ("ALTER TABLE things ALTER note TYPE varchar(90)", "things.note is narrowed: text"),
        ("ALTER TABLE things ALTER name TYPE char(20)", "things.name is narrowed"),
        ("ALTER TABLE things ALTER amount TYPE numeric(7, 2)", "becomes numeric(7,2)"),
        ("ALTER TABLE things ALTER amount TYPE numeric(8, 1)", "becomes numeric(8,1)"),
        ("ALTER TABLE things ALTER amount TYPE numeric(9, 4)", "becomes numeric(9,4)"),
        ("ALTER TABLE things ALTER count TYPE smallint", "integer becomes smallint"),
        ("ALTER TABLE things ALTER count TYPE numeric(9)", "integer becomes numeric(9,0)"),
        ("ALTER TABLE things ALTER count TYPE real", "integer becomes real"),
        ("ALTER TABLE things ALTER at TYPE timestamptz(2)", "becomes timestamp(2) with time zone"),
        ("ALTER TABLE things ALTER at TYPE timestamp(3)", "becomes timestamp(3) without time zone"),
        ("ALTER TABLE things ALTER at TYPE date", "becomes date"),
        ("ALTER TABLE things ALTER tags TYPE varchar(4)[]", "becomes character varying(4)[]"),
        ("ALTER TABLE things ALTER flag TYPE bit(4)", "bit(3) becomes bit(4)"),
        ("ALTER TABLE things ALTER name SET NOT NULL", "things.name becomes NOT NULL"),
        ("ALTER TABLE things ADD made int NOT NULL", "things.made is added NOT NULL and without"),
        ("ALTER TABLE things ALTER note DROP DEFAULT", "is NOT NULL and loses its server default"),
        (
            "ALTER TABLE things DROP note, ADD note text GENERATED ALWAYS AS ('x') STORED",
            "things.note can no longer be written",
        ),
        ("ALTER TABLE things DROP note, ADD note int", "things.note is narrowed: text becomes"),
        (
            "ALTER TABLE other DROP CONSTRAINT other_pkey, ADD PRIMARY KEY (thing)",
            "other has the key (thing) instead of (id)",
        ),
        (REBUILT, "things.mood loses the labels odd"),
        ("ALTER DOMAIN cents ADD CHECK (VALUE < 9)", "things.price is narrowed: cents has more"),
        ("ALTER DOMAIN cents SET NOT NULL", "things.price is narrowed: cents has more checks"),
        ("ALTER TABLE things ALTER amount TYPE cents", "numeric(8,2) becomes cents"),
        (
            "DROP TABLE other; CREATE TABLE other (id int PRIMARY KEY)",
            "other.thing is dropped",
        ),
    ],
)
def test_what_would_break_queued_messages_is_refused_by_name(
    url: str, folder: Path, statement: str, sentence: str
) -> None:
    revise(folder, "CREATE TABLE fresh (id int)")
    revise(folder, statement)
    before = execute(url, SNAPSHOT)

    with pytest.raises(MigrationRefused) as error:
        handler.run({"queued": 1})

    assert f"\n- {sentence}" in str(error.value) or sentence in str(error.value)
    assert "Expand first" in str(error.value)
    assert str(error.value).count("\n- ") in (1, 2)
    assert execute(url, SNAPSHOT) == before
    assert revisions(url) == ["0001", LEDGER_REVISIONS[-1]]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE fresh (id int PRIMARY KEY, name text NOT NULL)",
        "ALTER TABLE things ADD more text",
        "ALTER TABLE things ADD more int NOT NULL DEFAULT 7",
        "ALTER TABLE things ADD more int GENERATED ALWAYS AS IDENTITY",
        "ALTER TABLE things ADD more cents",
        "ALTER TABLE things ALTER name TYPE varchar(21)",
        "ALTER TABLE things ALTER name TYPE text",
        "ALTER TABLE things ALTER note DROP NOT NULL",
        "ALTER TABLE things ALTER note SET DEFAULT 'x'",
        "ALTER TABLE things ALTER count TYPE bigint",
        "ALTER TABLE things ALTER count TYPE numeric(12, 2)",
        "ALTER TABLE things ALTER count TYPE numeric",
        "ALTER TABLE things ALTER count TYPE double precision",
        "ALTER TABLE things ALTER amount TYPE numeric(10, 3)",
        "ALTER TABLE things ALTER amount TYPE numeric",
        "ALTER TABLE things ALTER at TYPE timestamptz",
        "ALTER TABLE things ALTER tags TYPE text[]",
        "ALTER TABLE things ALTER price TYPE numeric(12, 2)",
        "ALTER TABLE things ALTER mood DROP DEFAULT, ALTER mood TYPE text",
        "ALTER TYPE mood ADD VALUE 'new' BEFORE 'calm'",
        "ALTER DOMAIN cents DROP CONSTRAINT cents_check",
        "CREATE INDEX ON things (name)",
        "ALTER TABLE other DROP CONSTRAINT other_thing_fkey",
        "DROP TABLE inner_part",
        "ALTER TABLE inner_part DROP text",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN 1; COMMIT; END$$",
        "COMMENT ON TABLE things IS 'it''s; COMMIT'",
    ],
)
def test_what_breaks_nothing_is_applied(url: str, folder: Path, statement: str) -> None:
    revise(folder, statement)

    assert handler.run({"queued": 1})["applied"] == ["0002"]

    assert revisions(url) == ["0002", LEDGER_REVISIONS[-1]]


@pytest.mark.parametrize("event", [{"queued": 0}, {"force": True, "queued": 9}, {"force": True}])
def test_with_empty_queues_or_by_force_anything_goes(
    url: str, folder: Path, serve: Callable[[MetaData], None], event: dict[str, Any]
) -> None:
    revise(folder, "DROP TABLE other")
    metadata = tables()
    metadata.remove(metadata.tables["other"])
    serve(metadata)

    assert handler.run(event)["applied"] == ["0002"]


@pytest.mark.parametrize("event", [{"queued": 1}, {"queued": 0}])
@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ('CREATE EXTENSION IF NOT EXISTS "uuid-ossp"', "extension uuid-ossp, .*rds.extensions"),
        ("SET LOCAL ROLE pg_monitor; CREATE EXTENSION vector", "extension vector, .*Have a role"),
    ],
)
def test_an_extension_that_cannot_be_created_is_reported_to_the_operator(
    url: str, folder: Path, statement: str, sentence: str, event: dict[str, Any]
) -> None:
    revise(folder, statement)

    with pytest.raises(MigrationRefused, match=sentence):
        handler.run(event)

    assert revisions(url) == ["0001", LEDGER_REVISIONS[-1]]


def test_messages_may_be_queued_unless_the_call_says_otherwise(url: str, folder: Path) -> None:
    revise(folder, "DROP TABLE other")

    with pytest.raises(MigrationRefused, match="other is dropped"):
        handler.run({})


def test_all_that_breaks_is_listed_and_many_are_counted(url: str, folder: Path) -> None:
    columns = ", ".join(f"c{number} int" for number in range(30))
    execute(url, f"CREATE TABLE public.wide (id int PRIMARY KEY, {columns})")
    revise(folder, "DROP TABLE other", "ALTER TABLE things DROP note")
    revise(folder, *[f"ALTER TABLE wide DROP c{number}" for number in range(30)])

    with pytest.raises(MigrationRefused) as error:
        handler.run({"queued": 5})

    lines = [line for line in str(error.value).splitlines() if line.startswith("- ")]
    assert lines[:3] == ["- other is dropped", "- things.note is dropped", "- wide.c0 is dropped"]
    assert lines[-1] == "- and 12 more"


def test_a_constraint_that_is_new_is_noted(url: str, folder: Path) -> None:
    revise(folder, "ALTER TABLE things ADD CONSTRAINT positive CHECK (count > 0)")

    assert handler.run({"queued": 1})["notes"] == [
        "things has a new constraint: positive CHECK ((count > 0))"
    ]


def test_an_index_that_is_built_concurrently_is_left_out_of_the_rehearsal(
    url: str, folder: Path
) -> None:
    revise(folder, "CREATE INDEX CONCURRENTLY by_name ON things (name)", alone=True)
    revise(folder, "ALTER TABLE things ADD more text")

    assert handler.run({"queued": 1})["applied"] == ["0002", "0003"]

    assert execute(url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_name'::regclass")


def test_an_index_that_is_built_concurrently_hides_nothing(url: str, folder: Path) -> None:
    revise(
        folder,
        "CREATE INDEX CONCURRENTLY by_name ON things (name)",
        "ALTER TABLE things DROP note",
        alone=True,
    )

    with pytest.raises(MigrationRefused, match=r"things\.note is dropped"):
        handler.run({"queued": 1})

    assert execute(url, "SELECT to_regclass('by_name')") == [(None,)]


@pytest.mark.parametrize(
    ("statements", "alone", "body", "reason"),
    [
        (["VACUUM things"], True, "", "runs only outside of a transaction"),
        (["CREATE TABLE a ()", "COMMIT; BEGIN"], False, "", "ends its transaction"),
        ([], False, "op.get_bind().commit()", "ends its transaction"),
        (["rollback"], False, "", "ends its transaction"),
        (
            [
                "ALTER TYPE mood ADD VALUE 'new'",
                "ALTER TABLE things ALTER mood SET DEFAULT 'new'",
            ],
            True,
            "",
            "add the label in a deployment before",
        ),
        (
            [
                "CREATE UNIQUE INDEX CONCURRENTLY i ON things (name)",
                "ALTER TABLE things ADD UNIQUE USING INDEX i",
            ],
            True,
            "",
            "an index that it builds concurrently",
        ),
    ],
)
def test_what_cannot_be_tried_is_refused_unless_nothing_can_break(
    url: str, folder: Path, statements: list[str], alone: bool, body: str, reason: str
) -> None:
    revise(folder, "ALTER TABLE things ADD more text")
    revise(folder, *statements, alone=alone, body=body)
    before = execute(url, SNAPSHOT)

    with pytest.raises(MigrationRefused, match=reason) as error:
        handler.run({"queued": 1})

    assert "force" in str(error.value)
    assert execute(url, SNAPSHOT) == before
    if "rollback" not in statements:
        assert handler.run({"queued": 0})["applied"] == ["0002", "0003"]


def test_a_revision_that_fails_fails_in_the_rehearsal_as_in_earnest(url: str, folder: Path) -> None:
    revise(folder, "SELECT 1 / 0")

    for event in ({"queued": 1}, {"queued": 0}):
        with pytest.raises(sa.exc.DataError, match="division by zero"):
            handler.run(event)

    assert revisions(url) == ["0001", LEDGER_REVISIONS[-1]]


def test_a_rehearsal_that_takes_too_long_says_so(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.migrate.rehearsal._STATEMENT_TIMEOUT", "1s")
    revise(folder, "SELECT pg_sleep(1.5)")

    with pytest.raises(MigrationRefused, match="takes more than"):
        handler.run({"queued": 1})

    assert handler.run({"queued": 0})["applied"] == ["0002"]


def test_revisions_that_are_written_from_models_are_checked_alike(
    new_database: Callable[..., str],
    folder: Path,
    serve: Callable[[MetaData], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.rmtree(folder / "versions" / "models")

    def shop(*columns: sa.Column[Any]) -> MetaData:
        metadata = MetaData()
        key = sa.Column("id", sa.Integer, primary_key=True)
        sa.Table("orders", metadata, key, *columns)
        return metadata

    steps = [
        (shop(sa.Column("total", sa.Integer), sa.Column("note", sa.String(9))), ""),
        (shop(sa.Column("total", sa.BigInteger), sa.Column("note", sa.String(99))), ""),
        (shop(sa.Column("total", sa.BigInteger)), "orders.note is dropped"),
    ]
    url = new_database()
    monkeypatch.setenv("DECANTER_DATABASE_URL", url)
    for metadata, refused in steps:
        generate([metadata], "step", new_database(), folder)
        serve(metadata)
        if refused:
            with pytest.raises(MigrationRefused, match=refused):
                handler.run({"queued": 1})
        else:
            handler.run({"queued": 1})

    assert handler.run({"queued": 0})["applied"] == ["0003"]


def test_a_version_before_finds_a_database_that_is_ahead_and_leaves_it(
    url: str, folder: Path, serve: Callable[[MetaData], None]
) -> None:
    newer = revise(folder, "ALTER TABLE things ADD more text", "CREATE TABLE fresh (id int)")
    serve(tables("more"))
    assert handler.run({"queued": 3})["ahead"] == []
    before = execute(url, SNAPSHOT)
    kept = newer.read_text()

    newer.unlink()
    serve(tables())
    back = handler.run({"queued": 3})
    dry = handler.run({"dry_run": True})
    newer.write_text(kept)
    serve(tables("more"))
    again = handler.run({"queued": 3})

    assert (back["applied"], back["ahead"]) == ([], ["0002"])
    assert (dry["pending"], dry["ahead"], dry["sql"]) == ([], ["0002"], "")
    assert (again["applied"], again["ahead"]) == ([], [])
    assert execute(url, SNAPSHOT) == before


def test_a_version_that_cannot_work_with_the_newer_tables_is_refused(
    url: str, folder: Path, serve: Callable[[MetaData], None]
) -> None:
    newer = revise(
        folder, "ALTER TABLE things DROP note", "ALTER TABLE other ADD must int NOT NULL"
    )
    metadata = MetaData()
    sa.Table("inner_part", metadata, sa.Column("id", sa.Integer, primary_key=True))
    serve(metadata)
    handler.run({"queued": 0})

    newer.unlink()
    serve(tables())
    with pytest.raises(MigrationRefused) as error:
        handler.run({"queued": 0})

    assert "- things.note is in the models, but the table has no such column" in str(error.value)
    assert "- other.must must have a value, and the models do not know" in str(error.value)
    assert "revisions of a newer version (0002)" in str(error.value)
    assert len(handler.run({"force": True})["notes"]) == 2


def test_a_database_that_is_ahead_in_one_branch_and_behind_in_the_other_is_refused(
    url: str, folder: Path
) -> None:
    execute(url, "UPDATE decanter.alembic_version SET version_num = 'x' WHERE version_num = '0001'")
    later = folder / "versions" / "decanter" / "9999_later.py"
    later.write_text(
        "revision, down_revision, branch_labels"
        f" = 'decanter_9999', '{LEDGER_REVISIONS[-1]}', None\n"
        "depends_on = None\ndef upgrade(): pass\n"
    )

    for event in ({}, {"force": True}, {"dry_run": True}):
        with pytest.raises(MigrationRefused, match="x are of a newer version"):
            handler.run(event)


def test_a_change_of_the_models_without_a_migration_is_refused(
    url: str, folder: Path, serve: Callable[[MetaData], None]
) -> None:
    metadata = tables("unwritten")
    sa.Table("unmade", metadata, sa.Column("id", sa.Integer, primary_key=True))
    serve(metadata)

    with pytest.raises(MigrationRefused) as error:
        handler.run({})

    assert "- things.unwritten is in the models" in str(error.value)
    assert "- unmade is in the models, but the table does not exist" in str(error.value)
    assert "make migration" in str(error.value)


def test_the_sql_of_a_dry_run_is_what_a_migration_does(
    new_database: Callable[..., str],
    folder: Path,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    revise(folder, "ALTER TYPE mood ADD VALUE 'it''s:new'", alone=True)
    revise(folder, "ALTER TABLE things ALTER mood SET DEFAULT 'it''s:new', ADD \"50%\" text")
    revise(folder, body="op.create_table('made', sa.Column('id', sa.Integer, primary_key=True))")
    migrated, written = new_database(), new_database()
    monkeypatch.setenv("DECANTER_DATABASE_URL", written)
    for present in ("nothing", "0002"):
        dry = handler.run({"dry_run": True})
        if present == "nothing":
            assert sorted(dry["pending"]) == [
                "0001",
                "0002",
                "0003",
                "0004",
                *LEDGER_REVISIONS,
            ]
            assert execute(written, "SELECT to_regnamespace('decanter')") == [(None,)]
            handler.upgrade(written, "decanter@head")
            handler.upgrade(written, "0002")
        else:
            assert dry["pending"] == ["0003", "0004"]
            assert "mood ADD VALUE" not in dry["sql"]
    dry = handler.run({"dry_run": True})
    run_sql(postgres, written, dry["sql"], tmp_path)
    fresh = new_database()
    monkeypatch.setenv("DECANTER_DATABASE_URL", fresh)
    run_sql(postgres, fresh, handler.run({"dry_run": True})["sql"], tmp_path)
    handler.upgrade(migrated)

    assert execute(written, SNAPSHOT) == execute(migrated, SNAPSHOT) == execute(fresh, SNAPSHOT)
    assert revisions(written) == revisions(migrated) == revisions(fresh)
    assert handler.run({"dry_run": True}) == {
        "pending": [],
        "ahead": [],
        "sql": "",
        "truncated": False,
        "incomplete": None,
    }


def run_sql(postgres: Postgres, url: str, sql: str, folder: Path) -> None:
    file = folder / "dry.sql"
    file.write_text(f"SET search_path = public;\n{sql}")
    command = [str(program("psql")), url, "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1"]
    subprocess.run([*command, "-f", str(file)], check=True, capture_output=True)


def test_a_dry_run_of_a_revision_that_asks_the_database_says_where_it_ends(
    url: str, folder: Path
) -> None:
    revise(folder, "ALTER TABLE things ADD more text")
    revise(folder, body="sa.inspect(op.get_bind()).get_table_names()")
    revise(folder, "ALTER TABLE things ADD unseen text")

    dry = handler.run({"dry_run": True})

    assert dry["pending"] == ["0002", "0003", "0004"]
    assert "ADD more text" in dry["sql"]
    assert "unseen" not in dry["sql"]
    assert "queries the database" in dry["incomplete"]


def test_a_long_dry_run_is_cut_and_says_so(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revise(folder, *[f"COMMENT ON TABLE things IS '\"{number}\" ä'" for number in range(200)])
    monkeypatch.setattr(handler, "SQL_BYTES", 5_000)

    dry = handler.run({"dry_run": True})

    assert dry["truncated"]
    assert 4_000 < len(json.dumps(dry["sql"])) <= 5_000
    assert dry["sql"].endswith("\n")


@pytest.mark.parametrize(
    "event",
    [
        {"dryrun": True},
        {"dry_run": "yes"},
        {"force": 1},
        {"queued": "3"},
        {"queued": True},
        {"queued": -1},
        {"action": "upgrade"},
    ],
)
def test_an_event_that_is_not_understood_changes_nothing(
    url: str, folder: Path, event: dict[str, Any]
) -> None:
    revise(folder, "ALTER TABLE things ADD more text")

    with pytest.raises(MigrationRefused):
        handler.run(event)

    assert revisions(url) == ["0001", LEDGER_REVISIONS[-1]]


def test_many_at_once_apply_each_revision_once_and_make_each_role_once(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revise(folder, "ALTER TABLE things ADD more text", "SELECT pg_sleep(0.1)")
    own = url.replace("decanter:", f"{name_of(url)}_drain:")
    monkeypatch.setenv("DECANTER_DRAIN_URL", own)
    monkeypatch.setenv("DECANTER_DRAIN_CONNECTIONS", "3")
    outcomes: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(handler.run({"queued": 1})))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcome["applied"] for outcome in outcomes) == [[], [], [], ["0002"]]
    created = [change for each in outcomes for change in each["changes"] if "CREATE ROLE" in change]
    assert len(created) == 1


def test_what_the_database_grants(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg2

    name = name_of(url)
    execute(url, f"CREATE ROLE {name}_reader LOGIN PASSWORD 'p' CONNECTION LIMIT 5")
    execute(url, f"ALTER DATABASE {name} CONNECTION LIMIT 50")
    monkeypatch.setenv("DECANTER_READER_URL", f"postgresql://{name}_reader:p@h/{name}")
    monkeypatch.setenv("DECANTER_READER_CONNECTIONS", "5")
    before = handler.run({"budget": True})
    others = [psycopg2.connect(url, application_name="psql") for _ in range(3)]
    ours = [psycopg2.connect(url, application_name="decanter-drain") for _ in range(2)]
    ours.append(psycopg2.connect(url, user=f"{name}_reader", password="p"))

    granted = handler.run({"budget": True})

    for each in (*others, *ours):
        each.close()
    assert granted["others"] - before["others"] == 3
    assert granted["others_of_database"] == 3
    assert {key: granted[key] for key in granted if not key.startswith("others")} == {
        "max_connections": 100,
        "superuser_reserved_connections": 3,
        "reserved_connections": 0,
        "role_sessions": 1,
        "database_limit": 50,
        "owner": "decanter",
        "owner_limit": -1,
        "role_limits": {f"{name}_reader": 5},
    }
    assert revisions(url) == ["0001", LEDGER_REVISIONS[-1]]


def test_other_tables_take_the_place_of_the_samples(
    database_url: str, folder: Path, serve: Callable[[MetaData], None], monkeypatch: Any
) -> None:
    serve(tables())
    monkeypatch.setenv("DECANTER_DATABASE_URL", database_url)
    assert "sample" in revisions(database_url)

    dry = handler.run({"dry_run": True})
    assert (dry["pending"], dry["ahead"]) == (["0001"], [])
    done = handler.run({"queued": 0})
    again = handler.run({"queued": 0})

    assert (done["applied"], done["ahead"], again["applied"]) == (["0001"], [], [])
    assert revisions(database_url) == ["0001", LEDGER_REVISIONS[-1]]
    assert execute(database_url, "SELECT count(*) FROM stations") == [(0,)]


def test_which_tables_have_rows(url: str, serve: Callable[[MetaData], None]) -> None:
    metadata = MetaData()
    for name in ("empty", "full", 'odd "%s" :name'):
        info = {"resource": "odd"} if " " in name else {}
        sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), info=info)
    serve(metadata)
    for name, rows in (("empty", 0), ("full", 1), ('odd ""%s"" :name', 1)):
        execute(url, f'CREATE TABLE public."{name}" AS SELECT 1 AS id LIMIT {rows}')

    assert handler.run({"filled": ["odd", "empty", "full"]}) == {"filled": ["odd", "full"]}
    with pytest.raises(MigrationRefused, match="no resource 'nothing'"):
        handler.run({"filled": ["empty", "nothing"]})
