"""Migrations on an engine where each change of the schema is a transaction of its own.

They run on Aurora DSQL's rules, without its optimistic conflicts, which are injected.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy import MetaData

import chalicelib
from chalicelib.errors import LockNotAvailable, MigrationRefused, TransactionConflict
from chalicelib.migrate import apart, handler
from chalicelib.postgres import progress
from chalicelib.postgres.connecting import conflicts as redoing
from chalicelib.postgres.connecting import session
from chalicelib.postgres.connecting.conflicts import RedoingCursor
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.progress import Lease
from chalicelib.postgres.resources import resources
from decanter.proof.load.conflicts import Conflicts
from tests.kit.databases import execute
from tests.kit.dsql import Dsql

_COLUMNS = """
    SELECT table_name, column_name, replace(data_type, 'ARRAY', 'text'),
        is_nullable, column_default,
        is_identity
    FROM information_schema.columns WHERE table_schema = 'decanter'
        AND table_name IN ('ledger', 'rejection', 'orphan', 'waiting', 'made_key', 'act',
            'act_step', 'correction', 'outbox')
        AND (table_name, column_name) <> ('made_key', 'id')
    ORDER BY 1, 2
"""
_KEYS = """
    SELECT conrelid::regclass::text, contype, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'decanter'::regnamespace AND contype IN ('p', 'u', 'f')
        AND conrelid IN (SELECT oid FROM pg_class WHERE relname IN ('ledger', 'rejection', 'orphan',
            'waiting', 'act', 'act_step', 'correction', 'outbox')) ORDER BY 1, 2, 3
"""


FIRST = (
    "CREATE TABLE stations (icao varchar(4) PRIMARY KEY)",
    "CREATE TABLE readings (id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,"
    " station varchar(4) NOT NULL, value numeric(8, 2), CONSTRAINT pk_readings PRIMARY KEY (id))",
    "ALTER TABLE readings ADD CONSTRAINT fk_station FOREIGN KEY (station) REFERENCES stations",
    "ALTER TABLE readings ADD CONSTRAINT uq_readings UNIQUE (station, value)",
    "CREATE INDEX ix_station ON readings USING btree (station)",
)


def tables() -> MetaData:
    metadata = MetaData()
    sa.Table("stations", metadata, sa.Column("icao", sa.String(4), primary_key=True))
    sa.Table(
        "readings",
        metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("station", sa.ForeignKey("stations.icao"), nullable=False),
        sa.Column("value", sa.Numeric(8, 2)),
    )
    return metadata


@pytest.fixture
def revise(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """`revise(*statements)` writes the next revision of the models, which are of the first one."""
    monkeypatch.setitem(handler.alembic_config.__kwdefaults__, "folder", folder)
    models = ModuleType("models")
    models.metadata = tables()  # type: ignore[attr-defined]
    monkeypatch.setattr(chalicelib, "models", models)
    monkeypatch.setitem(sys.modules, "chalicelib.models", models)
    resources.cache_clear()
    numbers = count(1)

    def revise(*statements: str) -> Path:
        number = next(numbers)
        path = folder / "versions" / "models" / f"{number:04}_step.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "from alembic import op\n"
            f"revision, depends_on = '{number:04}', None\n"
            f"down_revision = {f'{number - 1:04}' if number > 1 else None!r}\n"
            f"branch_labels = {('models',) if number == 1 else None!r}\n"
            "def upgrade():\n" + "".join(f"    op.execute({each!r})\n" for each in statements)
        )
        return path

    revise(*FIRST)
    yield revise
    resources.cache_clear()


@pytest.fixture
def migrate(dsql: Dsql, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`migrate(**members)` invokes the migrate function of a stage on the engine."""
    monkeypatch.setenv("DECANTER_ENGINE", "dsql")
    monkeypatch.setenv("DECANTER_DATABASE_URL", dsql.url)
    return lambda **members: handler.run(members)


def _opened(dsql: Dsql) -> Connection:
    """A connection as a migration has it."""
    opened = session.opened(dsql.url, "test", cursor_factory=RedoingCursor)
    opened.autocommit = True
    return opened


@pytest.mark.parametrize("declared", ["postgres", "citus"])
def test_another_engine_than_the_stage_declares_is_refused_by_name(
    dsql: Dsql, monkeypatch: pytest.MonkeyPatch, declared: str
) -> None:
    monkeypatch.setenv("DECANTER_DATABASE_URL", dsql.url)
    monkeypatch.setenv("DECANTER_ENGINE", declared)

    for event in ({}, {"dry_run": True}):
        with pytest.raises(MigrationRefused, match=rf"'{declared}', and .* is dsql.*'dsql' in env"):
            handler.run(event)


def test_a_postgres_is_not_taken_for_another_engine(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECANTER_DATABASE_URL", database_url)
    monkeypatch.setenv("DECANTER_ENGINE", "dsql")

    with pytest.raises(MigrationRefused, match=r"'dsql', and the server .* is postgres"):
        handler.run({})


def test_the_layout_is_that_of_postgres(dsql: Dsql, database_url: str) -> None:
    assert execute(dsql.behind, _COLUMNS) == execute(database_url, _COLUMNS)
    assert execute(dsql.behind, _KEYS) == execute(database_url, _KEYS)


def test_an_empty_database_gets_its_tables_statement_by_statement(
    empty_dsql: Dsql, revise: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECANTER_ENGINE", "dsql")
    monkeypatch.setenv("DECANTER_DATABASE_URL", empty_dsql.url)
    planned = handler.run({"dry_run": True})

    assert {*planned["pending"]} == {"decanter_plain_0001", "0001"}
    assert "CREATE INDEX ASYNC ix_station ON readings (station);" in planned["sql"]
    assert empty_dsql.changes() == []

    answer = handler.run({})

    assert {*answer["applied"]} == {"decanter_plain_0001", "0001"}
    assert [
        each.partition("(")[0].strip()
        for each in empty_dsql.changes("readings|stations")
        if "migration_step" not in each
    ] == [
        "CREATE TABLE stations",
        "CREATE TABLE readings",
        "ALTER TABLE readings ADD CONSTRAINT fk_station FOREIGN KEY",
        "ALTER TABLE ASYNC readings VALIDATE CONSTRAINT fk_station",
        "CREATE UNIQUE INDEX ASYNC uq_readings ON readings",
        "ALTER TABLE readings ADD CONSTRAINT uq_readings UNIQUE USING INDEX uq_readings",
        "CREATE INDEX ASYNC ix_station ON readings",
    ]
    assert empty_dsql.changes(r"AS IDENTITY \(CACHE 1\) NOT NULL")
    for table in ("lease", "migration_step"):
        assert execute(empty_dsql.behind, f"SELECT * FROM decanter.{table}") == []


def test_a_migration_that_was_cut_off_goes_on_where_it_stopped(
    dsql: Dsql,
    revise: Callable[..., Any],
    migrate: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At every statement in turn: before it, and behind it with its note missing."""
    run, left = progress.run, [0]

    class CutOff(Exception):
        pass

    def cut(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise CutOff
        found = run(*arguments, **named)
        if left[0] < 0:
            raise CutOff
        return found

    monkeypatch.setattr(progress, "run", cut)
    stops = 0
    for stops in range(99):
        # Behind the next statement, or before the one behind that.
        left[0] = 0 if stops % 2 else 2
        with suppress(CutOff):
            assert migrate()["applied"] == ["0001"]
            break
    assert stops >= 2 * len(FIRST) - 3
    made = dsql.changes(r"^(CREATE|ALTER)")
    assert len(made) > len({*made})  # some were tried again, and were there
    assert execute(dsql.behind, "SELECT * FROM decanter.migration_step") == []
    names = "SELECT relname FROM pg_class WHERE relname ~ 'reading|station' AND relkind = 'i'"
    assert [name for (name,) in execute(dsql.behind, names + " ORDER BY 1")] == [
        *("ix_station", "pk_readings", "stations_pkey", "uq_readings")
    ]


def test_a_revision_that_is_another_one_when_it_goes_on_is_refused(
    dsql: Dsql,
    revise: Callable[..., Any],
    migrate: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apart._Taker, "_await", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        migrate()
    execute(dsql.behind, "UPDATE decanter.migration_step SET statement = 'x' WHERE number = 2")

    with pytest.raises(MigrationRefused, match="statement 2 of it was 'x', and is 'CREATE TABLE"):
        migrate()


def test_rows_in_the_way_of_an_index_are_named_and_it_goes_on_later(
    dsql: Dsql, revise: Callable[..., Any], migrate: Callable[..., Any]
) -> None:
    migrate()
    execute(dsql.behind, "INSERT INTO stations VALUES ('EDDM'), ('EDDF')")
    execute(dsql.behind, "INSERT INTO readings (station, value) VALUES ('EDDM', 1), ('EDDF', 1)")
    revise("CREATE UNIQUE INDEX one_value ON readings (value)")

    with pytest.raises(MigrationRefused, match=r"one_value.*failed: found duplicate key.*correct"):
        migrate(queued=0)
    execute(dsql.behind, "UPDATE readings SET value = 2 WHERE station = 'EDDF'")

    assert migrate(queued=0)["applied"] == ["0002"]
    found = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'one_value'::regclass"
    assert execute(dsql.behind, found) == [(True,)]


def test_what_is_added_harms_no_queued_message_and_what_goes_does(
    dsql: Dsql, revise: Callable[..., Any], migrate: Callable[..., Any]
) -> None:
    migrate()
    revise(
        "ALTER TABLE readings ADD COLUMN note text DEFAULT 'none'",
        "ALTER TABLE readings ADD CONSTRAINT positive CHECK (value > 0)",
    )

    assert migrate()["notes"] == [
        "readings has a new constraint: CONSTRAINT positive CHECK (value > 0) NOT VALID"
    ]
    default = "SELECT column_default FROM information_schema.columns WHERE column_name = 'note'"
    assert execute(dsql.behind, default + " AND table_name = 'readings'") == [("'none'::text",)]

    revise("ALTER TABLE readings DROP COLUMN note")
    with pytest.raises(MigrationRefused, match="ALTER TABLE readings DROP COLUMN note"):
        migrate()
    assert migrate(queued=0)["applied"] == ["0003"]


def test_a_revision_changes_rows_once(
    dsql: Dsql,
    revise: Callable[..., Any],
    migrate: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    revise(
        "INSERT INTO stations VALUES ('ED')",
        "UPDATE stations SET icao = icao || '%'",
        "CREATE INDEX icao ON stations (icao)",
    )
    started = apart._Taker._started
    with monkeypatch.context() as patch:
        patch.setattr(
            apart._Taker, "_started", lambda *a: 1 / 0 if "icao ON" in a[2] else started(*a)
        )
        with pytest.raises(ZeroDivisionError):
            migrate(queued=0)

    assert migrate(queued=0)["applied"] == ["0002"]
    assert execute(dsql.behind, "SELECT icao FROM stations") == [("ED%",)]


def test_one_migration_holds_the_lease_until_it_ends_or_is_cut_off(dsql: Dsql) -> None:
    with closing(_opened(dsql)) as one, closing(_opened(dsql)) as two:
        first, second = Lease(one), Lease(two)
        first.take()
        with pytest.raises(LockNotAvailable, match="its lease ends at 20"):
            second.take(wait_seconds=0)
        first.renew()

        execute(dsql.behind, "UPDATE decanter.lease SET until = now() - interval '1 s'")
        second.take(wait_seconds=0)
        with pytest.raises(MigrationRefused, match="Another migration runs"):
            first.renew()
        first.release()
        second.renew()
        second.release()
        first.take(wait_seconds=0)


def test_of_two_migrations_that_take_the_lease_at_once_one_gets_it(dsql: Dsql) -> None:
    with (
        closing(psycopg2.connect(dsql.url)) as one,
        closing(_opened(dsql)) as two,
        one.cursor() as cursor,
    ):
        cursor.execute(
            "INSERT INTO decanter.lease VALUES"
            " ('migrate', gen_random_uuid(), now() + interval '1 min')"
        )
        taken = threading.Thread(target=lambda: found.append(Lease(two)._take()))
        found: list[bool] = []
        taken.start()
        taken.join(0.3)
        one.commit()
        taken.join()
    assert found == [False]


def test_each_statement_that_meets_another_transaction_is_done_again(
    empty_dsql: Dsql, revise: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECANTER_ENGINE", "dsql")
    monkeypatch.setenv("DECANTER_DATABASE_URL", empty_dsql.url)
    revise("INSERT INTO stations VALUES ('EDDM')")
    empty_dsql.server.conflict = conflicts = Conflicts()

    assert handler.run({"budget": True})["owner"] == "postgres"
    assert handler.run({"dry_run": True})["pending"]
    assert {*handler.run({})["applied"]} >= {"0001", "0002"}
    assert handler.run({"filled": []}) == {"filled": []}
    assert execute(empty_dsql.behind, "SELECT icao FROM stations") == [("EDDM",)]
    assert {each.role for each in conflicts.came} == {"migrate"}
    assert {*conflicts.came} == {*conflicts.struck}


def test_a_statement_is_done_again_a_bounded_number_of_times(
    dsql: Dsql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redoing, "_LONGEST_PAUSE_SECONDS", 0.0)
    with closing(_opened(dsql)) as opened:
        left = [5]

        def conflict(_name: str, _sql: str) -> str | None:
            left[0] -= 1
            return "change conflicts (OC000)" if left[0] >= 0 else None

        dsql.server.conflict = conflict
        assert progress.run(opened, "SELECT 1") == [(1,)]
        left[0] = 1_000
        with pytest.raises(TransactionConflict, match="change conflicts"):
            progress.run(opened, "SELECT 1")
        assert left[0] > 900
