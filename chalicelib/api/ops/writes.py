"""GET /ops/writes: writes by receipt, key or time, and the life of each."""

from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request, invalid_query, only
from chalicelib.api.ops import asking, filters, pages
from chalicelib.errors import Fault, Problem
from chalicelib.messages import receipt
from chalicelib.messages.place import place

_NAMES = ("receipt", "resource", "key", "since", "until")

_SPAN = timedelta(hours=24)
"""How far a search by key or time goes back from its end."""


def page(request: Request) -> Answer:
    """A page of messages that were poured, the last first, with a Link to the next one. since,
    until: of the pour; the last 24 hours if not given. Raises Problem."""
    sent = only(request.query, *_NAMES, "limit", "cursor")
    limit, cursor = pages.limit(sent), sent.get("cursor")
    if cursor is not None and place(cursor) is None:
        raise pages.invalid_cursor()
    query = {name: request.query[name] for name in _NAMES if name in sent}
    filter_, _ = filters.from_query(query)
    del filter_["state"]
    if "messages" not in filter_ and "since" not in filter_:
        until = filter_.get("until")
        end = datetime.now(UTC) if until is None else datetime.fromisoformat(until)
        filter_["since"] = _before(end).isoformat()
    found = asking.read(request, "writes", filter=filter_, limit=limit, cursor=cursor)
    return Answer(200, found.body, pages.link(request, found.next))


def one(request: Request, id: str) -> Answer:
    """The life of a message, or of all messages of a receipt. Raises Problem."""
    only(request.query)
    if known := receipt.read(id):
        members: dict[str, Any] = {**known._asdict(), "id": str(known.id)}
        return asking.shown(asking.read(request, "request", receipt=members))
    if filters.is_dedup_id(id):
        found = asking.read(request, "message", dedup_id=id)
        if found.rows:
            return asking.shown(found)
    raise Problem(
        "no-such-entry",
        f"nothing is known of {id}; it must be a receipt, or the dedup ID of a message that was"
        " poured and is not forgotten yet",
    )


def _before(end: datetime) -> datetime:
    try:
        return end - _SPAN
    except OverflowError:
        raise invalid_query(Fault("?until", "query", "it is too early")) from None
