"""The database of a benchmark."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from benchmarks.harness import Json
from chalicelib.migrate.handler import upgrade
from chalicelib.postgres.connecting import session
from decanter.local.server import scratch_embedded


@contextmanager
def own_database() -> Iterator[str]:
    """Provide the URL of a migrated, embedded Postgres with default durability."""
    with scratch_embedded("bench") as server:
        upgrade(server.url())
        yield server.url()


def fill(url: str, stations: list[Json]) -> None:
    """Fill the table of stations, and empty all others."""
    rows = json.dumps([{**station, "active": True} for station in stations])
    with closing(session.opened(url, "bench")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE stations, observations, subscriptions,"
                " decanter.ledger, decanter.rejection, decanter.made_key"
            )
            into = "INSERT INTO stations SELECT * FROM json_populate_recordset(NULL::stations, %s)"
            cursor.execute(into, (rows,))
            cursor.execute("ANALYZE stations")
            cursor.execute("CHECKPOINT")


def count_poured(url: str) -> tuple[Any, ...]:
    """Return the number of writes in the ledger, and of rejections."""
    with closing(session.opened(url, "bench")) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(writes), (SELECT count(*) FROM decanter.rejection) FROM decanter.ledger"
        )
        return cursor.fetchone() or ()
