"""How roles log in: URLs, passwords, tokens, limits and timeouts."""

import json
import re
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from psycopg2 import errors

from chalicelib.errors import (
    DatabaseUnavailable,
    MigrationRefused,
    NotConfigured,
)
from chalicelib.migrate import handler
from chalicelib.postgres.connecting import connection
from chalicelib.postgres.connecting.access import role_url
from chalicelib.settings import ROLES, RoleSettings
from decanter.local.postgres import Postgres
from tests.kit.databases import execute, name_of
from tests.kit.roles import CONNECTIONS, NO_RIGHT, logs_in, made, settings, shop
from tests.kit.waiting import LONG, until


@pytest.mark.parametrize("kind", ROLES)
def test_each_role_has_timeouts_of_its_own(as_role: Callable[..., Any], kind: str) -> None:
    cursor = as_role(kind)
    names = ("statement_timeout", "lock_timeout", "idle_session_timeout")
    names += ("idle_in_transaction_session_timeout",)

    cursor.execute(f"SELECT {', '.join(f'current_setting({name!r})' for name in names)}")

    assert "0" not in cursor.fetchone()


def test_a_statement_that_runs_on_is_ended(as_role: Callable[..., Any], url: str) -> None:
    made(url, shop())
    execute(url, f"ALTER ROLE {name_of(url)}_reader SET statement_timeout TO '50ms'")
    made(url, shop())  # puts back what it has to be
    cursor = as_role("reader", url)
    execute(url, f"ALTER ROLE {name_of(url)}_sweep SET statement_timeout TO '50ms'")

    cursor.execute("SHOW statement_timeout")
    assert cursor.fetchone() == ("10s",)
    with (
        closing(psycopg2.connect(settings(url)[2].url)) as other,
        pytest.raises(errors.QueryCanceled),
    ):
        other.cursor().execute("SELECT pg_sleep(600)")


@pytest.mark.parametrize("kind", ROLES)
def test_no_more_containers_than_its_limit_are_let_in(url: str, kind: str) -> None:
    made(url, shop())
    own = next(role for role in settings(url) if role.kind == kind)
    held = [psycopg2.connect(own.url) for _ in range(CONNECTIONS[kind])]
    try:
        with pytest.raises(DatabaseUnavailable, match="too many connections for role"):
            connection.connection(own.url, "one-too-many", time.monotonic() + LONG)
    finally:
        for each in held:
            each.close()
    connection.connection(own.url, "one-too-many", time.monotonic() + LONG)
    connection.forget("one-too-many")


@pytest.mark.parametrize("turns", [(0, 1), (1, 0)])
def test_nobody_is_locked_out_between_two_passwords(url: str, turns: tuple[int, int]) -> None:
    before, after = (
        RoleSettings("drain", role_url(url, "drain", f"password {turn}", turn), 4) for turn in turns
    )
    made(url, shop(), [after])
    for one, other in ((after, before), (before, after)):
        made(url, shop(), [other], revoke=False)
        assert (logs_in(one), logs_in(other)) == (True, True)

        made(url, shop(), [other])

        assert (logs_in(one), logs_in(other)) == (False, True)
        name = psycopg2.extensions.parse_dsn(one.url)["user"]
        held = (
            f"SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE grantee = '{name}'::regrole"
        )
        sequences = " AND relkind <> 'S'"
        assert execute(url, held + sequences) == [(0,)]
        assert made(url, shop(), [other], revoke=False)["later"] == []


def test_what_was_granted_by_hand_goes_on_to_the_role_with_the_new_password(url: str) -> None:
    before, after = (
        RoleSettings("drain", role_url(url, "drain", f"password {turn}", turn), 4)
        for turn in (0, 1)
    )
    made(url, shop(), [before])
    name = f'"{name_of(url)}_drain"'
    execute(
        url,
        f"""
        CREATE SCHEMA "Own"; CREATE TABLE "Own"."Audit%" (what text, "When" int, who text);
        CREATE SEQUENCE "Own".numbers;
        CREATE FUNCTION "Own".note(text) RETURNS text LANGUAGE sql RETURN $1;
        REVOKE ALL ON FUNCTION "Own".note FROM PUBLIC;
        GRANT USAGE ON SCHEMA "Own" TO {name}; GRANT INSERT ON "Own"."Audit%" TO {name};
        GRANT UPDATE ("When"), SELECT ("When") ON "Own"."Audit%" TO {name};
        GRANT USAGE ON SEQUENCE "Own".numbers TO {name};
        GRANT EXECUTE ON FUNCTION "Own".note TO {name};
        ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
        CREATE POLICY "own %" ON orders TO {name} USING (true)
        """,
    )
    for one in (after, before, after):
        made(url, shop(), [one], revoke=False)
        for statement in (
            """INSERT INTO "Own"."Audit%" VALUES ("Own".note(nextval('"Own".numbers')::text))""",
            """UPDATE "Own"."Audit%" SET "When" = 1 WHERE "When" IS NULL""",
            "INSERT INTO orders (total) VALUES (1)",
        ):
            execute(one.url, statement)
        with pytest.raises(NO_RIGHT):
            execute(one.url, 'SELECT who FROM "Own"."Audit%"')
        made(url, shop(), [one])
        assert made(url, shop(), [one])["changes"] == []


def test_the_password_of_a_role_that_is_used_is_changed_only_on_demand(url: str) -> None:
    made(url, shop())
    before = settings(url)[0]
    after = RoleSettings("drain", role_url(url, "drain", "another"), 7)

    with pytest.raises(MigrationRefused, match="secrets --rotate") as refused:
        made(url, shop(), [after])
    assert logs_in(before)
    assert not re.search("another'|pass%", str(refused.value))
    made(url, shop(), [after], new_passwords=True)

    assert (logs_in(before), logs_in(after)) == (False, True)


@pytest.mark.parametrize("revoke", [False, True])
def test_a_limit_is_lowered_when_the_version_before_is_gone(url: str, revoke: bool) -> None:
    made(url, shop())
    wanted = settings(url)
    limits = "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s"

    for connections, expected in ((7, 7), (2, 2 if revoke else 7)):
        made(url, shop(), [wanted[0]._replace(connections=connections)], revoke=revoke)

        assert execute(url, limits, (f"{name_of(url)}_drain",)) == [(expected,)]


def test_no_log_of_the_server_has_a_password(url: str, postgres: Postgres) -> None:
    execute(postgres.url(), "ALTER SYSTEM SET log_statement = 'all'")
    execute(postgres.url(), "SELECT pg_reload_conf()")
    passwords = {kind: f"never-in-a-log-{kind}" for kind in ROLES}
    try:
        until(lambda: execute(postgres.url(), "SHOW log_statement") == [("all",)])
        made(url, shop(), settings(url, **passwords), new_passwords=True)
        for role in settings(url, **passwords):
            psycopg2.connect(role.url).close()
    finally:
        execute(postgres.url(), "ALTER SYSTEM RESET log_statement")
        execute(postgres.url(), "SELECT pg_reload_conf()")

    log = postgres.log.read_text()
    assert f'ALTER ROLE "{name_of(url)}_drain" PASSWORD' in log
    assert "SCRAM-SHA-256$" in log
    assert "never-in-a-log" not in log
    assert "never-in-a-log" not in json.dumps(made(url, shop(), settings(url, **passwords)))


def test_urls_that_name_no_role_are_refused(url: str) -> None:
    other = settings(url.replace(f"/{name_of(url)}?", "/another?"))
    with pytest.raises(MigrationRefused, match="the same database"):
        made(url, shop(), other)
    with pytest.raises(NotConfigured, match="DECANTER_DRAIN_URL has no password"):
        made(url, shop(), [RoleSettings("drain", role_url(url, "drain", None), 1)])
    with pytest.raises(NotConfigured, match="DECANTER_SWEEP_URL names no user"):
        made(url, shop(), [RoleSettings("sweep", f"postgresql:///{name_of(url)}", 1)])


def test_without_urls_nothing_is_made(url: str) -> None:
    before = execute(url, "SELECT count(*) FROM pg_roles")

    assert made(url, shop(), [])["roles"] == []

    assert execute(url, "SELECT count(*) FROM pg_roles") == before


def test_tokens_take_the_place_of_passwords_and_back(url: str) -> None:
    execute(
        url,
        "DO $$BEGIN IF to_regrole('rds_iam') IS NULL THEN CREATE ROLE rds_iam; END IF; END$$",
    )
    role = f"{name_of(url)}_drain"
    member = f"SELECT pg_has_role('{role}', 'rds_iam', 'MEMBER')"
    has_password = f"SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = '{role}'"
    with_tokens = [RoleSettings("drain", role_url(url, "drain", None), 4)]

    made(url, shop(), with_tokens, tokens=True)
    with pytest.raises(MigrationRefused, match="logs in with tokens of RDS"):
        made(url, shop())
    assert execute(url, member) == [(True,)]
    assert execute(url, has_password) == [(False,)]
    assert made(url, shop(), with_tokens, tokens=True)["changes"] == []

    made(url, shop(), new_passwords=True)
    with pytest.raises(MigrationRefused, match="logs in with a password"):
        made(url, shop(), with_tokens, tokens=True)
    assert execute(url, member) == [(False,)]
    assert execute(url, has_password) == [(True,)]


@pytest.mark.parametrize(
    ("owner", "name", "expected"),
    [
        (
            "postgresql://own%40er:p@h.example:5433/shop?sslmode=verify-full&user=x",
            "shop_drain",
            "postgresql://shop_drain:a%2Fb%40c%20%25@h.example:5433/shop?sslmode=verify-full",
        ),
        ("postgresql://o:p@[::1]/s", "s_drain", "postgresql://s_drain:a%2Fb%40c%20%25@[::1]/s"),
        ("host=h user=o password=p dbname=shop", "shop_drain", None),
        (f"postgresql://o@h/{'d' * 63}", "d" * 57 + "_drain", None),
        (f"postgresql://o@h/{quote('ö' * 31)}", "ö" * 28 + "_drain", None),
    ],
)
def test_the_url_of_a_role_is_the_owners_with_another_user(
    owner: str, name: str, expected: str | None
) -> None:
    password = "a/b@c %"
    url = role_url(owner, "drain", password)

    before, after = (psycopg2.extensions.parse_dsn(each) for each in (owner, url))
    assert expected in (None, url)
    assert (after.pop("user"), after.pop("password")) == (name, password)
    assert len(name.encode()) <= 63
    before.pop("password", None)
    assert after == {key: value for key, value in before.items() if key != "user"}
    without = psycopg2.extensions.parse_dsn(role_url(owner, "drain", None))
    assert "password" not in without
    assert without["user"] == name


def test_a_database_url_without_a_database_has_no_roles() -> None:
    with pytest.raises(NotConfigured, match="names no database"):
        role_url("postgresql://owner@host", "drain", "p")


@pytest.mark.parametrize("most", ["", "0", "-1", "many"])
def test_a_role_without_a_limit_is_refused(
    new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    url = new_database()
    monkeypatch.setenv("DECANTER_DATABASE_URL", url)
    monkeypatch.setenv("DECANTER_READER_URL", role_url(url, "reader", "p"))
    monkeypatch.setenv("DECANTER_READER_CONNECTIONS", most)

    with pytest.raises(NotConfigured, match="DECANTER_READER_CONNECTIONS"):
        handler.run({})

    assert execute(url, "SELECT to_regnamespace('decanter')") == [(None,)]
