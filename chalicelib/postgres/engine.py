"""What a database server can do: Postgres, Citus and Aurora DSQL by their capabilities.

Statements are made by these, and nobody asks for the name of an engine but to show it. A server is
asked when a connection is opened, in the round trip that its settings take anyway.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import psycopg2.extensions

_MIB = 1 << 20


@dataclass(frozen=True, eq=False)
class Engine:
    """Capabilities of a database server. Each engine is one object.

    name: as operators read it, and as a stage declares it.
    savepoints: a transaction can go on after a statement that was refused.
    settings: a transaction may have settings of its own (SET LOCAL): limits of time.
    notes: a statement may keep what it has found in a setting, for a later one to tell. Else the
        node that runs the statement keeps it.
    weak_row_locks: FOR NO KEY UPDATE and FOR SHARE; all have FOR UPDATE and FOR KEY SHARE.
    row_locks: a query may lock the rows of any table that it reads. Else only an update locks them.
    column_subqueries: a query of any table may have subqueries of the table's columns.
    waits_for_locks: a transaction waits for another one that has written or locked its row, and
        then sees what that has committed. Else both go on, each sees only what was committed when
        it began, and the later COMMIT is refused.
    advisory_locks, copy, partitions, ctid: as in Postgres.
    own_types: columns of any type, as arrays, or enums and domains that somebody makes.
    index_methods: of CREATE INDEX … USING.
    async_indexes: an index is made by CREATE INDEX ASYNC and is there some time later.
    ddl_apart: a transaction has one statement that changes the schema, and nothing else.
    names_in_errors: an error names the constraint, table and column.
    settles_before_rejecting: what was committed may be invisible until it is settled.
    distributes: tables are placed on the nodes of a cluster.
    roles: roles log in with a password, and may have a limit of connections.
    most_rows, most_bytes: that a transaction may change; None: any number.
    transaction_seconds: most that a transaction may take; None: any time.
    connection_seconds: most that a connection may live; None: any time.
    login: by which token a URL without a password logs in, see `connecting.token`.
    """

    name: Literal["postgres", "citus", "dsql"]
    savepoints: bool = True
    settings: bool = True
    notes: bool = True
    weak_row_locks: bool = True
    row_locks: bool = True
    column_subqueries: bool = True
    waits_for_locks: bool = True
    advisory_locks: bool = True
    copy: bool = True
    partitions: bool = True
    ctid: bool = True
    own_types: bool = True
    index_methods: frozenset[str] = frozenset({"btree", "brin", "gin", "gist", "hash"})
    async_indexes: bool = False
    ddl_apart: bool = False
    names_in_errors: bool = True
    settles_before_rejecting: bool = False
    distributes: bool = False
    roles: bool = True
    most_rows: int | None = None
    most_bytes: int | None = None
    transaction_seconds: float | None = None
    connection_seconds: float | None = None
    login: Literal["rds", "dsql"] = "rds"


POSTGRES = Engine("postgres")

CITUS = Engine(
    "citus",
    notes=False,
    row_locks=False,
    column_subqueries=False,
    names_in_errors=False,
    settles_before_rejecting=True,
    distributes=True,
)
"""A query locks the rows of one shard at most. Workers leave names out of errors, and a COMMIT of
several of them may become visible later than it answers:
https://docs.citusdata.com/en/stable/develop/reference_workarounds.html"""

DSQL = Engine(
    "dsql",
    savepoints=False,
    settings=False,
    notes=False,
    weak_row_locks=False,
    waits_for_locks=False,
    advisory_locks=False,
    copy=False,
    partitions=False,
    ctid=False,
    own_types=False,
    index_methods=frozenset({"btree"}),
    async_indexes=True,
    ddl_apart=True,
    roles=False,
    most_rows=3_000,
    most_bytes=10 * _MIB,
    transaction_seconds=300,
    connection_seconds=3_600,
    login="dsql",
)
"""Aurora DSQL: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/, in its chapters on SQL
features, concurrency control, and quotas and limits."""

ENGINES: Mapping[str, Engine] = MappingProxyType(
    {each.name: each for each in (POSTGRES, CITUS, DSQL)}
)
"""All engines by their names."""

# DSQL has no pg_extension, so that both are known by their relations.
IS_DSQL = """(
    SELECT count(*) = 2 FROM pg_catalog.pg_class
        JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relname IN ('jobs', 'iam_pg_role_mappings') AND nspname = 'sys')"""
"""A condition, true on Aurora DSQL, which refuses some settings of a session."""

_OF_CITUS = """EXISTS (
    SELECT FROM pg_catalog.pg_class
        JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relname = 'pg_dist_node' AND nspname = 'pg_catalog')"""

ASK = f"SELECT CASE WHEN {IS_DSQL} THEN 'dsql' WHEN {_OF_CITUS} THEN 'citus' ELSE 'postgres' END"
"""The query for the name of the server's engine: one row of one text."""


class OpenedConnection(psycopg2.extensions.connection):
    """A connection that knows its engine, once its session is settled."""

    engine: Engine | None = None


def told(rows: Sequence[Any]) -> Engine:
    """The engine that the rows of `ASK` tell."""
    ((name,),) = rows
    return ENGINES[name]


def engine_of(connection: psycopg2.extensions.connection) -> Engine:
    """The engine of a connection. The server is asked for it if `session` has not opened the
    connection. Raises the driver's errors."""
    known: Engine | None = getattr(connection, "engine", None)
    if known is not None:
        return known
    with connection.cursor() as cursor:
        cursor.execute(ASK)
        return told(cursor.fetchall())
