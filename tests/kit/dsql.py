"""Aurora DSQL as far as one machine has it: MiniStack's proxy with the rules of its SQL, in a
thread, before a database of the tests with the isolation of its transactions.

What a transaction reads is what was committed when it began, and of two that write a row the later
one is refused with 40001, as in DSQL; only that it waits for the other one first. The proxy knows
statements by their patterns, and does not count the rows that a transaction changes. `AWS IAM
GRANT`, which it does not know, is run here: it maps roles of IAM to those of the database.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ministack.core import pgproxy  # type: ignore[import-untyped]

from chalicelib.migrate.handler import upgrade
from chalicelib.postgres.connecting.access import url_parts
from decanter.local.network import LOOPBACK, free_port
from tests.kit.databases import drop, execute, name_of

_CATALOG = """
    ALTER DATABASE {name} SET default_transaction_isolation TO 'repeatable read';
    CREATE SCHEMA IF NOT EXISTS sys;
    CREATE TABLE IF NOT EXISTS sys.jobs (job_id text);
    CREATE TABLE IF NOT EXISTS sys.iam_pg_role_mappings (
        pg_role_oid oid, pg_role_name text, arn text)
"""
_SECONDS = 30
_numbers = count(1)
_OF_IAM = re.compile(r"AWS\s+IAM\s+(GRANT|REVOKE)\s+(\S+)\s+(?:TO|FROM)\s+'([^']+)'", re.IGNORECASE)


@dataclass
class Dsql:
    """A server with these rules. url: of the database behind it, by way of the proxy. statements:
    that have come to the server, in order."""

    url: str
    behind: str
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
    """DSQL's rules before the database of a URL, whose server trusts its role `postgres`."""
    _trust(url)
    execute(url, _CATALOG.format(name=name_of(url)))
    parts, name, port = url_parts(url), f"tests-{next(_numbers)}", free_port()
    # The proxy takes any password; without one, a token would be made.
    own = f"postgresql://admin:any@{LOOPBACK}:{port}/{parts['dbname']}?sslmode=disable"
    server = Dsql(own, url)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(_SECONDS)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not start_proxy, which listens on all interfaces.
        await pgproxy._handle_client(name, parts["host"], int(parts["port"]), reader, writer)

    listening = run(asyncio.start_server(serve, LOOPBACK, port))
    try:
        with _noted(server, name):
            yield server
    finally:
        loop.call_soon_threadsafe(listening.close)
        run(_end_connections())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_SECONDS)
        loop.close()


async def _end_connections() -> None:
    """End the tasks of connections, also of those that a test has left open."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.sleep(0)
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _trust(url: str) -> None:
    """Have the server trust its role `postgres`, which the proxy logs in as."""
    if not execute(url, "SELECT 1 FROM pg_roles WHERE rolname = 'postgres'"):
        execute(url, "CREATE ROLE postgres SUPERUSER LOGIN")
        file = Path(execute(url, "SHOW hba_file")[0][0])
        file.write_text(f"host all postgres {LOOPBACK}/32 trust\n{file.read_text()}")
        execute(url, "SELECT pg_reload_conf()")


@contextmanager
def _noted(server: Dsql, name: str) -> Iterator[None]:
    """Note the statements, and run those about IAM here."""
    plan: Callable[..., Any] = pgproxy._plan_statement

    async def planned(conn: Any, sql: str, *arguments: Any, **named: Any) -> Any:
        if conn.cluster_id == name:
            server.statements.append(sql)
            if found := _OF_IAM.match(sql):
                _map(server, *found.groups())
                return "rows", {"cols": ["done"], "rows": [], "tag": "GRANT"}
        return await plan(conn, sql, *arguments, **named)

    pgproxy._plan_statement = planned
    try:
        yield
    finally:
        pgproxy._plan_statement = plan


def _map(server: Dsql, what: str, role: str, arn: str) -> None:
    role = role.strip('"')
    if what.upper() == "GRANT":
        sql = "INSERT INTO sys.iam_pg_role_mappings VALUES (to_regrole(%s), %s, %s)"
        execute(server.behind, sql, (role, role, arn))
    else:
        sql = "DELETE FROM sys.iam_pg_role_mappings WHERE pg_role_name = %s AND arn = %s"
        execute(server.behind, sql, (role, arn))


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
