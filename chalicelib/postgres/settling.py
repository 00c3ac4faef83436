"""Settling: to make visible what was committed, on servers that may show it later than they answer.

A COMMIT of Citus is decided by the coordinator, where the ledger is. A worker that was not reached
shows its part once that is recovered, which Citus does by itself each minute.
"""

from chalicelib.errors import DatabaseUnavailable
from chalicelib.postgres.connecting.connection import Transaction, transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.engine import engine_of

MADE = """
    CREATE OR REPLACE FUNCTION decanter.settle() RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
    DECLARE
        known text[] := ARRAY(SELECT gid FROM pg_dist_transaction);
        rest int;
    BEGIN
        FOR attempt IN 1..5 LOOP
            PERFORM recover_prepared_transactions();
            SELECT count(*) INTO rest FROM pg_dist_transaction WHERE gid = ANY (known);
            EXIT WHEN rest = 0;
            PERFORM pg_sleep(0.02);
        END LOOP;
        RETURN rest;
    END $$
"""
"""The function, which runs with the rights of the owner: only a superuser may recover. Who may use
the schema may call it; it changes nothing that was not committed. It returns how many commits on
workers are not known to be visible. Those that are under way come to their end by themselves, and
are waited for."""

_TWO_PHASE = """
    CREATE TABLE IF NOT EXISTS decanter.two_phase (id int);
    GRANT DELETE ON decanter.two_phase TO PUBLIC;
    SELECT create_distributed_table('decanter.two_phase', 'id', shard_count := 1)
    WHERE EXISTS (SELECT FROM pg_dist_node WHERE shouldhaveshards) AND NOT EXISTS (
        SELECT FROM pg_dist_partition WHERE logicalrelid = 'decanter.two_phase'::regclass)
"""
"""A table that stays empty. Each transaction that writes deletes nothing from it, so that Citus
commits in two phases. Who may use the schema may do that. Without a node for shards, no table is
distributed yet."""

_SETTLE = "SELECT decanter.settle()"

_settled: set[Connection] = set()


class Unsettled(Exception):
    """A rejection is due, but what was committed before may not be visible yet."""


def require(running: Transaction) -> None:
    """Raises Unsettled where a rejection would be premature."""
    if running.engine.settles_before_rejecting and running.connection not in _settled:
        raise Unsettled


def recover(connection: Connection, deadline: float) -> int:
    """Make visible what was committed, and undo what was not, where the engine needs that: a COMMIT
    that was cut off holds its locks until then. Returns how many commits may be invisible still.
    Raises DatabaseError."""
    if not engine_of(connection).settles_before_rejecting:
        return 0
    with transaction(connection, deadline) as running:
        ((left,),) = running.execute(_SETTLE)
    return int(left)


def settle(connection: Connection, deadline: float) -> None:
    """Recover; after that, rejections may be kept until `unsettle`. Raises DatabaseError:
    DatabaseUnavailable if that is not complete."""
    if left := recover(connection, deadline):
        raise DatabaseUnavailable(
            "nothing is rejected before what was committed is visible on all nodes. Commits that"
            f" may not be: {left}. Start the node that citus_check_cluster_node_health() tells of"
        )
    _settled.add(connection)


def unsettle(connection: Connection) -> None:
    """What is committed from now on may again be visible late."""
    _settled.discard(connection)


def make(connection: Connection) -> None:
    """Make the function and the table, if the engine needs them."""
    if engine_of(connection).settles_before_rejecting:
        with connection.cursor() as cursor:
            cursor.execute(MADE)
            cursor.execute(_TWO_PHASE)
