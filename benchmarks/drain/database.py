"""A Postgres for one benchmark."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import Json
from chalicelib.migrate.handler import upgrade
from chalicelib.postgres.connecting import session
from decanter.local.postgres import Postgres


@contextmanager
def own_database() -> Iterator[str]:
    """URL of a migrated Postgres with its default durability; gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="decanter-bench-"))
    server = Postgres(home)
    server.start()
    try:
        upgrade(server.url())
        yield server.url()
    finally:
        server.stop()
        shutil.rmtree(home)


def fill(url: str, stations: list[Json]) -> None:
    """These stations, and no other row of any table."""
    rows = json.dumps([{**station, "active": True} for station in stations])
    with closing(session.opened(url, "bench")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE stations, observations,"
                " decanter.ledger, decanter.rejection, decanter.made_key"
            )
            into = "INSERT INTO stations SELECT * FROM json_populate_recordset(NULL::stations, %s)"
            cursor.execute(into, (rows,))
            cursor.execute("ANALYZE stations")
            cursor.execute("CHECKPOINT")


def poured(url: str) -> tuple[Any, ...]:
    """How many writes the ledger has, and how many rejections there are."""
    with closing(session.opened(url, "bench")) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(writes), (SELECT count(*) FROM decanter.rejection) FROM decanter.ledger"
        )
        return cursor.fetchone() or ()
