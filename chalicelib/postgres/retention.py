"""What is deleted of Decanter's own tables when it is old."""

from chalicelib.messages.receipt import SPLIT_DIGITS
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ledger import IS_KEYED

_OLD = "now() - %(days)s * interval '1 day'"

_OLD_KEYED = "now() - %(keyed_days)s * interval '1 day'"

# A message is known for as long as one of its writes waits. A rejection is known for as long as its
# message is: whatever is deleted first or left over, no rejected write is reported as applied. Keys
# of several messages are in one row, keyed ones among them: all wait until these are old, as to
# look each time for what is left of them would take longer and longer.
_SWEEPS = {
    "ledger": f"poured_at < {_OLD} AND NOT {IS_KEYED} AND NOT EXISTS"
    " (SELECT FROM decanter.waiting WHERE waiting.dedup_id = ledger.dedup_id)",
    "rejection": f"rejected_at < {_OLD} AND NOT EXISTS"
    " (SELECT FROM decanter.ledger WHERE ledger.dedup_id = rejection.dedup_id)",
    "made_key": f"poured_at < {_OLD_KEYED} AND NOT EXISTS"
    " (SELECT FROM decanter.ledger WHERE ledger.dedup_id = ANY (made_key.dedup_ids))",
    "orphan": f"tried_at < {_OLD}",
}

_SWEEP = """
    WITH old AS MATERIALIZED (SELECT ctid FROM decanter.{table} WHERE {condition} LIMIT %(limit)s),
    gone AS (DELETE FROM decanter.{table} USING old WHERE {table}.ctid = old.ctid RETURNING 1)
    SELECT count(*) FROM gone
"""

# All messages of a request at once, when the last of them is old: with some of them forgotten, a
# retry would be applied in part.
_SWEEP_KEYED = f"""
    WITH request AS MATERIALIZED (
        SELECT DISTINCT first, last FROM (
            SELECT {{first}} AS first, {{last}} AS last FROM decanter.ledger AS old
            WHERE poured_at < {_OLD_KEYED} AND {IS_KEYED}
                AND (SELECT dedup_id FROM decanter.ledger AS other
                    WHERE other.dedup_id BETWEEN {{first}} AND {{last}}
                        AND other.poured_at >= {_OLD_KEYED}
                    ORDER BY dedup_id LIMIT 1) IS NULL
                AND NOT EXISTS (SELECT FROM decanter.waiting
                    WHERE waiting.dedup_id BETWEEN {{first}} AND {{last}})
            LIMIT %(limit)s) AS found),
    gone AS (DELETE FROM decanter.ledger WHERE dedup_id = ANY (ARRAY(
        SELECT message.dedup_id FROM request, LATERAL (
            SELECT dedup_id FROM decanter.ledger WHERE dedup_id BETWEEN first AND last
            ORDER BY dedup_id LIMIT 1000) AS message)) RETURNING 1)
    SELECT count(*) FROM gone
""".format(
    first=f"(left(old.dedup_id::text, -{SPLIT_DIGITS}) || repeat('0', {SPLIT_DIGITS}))::uuid",
    last=f"(left(old.dedup_id::text, -{SPLIT_DIGITS}) || repeat('f', {SPLIT_DIGITS}))::uuid",
)


def sweep(transaction: Transaction, days: int, keyed_days: int, limit: int) -> int:
    """Delete about `limit` rows of each table that are older; returns how many.

    keyed_days: of messages of requests with an Idempotency-Key, and of made keys.
    """
    steps = [_SWEEP.format(table=name, condition=each) for name, each in _SWEEPS.items()]
    bound = {"days": days, "keyed_days": keyed_days, "limit": limit}
    return sum(transaction.execute(sql, bound)[0][0] for sql in (_SWEEP_KEYED, *steps))
