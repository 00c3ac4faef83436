"""Writes that wait, apart from their queue: what each waits for, since when. All its SQL is here.

A write that cannot be poured now (its parent is not there, its row is locked, ...) is kept here, so
that nothing else has to wait for it but later writes to its key. Its message is in the ledger.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from chalicelib.errors import RefusedByDatabase
from chalicelib.postgres.connecting.connection import Transaction


class Reason(StrEnum):
    """What a write waits for."""

    PARENT = "parent"
    """The row that it refers to."""
    LOCK = "lock"
    """Somebody else's transaction that holds its row, or its parent's."""
    SLOW = "slow"
    """A time when it can have an invocation for itself."""
    SCHEMA = "schema"
    """The table, column or privilege that the models say."""
    KEY = "key"
    """An earlier write to its key that waits."""
    TIME = "time"
    """The next invocation, or the next part of this one."""


class WaitingEntry(NamedTuple):
    """A write as it is kept.

    digest: of its key, 64 bits without a sign; None where it has none. message: a message of this
    write alone, as the queue had it. tries: how often it had an invocation for itself. waited:
    seconds for which drains have looked for its parent.
    """

    dedup_id: str
    item: int
    digest: int | None
    reason: Reason
    message: str
    tries: int = 0
    waited: float = 0.0


_KEEP = """
    INSERT INTO decanter.waiting (dedup_id, item, digest, reason, message)
    SELECT dedup_id, item, digest, reason, message
    FROM ROWS FROM (json_to_recordset(%s::json)
        AS (dedup_id uuid, item integer, digest bigint, reason text, message text))
        WITH ORDINALITY AS write (dedup_id, item, digest, reason, message, place)
    ORDER BY place
    ON CONFLICT (dedup_id, item) DO NOTHING
"""

# A number is never NULL: with a row to insert, the transaction is refused.
_REFUSE_KEYS = """
    INSERT INTO decanter.ledger (dedup_id, fingerprint)
    SELECT dedup_id, '' FROM decanter.waiting WHERE digest = ANY (%s::bigint[]) LIMIT 1
"""

_KEYS = "SELECT DISTINCT digest FROM decanter.waiting WHERE digest = ANY (%s::bigint[])"

# A pause of more than 90 s says that no drain was at work: the parent could not come either.
_WAITED = """
    waited + CASE WHEN now() - tried_at > interval '90 s' THEN 0
        ELSE extract(epoch FROM now() - tried_at) END
"""

_MESSAGES = """
    SELECT ARRAY(SELECT DISTINCT dedup_id::text FROM decanter.waiting
            WHERE dedup_id = ANY (%(own)s::uuid[])),
        EXISTS (SELECT FROM decanter.waiting WHERE dedup_id <> ALL (%(own)s::uuid[]))
"""

# Seldom looked at again what has waited for long, but always when its message comes again; and once
# in an invocation, unless it has not been tried yet.
_IS_DUE = """
    (reason IN ('time', 'key') OR tried_at < %(began)s::timestamptz
        AND (dedup_id = ANY (%(own)s::uuid[])
            OR now() - tried_at >= least((tried_at - since) / 2, interval '15 s')))
"""

# The first write of a key decides: who holds it has all that follow. Nobody waits for another one.
# All are found in one pass, however many writes have one digest, and are dead but not vacuumed yet.
_TAKE = f"""
    WITH first AS MATERIALIZED (
        SELECT place, digest FROM decanter.waiting
        WHERE {_IS_DUE} AND (reason = 'slow') = %(slow)s
            AND (%(others)s OR dedup_id = ANY (%(own)s::uuid[]))
            AND place = ANY (ARRAY(
                SELECT min(place) FROM decanter.waiting
                GROUP BY digest, CASE WHEN digest IS NULL THEN place END))
        ORDER BY tried_at, place LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED)
    SELECT dedup_id::text, item, digest, reason, message, tries,
        CASE WHEN reason = 'parent' THEN {_WAITED} ELSE 0 END
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

# A parent that is accepted, and waits itself for what will end, is not given up.
_LAG = """
    SELECT CASE
        WHEN EXISTS (
            SELECT FROM decanter.waiting WHERE reason IN ('lock', 'schema', 'slow', 'time'))
        THEN 'infinity'
        ELSE least(coalesce(extract(epoch FROM max(poured_at - accepted_at)), 0), 3600)
        END::float8
    FROM decanter.ledger WHERE poured_at > now() - interval '30 s' AND writes > 0
"""


def keep(transaction: Transaction, entries: Iterable[WaitingEntry]) -> None:
    """Keep writes, in this order where they have the same key."""
    kept = [{**each._asdict(), "digest": _signed(each.digest)} for each in entries]
    if kept:
        transaction.execute(_KEEP, (json.dumps(kept),))


def refuse_keys(transaction: Transaction, digests: Iterable[int]) -> None:
    """The transaction is refused if a write with one of these keys waits."""
    transaction.ahead(_REFUSE_KEYS, (_array(digests),))


def is_refusal(error: RefusedByDatabase) -> bool:
    """Whether the transaction was refused because of a write that waits."""
    return (error.kind, error.table, error.column) == ("null", "ledger", "writes")


def exist(transaction: Transaction) -> bool:
    """Whether any write waits."""
    ((found,),) = transaction.execute("SELECT EXISTS (SELECT FROM decanter.waiting)")
    return bool(found)


def oldest(transaction: Transaction) -> tuple[int, float]:
    """How many writes wait, and for how many seconds the oldest does."""
    ((writes, seconds),) = transaction.execute(_OLDEST)
    return int(writes), float(seconds)


def keys(transaction: Transaction, digests: Iterable[int]) -> set[int]:
    """Those of the digests with which a write waits."""
    found = transaction.execute(_KEYS, (_array(digests),))
    return {digest % _UNSIGNED for (digest,) in found}


def messages(transaction: Transaction, dedup_ids: Collection[str]) -> tuple[set[str], bool]:
    """Those of the messages of which a write waits, and whether one of another message does."""
    ((found, others),) = transaction.execute(_MESSAGES, {"own": list(dedup_ids)})
    return {*found}, others


def take(
    transaction: Transaction,
    own: Collection[str],
    limit: int,
    began: str,
    slow: bool = False,
    others: bool = True,
) -> list[WaitingEntry]:
    """Writes that are due, until the transaction ends nobody else's; in the order of each key.

    own: dedup IDs whose writes are due in any case. began: Postgres' time since which none is tried
    twice. slow: those that need much time, and no others. others: not only one's own, and what
    follows them.
    """
    bound = {"own": list(own), "limit": limit, "began": began, "slow": slow, "others": others}
    found = transaction.execute(_TAKE, bound)
    return [
        WaitingEntry(
            dedup_id,
            item,
            None if digest is None else digest % _UNSIGNED,
            Reason(reason),
            message,
            tries,
            float(waited),
        )
        for dedup_id, item, digest, reason, message, tries, waited in found
    ]


def remove(transaction: Transaction, writes: Sequence[tuple[str, int]]) -> None:
    """Forget writes that are applied or rejected."""
    if writes:
        dedup_ids, items = zip(*writes, strict=True)
        transaction.execute(_DONE, (list(dedup_ids), list(items)))


def put_back(transaction: Transaction, writes: Iterable[tuple[str, int, Reason, bool]]) -> None:
    """Remember that writes were tried, and what they wait for now; whether that counts as a try."""
    names = ("dedup_id", "item", "reason", "tried")
    tried = [dict(zip(names, (*each[:3], int(each[3])), strict=True)) for each in writes]
    if tried:
        transaction.execute(_AGAIN, (json.dumps(tried),))


def time(transaction: Transaction) -> str:
    """Postgres' time at the begin of the transaction."""
    ((now,),) = transaction.execute("SELECT now()::text")
    return str(now)


def lag(transaction: Transaction) -> float:
    """Seconds for which parents may be late: as long as the writes poured in the last half minute
    were in the queue, an hour at most; without end while accepted writes wait for a lock, the
    schema or time, as they may be the parents."""
    ((seconds,),) = transaction.execute(_LAG)
    return float(seconds)


_UNSIGNED = 1 << 64


def _signed(digest: int | None) -> int | None:
    if digest is None:
        return None
    digest %= _UNSIGNED  # some are none of ours
    return digest - _UNSIGNED if digest >= _UNSIGNED >> 1 else digest


def _array(digests: Iterable[int]) -> str:
    return f"{{{','.join([str(_signed(digest)) for digest in digests])}}}"
