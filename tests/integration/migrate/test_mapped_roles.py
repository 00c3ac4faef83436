"""Roles on an engine that maps roles of IAM.

The proxy of the tests takes no such statement: the kit keeps the mappings.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy import MetaData

from chalicelib.errors import MigrationRefused
from chalicelib.migrate.roles import ensure
from chalicelib.postgres.capacity import granted
from chalicelib.postgres.connecting import session
from chalicelib.postgres.connecting.access import role_url
from chalicelib.postgres.resources import resources_of
from chalicelib.settings import ROLES, RoleSettings
from tests.kit.databases import execute
from tests.kit.dsql import Dsql

ARN = "arn:aws:iam::123456789012:role/"


def settings(dsql: Dsql, *more: str, password: str | None = None) -> list[RoleSettings]:
    return [
        RoleSettings(kind, role_url(dsql.url, kind, password), 4, (f"{ARN}{kind}", *more))
        for kind in ROLES
    ]


@pytest.fixture
def made(dsql: Dsql) -> Iterator[Callable[..., Any]]:
    metadata = MetaData()
    sa.Table("parents", metadata, sa.Column("id", sa.Uuid, primary_key=True))
    things = sa.Table("things", metadata, sa.Column("id", sa.Uuid, primary_key=True))
    things.append_column(sa.Column("parent", sa.ForeignKey("parents.id")))
    metadata.tables["parents"].info["resource"] = False
    execute(dsql.behind, "CREATE TABLE public.parents (id uuid PRIMARY KEY)")
    execute(dsql.behind, "CREATE TABLE public.things (id uuid PRIMARY KEY, parent uuid)")

    def made(roles: list[RoleSettings], **named: Any) -> dict[str, list[str]]:
        with closing(session.opened(dsql.url, "test")) as opened:
            opened.autocommit = True
            resources = resources_of(metadata).values()
            return ensure(opened, roles, resources, [metadata], True, **named)

    yield made
    for role in settings(dsql):
        name = psycopg2.extensions.parse_dsn(role.url)["user"]
        execute(dsql.behind, f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_roles_are_made_with_their_rights_and_mapped(dsql: Dsql, made: Callable[..., Any]) -> None:
    answer = made(settings(dsql))

    names = dict(zip(ROLES, answer["roles"], strict=True))
    for kind, name in names.items():
        assert f'CREATE ROLE "{name}" WITH LOGIN' in answer["changes"]
        assert f"AWS IAM GRANT {name} TO '{ARN}{kind}'" in answer["changes"]
    rights = "SELECT has_table_privilege(%s, %s, %s)"

    def may(kind: str, right: str, table: str) -> bool:
        return bool(execute(dsql.behind, rights, (names[kind], table, right))[0][0])

    assert may("drain", "UPDATE", "things")
    assert may("drain", "SELECT", "parents")
    assert not may("drain", "INSERT", "parents")
    assert may("reader", "SELECT", "things")
    assert not may("reader", "INSERT", "things")
    assert may("drain", "INSERT", "decanter.ledger")
    assert may("drain", "UPDATE", "decanter.ledger")
    assert not may("reader", "UPDATE", "decanter.ledger")
    assert not may("drain", "DELETE", "decanter.ledger")
    assert may("sweep", "DELETE", "decanter.ledger")
    assert not may("sweep", "SELECT", "things")
    assert made(settings(dsql))["changes"] == []


def test_a_role_of_iam_that_goes_is_taken_back_when_no_other_version_runs(
    dsql: Dsql, made: Callable[..., Any]
) -> None:
    names = made(settings(dsql, f"{ARN}old"))["roles"]

    wanted = [f"AWS IAM REVOKE {name} FROM '{ARN}old'" for name in names]
    assert made(settings(dsql)) == {"roles": names, "changes": [], "later": wanted, "warnings": []}
    assert made(settings(dsql), revoke=True)["changes"] == wanted
    assert made(settings(dsql))["later"] == []


def test_what_nobody_could_log_in_as_is_refused(dsql: Dsql, made: Callable[..., Any]) -> None:
    before = [role._replace(iam_roles=()) for role in settings(dsql)]
    with pytest.raises(MigrationRefused, match=r"by nobody\. Set DECANTER_DRAIN_IAM_ROLES"):
        made(before)
    with pytest.raises(MigrationRefused, match=r"DECANTER_DRAIN_URL has a password.*Take it out"):
        made(settings(dsql, password="secret"))
    owner = dsql.url.replace("admin:any@", "postgres@")
    with pytest.raises(MigrationRefused, match=r"postgres of DECANTER_DRAIN_URL is also another"):
        made([settings(dsql)[0]._replace(url=owner)])
    assert dsql.changes("ROLE|IAM") == []
    made(settings(dsql))


def test_a_cluster_grants_its_connections(dsql: Dsql) -> None:
    found = granted(dsql.url)

    assert (found["max_connections"], found["owner_limit"], found["others"]) == (10_000, -1, 0)
