"""GET /ops/audit: whether what was accepted in an hour is accounted for."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request, invalid_query, only
from chalicelib.api.ops import pages
from chalicelib.audit import accounts
from chalicelib.audit.accounts import Audit
from chalicelib.audit.log import UnknownCursor
from chalicelib.errors import Fault
from chalicelib.messages.place import moment
from chalicelib.settings import LEDGER_DAYS, is_in_lambda, log_days

_SECONDS = 20.0
_HOUR = timedelta(hours=1)
_SUMS = ("accepted", "applied", "rejected", "waiting", "missing")
_NAMED = 100
_LONGEST_CURSOR = 8_000
_NOT_LOGGED = {
    "what": "resources.accepted",
    "why": "this server does not run in Lambda, so what it accepts is not in CloudWatch's log",
}


def of_hour(request: Request) -> Answer:
    """GET /ops/audit?hour=&cursor=: the sums of the requests that were accepted in that hour, as
    far as one call gets; `next` leads to the others, whose sums are to be added."""
    sent = only(request.query, "hour", "cursor")
    hour = _hour(sent.get("hour"))
    cursor = sent.get("cursor")
    if cursor is not None and not 0 < len(cursor) <= _LONGEST_CURSOR:
        raise pages.invalid_cursor()
    since = int(hour.timestamp()) * 1_000
    until = since + int(_HOUR.total_seconds()) * 1_000
    try:
        found = accounts.audit(since, until, cursor, request.until(_SECONDS))
    except UnknownCursor:
        raise pages.invalid_cursor() from None
    return Answer(200, _shown(since, found), pages.link(request, found.next))


def _hour(sent: str | None) -> datetime:
    """The beginning of the hour. Raises Problem `invalid-query`."""
    now = datetime.now(UTC)
    try:
        hour = datetime.fromisoformat(sent or "").astimezone(UTC)
        is_whole = "T" in str(sent) and datetime.fromisoformat(str(sent)).tzinfo is not None
    except (ValueError, OverflowError):
        hour, is_whole = now, False
    if not is_whole or hour != hour.replace(minute=0, second=0, microsecond=0):
        detail = "it must be the beginning of an hour with its offset, such as 2026-01-31T12:00Z"
        raise invalid_query(Fault("?hour", "query", detail))
    days = min(LEDGER_DAYS, log_days() or LEDGER_DAYS)
    if not now - timedelta(days=days) <= hour <= now:
        detail = (
            f"it must have begun, and within the last {days} days: log and ledger do not keep more"
        )
        raise invalid_query(Fault("?hour", "query", detail))
    return hour


def _shown(since: int, found: Audit) -> Mapping[str, Any]:
    resources = [
        {"resource": name, **{each: found.sums[name][each] for each in _SUMS}}
        for name in sorted(found.sums)
    ]
    return {
        "hour": moment(since * 1_000),
        "resources": resources,
        "missing": [
            {
                "id": request.id,
                "resource": request.resource,
                "writes": writes,
                "accepted_at": moment(request.accepted_at * 1_000),
            }
            for request, writes in found.missing[:_NAMED]
        ],
        "is_complete": found.next is None,
        "next": found.next,
        "unknown": [
            *([] if is_in_lambda() else [_NOT_LOGGED]),
            *[
                {
                    "what": f"waiting.{buffer}",
                    "why": f"writes may be missing that count as waiting: {why}",
                }
                for buffer, why in found.unknown.items()
            ],
        ],
    }
