"""Databases with DSQL's rules, see `decanter.local.dsql`."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from chalicelib.migrate.handler import upgrade
from decanter.local import dsql as local
from tests.kit.databases import drop, name_of


@dataclass
class Dsql:
    """A server with these rules. url: of the database behind it, by way of the proxy. statements:
    that have come to the server alone, in order."""

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
    """Note the statements, and run those about IAM here; and end a connection with the server's."""
    plan: Callable[..., Any] = pgproxy._plan_statement
    relay: Callable[..., Any] = pgproxy._backend_relay

    async def planned(conn: Any, sql: str, *arguments: Any, **named: Any) -> Any:
        if conn.cluster_id == name:
            server.statements.append(sql)
            if found := _OF_IAM.match(sql):
                _map(server, *found.groups())
                return "rows", {"cols": ["done"], "rows": [], "tag": "GRANT"}
        return await plan(conn, sql, *arguments, **named)

    async def relayed(conn: Any, server_side: Any, client_side: Any) -> None:
        try:
            await relay(conn, server_side, client_side)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            client_side.close()

    pgproxy._plan_statement, pgproxy._backend_relay = planned, relayed
    try:
        yield
    finally:
        pgproxy._plan_statement, pgproxy._backend_relay = plan, relay


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
