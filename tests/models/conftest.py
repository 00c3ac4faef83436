"""The tests of this project's own models run by themselves: `make models`."""

from pathlib import Path

import pytest

import chalicelib
from tests.kit.databases import database_url, new_database, postgres, sample_template
from tests.kit.engines import engine_name
from tests.kit.front_table import front_table
from tests.kit.stream import streamed
from tests.kit.world import world

__all__ = [
    "database_url",
    "engine_name",
    "front_table",
    "new_database",
    "postgres",
    "sample_template",
    "streamed",
    "world",
]

if not Path(chalicelib.__file__).is_relative_to(Path(__file__).parents[2]):
    raise pytest.UsageError(
        "The other tests run on models of their own. Run these by themselves: make models"
    )
