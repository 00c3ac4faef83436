"""A Postgres for one benchmark."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decanter.local.postgres import Postgres


@contextmanager
def own_database() -> Iterator[str]:
    """URL of a migrated Postgres with its default durability; gone afterwards."""
    from chalicelib.migrate.handler import upgrade

    home = Path(tempfile.mkdtemp(prefix="decanter-bench-"))
    server = Postgres(home)
    server.start()
    try:
        upgrade(server.url())
        yield server.url()
    finally:
        server.stop()
        shutil.rmtree(home)
