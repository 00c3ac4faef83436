"""A shop, and the roles of its functions."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from chalicelib.postgres.connecting import connection
from chalicelib.sweep import handler as sweeper
from tests.kit.databases import create_tables, drop, name_of
from tests.kit.roles import made, prepare, settings, shop
from tests.kit.world import Context, World


@pytest.fixture(scope="session")
def shop_template(new_database: Callable[..., str], ledger_template: str) -> str:
    """Name of a database with the ledger and the shop."""
    url = new_database(ledger_template)
    prepare(url)
    create_tables(url, shop())
    return name_of(url)


@pytest.fixture
def url(new_database: Callable[..., str], shop_template: str) -> Iterator[str]:
    url = new_database(shop_template)
    yield url
    drop(url)


@pytest.fixture(scope="session")
def shared(new_database: Callable[..., str], shop_template: str) -> str:
    """The same, with the roles, for tests that change nothing."""
    url = new_database(shop_template)
    made(url, shop())
    return url


@pytest.fixture
def world(
    url: str,
    make_world: Callable[..., World],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """The shop, where each function logs in with a role of its own, and the test as the owner."""
    made(url, shop())
    urls = {role.kind: role.url for role in settings(url)}

    class Functions(World):
        def drain(self, *arguments: Any, **named: Any) -> dict[str, Any]:
            monkeypatch.setenv("DECANTER_DATABASE_URL", urls["drain"])
            return super().drain(*arguments, **named)

        def read(self, *arguments: Any, **named: Any) -> dict[str, Any]:
            monkeypatch.setenv("DECANTER_DATABASE_URL", urls["reader"])
            return super().read(*arguments, **named)

        def operate(self, *arguments: Any, **named: Any) -> dict[str, Any]:
            monkeypatch.setenv("DECANTER_DATABASE_URL", urls["drain"])
            return super().operate(*arguments, **named)

        def sweep(self) -> dict[str, int]:
            monkeypatch.setenv("DECANTER_DATABASE_URL", urls["sweep"])
            return sweeper.sweep(Context(30))

    plain = make_world(shop(), url)
    plain.__class__ = Functions
    yield plain
    connection.forget("sweep")


@pytest.fixture
def as_role(shared: str) -> Iterator[Callable[..., Any]]:
    """`as_role(kind, url=…)`: a cursor of the role, in autocommit."""
    opened = []

    def cursor(kind: str, url: str = shared) -> Any:
        own = {role.kind: role.url for role in settings(url)}
        connected = psycopg2.connect(own[kind])
        connected.autocommit = True
        opened.append(connected)
        return connected.cursor()

    yield cursor
    for each in opened:
        each.close()
