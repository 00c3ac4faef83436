"""Deletes of old rows of Decanter's tables, and of whole leaves of the ledger."""

from chalicelib.messages.receipt import SPLIT_DIGITS
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.engine import Engine
from chalicelib.postgres.ledger import IS_KEYED, IS_WHOLE

_OLD = "now() - %(days)s * interval '1 day'"

_OLD_KEYED = "now() - %(keyed_days)s * interval '1 day'"

# A message is kept for as long as one of its writes waits, and a rejection for as long as its
# message: no rejected write is ever reported as applied; a correction for as long as its rejection,
# which would be open again. A row of made keys has several messages, some maybe with an
# Idempotency-Key: it is kept until these are old, as a search for the remaining messages would take
# longer and longer. A scalar subquery looks a message up in the one partition that may have it.
_SWEEPS = {
    "{rest}": f"poured_at < {_OLD} AND NOT {IS_KEYED} AND NOT EXISTS"
    f" (SELECT FROM decanter.waiting WHERE waiting.dedup_id = {{rest}}.dedup_id)",
    "rejection": f"rejected_at < {_OLD} AND {IS_WHOLE} AND"
    " (SELECT true FROM decanter.ledger WHERE ledger.dedup_id = rejection.dedup_id) IS NULL",
    "correction": f"corrected_at < {_OLD} AND NOT EXISTS (SELECT FROM decanter.rejection"
    " WHERE rejection.dedup_id = correction.dedup_id AND rejection.item = correction.item)",
    "made_key": f"poured_at < {_OLD_KEYED} AND {IS_WHOLE} AND NOT EXISTS"
    " (SELECT FROM unnest(made_key.dedup_ids::uuid[]) AS made (id)"
    " WHERE (SELECT true FROM decanter.ledger WHERE ledger.dedup_id = made.id))",
    "orphan": f"tried_at < {_OLD}",
    "outbox": f"entered_at < {_OLD}",  # of a stage that does not publish events any more
}

# What a row is known by. Where it is, its key leads to it faster than its place does.
_PLACES = {
    "{rest}": "dedup_id",
    "rejection": "dedup_id, item",
    "correction": "dedup_id, item",
    "made_key": "{place}",
    "orphan": "dedup_id",
    "outbox": "place",
}

# From one partition alone: in another one the same place is that of another row.
_SWEEP = """
    WITH old AS MATERIALIZED (
        SELECT {key} FROM decanter.{table} WHERE {condition} LIMIT %(limit)s),
    gone AS (DELETE FROM decanter.{table} USING old WHERE {same} RETURNING 1)
    SELECT count(*) FROM gone
"""

# All messages of a request at once, when the last of them is old: if some were forgotten, a retry
# would be applied in part. Their IDs differ in the last digits only: they are in one partition.
_SWEEP_KEYED = f"""
    WITH request AS MATERIALIZED (
        SELECT DISTINCT first, last FROM (
            SELECT {{first}} AS first, {{last}} AS last FROM decanter.{{{{partition}}}} AS old
            WHERE poured_at < {_OLD_KEYED} AND {IS_KEYED}
                AND (SELECT dedup_id FROM decanter.{{{{partition}}}} AS other
                    WHERE other.dedup_id BETWEEN {{first}} AND {{last}}
                        AND other.poured_at >= {_OLD_KEYED}
                    ORDER BY dedup_id LIMIT 1) IS NULL
                AND NOT EXISTS (SELECT FROM decanter.waiting
                    WHERE waiting.dedup_id BETWEEN {{first}} AND {{last}})
            LIMIT %(limit)s) AS found),
    old AS (
        SELECT message.dedup_id, first, count(*) OVER (ORDER BY first) AS upto
        FROM request, LATERAL (
            SELECT dedup_id FROM decanter.{{{{partition}}}} WHERE dedup_id BETWEEN first AND last
            ORDER BY dedup_id LIMIT 1000) AS message),
    gone AS (DELETE FROM decanter.{{{{partition}}}} WHERE dedup_id = ANY (ARRAY(
        SELECT dedup_id FROM old WHERE upto <= %(most)s
            OR first = (SELECT first FROM request ORDER BY first LIMIT 1))) RETURNING 1)
    SELECT count(*) FROM gone
""".format(
    first=f"(left(old.dedup_id::text, -{SPLIT_DIGITS}) || repeat('0', {SPLIT_DIGITS}))::uuid",
    last=f"(left(old.dedup_id::text, -{SPLIT_DIGITS}) || repeat('f', {SPLIT_DIGITS}))::uuid",
)

# Leaves that this role has rights on: they are granted a moment after a leaf is made.
_LEAVES = """
    SELECT relname::text FROM pg_partition_tree('decanter.ledger')
        JOIN pg_catalog.pg_class ON oid = relid
    WHERE isleaf AND relname ~ '^ledger_[0-9]{8}$'
        AND has_table_privilege(oid, 'TRUNCATE') ORDER BY 1
"""

# What a leaf keeps: messages with an Idempotency-Key, which another statement deletes, and those
# with a write that waits. Of the rest, all have to be old, or none goes.
_IS_KEPT = f"({IS_KEYED} OR dedup_id IN (SELECT waiting.dedup_id FROM decanter.waiting))"

# The first row by the index tells whether there is anything to forget; the BRIN index leads to
# recent rows, of which the last pages may be keyed ones. Without these settings, a leaf that was
# never analyzed may be read as a whole.
_BY_INDEX = "SET LOCAL enable_seqscan = off"
_CAN_EMPTY = f"""
    SELECT EXISTS (SELECT FROM decanter.{{leaf}} WHERE NOT {_IS_KEPT})
        AND NOT EXISTS (
            SELECT FROM decanter.{{leaf}} WHERE poured_at >= {_OLD} AND NOT {_IS_KEPT})
"""

_LOCK = "LOCK TABLE decanter.{leaf} IN ACCESS EXCLUSIVE MODE"
_KEPT = f"""
    SELECT count(*), array_agg(kept)::text FROM (
        SELECT * FROM decanter.{{leaf}} WHERE {IS_KEYED}
        UNION ALL SELECT message.* FROM
            (SELECT DISTINCT dedup_id FROM decanter.waiting) AS waits,
            LATERAL (SELECT * FROM decanter.{{leaf}} AS one
                WHERE one.dedup_id = waits.dedup_id LIMIT 1) AS message
            WHERE NOT {IS_KEYED.replace("dedup_id", "message.dedup_id")}
        LIMIT %(most)s) AS kept
"""
_TRUNCATE = "TRUNCATE decanter.{leaf}"
_PUT_BACK = "INSERT INTO decanter.{leaf} SELECT (unnest(%s::decanter.{leaf}[])).*"
_MOST_KEPT = 100_000
"""Rows of a leaf that are put back; with more it stays as it is."""

# The migrate function begins at least eight days before the first new leaf, and ends or undoes what
# it has begun at its next run.
_UNDO = """
    SELECT decanter.put_back_held() FROM pg_catalog.pg_class
    WHERE oid = to_regclass('decanter.ledger_held')
        AND split_part(obj_description(oid, 'pg_class'), ' ', 1)::date < now() + interval '2 days'
        AND has_function_privilege('decanter.put_back_held()', 'EXECUTE')
"""


_ALL = 1 << 31


def steps(engine: Engine, limit: int) -> tuple[int, int]:
    """How many rows of each table one step of the sweep deletes, and how many of requests with an
    Idempotency-Key, if not more are of the first request, whose messages go together."""
    if engine.most_rows is None:
        return limit, _ALL
    share = min(limit, engine.most_rows // 10)
    return share, share


def sweep(transaction: Transaction, days: int, keyed_days: int, limit: int, engine: Engine) -> int:
    """Delete about `limit` older rows of each table; returns their number. keyed_days: for messages
    of requests with an Idempotency-Key, and for made keys. Of a ledger with partitions, only the
    rest."""
    rest = "ledger_rest" if engine.partitions else "ledger"
    place = "ctid" if engine.ctid else "id"
    limit, most = steps(engine, limit)
    bound = {"days": days, "keyed_days": keyed_days, "limit": limit, "most": most}
    queries = [_SWEEP_KEYED.format(partition=rest)]
    for name, condition in _SWEEPS.items():
        table, key = name.format(rest=rest), _PLACES[name].format(place=place)
        own, old = (", ".join(f"{of}.{each}" for each in key.split(", ")) for of in (table, "old"))
        same = f"({own}) = ({old})"
        old_rows = condition.format(rest=rest)
        queries.append(_SWEEP.format(table=table, key=key, condition=old_rows, same=same))
    return sum(transaction.execute(sql, bound)[0][0] for sql in queries)


def leaves(transaction: Transaction) -> list[str]:
    """The leaves of the ledger, oldest first."""
    return [name for (name,) in transaction.execute(_LEAVES)]


def sweep_leaf_keyed(transaction: Transaction, leaf: str, keyed_days: int, limit: int) -> int:
    """Delete about `limit` older rows of requests with an Idempotency-Key; returns their number."""
    bound = {"keyed_days": keyed_days, "limit": limit, "most": _ALL}
    return int(transaction.execute(_SWEEP_KEYED.format(partition=leaf), bound)[0][0])


def can_empty(transaction: Transaction, leaf: str, days: int) -> bool:
    """Whether a leaf has rows to forget, all of which were poured before so many days. Costs as
    much with many rows as with few."""
    transaction.ahead(_BY_INDEX)
    ((found,),) = transaction.execute(_CAN_EMPTY.format(leaf=leaf), {"days": days})
    return bool(found)


def empty(transaction: Transaction, leaf: str, days: int) -> bool:
    """Empty a leaf, but for the rows that it keeps; returns whether it could be done.

    Nothing is deleted row by row, so that it leaves no dead rows, and the lock is short however
    many rows there are: files are deleted after COMMIT. The lock is on this leaf alone, to which
    nothing is poured any more. Raises LockNotAvailable.
    """
    transaction.ahead(_LOCK.format(leaf=leaf))
    if not can_empty(transaction, leaf, days):
        return False
    ((count, kept),) = transaction.execute(_KEPT.format(leaf=leaf), {"most": _MOST_KEPT + 1})
    if count > _MOST_KEPT:
        return False
    transaction.ahead(_TRUNCATE.format(leaf=leaf))
    if count:
        transaction.ahead(_PUT_BACK.format(leaf=leaf), (kept,))
    transaction.check()
    return True


def undo_unfinished(transaction: Transaction) -> None:
    """Undo new leaves that were begun, and not ended, before their time comes: what belongs to them
    would be refused."""
    transaction.execute(_UNDO)
