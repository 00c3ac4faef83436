"""What the database knows for the overview of operators."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from chalicelib.messages.pace import Pace
from chalicelib.messages.place import moment
from chalicelib.messages.questions import OpsAnswer
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ops import overview, pace
from chalicelib.postgres.ops.overview import MINUTES, Throughput
from chalicelib.postgres.resources import resources
from chalicelib.settings import LANES

_MOST_CAUSES = 100
_NOTHING = Throughput(0, 0, None, None, None)
_Hour = tuple[Mapping[int, Throughput], Sequence[Pace]]
_Minute = tuple[int, str | None, int]
"""Rejections of a minute and a resource."""


def everything(transaction: Transaction) -> OpsAnswer:
    """Throughput, lag and rejections of each resource and of each of the last minutes, what waits
    in the database, connections by name, and the pace of each buffer now and at each of these
    minutes."""
    now = overview.now(transaction)
    minute = int(now // 60 * 60)
    rejected = overview.rejected(transaction)
    waiting = overview.waiting(transaction)
    by_minute, past = _of_hour(transaction, minute)
    body = {
        "now": now,
        "resources": _resources(transaction, rejected, waiting),
        "waiting": _reasons(waiting),
        "connections": overview.connections(transaction),
        "rejections": [
            dict(zip(("resource", "type", "constraint", "writes"), each, strict=True))
            for each in overview.causes(transaction, _MOST_CAUSES)
        ],
        "history": _history(minute, by_minute, rejected),
        "paces": pace.paces(transaction, math.ceil(now)),
        "past": past,
    }
    return OpsAnswer(json.dumps(body))


def _of_hour(transaction: Transaction, minute: int) -> _Hour:
    """Throughput of each of the last whole minutes, and the paces at their ends. They are
    remembered until the next minute, as the page asks for them all the time, and the ledger may
    have millions of messages of an hour."""
    remembered = _remembered()
    if minute not in remembered:
        found = overview.by_minute(transaction), pace.paces(transaction, minute, MINUTES)
        remembered.clear()
        remembered[minute] = found
    return remembered[minute]


@cache
def _remembered() -> dict[int, _Hour]:
    """By the minute, in seconds since the epoch."""
    return {}


def lanes(transaction: Transaction) -> OpsAnswer:
    """The lanes with writes that wait in the database, and what the first of them waits for."""
    found = [
        {
            "lane": each.lane,
            "waiting": each.writes,
            "blocking": {
                "id": each.dedup_id,
                "resource": each.resource,
                "reason": each.reason,
                "since": moment(1_000 * each.since),
            }
            if each.since is not None
            else None,
        }
        for each in overview.lanes(transaction, LANES)
    ]
    return OpsAnswer(json.dumps(found), rows=len(found))


def _resources(
    transaction: Transaction, rejected: Sequence[_Minute], waiting: Sequence[overview.Waiting]
) -> list[dict[str, Any]]:
    poured = overview.resources(transaction)
    refused = _sums((name, count) for _, name, count in rejected)
    waits = _sums((each.resource, each.writes) for each in waiting)
    return [
        {
            "name": name,
            "front": resource.front,
            "ordered": resource.ordered,
            **_shown(poured.get(name, _NOTHING)),
            "rejected_last_hour": refused[name],
            "waiting": waits[name],
        }
        for name, resource in resources().items()
    ]


def _shown(each: Throughput) -> dict[str, Any]:
    lag = {"p50": each.p50, "p95": each.p95, "p99": each.p99}
    return {"writes_per_minute": each.latest, "lag": None if each.p50 is None else lag}


def _sums(counts: Iterable[tuple[Any, int]]) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for name, count in counts:
        found[name] += count
    return found


def _reasons(waiting: Sequence[overview.Waiting]) -> list[dict[str, Any]]:
    reasons = _sums((each.reason, each.writes) for each in waiting)
    return [
        {
            "reason": reason,
            "writes": writes,
            "since": moment(1_000 * min(each.since for each in waiting if each.reason == reason)),
        }
        for reason, writes in reasons.most_common()
    ]


def _history(
    minute: int, poured: Mapping[int, Throughput], rejected: Sequence[_Minute]
) -> dict[str, Any]:
    """Lists of the whole minutes before this one, seconds since the epoch."""
    minutes = [1_000 * (minute - 60 * back) for back in range(MINUTES, 0, -1)]
    refused = _sums((at, count) for at, _, count in rejected)
    each = [poured.get(at, _NOTHING) for at in minutes]
    return {
        "minutes": [moment(1_000 * at) for at in minutes],
        "written": [one.writes for one in each],
        "rejected": [refused[at] for at in minutes],
        "lag_p50": [one.p50 for one in each],
        "lag_p95": [one.p95 for one in each],
    }
