"""The Postgres to use: the embedded one, unless DECANTER_POSTGRES_URL names another."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decanter import POSTGRES_URL
from decanter.local.named import NamedPostgres, load_mark, new_mark
from decanter.local.postgres import MAX_CONNECTIONS, Postgres

Server = Postgres | NamedPostgres


def server(home: Path) -> Server:
    """Return the server for a data folder; its databases stay like the folder does."""
    if not (named := os.environ.get(POSTGRES_URL)):
        return Postgres(home)
    home.mkdir(parents=True, exist_ok=True)
    return NamedPostgres(named, load_mark(home / "named-postgres"))


@contextmanager
def scratch(purpose: str) -> Iterator[Server]:
    """Provide a server with an empty database; all that is created on it is dropped afterwards."""
    if not (named := os.environ.get(POSTGRES_URL)):
        with scratch_embedded(purpose) as embedded:
            yield embedded
        return
    shared = NamedPostgres(named, new_mark())
    shared.check()
    try:
        shared.ensure_database()
        yield shared
    finally:
        shared.drop()


@contextmanager
def scratch_embedded(purpose: str, max_connections: int = MAX_CONNECTIONS) -> Iterator[Postgres]:
    """Provide an embedded Postgres whose data are removed afterwards."""
    home = Path(tempfile.mkdtemp(prefix=f"decanter-{purpose}-"))
    server = Postgres(home, max_connections)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(home)
