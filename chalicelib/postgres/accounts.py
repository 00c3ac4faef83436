"""What became of accepted requests: how many of their writes were poured, rejected, and wait."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from chalicelib.messages.receipt import span
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import Transaction

# Of all the requests: the constants leave few partitions of the ledger to plan for.
_IN_SPAN = "dedup_id BETWEEN %(least)s::uuid AND %(greatest)s::uuid"

# Each is a range of a primary key. LIMIT in its order makes Postgres use it, however many rows it
# may expect in an unknown range.
_ACCOUNTS = f"""
    SELECT coalesce(poured.writes, 0), rejected.writes, waiting.writes,
        coalesce(poured.differs, false) OR EXISTS (
            SELECT FROM decanter.ledger
            WHERE dedup_id = request.claim AND ledger.fingerprint <> request.fingerprint
                AND {_IN_SPAN}),
        to_json(poured.accepted_at), to_json(poured.poured_at)
    FROM unnest(%(first)s::uuid[], %(last)s::uuid[], %(claim)s::uuid[], %(fingerprint)s::text[])
        WITH ORDINALITY AS request(first, last, claim, fingerprint, place)
    CROSS JOIN LATERAL (
        SELECT sum(writes)::bigint AS writes,
            min(accepted_at) AS accepted_at, max(poured_at) AS poured_at,
            bool_or(message.fingerprint <> request.fingerprint) AS differs
        FROM (
            SELECT writes, fingerprint, accepted_at, poured_at FROM decanter.ledger
            WHERE dedup_id BETWEEN request.first AND request.last AND {_IN_SPAN}
            ORDER BY dedup_id LIMIT 65536) AS message) AS poured
    CROSS JOIN LATERAL (
        SELECT count(*) AS writes FROM (
            SELECT FROM decanter.rejection
            WHERE dedup_id BETWEEN request.first AND request.last
            ORDER BY dedup_id LIMIT 1000000) AS write) AS rejected
    CROSS JOIN LATERAL (
        SELECT count(*) AS writes FROM (
            SELECT FROM decanter.waiting
            WHERE dedup_id BETWEEN request.first AND request.last
            ORDER BY dedup_id LIMIT 1000000) AS write) AS waiting
    ORDER BY request.place
"""  # noqa: S608


# The scalar subqueries read one row of a primary key each; EXISTS might read whole tables. Of the
# front table, whose ids have another version, the log has what was resent.
_RESENT = """
    SELECT resource, min((extract(epoch FROM corrected_at) * 1000)::bigint), min(id::text),
        count(*), bool_and(is_poured), count(is_rejected), count(waits)
    FROM (
        SELECT resource, corrected_at, resent_as AS id,
            coalesce((SELECT true FROM decanter.ledger
                WHERE dedup_id = resent_as LIMIT 1), false) AS is_poured,
            (SELECT true FROM decanter.rejection AS again
                WHERE again.dedup_id = resent_as AND again.item = resent_item LIMIT 1)
                AS is_rejected,
            (SELECT true FROM decanter.waiting
                WHERE dedup_id = resent_as AND waiting.item = resent_item LIMIT 1) AS waits
        FROM decanter.correction JOIN decanter.rejection USING (dedup_id, item)
        WHERE kind = 'resend' AND substr(resent_as::text, 15, 1) = '8'
            AND corrected_at >= timestamptz 'epoch' + %(since)s * interval '1 ms'
            AND corrected_at < timestamptz 'epoch' + %(until)s * interval '1 ms') AS resent
    GROUP BY resource, CASE WHEN is_poured THEN NULL ELSE date_trunc('second', corrected_at) END
    ORDER BY 2
"""


class Account(NamedTuple):
    """What became of the writes of a request.

    writes: those in the ledger, of which some are rejected, and some wait. reused: whether its
    Idempotency-Key was used before, for another request; then all else is about that one.
    accepted_at, poured_at: when the first of its messages was accepted, and the last one poured, as
    texts of ISO 8601; None while there is none.
    """

    writes: int
    rejected: int
    waiting: int
    reused: bool
    accepted_at: str | None
    poured_at: str | None


def accounts(transaction: Transaction, requests: Sequence[tuple[str, int, str]]) -> list[Account]:
    """The accounts of requests, in their order. requests: id, number of messages, fingerprint."""
    spans = [span(UUID(id_), messages) for id_, messages, _ in requests]
    firsts = [str(first) for first, _ in spans]
    claims = [*map(ledger.claim_id, firsts)]
    bound = {
        "first": firsts,
        "last": [str(last) for _, last in spans],
        "claim": claims,
        "fingerprint": [mark for *_, mark in requests],
        "least": min(firsts, default=None),
        "greatest": max(claims, default=None),
    }
    return [Account(*row) for row in transaction.execute(_ACCOUNTS, bound)]


class ResentWrites(NamedTuple):
    """Writes to one resource that operators have resent through a queue: all that are poured, or
    those of a second that are not. at: of the first one, in milliseconds since the epoch. id: the
    dedup ID of one of their messages. rejected, waiting: how many of them are."""

    resource: str
    at: int
    id: str
    writes: int
    is_poured: bool
    rejected: int
    waiting: int


def resent(transaction: Transaction, since: int, until: int) -> list[ResentWrites]:
    """What operators have resent through queues from a time on and before another, in milliseconds
    since the epoch."""
    found = transaction.execute(_RESENT, {"since": since, "until": until})
    return [ResentWrites(*row) for row in found]
