"""The SQL that judges preconditions: which of the rows sent are not as their conditions ask."""

from functools import cache

from chalicelib.messages.message import ANY_ROW
from chalicelib.ops import OPS, Op
from chalicelib.postgres.resources import ResourceTable
from chalicelib.postgres.sql.names import PLACE, column_name, recordset, same_key, table_name
from chalicelib.postgres.sql.queries import etag
from chalicelib.postgres.sql.statements import Statement

_CONDITIONS = 'json_to_recordset(%(conditions)s::json) AS ("match" text[], "none" text[])'
_NAMES = '"decanter:match", "decanter:none"'
_ANY_ROW = f"'{{{ANY_ROW[0]}}}'"
# NULL: no such condition; of the ETag: no such row.
_HOLDS = f"""
    ("decanter:match" IS NULL OR "decanter:etag" IS NOT NULL
        AND ("decanter:match" = {_ANY_ROW} OR "decanter:etag" = ANY ("decanter:match")))
    AND ("decanter:none" IS NULL OR "decanter:etag" IS NULL
        OR NOT ("decanter:none" = {_ANY_ROW} OR "decanter:etag" = ANY ("decanter:none")))
"""
# Of a message with more rows than conditions: no row must slip in under another one's.
_UNASKED = 'coalesce("decanter:match", "decanter:none") IS NULL'


@cache
def condition_check(resource: ResourceTable, op: Op) -> Statement:
    """Says which rows do not meet their conditions. It reads nothing of a row but its key.

    The rows of the table that it looks at stay as they are until the transaction ends.
    """
    names = ", ".join([*map(column_name, resource.key), _NAMES, PLACE])
    return Statement(
        f"""
        WITH "decanter:sent" AS MATERIALIZED (
            SELECT * FROM ROWS FROM ({recordset("rows", resource.key)}, {_CONDITIONS})
                WITH ORDINALITY AS sent ({names})),
        "decanter:found" AS MATERIALIZED (
            SELECT sent.{PLACE}, {etag(resource)} AS "decanter:etag"
            FROM {table_name(resource.table)} AS target
                JOIN "decanter:sent" AS sent ON {same_key(resource)}
            FOR {OPS[op].lock} OF target)
        SELECT ARRAY(
            SELECT ({PLACE} - 1)::int
            FROM "decanter:sent" LEFT JOIN "decanter:found" USING ({PLACE})
            WHERE {_UNASKED} OR NOT ({_HOLDS}) ORDER BY {PLACE})
        """,
        checks_conditions=True,
    )
