"""Databases with Citus, on the cluster of DECANTER_CITUS_URL, and tables placed there."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from sqlalchemy import MetaData, Table, UniqueConstraint
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from decanter.contract.placement import placement_of
from decanter.local.citus import VARIABLE, Cluster
from decanter.migration.statements import placing
from tests.kit.databases import create_tables, execute


@pytest.fixture(scope="session")
def citus_cluster() -> Iterator[Cluster]:
    """The cluster. Skips the test if none is named."""
    if VARIABLE not in os.environ:
        pytest.skip(f"did not run: {VARIABLE} names no database with Citus")
    with closing(Cluster(os.environ[VARIABLE])) as cluster:
        yield cluster


@pytest.fixture
def citus_url(citus_cluster: Cluster) -> Iterator[str]:
    """A database with the ledger on it."""
    url = citus_cluster.create()
    yield url
    citus_cluster.drop(url)


def make_tables(url: str, metadata: MetaData) -> None:
    """Make these tables: distributed, or reference tables."""
    create_tables(url, metadata)
    for table in metadata.sorted_tables:
        placement = placement_of(table)
        assert placement is not None
        name = f'"{table.schema or "public"}"."{table.name}"'
        execute(url, f"SET citus.shard_count = 4; {placing(name, placement.column)}")


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
        column = _distribution(table) if table not in parents else ""
        table.info.update({"distribute_by": column} if column else {"reference": True})


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
