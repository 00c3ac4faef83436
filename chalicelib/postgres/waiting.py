"""The table of waiting writes: what each waits for, and since when. All its SQL is here.

A write that cannot be poured now (its parent is missing, its row is locked, …) is kept here, so
that only later writes to its key have to wait for it. Its message is in the ledger.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from chalicelib.errors import RefusedByDatabase
from chalicelib.postgres.connecting.connection import Transaction


class Reason(StrEnum):
    """What a write waits for."""

    OTHER_ROW = "parent"  # the row that it refers to, or the one that has its unique value or
    # refers to it. The text has its name from the first, as former versions read it
    LOCK = "lock"  # another transaction that holds its row, or its parent's
    SLOW = "slow"  # an invocation of its own
    SCHEMA = "schema"  # a table, column or right that the models need
    KEY = "key"  # an earlier write to its key that waits
    TIME = "time"  # the next invocation, or the next part of this one


class WaitingEntry(NamedTuple):
    """A waiting write.

    digest: of its key, 64 bits unsigned; None for unordered resources. message: a message of this
    write alone, encoded. is_late: it may have come after newer writes to its key. tries:
    invocations that it had to itself. waited: seconds for which drains have looked for the other
    row.
    """

    dedup_id: str
    item: int
    digest: int | None
    reason: Reason
    message: str
    is_late: bool
    tries: int = 0
    waited: float = 0.0


_KEEP = """
    INSERT INTO decanter.waiting (dedup_id, item, digest, reason, message, is_late)
    SELECT dedup_id, item, digest, reason, message, is_late
    FROM ROWS FROM (json_to_recordset(%s::json) AS (dedup_id uuid, item integer, digest bigint,
            reason text, message text, is_late boolean))
        WITH ORDINALITY AS write (dedup_id, item, digest, reason, message, is_late, place)
    ORDER BY place
    ON CONFLICT (dedup_id, item) DO NOTHING
"""

# A number is never NULL: with a row to insert, the transaction is refused.
_REFUSE_KEYS = """
    INSERT INTO decanter.ledger (dedup_id, fingerprint)
    SELECT dedup_id, '' FROM decanter.waiting WHERE digest = ANY (%s::bigint[]) LIMIT 1
"""

_KEYS = "SELECT DISTINCT digest FROM decanter.waiting WHERE digest = ANY (%s::bigint[])"

# A pause of more than 90 s means that no drain was at work: the other row could not come either.
_WAITED = """
    waited + CASE WHEN now() - tried_at > interval '90 s' THEN 0
        ELSE extract(epoch FROM now() - tried_at) END
"""

# A write that has waited for long is seldom tried again, but always when its message comes again;
# and once in an invocation, unless it has not been tried yet.
_IS_DUE = """
    (reason IN ('time', 'key') OR tried_at < %(began)s::timestamptz
        AND (dedup_id = ANY (%(own)s::uuid[])
            OR now() - tried_at >= least((tried_at - since) / 2, interval '15 s')))
"""

# Of each key; a write without a digest has one of its own.
_FIRST = """
    place = ANY (ARRAY(
        SELECT min(place) FROM decanter.waiting
        GROUP BY digest, CASE WHEN digest IS NULL THEN place END))
"""

# Whoever holds the first write of a key holds all later ones; nobody waits for locks. One pass
# finds them all, however many writes share a digest or are dead but not vacuumed yet.
_TAKE = f"""
    WITH first AS MATERIALIZED (
        SELECT place, digest FROM decanter.waiting
        WHERE {_IS_DUE} AND (reason = 'slow') = %(slow)s
            AND (%(others)s OR dedup_id = ANY (%(own)s::uuid[]))
            AND {_FIRST}
        ORDER BY tried_at, place LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED)
    SELECT dedup_id::text, item, digest, reason, message, is_late, tries,
        (CASE WHEN reason = 'parent' THEN {_WAITED} ELSE 0 END)::float8
    FROM decanter.waiting
    WHERE place IN (SELECT place FROM first)
        OR (NOT %(slow)s AND digest IN (SELECT digest FROM first))
    ORDER BY place LIMIT %(limit)s
"""

_DONE = """
    DELETE FROM decanter.waiting USING unnest(%s::uuid[], %s::integer[]) AS done (id, number)
    WHERE dedup_id = id AND item = number
"""

_AGAIN = f"""
    UPDATE decanter.waiting SET
        waited = CASE WHEN waiting.reason = 'parent' AND again.reason = 'parent'
            THEN {_WAITED} ELSE 0 END,
        reason = again.reason, tries = tries + again.tried, tried_at = now()
    FROM json_to_recordset(%s::json)
        AS again (dedup_id uuid, item integer, reason text, tried integer)
    WHERE waiting.dedup_id = again.dedup_id AND waiting.item = again.item
"""

_OLDEST = """
    SELECT count(*), coalesce(extract(epoch FROM now() - min(since)), 0)::float8
    FROM decanter.waiting
"""

# The first line of a message is its header.
_OF_RESOURCE = """
    SELECT count(*) FROM decanter.waiting
    WHERE split_part(message, chr(10), 1)::json ->> 'resource' = %s
"""

# A parent may wait itself, for something that will end. One behind a write that waits for a parent
# waits for that write; its own reason is older, and each would wait for the other.
_LAG = f"""
    SELECT CASE
        WHEN EXISTS (
            SELECT FROM decanter.waiting
            WHERE reason IN ('lock', 'schema', 'slow', 'time') AND {_FIRST})
        THEN 'infinity'
        ELSE least(coalesce(extract(epoch FROM max(poured_at - accepted_at)), 0), 3600)
        END::float8
    FROM decanter.ledger WHERE poured_at > now() - interval '30 s' AND writes > 0
"""


def keep(transaction: Transaction, entries: Iterable[WaitingEntry]) -> None:
    """Keep writes; those of one key in this order."""
    kept = [{**each._asdict(), "digest": _signed(each.digest)} for each in entries]
    if kept:
        transaction.execute(_KEEP, (json.dumps(kept),))


def refuse_keys(transaction: Transaction, digests: Iterable[int]) -> None:
    """Have the transaction refused if a write to one of these keys waits."""
    transaction.ahead(_REFUSE_KEYS, (_array(digests),))


def is_refusal(error: RefusedByDatabase) -> bool:
    """Whether the transaction was refused because of a waiting write."""
    # The table is a partition of the ledger, of which there are many.
    return (error.kind, error.schema, error.column) == ("null", "decanter", "writes")


def exist(transaction: Transaction) -> bool:
    """Whether any write waits."""
    ((found,),) = transaction.execute("SELECT EXISTS (SELECT FROM decanter.waiting)")
    return bool(found)


def oldest(transaction: Transaction) -> tuple[int, float]:
    """How many writes wait, and for how many seconds the oldest does."""
    ((writes, seconds),) = transaction.execute(_OLDEST)
    return int(writes), float(seconds)


def of_resource(transaction: Transaction, resource: str) -> int:
    """How many writes to a resource wait."""
    ((writes,),) = transaction.execute(_OF_RESOURCE, (resource,))
    return int(writes)


def keys(transaction: Transaction, digests: Iterable[int]) -> set[int]:
    """The digests with which a write waits."""
    found = transaction.execute(_KEYS, (_array(digests),))
    return {digest % _2_64 for (digest,) in found}


def take(
    transaction: Transaction,
    own: Collection[str],
    limit: int,
    began: str,
    slow: bool = False,
    others: bool = True,
) -> list[WaitingEntry]:
    """Lock due writes until the transaction ends; those of one key are in their order.

    own: dedup IDs of messages whose writes are due in any case. began: by Postgres' clock; writes
    that were tried since then are left out. slow: only slow writes, or only others. others: also
    writes of other messages than one's own and what follows these.
    """
    bound = {"own": list(own), "limit": limit, "began": began, "slow": slow, "others": others}
    found = transaction.execute(_TAKE, bound)
    entries = [WaitingEntry(*row) for row in found]
    return [
        each._replace(reason=Reason(each.reason), digest=_unsigned(each.digest)) for each in entries
    ]


def remove(transaction: Transaction, writes: Sequence[tuple[str, int]]) -> None:
    """Remove writes that are applied or rejected."""
    if writes:
        dedup_ids, items = zip(*writes, strict=True)
        transaction.execute(_DONE, (list(dedup_ids), list(items)))


def put_back(transaction: Transaction, writes: Iterable[tuple[str, int, Reason, bool]]) -> None:
    """Record that writes were tried, what they wait for now, and whether that counts as a try."""
    names = ("dedup_id", "item", "reason", "tried")
    tried = [dict(zip(names, (*each[:3], int(each[3])), strict=True)) for each in writes]
    if tried:
        transaction.execute(_AGAIN, (json.dumps(tried),))


def time(transaction: Transaction) -> str:
    """The time by Postgres' clock when the transaction began."""
    ((now,),) = transaction.execute("SELECT now()::text")
    return str(now)


def lag(transaction: Transaction) -> float:
    """Seconds by which other rows may be late: the longest time that writes poured in the last half
    minute were queued, an hour at most; infinite while accepted writes wait for a lock, the schema
    or time, as they may be of these rows."""
    ((seconds,),) = transaction.execute(_LAG)
    return float(seconds)


_2_64 = 1 << 64


def _unsigned(digest: int | None) -> int | None:
    return None if digest is None else digest % _2_64


def _signed(digest: int | None) -> int | None:
    digest = _unsigned(digest)  # a foreign one may be out of range
    return digest - _2_64 if digest is not None and digest >= _2_64 >> 1 else digest


def _array(digests: Iterable[int]) -> str:
    return f"{{{','.join([str(_signed(digest)) for digest in digests])}}}"
