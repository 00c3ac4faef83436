"""The database of a benchmark."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

from benchmarks.harness import Json, timed
from chalicelib.migrate.handler import upgrade
from chalicelib.postgres.connecting import session
from decanter.local.server import scratch_embedded


@contextmanager
def own_database() -> Iterator[str]:
    """Provide the URL of a migrated, embedded Postgres with default durability."""
    with scratch_embedded("bench") as server:
        upgrade(server.url())
        yield server.url()


def fill(url: str, stations: list[Json], subscriptions: Sequence[Json] = ()) -> None:
    """Fill the tables of stations and subscriptions, and empty all others."""
    filled = {
        "stations": [{**station, "active": True} for station in stations],
        "subscriptions": [*subscriptions],
    }
    with closing(session.opened(url, "bench")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE stations, observations, subscriptions,"
                " decanter.ledger, decanter.rejection, decanter.made_key, decanter.outbox"
            )
            for table, rows in filled.items():
                read = f"SELECT * FROM json_populate_recordset(NULL::{table}, %s)"
                cursor.execute(f"INSERT INTO {table} {read}", (json.dumps(rows),))
                cursor.execute(f"ANALYZE {table}")
            cursor.execute("CHECKPOINT")


def rows_per_second(
    url: str, rows: int, pour: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return how fast the rows are poured, by this clock. Raise AssertionError unless all of them
    were."""
    took, _ = timed(pour, clock)
    check_poured(url, rows)
    return rows / took


def check_poured(url: str, rows: int) -> None:
    """Raise AssertionError unless the ledger has so many writes, and none was rejected or waits."""
    with closing(session.opened(url, "bench")) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(writes), (SELECT count(*) FROM decanter.rejection),"
            " (SELECT count(*) FROM decanter.waiting) FROM decanter.ledger"
        )
        if (found := cursor.fetchone()) != (rows, 0, 0):
            raise AssertionError(f"of {rows} rows, writes and rejections, and waiting, are {found}")
