"""The outbox: requests that may just have been done. All its SQL is here, except for the sweep's.

A row is entered in the transaction that changes the state of a request, once that has written its
rows in the user's tables, and so locked them: of two about one key, the one of the later COMMIT has
the greater place, and whoever sees it sees the other one too.
"""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from chalicelib.messages.message import Message
from chalicelib.postgres.connecting.connection import Transaction

_ENTER = """
    INSERT INTO decanter.outbox (dedup_id, receipt, resource, caller)
    SELECT dedup_id, receipt, resource, caller
    FROM ROWS FROM (json_to_recordset(%s::json)
        AS (dedup_id uuid, receipt text, resource text, caller text))
        WITH ORDINALITY AS message (dedup_id, receipt, resource, caller, number)
    ORDER BY number
"""

_REMOVE = "DELETE FROM decanter.outbox WHERE place = ANY (%s::bigint[])"

_FIRST = """
    SELECT place, receipt, resource, caller,
        extract(epoch FROM clock_timestamp() - entered_at)::float8
    FROM decanter.outbox ORDER BY place LIMIT %s
"""

_COUNT_BEHIND = """
    SELECT count(*) FROM (
        SELECT FROM decanter.outbox WHERE place > %s ORDER BY place LIMIT %s) AS behind
"""

# LIMIT in the order of the index makes Postgres use it, however many rows it may expect in an
# unknown range.
_RECEIPTS_BEHIND = """
    SELECT ARRAY(
        SELECT DISTINCT receipt FROM (
            SELECT place, receipt FROM decanter.outbox
            WHERE dedup_id BETWEEN request.first AND request.last
            ORDER BY dedup_id LIMIT 1000000) AS own
        WHERE place > %s)
    FROM unnest(%s::uuid[], %s::uuid[]) WITH ORDINALITY AS request(first, last, number)
    ORDER BY number
"""


class OutboxRow(NamedTuple):
    """A request that may have been done when the row was entered.

    place: greater than that of any row before. receipt: the token. caller: as in a message; None
    where it is unknown. age: seconds since the row was entered.
    """

    place: int
    receipt: str
    resource: str
    caller: str | None
    age: float


def enter(transaction: Transaction, messages: Iterable[Message]) -> None:
    """Enter the requests of messages, in this order; of those that have a receipt. To be called
    when all rows are written, as others may wait for their locks."""
    entered = [
        {
            "dedup_id": each.dedup_id,
            "receipt": each.receipt,
            "resource": each.resource,
            "caller": each.caller or None,
        }
        for each in messages
        if each.receipt
    ]
    if entered:
        transaction.ahead(_ENTER, (json.dumps(entered),))


def remove(transaction: Transaction, places: Sequence[int]) -> None:
    """Remove the rows at these places."""
    if places:
        transaction.execute(_REMOVE, ([*places],))


def first(transaction: Transaction, limit: int) -> list[OutboxRow]:
    """The first rows, at most so many."""
    return [OutboxRow(*row) for row in transaction.execute(_FIRST, (limit,))]


def count_behind(transaction: Transaction, place: int, most: int) -> int:
    """The number of rows behind a place, counted up to `most`."""
    ((count,),) = transaction.execute(_COUNT_BEHIND, (place, most))
    return int(count)


def receipts_behind(
    transaction: Transaction, place: int, spans: Sequence[tuple[UUID, UUID]]
) -> list[list[str]]:
    """For each span of dedup IDs, the receipts of rows behind a place, each once."""
    columns = [[str(each) for each in column] for column in zip(*spans, strict=True)]
    return [receipts for (receipts,) in transaction.execute(_RECEIPTS_BEHIND, (place, *columns))]
