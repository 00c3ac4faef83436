"""The outbox: requests that may just have been done. All its SQL is here, except for the sweep's.

A row is entered in the transaction that changes the state of a request, once that has written its
rows in the user's tables, and so locked them: of two about one key, the one of the later COMMIT has
the greater place, and whoever sees it sees the other one too.
"""

import json
from collections.abc import Iterable, Sequence

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
