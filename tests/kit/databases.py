"""Databases on a real Postgres: a server for the session, and a fresh database for each test."""

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from itertools import count
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, make_dsn
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
        with kept(url, dbname="postgres") as own, own.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name_of(url)} TEMPLATE {template} {copy}")
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
    with fresh(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def fresh(url: str) -> Iterator[Any]:
    """A connection in autocommit."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        yield connection


def drop(url: str) -> None:
    if own := _kept().pop(make_dsn(url), None):
        own.close()
    with kept(url, dbname="postgres") as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name_of(url)} WITH (FORCE)")


_of_thread = threading.local()


def _kept() -> dict[str, Any]:
    found: dict[str, Any] = vars(_of_thread).setdefault("kept", {})
    return found


@contextmanager
def kept(url: str, **other: str) -> Iterator[Any]:
    """A connection of this thread in autocommit, kept for the next caller unless it was left in a
    transaction: a new one costs Postgres more than most statements. other: what is not as in the
    URL."""
    dsn = make_dsn(url, **other)
    found = _kept().pop(dsn, None)
    # What comes unasked is the end, such as of one that a test has terminated.
    if found is None or found.closed or select.select([found], [], [], 0)[0]:
        found = psycopg2.connect(dsn)
        found.autocommit = True
    try:
        yield found
    finally:
        if not found.closed and found.info.transaction_status == TRANSACTION_STATUS_IDLE:
            _kept()[dsn] = found
        else:
            found.close()


def name_of(url: str) -> str:
    return url_parts(url)["dbname"]
