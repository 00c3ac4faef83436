"""Events about requests that are done, for the function that publishes them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from chalicelib.messages.questions import OpsAnswer
from chalicelib.messages.receipt import Receipt, read, span
from chalicelib.postgres import outbox
from chalicelib.postgres.connecting.connection import Transaction, transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.outbox import OutboxRow
from chalicelib.reader import requests
from chalicelib.reader.ops.shown import fitting

_VERSION = 1
_DONE = ("applied", "partial", "rejected")
"""The states of a request that is done; it never leaves them."""

_MOST = 10_000
"""Most places that are looked at, and that are counted behind them."""

_Event = Mapping[str, Any]


def outcomes(
    connection: Connection, deadline: float, published: Sequence[int], limit: int
) -> OpsAnswer:
    """The next events, in the order in which they are to be published.

    published: places of an earlier answer that are not needed any more: all of it, or, if only some
    of its events were published, those up to the last one's `sequence`. limit: how many places to
    look at, ten thousand at most.

    The answer is `{"events", "places", "left", "oldest_seconds"}`. places: ascending, all that were
    looked at, whether they made an event or not. left: how many there are behind these, counted up
    to ten thousand or so. oldest_seconds: how long the oldest of all has been there, those of this
    answer included; null if there is none.
    """
    if published:
        with transaction(connection, deadline) as running:
            outbox.remove(running, published)
    with transaction(connection, deadline, read_only=True) as running:
        # A request is done in the same view of the database in which its row is seen.
        running.ahead("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        rows = outbox.first(running, min(limit, _MOST))
        left = outbox.count_behind(running, rows[-1].place, _MOST) if rows else 0
        events = _events(running, _last_rows(running, rows, bool(left)))
    texts = [json.dumps(event) for event in events]
    count = fitting(texts)
    end = events[count - 1]["sequence"] if count < len(events) else float("inf")
    places = [row.place for row in rows if row.place <= end]
    rest = {
        "places": places,
        "left": left + len(rows) - len(places),
        "oldest_seconds": max([round(row.age, 3) for row in rows], default=None),
    }
    return OpsAnswer(f'{{"events": [{", ".join(texts[:count])}], {json.dumps(rest)[1:]}')


def _last_rows(
    running: Transaction, rows: Sequence[OutboxRow], has_more: bool
) -> list[tuple[OutboxRow, Receipt]]:
    """The rows that no other one of their requests is behind, and their receipts: the event is
    about all of the request, so it has its place where the last of it was poured.

    has_more: whether there are rows behind these.
    """
    found: dict[tuple[Any, ...], tuple[OutboxRow, Receipt]] = {}
    for row in rows:
        if receipt := read(row.receipt):
            name = (*_span(receipt), receipt.fingerprint)
            found.pop(name, None)
            found[name] = row, receipt
    last = [*found.values()]
    if not last or not has_more:
        return last
    spans = [_span(receipt) for _, receipt in last]
    behind = outbox.receipts_behind(running, rows[-1].place, spans)
    return [
        (row, receipt)
        for (row, receipt), tokens in zip(last, behind, strict=True)
        if receipt.fingerprint not in {each.fingerprint for each in map(read, tokens) if each}
    ]


def _span(receipt: Receipt) -> tuple[UUID, UUID]:
    return span(receipt.id, receipt.messages)


def _events(running: Transaction, rows: Sequence[tuple[OutboxRow, Receipt]]) -> list[_Event]:
    """The events of rows whose requests are done. Of another one, whoever finishes it enters a row
    that is seen only with that."""
    if not rows:
        return []
    found = requests.outcomes(running, [receipt for _, receipt in rows])
    documents = [
        requests.document(receipt, outcome)
        for (_, receipt), outcome in zip(rows, found, strict=True)
    ]
    return [
        _event(row, receipt, document)
        for (row, receipt), document in zip(rows, documents, strict=True)
        if document["state"] in _DONE
    ]


def _event(row: OutboxRow, receipt: Receipt, document: Mapping[str, Any]) -> _Event:
    """id: the same however often the request is found to be done, as after a retry of it."""
    request, _ = _span(receipt)
    return {
        "version": _VERSION,
        "id": str(uuid5(request, receipt.fingerprint)),
        "request": str(request),
        "receipt": row.receipt,
        "resource": row.resource,
        "state": document["state"],
        "writes": document["writes"],
        "applied": document["applied"],
        "rejected": document["rejected"],
        "accepted_at": document["accepted_at"],
        "poured_at": document.get("poured_at"),
        "caller": row.caller,
        "sequence": row.place,
    }
