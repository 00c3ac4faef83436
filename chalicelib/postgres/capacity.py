"""The connections that the database grants, and who has them now."""

import json
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from chalicelib.postgres.connecting import access, session
from chalicelib.postgres.connecting.conflicts import RedoingCursor
from chalicelib.postgres.engine import engine_of
from chalicelib.settings import RoleSettings, role_names

_MOST_OF_A_CLUSTER = 10_000
"""Connections of a cluster of Aurora DSQL, unless its quota was raised."""

# Sessions of other roles show only their role and database.
_GRANTED = """
    WITH ours AS (
        SELECT oid, rolname, rolconnlimit FROM pg_roles WHERE rolname = ANY (%(roles)s)),
    sessions AS (
        SELECT datid, usesysid IN (SELECT oid FROM ours) AS of_roles, pid <> pg_backend_pid()
            AND NOT (usesysid IN (SELECT oid FROM ours) OR rolname = current_user
                AND application_name SIMILAR TO '(decanter|citus_internal)%%') AS others
        FROM pg_stat_activity JOIN pg_roles ON pg_roles.oid = usesysid
        WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend')
    SELECT json_build_object(
        'max_connections', current_setting('max_connections')::int,
        'superuser_reserved_connections', current_setting('superuser_reserved_connections')::int,
        'reserved_connections', coalesce(current_setting('reserved_connections', true)::int, 0)
            + coalesce(
                current_setting('rds.rds_superuser_reserved_connections', true)::int, 0),
        'others', (SELECT count(*) FROM sessions WHERE others),
        'others_of_database', (
            SELECT count(*) FROM sessions
            WHERE others AND datid = (SELECT oid FROM pg_database
                WHERE datname = current_database())),
        'role_sessions', (SELECT count(*) FROM sessions WHERE of_roles),
        'database_limit', (
            SELECT datconnlimit FROM pg_database WHERE datname = current_database()),
        'owner', current_user::text,
        'owner_limit', (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
        'role_limits', (SELECT coalesce(json_object_agg(rolname, rolconnlimit), '{}') FROM ours))
"""

# Before a table is distributed, what the next one gets.
_SHARDS = """
    WITH shards AS (
        SELECT count(*) AS n FROM pg_dist_partition JOIN pg_dist_shard USING (logicalrelid)
            JOIN pg_dist_placement USING (shardid)
        WHERE partmethod = 'h'
            AND logicalrelid IS DISTINCT FROM to_regclass('decanter.two_phase')
        GROUP BY logicalrelid, groupid)
    SELECT coalesce((SELECT max(n) FROM shards), (
        SELECT ceil(current_setting('citus.shard_count')::numeric / greatest(1, count(*)))::int
        FROM pg_dist_node WHERE noderole = 'primary' AND shouldhaveshards))
"""
_OF_WORKERS = """
    SELECT nodename || ':' || nodeport, success, result FROM run_command_on_workers(%s) ORDER BY 1
"""


def granted(url: str, roles: Sequence[RoleSettings] = ()) -> dict[str, Any]:
    """The limits of the server, and the present connections of others.

    Returns {"max_connections", "superuser_reserved_connections", "reserved_connections" (those of
    RDS' administrators included), "others": connections of all other programs,
    "others_of_database": those in this database, "role_sessions": connections of the roles,
    "database_limit", "owner", "owner_limit", "role_limits": by role}; a limit of -1 is none. Where
    tables are distributed, also "shards": most shards of a table on one node, each of which may
    need a connection of a writing session; and "workers": by their addresses the same of each, or
    {"error": why it did not tell}. Raises DatabaseError, NotConfigured.
    """
    names = [
        name
        for role in roles
        for parts in [access.url_parts(role.url)]
        for name in (parts.get("user"), *role_names(parts.get("dbname", ""), role.kind))
    ]
    with (
        closing(
            session.opened(url, "decanter migrate", cursor_factory=RedoingCursor)
        ) as connection,
        connection.cursor() as cursor,
    ):
        connection.autocommit = True
        if not (engine := engine_of(connection)).roles:
            return _without_limits(cursor)
        asked = cursor.mogrify(_GRANTED, {"roles": names})
        cursor.execute(asked)
        ((found,),) = cursor.fetchall()
        return {**found, **(_behind(cursor, asked.decode()) if engine.distributes else {})}


def _behind(cursor: Any, asked: str) -> dict[str, Any]:
    """What the nodes behind a coordinator grant to its sessions."""
    cursor.execute(_SHARDS)
    ((shards,),) = cursor.fetchall()
    cursor.execute(_OF_WORKERS, (asked,))
    workers = {
        name: json.loads(result) if success else {"error": result}
        for name, success, result in cursor.fetchall()
    }
    return {"shards": shards, "workers": workers}


def _without_limits(cursor: Any) -> dict[str, Any]:
    """What a cluster grants that has no limits of roles or databases, and tells of no sessions."""
    cursor.execute("SELECT current_user::text")
    ((owner,),) = cursor.fetchall()
    nothing = ("superuser_reserved_connections", "reserved_connections", "others")
    more = ("others_of_database", "role_sessions")
    return {
        "max_connections": _MOST_OF_A_CLUSTER,
        **dict.fromkeys((*nothing, *more), 0),
        "database_limit": -1,
        "owner": owner,
        "owner_limit": -1,
        "role_limits": {},
    }
