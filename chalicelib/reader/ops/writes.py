"""Writes for operators: found by receipt, key or time, and the life of each in a timeline."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from chalicelib.errors import shortened
from chalicelib.messages.place import moment, place
from chalicelib.messages.questions import OpsAnswer
from chalicelib.messages.receipt import Receipt, span
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ops import writes
from chalicelib.postgres.ops.writes import CorrectedWrites, RequestHistory
from chalicelib.reader import overtaken, requests
from chalicelib.reader.ops.shown import SECONDS, dumps, in_time
from chalicelib.reader.requests import KEY_REUSED

_MOST = 1_000  # of each kind of event
_SHOWN = 1_000  # characters of a reason
_NARROW = "narrow it with since and until"

_IN_A_BUFFER = "what is still in a buffer, or was lost there, is not in the database"
_NO_ORDER = (
    "the keys of a resource without an order are not kept: only messages with a rejected write to"
    " the key are found"
)
_SAME_DIGEST = (
    "messages to rows whose keys differ only in what the database may fill in are here too"
)
_DELIVERIES = "how often it was delivered is in the drain's log only"

_REASONS = {
    "parent": "for the row that it refers to, or another row that holds it up",
    "lock": "for a row that another transaction has locked",
    "slow": "for an invocation of its own, as it is slow",
    "schema": "for a table, column or right that the models need",
    "key": "for an earlier write to its key that waits",
    "time": "for the next invocation",
}

_CORRECTED = {"resend": "resent", "discard": "discarded"}


def page(
    transaction: Transaction, filter: Mapping[str, Any], limit: int, cursor: str | None
) -> OpsAnswer:
    """A page of messages in the ledger, those poured last first. Raises Ended."""
    after = None if cursor is None else place(cursor)
    with in_time(_NARROW):
        found = writes.page(transaction, filter, after, limit + 1, SECONDS)
    shown = [
        {
            "id": each.dedup_id,
            "resource": each.resource,
            "writes": each.writes,
            "accepted_at": _moment(each.accepted),
            "poured_at": moment(each.at),
            "rejected": each.rejected,
            "waiting": each.waiting,
        }
        for each in found[:limit]
    ]
    next_ = found[limit - 1].place.cursor if len(found) > limit else None
    whys = [_IN_A_BUFFER]
    if filter.get("values"):
        whys.append(_SAME_DIGEST if "digest" in filter else _NO_ORDER)
    unknown = [{"what": "writes", "why": why} for why in whys]
    body = {"writes": shown, "next": next_, "unknown": unknown}
    return OpsAnswer(dumps(body), next_, len(shown))


def message(transaction: Transaction, dedup_id: str) -> OpsAnswer:
    """The timeline of a message; no rows if nothing is known of it."""
    found = writes.history(transaction, dedup_id, dedup_id, _MOST)
    return _timeline(dedup_id, found, [*_accepted(found), *_events(found)], not found.poured)


def request(transaction: Transaction, receipt: Mapping[str, Any]) -> OpsAnswer:
    """The timeline of all messages of a request. receipt: its members."""
    known = Receipt._make([UUID(receipt["id"]), *(receipt[name] for name in Receipt._fields[1:])])
    first, last = map(str, span(known.id, known.messages))
    found = writes.history(transaction, first, last, _MOST)
    poured = requests.outcome(transaction, known)
    if poured["reused"]:
        found = RequestHistory((), (), (), (), ())  # that was of the other request
    events = [*_accepted(found)]
    if known.accepted_at:
        events = [_event("accepted", known.accepted_at * 1_000, known.writes, None)]
    if poured["reused"]:
        events.append(_event("rejected", None, known.writes, None, KEY_REUSED))
    if poured["lost"]:
        events.append(_event("rejected", None, poured["lost"], None, overtaken.REASON))
    is_missing = not poured["reused"] and poured["writes"] + poured["lost"] < known.writes
    return _timeline(first, found, [*events, *_events(found)], is_missing)


def _timeline(
    id: str, found: RequestHistory, events: list[dict[str, Any]], is_missing: bool
) -> OpsAnswer:
    """The answer with events of what was found. is_missing: whether some writes are not poured."""
    unknown = [{"what": "deliveries", "why": _DELIVERIES}]
    if is_missing:
        unknown.append({"what": "poured", "why": _IN_A_BUFFER})
    if any(len(each) >= _MOST for each in found):
        unknown.append({"what": "events", "why": f"there are more than {_MOST} of a kind"})
    named = [each.resource for each in found.poured if each.resource]
    named += [each.resource for each in found.rejected if each.resource]
    body = {
        "id": id,
        "resource": named[0] if named else None,
        "events": sorted(events, key=lambda each: (each["at"] is None, each["at"] or "")),
        "unknown": unknown,
    }
    return OpsAnswer(dumps(body), rows=len(events))


def _accepted(found: RequestHistory) -> Iterator[dict[str, Any]]:
    """As far as the ledger knows it."""
    for each in found.poured:
        if each.accepted_at:
            yield _event("accepted", each.accepted_at, each.writes, None)


def _events(found: RequestHistory) -> Iterator[dict[str, Any]]:
    for poured in found.poured:
        detail = "" if poured.messages == 1 else f"in {poured.messages} messages"
        yield _event("poured", poured.at, poured.writes, None, detail)
    for rejected in found.rejected:
        of = f" ({rejected.constraint})" if rejected.constraint else ""
        detail = f"{rejected.type}{of}: {shortened(rejected.reason, _SHOWN)}"
        yield _event("rejected", rejected.at, rejected.writes, rejected.item, detail)
    for waits in found.waiting:
        detail = _REASONS.get(waits.reason, waits.reason)
        yield _event("waiting", waits.at, waits.writes, waits.item, detail)
    for corrected in found.corrected:
        yield _correction(_CORRECTED.get(corrected.kind, corrected.kind), corrected)
    for source in found.resent_from:
        yield _correction("resent-from", source)


def _correction(what: str, each: CorrectedWrites) -> dict[str, Any]:
    note = f": {each.note}" if each.note else ""
    event = _event(what, each.at, each.writes, each.item, f"by {each.who}{note}")
    return event | {"act": each.act, "other": each.other}


def _event(
    what: str, at: int | None, count: int, item: int | None, detail: str = ""
) -> dict[str, Any]:
    """item: of the first write. other: the message that it was resent as, or from."""
    return {
        "at": _moment(at),
        "what": what,
        "detail": detail,
        "item": item,
        "writes": count,
        "act": None,
        "other": None,
    }


def _moment(microseconds: int | None) -> str | None:
    """None for a time that is not known; of a message that cannot be read, it is 0."""
    return moment(microseconds) if microseconds else None
