"""Tools of the project, none of which is deployed."""

from pathlib import Path

PROJECT = Path(__file__).parent.parent

POSTGRES_URL = "DECANTER_POSTGRES_URL"
"""Variable of the environment: a Postgres that is used in place of the embedded one."""
