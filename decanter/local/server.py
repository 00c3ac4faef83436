"""Which Postgres is used: the embedded one, unless DECANTER_POSTGRES_URL names another."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decanter import POSTGRES_URL
from decanter.local.named import NamedPostgres, kept_mark, new_mark
from decanter.local.postgres import Postgres

Server = Postgres | NamedPostgres


def server(home: Path) -> Server:
    """The server whose databases belong to a data folder. They stay, as the folder does."""
    if not (named := os.environ.get(POSTGRES_URL)):
        return Postgres(home)
    home.mkdir(parents=True, exist_ok=True)
    return NamedPostgres(named, kept_mark(home / "named-postgres"))


@contextmanager
def scratch(purpose: str) -> Iterator[Server]:
    """A server with an empty database; what is made on it is gone afterwards."""
    if named := os.environ.get(POSTGRES_URL):
        shared = NamedPostgres(named, new_mark())
        shared.check()
        try:
            shared.ensure_database()
            yield shared
        finally:
            shared.drop()
        return
    home = Path(tempfile.mkdtemp(prefix=f"decanter-{purpose}-"))
    own = Postgres(home)
    try:
        own.start()
        yield own
    finally:
        own.stop()
        shutil.rmtree(home)
