"""The ledger: which messages were poured, and which writes were rejected. All its SQL is here."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from chalicelib.database.connection import Transaction
from chalicelib.receipt import MAX_MESSAGES

_VERSION = 14  # where a UUID's text has its version,
_KEYED = "8"  # which tells those that an Idempotency-Key makes

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

_CLAIM_REQUEST = f"""{_CLAIM}
    ON CONFLICT (dedup_id) DO NOTHING
"""

_REUSED = """
    SELECT dedup_id, claim.fingerprint
    FROM unnest(%s::uuid[], %s::text[]) AS claim(dedup_id, fingerprint)
    JOIN decanter.ledger USING (dedup_id) WHERE ledger.fingerprint <> claim.fingerprint
"""

# A fingerprint is never NULL: with a row to insert, the transaction is refused.
_REFUSE_REUSED = """
    INSERT INTO decanter.ledger (dedup_id, fingerprint, writes)
    SELECT dedup_id, NULL, 0
    FROM unnest(%s::uuid[], %s::text[]) AS claim(dedup_id, fingerprint)
    JOIN decanter.ledger USING (dedup_id) WHERE ledger.fingerprint <> claim.fingerprint
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
        'reused', count(*) FILTER (WHERE fingerprint <> %(fingerprint)s) + (
            SELECT count(*) FROM decanter.ledger
            WHERE dedup_id = %(request)s::uuid AND fingerprint <> %(fingerprint)s),
        'writes', coalesce(sum(writes), 0),
        'accepted_at', min(accepted_at),
        'poured_at', max(poured_at),
        'waiting', (
            SELECT count(*) FROM decanter.waiting
            WHERE dedup_id BETWEEN %(first)s::uuid AND %(last)s::uuid),
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
    type: stable for clients: conflict, missing, precondition-failed, missing-parent,
        still-referenced, null, check, value, trigger, timeout, misfit, expired, foreign-message.
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
    """Enter messages; the transaction is refused if one of them was poured before, or is of a
    request whose Idempotency-Key another request has claimed."""
    entries = list(entries)
    if requests := _requests(entries):
        transaction.ahead(_CLAIM_REQUEST, _columns(_first(requests)))
        transaction.ahead(_REFUSE_REUSED, _columns(requests)[:2])
    transaction.ahead(_CLAIM, _columns(entries))


def claim_requests(transaction: Transaction, entries: Iterable[Entry]) -> set[Entry]:
    """Have the first message of each request with an Idempotency-Key claim it; returns messages of
    requests that another one, with other content, has claimed.

    Without it, a message that only the second request has would slip in beside those of the first.
    """
    entries = list(entries)
    requests = _requests(entries)
    if not requests:
        return set()
    transaction.execute(_CLAIM_REQUEST, _columns(_first(requests)))
    reused = {tuple(row) for row in transaction.execute(_REUSED, _columns(requests)[:2])}
    return {entry for entry in entries if (_request(entry.dedup_id), entry.fingerprint) in reused}


def claim_fresh(transaction: Transaction, entries: Iterable[Entry]) -> set[str]:
    """Enter messages; returns the dedup IDs of those that nobody has poured before.

    Waits for a concurrent transaction that claims the same message, and then does what it decided.
    """
    return {dedup_id for (dedup_id,) in transaction.execute(_CLAIM_FRESH, _columns(entries))}


def _requests(entries: Iterable[Entry]) -> list[Entry]:
    """What claims the requests of messages: ledger rows with a number that no message has."""
    return [
        Entry(_request(each.dedup_id), each.fingerprint, 0, each.accepted_at)
        for each in entries
        if each.dedup_id[_VERSION] == _KEYED
    ]


def _request(dedup_id: str) -> str:
    return f"{dedup_id[:-4]}{MAX_MESSAGES:04x}"


def _first(requests: Sequence[Entry]) -> Iterable[Entry]:
    return {request.dedup_id: request for request in reversed(requests)}.values()


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
    """Delete at most `limit` rows of each table that are older; returns how many."""
    aged = {"rejection": "rejected_at", "ledger": "poured_at", "orphan": "tried_at"}
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
        "request": _request(str(first)),
        "limit": limit,
    }
    ((found,),) = transaction.execute(_STATUS, bound)
    return dict(found)
