"""The peers of Decanter in a burst: an API function that writes to Postgres itself."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from sqlalchemy import Column, MetaData, Table, Text, make_url
from sqlalchemy.schema import CreateTable

from benchmarks import child
from benchmarks.burst.client import Target
from chalicelib.migrate.handler import upgrade
from chalicelib.postgres.connecting import session
from decanter.local.network import LOOPBACK
from decanter.local.server import scratch_embedded

POOLS = PER_CONTAINER, PER_REQUEST = "per container", "per request"
"""What a connection is opened for. The first is as AWS documents it."""

KEYS = Table("idempotency_keys", MetaData(), Column("key", Text, primary_key=True))
PROCESSES = 2
ROLE = "direct"


@contextmanager
def database(max_connections: int) -> Iterator[tuple[str, str]]:
    """Provide the URLs of an embedded Postgres as its owner, and as the function's role."""
    with scratch_embedded("burst", max_connections) as server:
        url = server.url()
        upgrade(url)
        password = secrets.token_hex(16)
        with closing(session.opened(url, "burst")) as connection, connection.cursor() as cursor:
            cursor.execute(str(CreateTable(KEYS)))
            # Not a superuser, who may take the connections that are reserved for superusers.
            cursor.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{password}'")
            cursor.execute(f"GRANT INSERT ON {KEYS.name}, observations TO {ROLE}")
            cursor.execute(f"GRANT SELECT ON {KEYS.name}, observations TO {ROLE}")
            connection.commit()
        own = make_url(url).set("postgresql+psycopg2", ROLE, password)
        yield url, own.render_as_string(hide_password=False)


@contextmanager
def served(url: str, pool: str) -> Iterator[Target]:
    """Serve the function, without any container yet, for the block."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                child.started("benchmarks.burst.function", {"url": url, "pool": pool})
            )
            for _ in range(PROCESSES)
        ]
        urls = [f"http://{LOOPBACK}:{process.hear()}/observations" for process in processes]
        yield Target(urls, {"Content-Type": "application/json"})
