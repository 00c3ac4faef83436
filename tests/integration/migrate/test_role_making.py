"""Who can make the roles, and which roles are refused."""

import json
import re
from collections.abc import Callable
from contextlib import closing
from unittest.mock import patch

import psycopg2
import pytest

from chalicelib.errors import (
    MigrationRefused,
)
from chalicelib.migrate import handler
from chalicelib.postgres.connecting.access import role_url
from chalicelib.settings import ROLES, RoleSettings
from decanter.local.postgres import Postgres
from tests.kit.databases import create_tables, drop, execute, name_of
from tests.kit.roles import logs_in, made, prepare, settings, shop


def test_a_second_time_changes_nothing(url: str) -> None:
    first = made(url, shop())
    second = made(url, shop())

    assert first["roles"] == [f"{name_of(url)}_{kind}" for kind in ROLES]
    assert first["changes"]
    assert second == {"roles": first["roles"], "changes": [], "later": [], "warnings": []}


@pytest.mark.parametrize(
    ("role", "prepared", "reason"),
    [
        ("decanter", "", "is the owner's own"),
        ("{database}_reader", "", "is also the role of another function"),
        ("r_super", "CREATE ROLE {role} SUPERUSER", "has SUPERUSER"),
        ("r_maker", "CREATE ROLE {role} CREATEROLE CREATEDB", "has CREATEROLE, CREATEDB"),
        ("r_member", "CREATE ROLE {role} IN ROLE pg_read_all_data", "member of pg_read_all_data"),
        ("r_owner", "CREATE ROLE {role}; CREATE SCHEMA mine AUTHORIZATION {role}", "owns 1 obj"),
    ],
)
def test_a_role_that_is_not_for_this_alone_is_refused(
    url: str, role: str, prepared: str, reason: str
) -> None:
    role = role.format(database=name_of(url))
    before = execute(url, "SELECT count(*) FROM pg_roles")
    if prepared:
        execute(url, prepared.format(role=role))
    wanted = settings(url)
    wanted[0] = wanted[0]._replace(url=url.replace(url[13 : url.index("@")], f"{role}:secret"))

    with pytest.raises(MigrationRefused, match=reason) as error:
        made(url, shop(), wanted)

    assert "DECANTER_DRAIN_URL" in str(error.value)
    assert "secret" not in str(error.value)
    if prepared:
        execute(url, f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert execute(url, "SELECT count(*) FROM pg_roles") == before


def test_the_role_of_another_database_is_refused_and_not_retired(
    url: str, new_database: Callable[..., str], shop_template: str
) -> None:
    """Names of databases may be the same as far as roles are called after them."""
    other = new_database(shop_template)
    made(other, shop())
    theirs = settings(other)[0]
    own = RoleSettings("drain", theirs.url.replace(f"/{name_of(other)}?", f"/{name_of(url)}?"), 4)

    with pytest.raises(MigrationRefused, match=f"rights on the database {name_of(other)}"):
        made(url, shop(), [own])

    with patch("chalicelib.migrate.roles.role_names", lambda *_: names):
        names = (f"{name_of(url)}_drain", f"{name_of(other)}_drain")
        assert made(url, shop(), settings(url)[:1])["later"] == []
    assert logs_in(theirs)
    drop(other)


@pytest.fixture
def master(new_database: Callable[..., str]) -> str:
    """URL of an owner as on RDS: no superuser, but one who may make roles."""
    url = new_database()
    name = f"master_{name_of(url)}"
    execute(url, f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'master'")
    execute(url, f"ALTER DATABASE {name_of(url)} OWNER TO {name}")
    return url.replace(url[13 : url.index("@")], f"{name}:master")


def test_an_owner_that_is_no_superuser_can_make_the_roles(master: str) -> None:
    handler.upgrade(master)
    prepare(master)
    create_tables(master, shop())

    made(master, shop())

    another = settings(master, drain="another")
    assert made(master, shop(), another, new_passwords=True)["changes"] == []
    with_turn = [RoleSettings("drain", role_url(master, "drain", "third", 1), 4)]
    made(master, shop(), with_turn)
    made(master, shop(), another)
    with closing(psycopg2.connect(settings(master, drain="another")[0].url)) as drain:
        drain.cursor().execute("INSERT INTO orders (total) VALUES (1)")


def test_an_owner_that_may_make_no_roles_is_refused_with_what_it_needs(
    master: str, postgres: Postgres
) -> None:
    handler.upgrade(master)
    prepare(master)
    create_tables(master, shop())
    execute(postgres.url(), f"ALTER ROLE master_{name_of(master)} NOCREATEROLE")

    with pytest.raises(MigrationRefused, match="It needs CREATEROLE"):
        made(master, shop())


def test_a_table_of_another_owner_is_named(postgres: Postgres, master: str) -> None:
    handler.upgrade(master)
    prepare(master)
    create_tables(master, shop())
    owner = f"master_{name_of(master)}"
    execute(
        postgres.url(name_of(master)),
        "ALTER TABLE crm.customers OWNER TO decanter;"
        f" GRANT SELECT ON crm.customers TO {owner} WITH GRANT OPTION",
    )

    with pytest.raises(MigrationRefused, match=r"on crm\.customers: it does not own the table"):
        made(master, shop())


def test_a_right_that_others_gave_by_hand_is_reported(postgres: Postgres, master: str) -> None:
    owner = postgres.url(name_of(master))
    one, other = (
        RoleSettings("drain", role_url(master, "drain", "password", turn), 4) for turn in (0, 1)
    )
    handler.upgrade(master)
    prepare(master)
    create_tables(master, shop())
    made(master, shop(), [one])
    execute(owner, "CREATE TABLE public.audit (x text); CREATE TABLE public.seen (x text)")
    execute(owner, f"GRANT SELECT ON public.seen TO master_{name_of(master)}")
    execute(owner, f"GRANT INSERT ON public.audit, public.seen TO {name_of(master)}_drain")

    warnings = made(master, shop(), [other], revoke=False)["warnings"]

    assert [each.rpartition("run ")[2] for each in warnings] == [
        f"GRANT INSERT ON TABLE {table} TO {name_of(master)}_drain_2" for table in ("audit", "seen")
    ]


def test_the_migrate_function_makes_the_roles_that_its_environment_names(
    new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    monkeypatch.setenv("DECANTER_DATABASE_URL", url)
    for role in settings(url):
        monkeypatch.setenv(f"DECANTER_{role.kind.upper()}_URL", role.url)
        monkeypatch.setenv(f"DECANTER_{role.kind.upper()}_CONNECTIONS", str(role.connections))

    outcome = handler.run({})

    assert outcome["roles"] == [f"{name_of(url)}_{kind}" for kind in ROLES]
    with closing(psycopg2.connect(settings(url)[0].url)) as drain:
        drain.cursor().execute("DELETE FROM stations")
    assert handler.run({})["changes"] == []
    assert not re.search("SCRAM|pass%", json.dumps(outcome))
