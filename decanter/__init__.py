"""Tools of the project, which are not deployed."""

from pathlib import Path

PROJECT = Path(__file__).parent.parent

POSTGRES_URL = "DECANTER_POSTGRES_URL"
"""Environment variable: URL of a Postgres to use in place of the embedded one."""

POSTGRES_BIN = "DECANTER_POSTGRES_BIN"
"""Environment variable: folder with the programs of the embedded Postgres, in place of those that
are installed with the project."""

CITUS_URL = "DECANTER_CITUS_URL"
"""Environment variable: URL of a database on the coordinator of a cluster of Citus, of a
superuser."""


def relative(path: Path, base: Path | None = None) -> Path:
    """Return the path relative to a folder (the current one) if it is in there."""
    base = base or Path.cwd()
    return path.relative_to(base) if path.is_relative_to(base) else path
