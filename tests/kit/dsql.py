"""Databases with DSQL's rules, see `decanter.local.dsql`."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text, Uuid, text

from chalicelib.migrate.handler import upgrade
from decanter.local import dsql as local
from tests.kit.databases import drop, name_of


@dataclass
class Dsql:
    """A server with these rules. url: of the database behind it, by way of the proxy. statements:
    that have come to the server alone, in order. server: see `local.Dsql`."""

    url: str
    behind: str
    server: local.Dsql
    statements: list[str] = field(default_factory=list)

    def changes(self, pattern: str = "") -> list[str]:
        """The statements that are no queries and match a pattern."""
        return [
            each
            for each in self.statements
            if not re.match(r"\s*(SELECT|SHOW|BEGIN|COMMIT|ROLLBACK|SET)\b", each, re.IGNORECASE)
            and re.search(pattern, each, re.IGNORECASE)
        ]


@contextmanager
def dsql_before(url: str) -> Iterator[Dsql]:
    """DSQL's rules before the database of a URL."""
    with local.dsql_before(url) as server:
        # With a password, so that no token is made.
        own = Dsql(server.url.replace("admin@", "admin:any@"), url, server)
        server.note = own.statements.append
        yield own


@cache
def tables() -> MetaData:
    """Tables that DSQL can hold: a unique column, a foreign key, a key that is made."""
    metadata = MetaData()
    Table("things", metadata, Column("id", Text, primary_key=True), Column("n", Integer),
          Column("u", Integer, unique=True))  # fmt: skip
    Table("parts", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("thing", Text, ForeignKey("things.id")))  # fmt: skip
    Table("made", metadata, Column("a", Integer), Column(
        "id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")))  # fmt: skip
    return metadata


@pytest.fixture
def empty_dsql(new_database: Callable[..., str]) -> Iterator[Dsql]:
    """An empty database with DSQL's rules."""
    url = new_database()
    with dsql_before(url) as server:
        yield server
    drop(url)


@pytest.fixture(scope="session")
def dsql_template(new_database: Callable[..., str]) -> str:
    """Name of a database with the ledger, made by DSQL's rules."""
    url = new_database()
    with dsql_before(url) as server:
        upgrade(server.url, "decanter@head")
    return name_of(url)


@pytest.fixture
def dsql(new_database: Callable[..., str], dsql_template: str) -> Iterator[Dsql]:
    """A database with the ledger, and DSQL's rules."""
    url = new_database(dsql_template)
    with dsql_before(url) as server:
        yield server
    drop(url)
