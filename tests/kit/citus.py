"""Databases with Citus, on the cluster of DECANTER_CITUS_URL, and tables placed there."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, Table, UniqueConstraint, event
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from chalicelib.postgres.resources import DISTRIBUTED_BY
from chalicelib.postgres.sql.names import plain_name
from decanter import CITUS_URL
from decanter.contract.placement import REFERENCE, placement_of
from decanter.local.citus import Cluster
from decanter.migration.statements import placing
from tests.kit.databases import create_tables


@pytest.fixture(scope="session")
def citus_cluster() -> Iterator[Cluster]:
    """The cluster. Skips the test if none is named."""
    if CITUS_URL not in os.environ:
        pytest.skip(f"did not run: {CITUS_URL} names no database with Citus")
    with closing(Cluster(os.environ[CITUS_URL])) as cluster:
        yield cluster


@pytest.fixture
def citus_url(citus_cluster: Cluster) -> Iterator[str]:
    """A database with the ledger on it."""
    url = citus_cluster.create()
    yield url
    citus_cluster.drop(url)


def make_tables(url: str, metadata: MetaData) -> None:
    """Make these tables: distributed, or reference tables. They are placed before foreign keys are
    made, as by migrations."""
    keys = [key for table in metadata.tables.values() for key in table.foreign_key_constraints]
    former = [key.use_alter for key in keys]
    for table in metadata.tables.values():
        event.listen(table, "after_create", _place)
    for key in keys:
        key.use_alter = True
    try:
        create_tables(url, metadata)
    finally:
        for table in metadata.tables.values():
            event.remove(table, "after_create", _place)
        for key, was in zip(keys, former, strict=True):
            key.use_alter = was


def _place(table: Table, connection: Connection, **_: Any) -> None:
    placement = placement_of(table)
    assert placement is not None
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute("SET LOCAL citus.multi_shard_modify_mode = sequential")
        cursor.execute("SET LOCAL citus.shard_count = 4")
        cursor.execute(placing(plain_name(table), placement.column))


def declare(metadata: MetaData) -> None:
    """Have these tables say where they are: distributed by a column of the key that all unique
    constraints have, or else, and where others refer to them, reference tables."""
    tables = metadata.tables.values()
    parents = {
        element.column.table
        for table in tables
        for key in table.foreign_key_constraints
        for element in key.elements
    }
    for table in tables:
        for name in (DISTRIBUTED_BY, REFERENCE):  # of another test with these tables
            table.info.pop(name, None)
        column = _distribution(table) if table not in parents else ""
        table.info.update({DISTRIBUTED_BY: column} if column else {REFERENCE: True})


def _distribution(table: Table) -> str:
    keys: Sequence[set[str]] = [
        {column.name for column in constraint.columns}
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint | ExcludeConstraint)
    ]
    keys = [*keys, *({c.name for c in index.columns} for index in table.indexes if index.unique)]
    for column in table.primary_key.columns or table.columns:
        if all(column.name in each for each in keys) and not (column.nullable or column.computed):
            return str(column.name)
    return ""
