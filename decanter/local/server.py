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

_PASSING = (
    *(("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")),
    *(("max_wal_size", "128MB"), ("min_wal_size", "32MB")),
)
"""Settings of a server whose data nobody misses after a crash."""

_MEMORY = Path("/dev/shm")  # noqa: S108 - a new folder in it is made, with mkdtemp
_LEAST_BYTES = 4_000_000_000


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
        with _embedded(purpose, _memory(), MAX_CONNECTIONS, _PASSING) as embedded:
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
def scratch_embedded(
    purpose: str,
    max_connections: int = MAX_CONNECTIONS,
    settings: tuple[tuple[str, str], ...] = (),
) -> Iterator[Postgres]:
    """Provide an embedded Postgres with default durability, whose data are removed afterwards."""
    with _embedded(purpose, None, max_connections, settings) as server:
        yield server


@contextmanager
def _embedded(
    purpose: str,
    folder: Path | None,
    max_connections: int,
    settings: tuple[tuple[str, str], ...] = (),
) -> Iterator[Postgres]:
    home = Path(tempfile.mkdtemp(prefix=f"decanter-{purpose}-", dir=folder))
    server = Postgres(home, max_connections, settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(home)


def _memory() -> Path | None:
    """A folder in memory, if there is one with room: to create and drop a database takes a tenth of
    the processor time there, as its hundreds of files need no journal."""
    try:
        return _MEMORY if shutil.disk_usage(_MEMORY).free >= _LEAST_BYTES else None
    except OSError:
        return None
