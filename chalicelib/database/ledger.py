"""The ledger: which messages were poured, and which writes were rejected. All its SQL is here."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from chalicelib.database.connection import Transaction

_CLAIM = """
    INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, accepted_at)
    SELECT dedup_id, fingerprint, writes, timestamptz 'epoch' + accepted_at * interval '1 ms'
    FROM unnest(%s::uuid[], %s::text[], %s::integer[], %s::bigint[])
        AS claim(dedup_id, fingerprint, writes, accepted_at)
"""

_CLAIM_FRESH = f"""{_CLAIM}
    ON CONFLICT (dedup_id) DO NOTHING
    RETURNING dedup_id::text
"""

_REJECT = """
    INSERT INTO decanter.rejection
        (dedup_id, item, resource, op, type, reason, sqlstate, "constraint", "column", row, body)
    SELECT dedup_id, item, resource, op, type, reason, sqlstate, "constraint", "column",
        row::json, body
    FROM json_to_recordset(%s::json) AS rejection(
        dedup_id uuid, item integer, resource text, op text, type text, reason text, sqlstate text,
        "constraint" text, "column" text, row text, body text)
    ON CONFLICT (dedup_id, item) DO NOTHING
"""

_SWEEP = """
    WITH old AS MATERIALIZED (
        SELECT ctid FROM decanter.{table}
        WHERE {time} < now() - %s * interval '1 day' LIMIT %s),
    gone AS (DELETE FROM decanter.{table} USING old WHERE {table}.ctid = old.ctid RETURNING 1)
    SELECT count(*) FROM gone
"""

_STATUS = """
    SELECT json_build_object(
        'poured', count(*),
        'reused', count(*) FILTER (WHERE fingerprint <> %(fingerprint)s),
        'writes', coalesce(sum(writes), 0),
        'accepted_at', min(accepted_at),
        'poured_at', max(poured_at),
        'rejected', (
            SELECT count(*) FROM decanter.rejection
            WHERE dedup_id BETWEEN %(first)s::uuid AND %(last)s::uuid),
        'rejections', (
            SELECT coalesce(json_agg(shown ORDER BY item), '[]') FROM (
                SELECT item, type, reason, sqlstate, "constraint", "column"
                FROM decanter.rejection
                WHERE dedup_id BETWEEN %(first)s::uuid AND %(last)s::uuid
                ORDER BY item LIMIT %(limit)s) AS shown))
    FROM decanter.ledger WHERE dedup_id BETWEEN %(first)s::uuid AND %(last)s::uuid
"""


class Entry(NamedTuple):
    """A message in the ledger. accepted_at: milliseconds since the epoch."""

    dedup_id: str
    fingerprint: str
    writes: int
    accepted_at: int


@dataclass(frozen=True)
class Rejection:
    """A write, or a whole message, that the database can never take, kept with its reason.

    item: the write's place in its request, from 0.
    type: stable for clients: conflict, missing, missing-parent, still-referenced, null, check,
        value, trigger, misfit, foreign-message.
    row: JSON text of the write. body: the whole message, where it could not be read.
    """

    dedup_id: str
    item: int
    resource: str | None
    op: str | None
    type: str
    reason: str
    sqlstate: str | None = None
    constraint: str | None = None
    column: str | None = None
    row: str | None = None
    body: str | None = None


def claim(transaction: Transaction, entries: Iterable[Entry]) -> None:
    """Enter messages; the transaction is refused if one of them was poured before."""
    transaction.ahead(_CLAIM, _columns(entries))


def claim_fresh(transaction: Transaction, entries: Iterable[Entry]) -> set[str]:
    """Enter messages; returns the dedup IDs of those that nobody has poured before.

    Waits for a concurrent transaction that claims the same message, and then does what it decided.
    """
    return {dedup_id for (dedup_id,) in transaction.execute(_CLAIM_FRESH, _columns(entries))}


def _columns(entries: Iterable[Entry]) -> list[str]:
    # Sorted, so that two drains with the same messages wait for each other only one way. Array
    # literals made here cost a tenth of the driver's; no element has a character to quote.
    columns = zip(*sorted(entries), strict=True)
    return [f"{{{','.join(map(str, column))}}}" for column in columns]


def reject(transaction: Transaction, rejections: Sequence[Rejection]) -> None:
    """Keep rejections."""
    if rejections:
        transaction.execute(_REJECT, (json.dumps([vars(rejection) for rejection in rejections]),))


def sweep(transaction: Transaction, days: int, limit: int) -> int:
    """Delete at most `limit` ledger rows and rejections that are older; returns how many."""
    aged = {"rejection": "rejected_at", "ledger": "poured_at"}
    return sum(
        transaction.execute(_SWEEP.format(table=table, time=time), (days, limit))[0][0]
        for table, time in aged.items()
    )


def status(
    transaction: Transaction, first: UUID, last: UUID, fingerprint: str, limit: int
) -> dict[str, Any]:
    """What became of a request's messages, `first` to `last`; at most `limit` rejections listed."""
    bound = {
        "first": str(first),
        "last": str(last),
        "fingerprint": fingerprint,
        "limit": limit,
    }
    ((found,),) = transaction.execute(_STATUS, bound)
    return dict(found)
