"""Deletes of old rows of Decanter's tables."""

from chalicelib.messages.receipt import SPLIT_DIGITS
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ledger import IS_KEYED

_OLD = "now() - %(days)s * interval '1 day'"

_OLD_KEYED = "now() - %(keyed_days)s * interval '1 day'"

# A message is kept for as long as one of its writes waits, and a rejection for as long as its
# message: no rejected write is ever reported as applied; a correction for as long as its rejection,
# which would be open again. A row of made keys has several messages, some maybe with an
# Idempotency-Key: it is kept until these are old, as a search for the remaining messages would take
# longer and longer.
_SWEEPS = {
    "ledger": f"poured_at < {_OLD} AND NOT {IS_KEYED} AND NOT EXISTS"
    " (SELECT FROM decanter.waiting WHERE waiting.dedup_id = ledger.dedup_id)",
    "rejection": f"rejected_at < {_OLD} AND NOT EXISTS"
    " (SELECT FROM decanter.ledger WHERE ledger.dedup_id = rejection.dedup_id)",
    "correction": f"corrected_at < {_OLD} AND NOT EXISTS (SELECT FROM decanter.rejection"
    " WHERE rejection.dedup_id = correction.dedup_id AND rejection.item = correction.item)",
    "made_key": f"poured_at < {_OLD_KEYED} AND NOT EXISTS"
    " (SELECT FROM decanter.ledger WHERE ledger.dedup_id = ANY (made_key.dedup_ids))",
    "orphan": f"tried_at < {_OLD}",
    "outbox": f"entered_at < {_OLD}",  # of a stage that does not publish events any more
}

_SWEEP = """
    WITH old AS MATERIALIZED (SELECT ctid FROM decanter.{table} WHERE {condition} LIMIT %(limit)s),
    gone AS (DELETE FROM decanter.{table} USING old WHERE {table}.ctid = old.ctid RETURNING 1)
    SELECT count(*) FROM gone
"""

# All messages of a request at once, when the last of them is old: if some were forgotten, a retry
# would be applied in part.
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
    """Delete about `limit` older rows of each table; returns their number. keyed_days: for messages
    of requests with an Idempotency-Key, and for made keys."""
    steps = [_SWEEP.format(table=name, condition=each) for name, each in _SWEEPS.items()]
    bound = {"days": days, "keyed_days": keyed_days, "limit": limit}
    return sum(transaction.execute(sql, bound)[0][0] for sql in (_SWEEP_KEYED, *steps))
