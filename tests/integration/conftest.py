"""A real Postgres 18 for the whole session, and a fresh database for each test."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import MetaData, NullPool, create_engine
from sqlalchemy.schema import CreateSchema

from chalicelib.database.migrate import FOLDER, upgrade
from decanter.cloud.postgres import Postgres
from decanter.migration.types import schemas
from tests.integration.drain_fixtures import make_world, statements, world

__all__ = ["make_world", "statements", "world"]

NewDatabase = Callable[..., str]

LEDGER_REVISIONS = [
    f"decanter_{path.stem[:4]}" for path in sorted((FOLDER / "versions" / "decanter").glob("*.py"))
]
"""From the first to the last."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server. It is stopped, and its files are gone, when the session ends."""
    # Not pytest's tmp_path: another session would take away the right to enter it.
    home = Path(tempfile.mkdtemp(prefix="decanter-tests-"))
    server = Postgres(home)
    server.start()
    try:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            execute(server.url(), f"ALTER SYSTEM SET {setting} = off")
        execute(server.url(), "SELECT pg_reload_conf()")
        yield server
    finally:
        server.stop()
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def new_database(postgres: Postgres) -> NewDatabase:
    """`new_database(template="template1") -> url`, a database cloned from another one."""
    numbers = count(1)

    def create(template: str = "template1") -> str:
        name = f"test_{next(numbers)}"
        execute(postgres.url(), f"CREATE DATABASE {name} TEMPLATE {template}")
        return postgres.url(name)

    return create


@pytest.fixture(scope="session")
def ledger_template(new_database: NewDatabase) -> str:
    """Name of a database that has the ledger and nothing else."""
    url = new_database()
    upgrade(url, "decanter@head")
    return name_of(url)


@pytest.fixture(scope="session")
def sample_template(new_database: NewDatabase) -> str:
    """Name of a database with all revisions, as the migrate function leaves it."""
    url = new_database()
    upgrade(url)
    return name_of(url)


@pytest.fixture
def database_url(new_database: NewDatabase, sample_template: str) -> Iterator[str]:
    """A fresh database with all revisions: the ledger and the tables of chalicelib.models."""
    url = new_database(sample_template)
    yield url
    drop(url)


@pytest.fixture
def make_database(
    new_database: NewDatabase, ledger_template: str
) -> Iterator[Callable[[MetaData], str]]:
    """`make_database(metadata) -> url`, a fresh database with the ledger and those tables."""
    made: list[str] = []

    def make(metadata: MetaData) -> str:
        url = new_database(ledger_template)
        made.append(url)
        create_tables(url, metadata)
        return url

    yield make
    for url in made:
        drop(url)


def create_tables(url: str, metadata: MetaData) -> None:
    # As migrate does: the role is called like the ledger's schema.
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=lambda: psycopg2.connect(url, options="-c search_path=public"),
        poolclass=NullPool,
    )
    with engine.begin() as connection:
        for schema in schemas(metadata):
            connection.execute(CreateSchema(schema, if_not_exists=True))
        metadata.create_all(connection)


def execute(url: str, statement: str, parameters: tuple[object, ...] | None = None) -> list[Any]:
    """Run one statement in autocommit and return its rows."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def drop(url: str) -> None:
    name = name_of(url)
    execute(url.replace(f"/{name}?", "/postgres?"), f"DROP DATABASE {name} WITH (FORCE)")


def name_of(url: str) -> str:
    return url.rsplit("/", 1)[1].split("?")[0]
