"""Aurora DSQL as far as one machine has it: MiniStack's proxy with the rules of its SQL, before the
embedded Postgres with the isolation of its transactions.

What a transaction reads is what was committed when it began, and of two that write a row the later
one is refused with 40001, as in DSQL; only that it waits for the other one first. There are no
roles, and rows of a transaction are not counted.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ministack.core import pgproxy  # type: ignore[import-untyped]

from chalicelib.postgres.connecting.access import url_parts
from decanter.local.network import LOOPBACK
from decanter.local.postgres import Postgres
from tests.kit.databases import execute, name_of

_PROXY_ROLE = "postgres"  # which the proxy logs in as, without a password
_MARKS = """
    CREATE SCHEMA sys;
    CREATE TABLE sys.jobs (job_id text);
    CREATE TABLE sys.iam_pg_role_mappings (iam_arn text);
"""


@dataclass
class Proxy:
    """A proxy that listens on a port of the loopback interface."""

    port: int = 0

    def url(self, backend_url: str) -> str:
        """The URL of a database through the proxy."""
        return f"postgresql://admin@{LOOPBACK}:{self.port}/{name_of(backend_url)}?sslmode=disable"


@contextmanager
def proxy_of(server: Postgres) -> Iterator[Proxy]:
    """A proxy before a server, in a thread of its own, which ends with the block."""
    _admit(server)
    backend = url_parts(server.url())
    made, ready, loop = Proxy(), threading.Event(), asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not start_proxy, which listens on all interfaces.
        await pgproxy._handle_client("tests", LOOPBACK, int(backend["port"]), reader, writer)

    async def listen() -> None:
        listening = await asyncio.start_server(serve, LOOPBACK, 0)
        made.port = listening.sockets[0].getsockname()[1]
        ready.set()
        async with listening:
            with suppress(asyncio.CancelledError):
                await listening.serve_forever()

    def run() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(listen())
        made_tasks.append(task)
        loop.run_until_complete(task)
        rest = asyncio.all_tasks(loop)
        for each in rest:
            each.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.close()

    made_tasks: list[asyncio.Task[None]] = []
    thread = threading.Thread(target=run, name="dsql-proxy", daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(made_tasks[0].cancel)
        thread.join(60)


def mark(backend_url: str) -> None:
    """Have a database look and isolate transactions like one of DSQL."""
    execute(backend_url, _MARKS)
    name = name_of(backend_url)
    execute(
        backend_url,
        f"ALTER DATABASE {name} SET default_transaction_isolation TO 'repeatable read'",
    )


def _admit(server: Postgres) -> None:
    """Let the proxy log in, from this machine."""
    rules = Path(server.data / "pg_hba.conf")
    line = f"host all {_PROXY_ROLE} {LOOPBACK}/32 trust\n"
    if line not in (text := rules.read_text()):
        rules.write_text(line + text)
        execute(server.url(), f"CREATE ROLE {_PROXY_ROLE} SUPERUSER LOGIN")
        execute(server.url(), "SELECT pg_reload_conf()")
