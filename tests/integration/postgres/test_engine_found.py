"""Engines are found in the round trip that opens a session."""

from contextlib import closing

import psycopg2
import pytest

from chalicelib.postgres.connecting import session
from chalicelib.postgres.engine import DSQL, POSTGRES, engine_of
from tests.kit.databases import execute


def test_postgres_is_found(database_url: str):
    with closing(session.opened(database_url, "test")) as opened:
        assert opened.engine is POSTGRES  # type: ignore[attr-defined]


def test_dsql_is_found_by_its_own_schema(database_url: str):
    execute(database_url, "CREATE SCHEMA sys CREATE TABLE jobs (id int)")
    with closing(session.opened(database_url, "test")) as opened:
        assert engine_of(opened) is POSTGRES  # somebody's own jobs
    execute(database_url, "CREATE TABLE sys.iam_pg_role_mappings (id int)")
    with closing(session.opened(database_url, "test")) as opened:
        assert engine_of(opened) is DSQL


def test_only_settings_of_formats_are_made_on_dsql(database_url: str):
    execute(
        database_url, "CREATE SCHEMA sys CREATE TABLE jobs () CREATE TABLE iam_pg_role_mappings ()"
    )
    with closing(session.opened(database_url, "test")) as opened, opened.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('IntervalStyle'),"
            " current_setting('idle_in_transaction_session_timeout')"
        )
        assert cursor.fetchall() == [("iso_8601", "0")]


def test_a_session_is_opened_in_one_round_trip(database_url: str, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    class Cursor(psycopg2.extensions.cursor):
        def execute(self, query: str, values: object = None) -> None:  # type: ignore[override]
            asked.append(query)
            super().execute(query, values)  # type: ignore[arg-type]

    with closing(session.connected(database_url, "test", cursor_factory=Cursor)) as opened:
        session.settle(opened)
        assert engine_of(opened) is POSTGRES
    assert len(asked) == 1


def test_a_connection_of_the_driver_is_asked(database_url: str):
    with closing(psycopg2.connect(database_url)) as opened:
        assert engine_of(opened) is POSTGRES
