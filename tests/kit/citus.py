"""The database of DECANTER_CITUS_URL: one with Citus, of which tests take the place of all tables.

It is emptied before each test: schemas other than Citus' own are dropped, and all tables.
"""

import os
from collections.abc import Sequence
from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import MetaData, Table, UniqueConstraint
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from chalicelib.migrate.handler import upgrade
from chalicelib.postgres import partitions
from decanter.contract.placement import placement_of
from decanter.migration.statements import placing
from tests.kit.databases import create_tables, execute

VARIABLE = "DECANTER_CITUS_URL"

_CLEAR = """
    SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace
    WHERE nspname !~ '^(pg_|citus|columnar|information_schema$|public$|decanter$)'
    UNION ALL
    SELECT format('DROP %s %s CASCADE',
        CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
            WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, pg_class.oid::regclass)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'public' AND relkind IN ('r', 'p', 'v', 'm', 'S')
        AND NOT relispartition
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE objid = pg_class.oid AND refobjid <> objid
                AND deptype IN ('e', 'a', 'i'))
    UNION ALL
    SELECT format('DROP FUNCTION %s CASCADE', pg_proc.oid::regprocedure)
    FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    WHERE nspname = 'public' AND NOT EXISTS (
        SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
    UNION ALL
    SELECT format('DROP TYPE %s CASCADE', pg_type.oid::regtype)
    FROM pg_type JOIN pg_namespace ON pg_namespace.oid = typnamespace
    WHERE nspname = 'public' AND typtype IN ('e', 'd') AND NOT EXISTS (
        SELECT FROM pg_depend WHERE objid = pg_type.oid AND deptype = 'e')
"""


def url() -> str:
    """The URL of the database. Skips the test if none is named."""
    if VARIABLE not in os.environ:
        pytest.skip(f"did not run: {VARIABLE} names no database with Citus")
    return os.environ[VARIABLE]


def make(metadata: MetaData) -> str:
    """Empty the database, and make these tables: distributed, or reference tables."""
    named = url()
    clear(named)
    create_tables(named, metadata)
    for table in metadata.sorted_tables:
        placement = placement_of(table)
        assert placement is not None
        name = f'"{table.schema or "public"}"."{table.name}"'
        execute(named, f"SET citus.shard_count = 4; {placing(name, placement.column)}")
    return named


def clear(named: str) -> None:
    """Drop all tables but Decanter's own, and empty those."""
    with closing(psycopg2.connect(named)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(_CLEAR)
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
        cursor.execute("SELECT to_regprocedure('decanter.settle()')")
        if cursor.fetchone() == (None,):
            upgrade(named, "decanter@head")
            partitions.extend(connection, 2)
        cursor.execute(
            "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class"
            " WHERE relnamespace = 'decanter'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition AND relname !~ 'version|migration'"
        )
        ((tables,),) = cursor.fetchall()
        cursor.execute(f"TRUNCATE {tables}")
        cursor.execute("DELETE FROM decanter.alembic_version WHERE version_num !~ '^decanter'")


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
