"""A real Postgres for the whole session, and a fresh database for each test."""

from tests.kit.citus import citus_cluster, citus_url
from tests.kit.databases import (
    database_url,
    ledger_template,
    new_database,
    postgres,
    sample_template,
)
from tests.kit.dsql import dsql, dsql_template, empty_dsql
from tests.kit.engines import engine_name, make_database, needed, reach, templates
from tests.kit.front_table import front_table
from tests.kit.revisions import apply, folder
from tests.kit.world import make_world, statements, world

__all__ = [
    "apply",
    "citus_cluster",
    "citus_url",
    "database_url",
    "dsql",
    "dsql_template",
    "empty_dsql",
    "engine_name",
    "folder",
    "front_table",
    "ledger_template",
    "make_database",
    "make_world",
    "needed",
    "new_database",
    "postgres",
    "reach",
    "sample_template",
    "statements",
    "templates",
    "world",
]
