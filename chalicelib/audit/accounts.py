"""Conservation: accepted = applied + rejected + waiting, and what is missing in that.

What was accepted is in the API function's log, what became of it in the database. What operators
have resent through a queue is in the database too, as they may send one write several times, which
counts once.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from chalicelib import asking
from chalicelib.audit import log, waiting
from chalicelib.audit.waiting import MayWait
from chalicelib.contract import resources
from chalicelib.errors import Problem
from chalicelib.messages.accepted import LoggedRequest
from chalicelib.messages.questions import InvalidList, OpsQuestion
from chalicelib.messages.receipt import SPLIT_DIGITS, is_of_front

_AT_ONCE = 5_000
"""Requests that the reader is asked about in one question."""

_KEYED_VERSION = 8
_PAGE_SECONDS = 5.0
"""Time that a page may take; none is begun with less."""

Sum = Counter[str]
"""Numbers of writes: accepted, applied, rejected, waiting, missing."""


@dataclass
class Audit:
    """The sums of some time.

    requests: how many were accepted. sums: by resource. missing: requests of which some writes are
    neither in the database nor may be waiting, each with their number. next: where to go on, None
    at the end. unknown: why writes of a buffer, by its name, count as waiting that may be missing.
    """

    requests: int = 0
    sums: dict[str, Sum] = field(default_factory=lambda: defaultdict(Counter))
    missing: list[tuple[LoggedRequest, int]] = field(default_factory=list)
    next: str | None = None
    unknown: dict[str, str] = field(default_factory=dict)


def audit(since: int, until: int, cursor: str | None, deadline: float) -> Audit:
    """Audit what was accepted from a time on and before another, in milliseconds since the epoch,
    as far as time suffices.

    A request that was sent again with its Idempotency-Key counts once. cursor: `next` of an audit
    of the same time. deadline: a time.monotonic(). Raises UnknownCursor, and Problem 503.
    """
    found = Audit(next=cursor)
    seen: set[tuple[int, str]] = set()
    may_wait = waiting.of_buffers(deadline)
    if cursor is None:
        _add_resent(found, since, until, may_wait, deadline)
    while True:
        page = log.page(since, until, found.next, deadline)
        new = [each for each in page.requests if _is_new(each, seen)]
        for first in range(0, len(new), _AT_ONCE):
            _account(found, new[first : first + _AT_ONCE], may_wait, deadline)
        found.next = page.next
        if page.next is None or time.monotonic() + _PAGE_SECONDS > deadline:
            return found


def _is_new(request: LoggedRequest, seen: set[tuple[int, str]]) -> bool:
    """Whether a request was not seen before, in any split."""
    identity = UUID(request.id)
    is_keyed = identity.version == _KEYED_VERSION
    name = (identity.int >> 4 * SPLIT_DIGITS if is_keyed else identity.int, request.fingerprint)
    if name in seen:
        return False
    seen.add(name)
    return True


def _account(
    found: Audit,
    requests: Sequence[LoggedRequest],
    may_wait: Mapping[str, MayWait],
    deadline: float,
) -> None:
    asked = [[each.id, each.messages, each.fingerprint] for each in requests]
    answer = _asked("accounts", {"requests": asked}, deadline)
    found.requests += len(requests)
    for request, account in zip(requests, answer["accounts"], strict=True):
        _add(found, request, account, answer["reconciled"], may_wait)


def _add_resent(
    found: Audit, since: int, until: int, may_wait: Mapping[str, MayWait], deadline: float
) -> None:
    """Add what operators have resent through a queue in this time."""
    answer = _asked("resent", {"since": since, "until": until}, deadline)
    for resource, at, id_, writes, is_poured, rejected, kept in answer["resent"]:
        request = LoggedRequest(id_, at, resource, writes, messages=1, fingerprint="")
        account = (writes if is_poured else 0, rejected, kept, False)
        _add(found, request, account, 0, may_wait)


def _asked(what: str, given: Mapping[str, Any], deadline: float) -> Any:
    """The reader's answer. Raises Problem 503."""
    reply = asking.ask(OpsQuestion(what, dict(given)), deadline)
    if isinstance(reply, InvalidList):  # it would take too long
        raise asking.Busy(reply.unfit)
    return json.loads(reply.body)


def _add(
    found: Audit,
    request: LoggedRequest,
    account: tuple[int, int, int, bool],
    reconciled: int,
    may_wait: Mapping[str, MayWait],
) -> None:
    """Add what became of a request. reconciled: see `ledger.reconciled`."""
    poured, rejected, kept, is_reused = account
    total = found.sums[request.resource]
    total["accepted"] += request.writes
    if is_reused:  # nothing of it is applied, and its receipt says so
        total["rejected"] += request.writes
        return
    total["applied"] += poured - rejected - kept
    total["rejected"] += rejected
    total["waiting"] += kept
    left = request.writes - poured
    if left <= 0:
        return
    if is_of_front(UUID(request.id)) and request.accepted_at < reconciled:
        total["rejected"] += left  # a later write has taken their place in the front table
        return
    waits = [(each, may_wait[each]) for each in _buffers(request) if each in may_wait]
    possible = [(name, each) for name, each in waits if each.includes(request.accepted_at)]
    total["waiting" if possible else "missing"] += left
    found.unknown |= {name: each.why for name, each in possible if each.why}
    if not possible:
        found.missing.append((request, left))


def _buffers(request: LoggedRequest) -> Sequence[str]:
    """The buffers that a request may be in."""
    if is_of_front(UUID(request.id)):
        return ("stream",)
    try:
        resource = resources.resource(request.resource)
    except Problem:  # it is not served any more
        return ("ordered", "unordered")
    return ("ordered" if resource.ordered else "unordered",)
