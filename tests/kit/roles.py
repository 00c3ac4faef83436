"""The least-privilege roles, and a shop whose tables need many kinds of rights."""

import psycopg2
import sqlalchemy as sa
from psycopg2 import errors
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql as pg

from chalicelib.migrate.connection import driver, locked
from chalicelib.migrate.roles import ensure
from chalicelib.postgres.connecting.access import role_url
from chalicelib.postgres.resources import resources_of
from chalicelib.settings import ROLES, RoleSettings
from tests.kit.databases import execute

NO_RIGHT = errors.InsufficientPrivilege

CONNECTIONS = {"drain": 4, "reader": 3, "sweep": 2}


def shop(*, with_more: bool = False) -> MetaData:
    """Return tables that need rights on schemas, sequences, enums, functions and parents."""
    metadata = MetaData()
    mood = pg.ENUM("calm", "odd", name="mood", schema="types")
    regions = sa.Table(
        "regions",
        metadata,
        sa.Column("name", sa.String(2), primary_key=True),
        schema="crm",
        info={"resource": False},
    )
    sa.Table(
        "customers",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("region", sa.ForeignKey(regions.c.name), nullable=False),
        sa.Column("email", sa.Text, unique=True),
        sa.Column("mood", mood, server_default="calm"),
        sa.Column("options", pg.JSONB, server_default="{}"),
        sa.Column("code", sa.Integer, sa.Sequence("codes", schema="types")),
        sa.Column("slug", sa.Text, sa.Computed("crm.slug(email)", persisted=True)),
        schema="crm",
    )
    sa.Table(
        "orders",
        metadata,
        sa.Column("id", sa.BigInteger, primary_key=True),  # a serial
        sa.Column("customer", sa.ForeignKey("crm.customers.id", ondelete="CASCADE")),
        sa.Column("total", sa.Numeric(8, 2)),
    )
    sa.Table(
        "Odd Log%",
        metadata,
        sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
        sa.Column("text", sa.Text),
        info={"ordered": False, "resource": "logs"},
    )
    if with_more:
        sa.Table("later", metadata, sa.Column("id", sa.Integer, primary_key=True), schema="new")
    return metadata


def prepare(url: str) -> None:
    """Harden a database: PUBLIC may neither execute functions nor use the schema."""
    execute(
        url,
        """
        CREATE SCHEMA crm;
        CREATE FUNCTION crm.slug(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN lower($1);
        REVOKE EXECUTE ON FUNCTION crm.slug, decanter.merge_patch, decanter.readable FROM PUBLIC;
        REVOKE ALL ON SCHEMA public FROM PUBLIC
        """,
    )


def settings(url: str, **passwords: str | None) -> list[RoleSettings]:
    return [
        RoleSettings(
            kind, role_url(url, kind, passwords.get(kind, f"{kind}:@/pass%")), CONNECTIONS[kind]
        )
        for kind in ROLES
    ]


def made(
    url: str,
    metadata: MetaData,
    roles: list[RoleSettings] | None = None,
    tokens: bool = False,
    revoke: bool = True,
    **named: bool,
) -> dict[str, list[str]]:
    """Create roles as migrate does once no other version runs."""
    with locked(url) as connection:
        return ensure(
            driver(connection),
            settings(url) if roles is None else roles,
            resources_of(metadata).values(),
            [metadata],
            tokens,
            revoke=revoke,
            **named,
        )


def logs_in(role: RoleSettings) -> bool:
    try:
        psycopg2.connect(role.url).close()
    except psycopg2.OperationalError:
        return False
    return True
