"""Sessions: nothing that a database, a role or a shell sets reaches what is stored or shown."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import cache
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import INTERVAL, MONEY

from chalicelib.errors import DatabaseUnavailable, NotConfigured, SchemaMismatch
from chalicelib.migrate import handler
from chalicelib.migrate.connection import locked
from chalicelib.migrate.handler import FOLDER
from chalicelib.postgres import capacity
from chalicelib.postgres.connecting import connection, session
from chalicelib.sweep.handler import sweep
from decanter.migration.generation import generate
from decanter.proof.relay import Relay, relay
from tests.kit.databases import execute, name_of
from tests.kit.world import Context, World

ODD = {
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "America/New_York",
    "timezone_abbreviations": "India",
    "extra_float_digits": "-15",
    "citus.multi_shard_modify_mode": "parallel",
    "citus.max_adaptive_executor_pool_size": "16",
    "bytea_output": "escape",
    "client_encoding": "LATIN1",
    "lc_monetary": "C.utf8",
    "xmlbinary": "hex",
    "xmloption": "document",
    "array_nulls": "off",
    "backslash_quote": "on",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "check_function_bodies": "off",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "gin_fuzzy_search_limit": "1",
    "row_security": "off",
    "session_replication_role": "replica",
    "transform_null_equals": "on",
    "search_path": "",
    "synchronous_commit": "off",
    "client_connection_check_interval": "0",
    "exit_on_error": "on",
    "idle_in_transaction_session_timeout": "61000",
    "idle_session_timeout": "62000",
    "lock_timeout": "63000",
    "statement_timeout": "64000",
    "transaction_timeout": "65000",
}
NAMES = sorted({*session.SETTINGS} | {*ODD})

ROW = {
    "id": 1,
    "bytes": "\\x00ff5c",
    "span": "P1Y2M3DT4H5M6S",
    "at": "2026-07-01T12:00:00.5+02:00",
    "day": "2026-02-01",
    "number": 0.1 + 0.2,
    "cost": 1234.5,
    "texts": ["NULL", None, "a\\b", '"'],
    "text": "it's a\\'b\\\\ ü😀",
}
LATE = "2026-06-30T23:30:00-04:00"


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("bytes", LargeBinary),
        Column("span", INTERVAL),
        Column("at", DateTime(timezone=True)),
        Column("day", Date),
        Column("number", Double),
        Column("cost", MONEY),
        Column("texts", ARRAY(Text)),
        Column("text", Text),
        Column("is_null", Boolean),
        Column("isolation", Text),
        Column("parent", Integer, ForeignKey("things.id")),
    )
    return metadata


TRIGGER = """
    CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.is_null := (NEW.parent = NULL) IS TRUE;
        NEW.isolation := current_setting('transaction_isolation');
        RETURN NEW;
    END $$;
    CREATE TRIGGER note BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION note()
"""


def set_for_database(url: str, name: str, value: str) -> None:
    execute(url, f"ALTER DATABASE {name_of(url)} SET {name} = '{value}'")


def outcome(world: World) -> dict[str, Any]:
    """All that can be seen of some writes, good and bad."""
    world.post("things", ROW)
    world.post("things", [{"id": 2, "at": LATE}, {"id": 1}])
    world.post("things", {"id": 3, "parent": 99})
    world.patch("things", 1, {"day": "2026-03-02"})
    world.drain_to_the_end()
    order = [["id", "asc"]]
    page = {"ask": "list", "resource": "things", "filters": "{}", "order": order, "from": None}
    return {
        "row": world.row("things", id=1),
        "list": world.read({**page, "limit": 10}),
        "rejections": sorted(world.rejections("type, sqlstate")),
        "stored": stored(world.url),
    }


def stored(url: str) -> list[Any]:
    with pytest.MonkeyPatch.context() as shell:
        for name in VARIABLES:
            shell.delenv(name, raising=False)
        connected = psycopg2.connect(url, client_encoding="UTF8")
    with closing(connected) as own, own.cursor() as cursor:
        cursor.execute(
            "SET DateStyle = ISO; SET TimeZone = 'UTC'; SET extra_float_digits = 1;"
            "SET search_path = public; SET IntervalStyle = postgres; SET bytea_output = hex;"
            "SELECT things::text FROM things ORDER BY id"
        )
        return cursor.fetchall()


@pytest.fixture
def odd_world(make_world: Callable[..., World]) -> Callable[..., World]:
    def make(**settings: str) -> World:
        world = make_world(tables())
        world.execute(TRIGGER)
        for name, value in settings.items():
            set_for_database(world.url, name, value)
        return world

    return make


def test_settings_that_are_pinned_are_all_tried() -> None:
    assert {*ODD} >= {*session.SETTINGS}


@cache
def expected() -> dict[str, Any]:
    """What comes of the same writes where nothing is set."""
    return {}


@pytest.mark.parametrize("name", ODD)
def test_a_setting_of_the_database_reaches_nothing(odd_world, name) -> None:
    if not expected():
        expected().update(outcome(odd_world()))
    assert outcome(odd_world(**{name: ODD[name]})) == expected()


def shown(opened: Any) -> dict[str, str]:
    with closing(opened), opened.cursor() as cursor:
        cursor.execute(
            "SELECT name, current_setting(name, true) FROM unnest(%s) AS names (name)", (NAMES,)
        )
        return dict(cursor.fetchall())


def ways(url: str) -> dict[str, dict[str, str]]:
    """The settings of a session, by who opens it."""
    found = {"tool": shown(session.opened(url, "test"))}
    with locked(url) as held:
        found["migrate"] = shown(held.connection.dbapi_connection)
    for role in ("drain", "reader", "sweep"):
        found[role] = shown(connection.connection(url, role, time.monotonic() + 60))
        connection.forget(role)
    return found


@pytest.mark.parametrize("whose", ["database", "role", "role in database"])
def test_every_session_has_the_same_settings_whoever_set_others(database_url, whose) -> None:
    expected = ways(database_url)
    database = name_of(database_url)
    execute(database_url, "CREATE ROLE odd LOGIN SUPERUSER PASSWORD 'p'")
    try:
        target = {
            "database": f"DATABASE {database}",
            "role": "ROLE odd",
            "role in database": f"ROLE odd IN DATABASE {database}",
        }[whose]
        for name, value in ODD.items():
            if "." not in name:  # those of extensions are not there before they are set
                execute(database_url, f"ALTER {target} SET {name} = '{value}'")
        own = database_url.replace(parse_dsn(database_url)["password"], "p")
        assert ways(own.replace("//decanter:", "//odd:")) == expected
    finally:
        execute(
            database_url,
            "SET statement_timeout = 0; SET transaction_timeout = 0; DROP ROLE odd",
        )


def test_a_database_that_is_read_only_is_reported_and_not_written_to(database_url) -> None:
    set_for_database(database_url, "default_transaction_read_only", "on")
    with (
        closing(session.opened(database_url, "test")) as opened,
        opened.cursor() as cursor,
        pytest.raises(psycopg2.errors.ReadOnlySqlTransaction),
    ):
        cursor.execute("CREATE TABLE public.t ()")


def test_a_setting_that_may_not_be_changed_is_reported(database_url) -> None:
    execute(database_url, "CREATE ROLE plain LOGIN PASSWORD 'p'")
    try:
        set_for_database(database_url, "session_replication_role", "replica")
        own = database_url.replace(parse_dsn(database_url)["password"], "p")
        with pytest.raises(SchemaMismatch, match="session_replication_role"):
            session.opened(own.replace("//decanter:", "//plain:"), "test")
    finally:
        execute(database_url, "DROP ROLE plain")


def path_of(url: str) -> str:
    with closing(session.opened(url, "test")) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT current_setting('search_path')")
        return str(cursor.fetchone()[0])


@pytest.mark.parametrize(
    ("set_to", "expected"),
    [
        ("app, public", "app, public"),
        ('"$user", public', "public"),  # the role is called decanter
        ("app, decanter, public", "app, public"),
        ("public, pg_catalog", "public"),
        ("decanter", "public"),
        ("''", "public"),
        ('"A b", absent, pg_catalog', '"A b"'),
    ],
)
def test_a_search_path_finds_the_users_tables_and_never_ours(
    database_url, set_to, expected
) -> None:
    execute(database_url, 'CREATE SCHEMA app; CREATE SCHEMA "A b"')
    execute(database_url, f"ALTER DATABASE {name_of(database_url)} SET search_path = {set_to}")
    assert path_of(database_url) == expected


def test_a_schema_that_a_revision_makes_later_stays_in_the_path(database_url) -> None:
    execute(database_url, f"ALTER DATABASE {name_of(database_url)} SET search_path = later, public")
    assert path_of(database_url) == "later, public"


def test_a_server_that_does_not_know_a_setting_goes_without_it(database_url) -> None:
    settings = {**session.SETTINGS, "no_such_setting": "on"}
    assert shown(session.opened(database_url, "test", settings))["TimeZone"] == "UTC"


def test_a_server_that_cannot_look_for_its_client_goes_without_it(database_url) -> None:
    settings = {**session.SETTINGS, "client_connection_check_interval": "-1"}  # as on Windows
    set_for_database(database_url, "TimeZone", "Europe/Zurich")
    assert shown(session.opened(database_url, "test", settings))["TimeZone"] == "UTC"


VARIABLES = {
    "PGHOST": "nowhere.invalid",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGDATABASE": "nothing",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGPASSFILE": "/nowhere",
    "PGSERVICE": "nothing",
    "PGSERVICEFILE": "/nowhere",
    "PGOPTIONS": "-c bytea_output=escape -c no.such=1 -c work_mem=1MB",
    "PGAPPNAME": "shell",
    "PGTZ": "America/New_York",
    "PGDATESTYLE": "German",
    "PGGEQO": "off",
    "PGCLIENTENCODING": "LATIN1",
    "PGSSLMODE": "require",
    "PGREQUIRESSL": "1",
    "PGSSLNEGOTIATION": "direct",
    "PGGSSENCMODE": "require",
    "PGCHANNELBINDING": "require",
    "PGREQUIREAUTH": "none",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCONNECT_TIMEOUT": "x",
}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_of_libpq_reaches_no_connection(postgres, monkeypatch, name) -> None:
    def seen() -> Any:
        with closing(session.opened(postgres.url(), "test")) as opened, opened.cursor() as cursor:
            cursor.execute(
                "SELECT name, reset_val, setting FROM pg_settings ORDER BY name"  # work_mem as well
            )
            return cursor.fetchall()

    expected = seen()
    monkeypatch.setenv(name, VARIABLES[name])

    assert seen() == expected
    assert os.environ[name] == VARIABLES[name]


def test_variables_of_libpq_reach_neither_functions_nor_migrations_nor_writes(
    odd_world, database_url, monkeypatch
) -> None:
    sessions, writes = ways(database_url), outcome(odd_world())
    world = odd_world()
    own = World.execute

    def without_variables(of: World, *given: Any) -> list[Any]:
        with monkeypatch.context() as context:
            for name in VARIABLES:
                context.delenv(name)
            return own(of, *given)

    monkeypatch.setattr(World, "execute", without_variables)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)

    assert ways(database_url) == sessions
    assert outcome(world) == writes
    monkeypatch.undo()  # before the databases are dropped


def test_a_password_file_reaches_no_connection(database_url, tmp_path, monkeypatch) -> None:
    parts = parse_dsn(database_url)
    file = tmp_path / ".pgpass"
    file.write_text(f"*:*:*:*:{parts['password']}\n")
    file.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    bare = database_url.replace(f":{parts['password']}@", "@")

    with pytest.raises(DatabaseUnavailable, match="no password supplied"):
        session.opened(bare, "test")
    session.opened(f"{bare}&passfile={file}", "test").close()


def test_variables_of_libpq_are_there_again_when_all_have_connected(
    database_url, monkeypatch
) -> None:
    monkeypatch.setenv("PGTZ", "America/New_York")
    failed: list[object] = []

    def work() -> None:
        for _ in range(10):
            try:
                assert shown(session.opened(database_url, "test"))["TimeZone"] == "UTC"
            except BaseException as error:
                failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(NotConfigured):
        session.opened("nonsense", "test")

    assert failed == []
    assert os.environ["PGTZ"] == "America/New_York"


@pytest.fixture
def pooler(database_url: str) -> Iterator[Relay]:
    with relay(database_url) as made:
        made.refuses_options = True
        yield made


def test_a_pooler_that_takes_no_options_serves_every_function_and_tool(
    pooler, monkeypatch, new_database, tmp_path
) -> None:
    monkeypatch.setenv("DECANTER_DATABASE_URL", pooler.url)
    handler.run({})
    handler.run({"dry_run": True})
    capacity.granted(pooler.url)
    sweep(Context(30))
    for role in ("drain", "reader"):
        connection.connection(pooler.url, role, time.monotonic() + 60)
        connection.forget(role)
    connection.forget("sweep")
    assert len(pooler.startups) == 6
    assert all("options" not in startup for startup in pooler.startups)

    with relay(new_database()) as empty:
        empty.refuses_options = True
        folder = tmp_path / "migrations"
        shutil.copytree(FOLDER, folder)
        generate([tables()], "more", empty.url, folder)


def test_a_session_is_settled_in_one_round_trip(database_url) -> None:
    with relay(database_url) as seen:
        session.opened(seen.url, "test").close()
        assert len(seen.queries) == 1


def test_options_of_the_url_are_kept(database_url) -> None:
    url = f"{database_url}&options=-c%20search_path%3Dapp%2Cpublic%20-c%20bytea_output%3Descape"
    execute(database_url, "CREATE SCHEMA app")
    assert path_of(url) == "app,public"
    assert shown(session.opened(url, "test"))["bytea_output"] == "hex"


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def test_a_backend_whose_client_is_gone_ends_though_its_statement_goes_on(database_url) -> None:
    def backends() -> int:
        ((count,),) = execute(
            database_url,
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(3600)%%'"
            " AND pid <> pg_backend_pid() AND datname = current_database()",
        )
        return int(count)

    def work(held: Any) -> None:
        with suppress(psycopg2.Error), held.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0; SELECT pg_sleep(3600)")

    roles = ("drain", "reader", "sweep")
    held = [connection.connection(database_url, role, time.monotonic() + 60) for role in roles]
    held.append(session.opened(database_url, "decanter migrate"))
    threads = [threading.Thread(target=work, args=(each,), daemon=True) for each in held]
    for thread in threads:
        thread.start()
    wait_until(lambda: backends() == len(held))

    for each in held:
        with socket.socket(fileno=os.dup(each.fileno())) as own:
            own.shutdown(socket.SHUT_RDWR)  # as of a container that is killed

    wait_until(lambda: backends() == 0)
    for thread in threads:
        thread.join()
    for role in roles:
        connection.forget(role)
