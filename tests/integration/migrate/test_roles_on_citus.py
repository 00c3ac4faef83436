"""Roles of the functions on a cluster of Citus, and what its workers grant to their sessions."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from chalicelib.postgres import settling
from chalicelib.postgres.capacity import granted
from chalicelib.postgres.connecting import session
from chalicelib.postgres.connecting.connection import transaction
from chalicelib.settings import ROLES
from decanter import CITUS_URL
from decanter.local.citus import database_on
from tests.kit.citus import make_tables
from tests.kit.databases import execute, name_of
from tests.kit.roles import made, settings

LIMIT = "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s"


def tables() -> MetaData:
    metadata = MetaData()
    key = Column("id", Integer, primary_key=True)
    Table("things", metadata, key, info={"distribute_by": "id"})
    return metadata


@pytest.fixture
def url(citus_url: str) -> str:
    make_tables(citus_url, tables())
    return citus_url


@pytest.fixture
def with_roles(url: str) -> Iterator[str]:
    """The same, whose roles are dropped at the end."""
    yield url
    for kind in ROLES:
        role = f"{name_of(url)}_{kind}"
        execute(url, f"DROP OWNED BY {role}")
        execute(url, f"DROP ROLE {role}")


def limits(url: str, role: str) -> tuple[int, set[str]]:
    """The connection limit of a role on the coordinator, and those on the workers."""
    [(here,)] = execute(url, LIMIT, (role,))
    literal = LIMIT.replace("%s", f"''{role}''")
    behind = execute(url, f"SELECT result FROM run_command_on_workers('{literal}')")
    return here, {limit for (limit,) in behind}


def with_connections(url: str, most: int) -> list[Any]:
    return [role._replace(connections=most) for role in settings(url)]


def test_only_the_coordinator_limits_connections_of_roles(with_roles: str) -> None:
    url = with_roles
    drain = f"{name_of(url)}_drain"

    made(url, tables(), with_connections(url, 4))
    assert limits(url, drain) == (4, {"-1"})
    made(url, tables(), with_connections(url, 6))
    assert limits(url, drain) == (6, {"-1"})
    assert made(url, tables(), with_connections(url, 6))["changes"] == []
    made(url, tables(), with_connections(url, 2))
    assert limits(url, drain) == (2, {"-1"})

    execute(url, f"ALTER ROLE {drain} CONNECTION LIMIT 3")  # and on workers
    assert limits(url, drain) == (3, {"3"})
    later = made(url, tables(), with_connections(url, 2), revoke=False)["later"]
    assert f'ALTER ROLE "{drain}" CONNECTION LIMIT 2' in later
    assert limits(url, drain) == (3, {"-1"})


def test_workers_are_asked_what_they_grant(url: str) -> None:
    found = granted(url)

    [[shards]] = execute(
        url,
        "SELECT max(n) FROM (SELECT count(*) AS n FROM citus_shards"
        " WHERE table_name = 'things'::regclass GROUP BY nodename, nodeport) AS each",
    )
    addresses = execute(
        url, "SELECT nodename || ':' || nodeport FROM pg_dist_node WHERE groupid > 0"
    )
    assert found["shards"] == shards
    assert sorted(found["workers"]) == sorted(name for (name,) in addresses)
    for worker in found["workers"].values():
        assert worker["max_connections"] > worker["superuser_reserved_connections"] > 0


def test_before_a_table_is_distributed_the_shards_of_the_next_one_count(citus_url: str) -> None:
    [[nodes]] = execute(citus_url, "SELECT count(*) FROM pg_dist_node WHERE shouldhaveshards")
    [[shards]] = execute(citus_url, "SELECT current_setting('citus.shard_count')::int")

    assert shards > nodes
    assert granted(citus_url)["shards"] == -(-shards // nodes)


def test_one_session_of_a_role_reaches_all_shards(with_roles: str) -> None:
    made(with_roles, tables(), with_connections(with_roles, 1))
    [drain] = [role.url for role in settings(with_roles) if role.kind == "drain"]

    execute(
        drain,
        "INSERT INTO things SELECT generate_series(1, 100)"
        " ON CONFLICT (id) DO UPDATE SET id = excluded.id",
    )

    assert execute(with_roles, "SELECT count(*) FROM things") == [(100,)]


def test_roles_that_write_commit_in_two_phases_and_may_settle(with_roles: str) -> None:
    made(with_roles, tables(), settings(with_roles))

    for role in settings(with_roles):
        if role.kind in ("drain", "operate", "sweep"):
            with closing(session.opened(role.url, "test")) as opened:
                with transaction(opened, time.monotonic() + 30) as running:
                    assert running.engine.distributes
                    running.execute("SELECT 1")
                assert settling.recover(opened, time.monotonic() + 30) == 0


@pytest.mark.usefixtures("citus_cluster")
def test_a_coordinator_may_be_alone_at_first() -> None:
    with database_on(os.environ[CITUS_URL], workers=0) as url:
        with (
            closing(session.opened(url, "test")) as opened,
            transaction(opened, time.monotonic() + 30) as running,
        ):
            running.execute("SELECT 1")

        assert execute(url, "SELECT count(*) FROM citus_tables") == [(0,)]
