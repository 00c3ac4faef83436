"""Aurora DSQL as far as one machine has it: MiniStack's proxy with the rules of its SQL, in a
thread of this process, before a database of a local Postgres.

What a transaction reads is what was committed when it began, and of two that write a row the later
one is refused with 40001, as in DSQL; only that it waits for the other one first. The proxy knows
statements by their patterns, does not count the rows that a transaction changes, and accepts any
token. What it lacks is added here: connections have the role and the name that the client gives
and end with the server's, `AWS IAM GRANT` maps roles of IAM to those of the database, statements
may be refused as conflicts, and what does too much is refused with the SQLSTATE of DSQL.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from ministack.core import pgproxy  # type: ignore[import-untyped]

from chalicelib.postgres.connecting.access import url_parts
from chalicelib.postgres.connecting.token import ADMIN
from decanter.local.named import execute
from decanter.local.network import LOOPBACK, free_port

CLUSTER = "a" * 26
"""The identifier of the cluster, for the template's parameter `DatabaseResource`."""

REPEATABLE_READ = "ALTER DATABASE {name} SET default_transaction_isolation TO 'repeatable read'"
"""Has what a transaction reads be what was committed when it began, and refuses a write of what was
written since."""

_CATALOG = """
    CREATE SCHEMA IF NOT EXISTS sys;
    CREATE TABLE IF NOT EXISTS sys.jobs (job_id text);
    CREATE TABLE IF NOT EXISTS sys.iam_pg_role_mappings (
        pg_role_oid oid, pg_role_name text, arn text)
"""
_SECONDS = 30
_LEFT_SECONDS = 5
_OF_IAM = re.compile(r"AWS\s+IAM\s+(GRANT|REVOKE)\s+(\S+)\s+(?:TO|FROM)\s+'([^']+)'", re.IGNORECASE)
_TOO_MUCH = re.compile(r"transaction exceed.* limit")
_READ_ONLY, _LIMIT = "25006", "54000"
_BETWEEN = "\0"  # between a parameter of the start-up packet and the next one
_session: ContextVar[str] = ContextVar("session")  # the name of a connection's, in its task
_numbers = count(1)


@dataclass
class Dsql:
    """A server with these rules.

    url: of the database behind it, by way of the proxy; the user is `admin`, and there is no
    password, so that functions log in with tokens. behind: the same database without the rules.
    conflict: the message with which what a client has sent is refused as a conflict, or None; it is
    given the session's name and the statements.
    note: is called with each statement that is alone in what a client sends. has_rules: else all
    is let through. ports: of the proxy's connections to the database, by those of the clients that
    they are for.
    """

    url: str
    behind: str
    conflict: Callable[[str, str], str | None] = lambda _name, _sql: None
    note: Callable[[str], None] = lambda _sql: None
    has_rules: bool = True
    ports: dict[int, int] = field(default_factory=dict)
    _clients: dict[Any, asyncio.StreamWriter] = field(default_factory=dict)
    _gone: dict[Any, Callable[[], bool]] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def cut(self, chosen: Callable[[], bool]) -> int:
        """Cut connections of clients, without a farewell; returns how many. chosen: is asked for
        each."""
        return int(self._run(self._cut(chosen)))

    async def _cut(self, chosen: Callable[[], bool]) -> int:
        found = [each for each in self._clients.values() if chosen()]
        for each in found:
            each.transport.abort()
        return len(found)

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_SECONDS)


_servers: dict[str, Dsql] = {}


@contextmanager
def dsql_before(url: str, *, with_roles: bool = False, with_rules: bool = True) -> Iterator[Dsql]:
    """DSQL's rules before the database of a URL, whose server trusts its role `postgres`.

    url: of a superuser; the server reads its hba_file on this machine. with_roles: a client that
    names another user than `admin` has the role of that name, and its rights. with_rules: else the
    proxy lets everything through, to a database that stays as it is.
    """
    parts, name, port = url_parts(url), f"local-{next(_numbers)}", free_port()
    _trust(url, f'"{parts["dbname"]}" all' if with_roles else None)
    if with_rules:
        execute(url, REPEATABLE_READ.format(name=f'"{parts["dbname"]}"'))
        execute(url, _CATALOG)
    own = f"postgresql://{ADMIN}@{LOOPBACK}:{port}/{parts['dbname']}?sslmode=disable"
    server = Dsql(own, url, has_rules=with_rules)
    thread = threading.Thread(target=server._loop.run_forever, name=name, daemon=True)
    thread.start()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # By its task, of which the loop keeps none alive that waits for a lost server.
        task = asyncio.current_task()
        server._clients[task] = writer
        server._gone[task] = lambda: bool(reader._eof)  # type: ignore[attr-defined]
        try:
            with suppress(asyncio.CancelledError):  # at the end
                # Not start_proxy, which listens on all interfaces.
                place = parts["host"], int(parts["port"])
                await pgproxy._handle_client(name, *place, reader, writer)
        finally:
            del server._clients[task], server._gone[task]

    _extend()
    _servers[name] = server
    listening = server._run(asyncio.start_server(serve, LOOPBACK, port))
    try:
        yield server
    finally:
        server._loop.call_soon_threadsafe(listening.close)
        server._run(_end_connections(server))
        server._loop.call_soon_threadsafe(server._loop.stop)
        thread.join(_SECONDS)
        server._loop.close()
        del _servers[name]


async def _end_connections(server: Dsql) -> None:
    """End the tasks of connections, also of those that a client has left open."""
    # What a client has left while the database was not there would not close its own end.
    if left := [task for task, each in server._gone.items() if each()]:
        await asyncio.wait(left, timeout=_LEFT_SECONDS)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.sleep(0)
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _trust(url: str, more: str | None) -> None:
    """Have the server trust its role `postgres`, which the proxy logs in as. more: the database and
    users of another line of pg_hba.conf."""
    lines = [more] if more else []
    if not execute(url, "SELECT 1 FROM pg_roles WHERE rolname = 'postgres'"):
        execute(url, "CREATE ROLE postgres SUPERUSER LOGIN")
        lines.append("all postgres")
    if lines:
        file = Path(execute(url, "SHOW hba_file")[0][0])
        trusted = "".join(f"host {each} {LOOPBACK}/32 trust\n" for each in lines)
        file.write_text(trusted + file.read_text())
        execute(url, "SELECT pg_reload_conf()")


@cache
def _extend() -> None:
    """Add to the proxy what it lacks, for the servers of this module."""
    plan, handle = pgproxy._plan_statement, pgproxy._handle_query
    parse, relay = pgproxy._parse_startup_params, pgproxy._backend_relay
    reject = pgproxy._reject

    async def planned(conn: Any, sql: str, *arguments: Any, **named: Any) -> Any:
        if server := _servers.get(conn.cluster_id):
            server.note(sql)
            if found := _OF_IAM.match(sql):
                _map(server, *found.groups())
                return "rows", {"cols": ["done"], "rows": [], "tag": "GRANT"}
        return await plan(conn, sql, *arguments, **named)

    async def handled(conn: Any, sql: str, b_writer: Any, c_writer: Any) -> None:
        server = _servers.get(conn.cluster_id)
        if server:
            port = c_writer.get_extra_info("peername")[1]
            server.ports[port] = b_writer.get_extra_info("sockname")[1]
        is_over = conn.txn.aborted or conn.txn.synthetic_abort
        if server and not is_over and (message := _refused(server, sql)):
            pgproxy._reject(conn, c_writer, pgproxy.DsqlError("40001", message))
            await c_writer.drain()
            return
        if server and not server.has_rules:
            b_writer.write(pgproxy._frame(b"Q", sql.encode() + b"\0"))
            await b_writer.drain()
            return
        await handle(conn, sql, b_writer, c_writer)

    def parsed(payload: bytes) -> dict[str, str]:
        given: dict[str, str] = parse(payload)
        _session.set(given.get("application_name", ""))
        more = {"application_name": _session.get()}
        if (user := given.get("user", ADMIN)) != ADMIN:
            more["user"] = user
        # The proxy writes user and database into its own packet, whose later values count.
        items = [given.get("database", "postgres"), *(x for pair in more.items() for x in pair)]
        return {**given, "database": _BETWEEN.join(items)}

    async def relayed(conn: Any, b_reader: Any, c_writer: Any) -> None:
        try:
            await relay(conn, b_reader, c_writer)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            c_writer.close()  # where the server has ended the connection, so has this

    def rejected(conn: Any, c_writer: Any, error: Any) -> None:
        if error.sqlstate == _READ_ONLY and _TOO_MUCH.match(error.message):
            error = pgproxy.DsqlError(_LIMIT, error.message)
        reject(conn, c_writer, error)

    pgproxy._reject = rejected
    pgproxy._plan_statement = planned
    pgproxy._backend_relay = relayed
    pgproxy._handle_query = handled
    pgproxy._parse_startup_params = parsed


def _refused(server: Dsql, sql: str) -> str | None:
    is_end = re.match(r"\s*ROLLBACK\b", sql, re.IGNORECASE)
    return None if is_end else server.conflict(_session.get(), sql)


def _map(server: Dsql, what: str, role: str, arn: str) -> None:
    role = role.strip('"')
    if what.upper() == "GRANT":
        sql = "INSERT INTO sys.iam_pg_role_mappings VALUES (to_regrole(%s), %s, %s)"
        execute(server.behind, sql, (role, role, arn))
    else:
        sql = "DELETE FROM sys.iam_pg_role_mappings WHERE pg_role_name = %s AND arn = %s"
        execute(server.behind, sql, (role, arn))
