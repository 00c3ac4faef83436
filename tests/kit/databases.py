"""Databases on a real Postgres: a server for the session, and a fresh database for each test."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from itertools import count
from typing import Any

import psycopg2
import pytest
from sqlalchemy import MetaData, NullPool, create_engine
from sqlalchemy.schema import CreateSchema

from chalicelib.migrate.handler import FOLDER, upgrade
from chalicelib.postgres import partitions
from chalicelib.postgres.connecting.access import url_parts
from decanter.local.postgres import Postgres
from decanter.local.server import Server, scratch
from decanter.migration.types import schemas

NewDatabase = Callable[..., str]

LEDGER_REVISIONS = [
    f"decanter_{path.stem[:4]}" for path in sorted((FOLDER / "versions" / "decanter").glob("*.py"))
]
"""The revisions of the ledger, in order."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server; all that is created on it is dropped at the end of the session."""
    with scratch("tests") as server:
        yield server


@pytest.fixture(scope="session")
def new_database(postgres: Server) -> NewDatabase:
    """`new_database(template="template0") -> url` clones a database."""
    numbers = count(1)
    # Without a log of each page, in half the time; Postgres 14, which may be named, has no choice.
    copy = "STRATEGY FILE_COPY" if isinstance(postgres, Postgres) else ""

    def create(template: str = "template0") -> str:
        url = postgres.url(f"test_{next(numbers)}")
        execute(postgres.url(), f"CREATE DATABASE {name_of(url)} TEMPLATE {template} {copy}")
        return url

    return create


@pytest.fixture(scope="session")
def ledger_template(new_database: NewDatabase) -> str:
    """Name of a database with the ledger only."""
    url = new_database()
    upgrade(url, "decanter@head")
    extend(url)
    return name_of(url)


@pytest.fixture(scope="session")
def sample_template(new_database: NewDatabase) -> str:
    """Name of a database with all revisions, migrated as by the migrate function."""
    url = new_database()
    upgrade(url)
    extend(url)
    return name_of(url)


@pytest.fixture
def database_url(new_database: NewDatabase, sample_template: str) -> Iterator[str]:
    """A fresh database with all revisions: the ledger and the tables of chalicelib.models."""
    url = new_database(sample_template)
    yield url
    drop(url)


def create_tables(url: str, metadata: MetaData) -> None:
    # As in migrate, because the role has the name of the ledger's schema.
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=lambda: psycopg2.connect(url, options="-c search_path=public"),
        poolclass=NullPool,
    )
    with engine.begin() as connection:
        if (connection.dialect.server_version_info or ()) < (18,):
            _store_generated(metadata)
        for schema in schemas(metadata):
            connection.execute(CreateSchema(schema, if_not_exists=True))
        metadata.create_all(connection)


def _store_generated(metadata: MetaData) -> None:
    """Have generated columns stored, as before Postgres 18 there is no other kind."""
    for table in metadata.tables.values():
        for column in table.columns:
            if column.computed is not None:
                column.computed.persisted = True


def extend(url: str, weeks: int = 2, today: date | None = None) -> list[str]:
    """Make partitions of the ledger, as the migrate function does: few are soon copied."""
    with closing(psycopg2.connect(url)) as connection:
        return partitions.extend(connection, weeks, today)


def execute(url: str, statement: str, parameters: tuple[object, ...] | None = None) -> list[Any]:
    """Execute a statement in autocommit and return its rows."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def drop(url: str) -> None:
    with closing(psycopg2.connect(url, dbname="postgres")) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"DROP DATABASE {name_of(url)} WITH (FORCE)")


def name_of(url: str) -> str:
    return url_parts(url)["dbname"]
