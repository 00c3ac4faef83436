"""What became of accepted requests: how many of their writes were poured, rejected, and wait."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from chalicelib.messages.receipt import span
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import Transaction

# Each is a range of a primary key. LIMIT in its order makes Postgres use it, however many rows it
# may expect in an unknown range.
_ACCOUNTS = """
    SELECT coalesce(poured.writes, 0), rejected.writes, waiting.writes,
        coalesce(poured.differs, false) OR EXISTS (
            SELECT FROM decanter.ledger
            WHERE dedup_id = request.claim AND ledger.fingerprint <> request.fingerprint),
        to_json(poured.accepted_at), to_json(poured.poured_at)
    FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[])
        WITH ORDINALITY AS request(first, last, claim, fingerprint, place)
    CROSS JOIN LATERAL (
        SELECT sum(writes)::bigint AS writes,
            min(accepted_at) AS accepted_at, max(poured_at) AS poured_at,
            bool_or(message.fingerprint <> request.fingerprint) AS differs
        FROM (
            SELECT writes, fingerprint, accepted_at, poured_at FROM decanter.ledger
            WHERE dedup_id BETWEEN request.first AND request.last
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
    columns = (
        [str(first) for first, _ in spans],
        [str(last) for _, last in spans],
        [ledger.claim_id(str(first)) for first, _ in spans],
        [mark for *_, mark in requests],
    )
    return [Account(*row) for row in transaction.execute(_ACCOUNTS, columns)]
