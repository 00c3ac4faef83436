"""The traffic of the last days, for `decanter plan`."""

import json
import time
from collections.abc import Mapping
from typing import Any

from chalicelib.messages.place import moment
from chalicelib.messages.questions import OpsAnswer
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ops import pace, traffic
from chalicelib.postgres.ops.traffic import Hour, Keys, TableStatistics
from chalicelib.postgres.resources import resources
from chalicelib.reader.ops.shown import SECONDS, in_time

_HOUR = 3_600
_CURE = "ask for fewer days with ?days="
_BASIS = {
    "ops": (
        "rows that were inserted, updated and deleted since the table's statistics were reset, by"
        " whoever it was (pg_stat_user_tables)"
    ),
    "row_bytes": (
        "mean widths of the columns and the length of their names (pg_stats); numbers and times are"
        " longer as JSON than in a table"
    ),
}


def of_days(transaction: Transaction, days: int) -> OpsAnswer:
    """What was accepted in the last so many days and is poured, by resource and hour; of each
    resource how its writes are spread over keys, which rows were written, and how long they are.
    Raises Ended."""
    span = traffic.span(transaction, days)
    share = traffic.sampled(transaction, traffic.READ_BYTES)
    of_keys = traffic.sampled(transaction, traffic.KEYS_READ_BYTES)
    ends = time.monotonic() + SECONDS
    with in_time(_CURE):
        hours = traffic.by_hour(transaction, span.since, share, SECONDS)
        left = max(0.0, ends - time.monotonic())
        spread = traffic.keys(transaction, span.since, of_keys, left)
    known = {name: (each.table.schema or "", each.table.name) for name, each in resources().items()}
    tables = traffic.tables(transaction, known)
    begins = range(span.since, span.since + days * 24 * _HOUR, _HOUR)
    found = [
        {
            "name": name,
            "buffer": pace.buffer(name),
            **_counts(begins, hours[name]),
            "keys": _keys(spread.get(name)),
            "ops": _ops(tables.get(name)),
            "row_bytes": _row_bytes(tables.get(name)),
        }
        for name in known
        if name in hours
    ]
    body = {
        "now": moment(int(span.now * 1_000_000)),
        "hours": [moment(1_000_000 * begin) for begin in begins],
        "sampled_share": share,
        "resources": found,
        "unknown": [*_unknown(found, hours)],
    }
    return OpsAnswer(json.dumps(body), rows=len(found))


def _counts(begins: range, hours: list[Hour]) -> dict[str, list[int]]:
    """Lists of all hours."""
    by_begin = {each.begin: each for each in hours}
    nothing = Hour(0, 0, 0, 0, 0)
    each = [by_begin.get(begin, nothing) for begin in begins]
    return {
        "messages": [round(one.messages) for one in each],
        "requests": [round(one.requests) for one in each],
        "writes": [round(one.writes) for one in each],
        "busiest_minute": [round(one.busiest) for one in each],
    }


def _keys(found: Keys | None) -> dict[str, Any] | None:
    return None if found is None else found._asdict()


def _ops(found: TableStatistics | None) -> dict[str, Any] | None:
    if found is None or not found.inserted + found.updated + found.deleted:
        return None
    counts = {name: getattr(found, name) for name in ("inserted", "updated", "deleted")}
    return {**counts, "basis": _BASIS["ops"]}


def _row_bytes(found: TableStatistics | None) -> dict[str, Any] | None:
    if found is None or found.row_bytes is None:
        return None
    return {"mean": round(found.row_bytes), "basis": _BASIS["row_bytes"]}


def _unknown(found: list[dict[str, Any]], hours: Mapping[str, list[Hour]]) -> list[dict[str, str]]:
    why = {
        "keys": "the ledger has no keys of it: a resource without an order has none",
        "ops": "Postgres has no statistics of writes to its table",
        "row_bytes": "its table was never analyzed, or the reader may not see its statistics",
    }
    unknown = [
        {"what": f"{each['name']}.{member}", "why": reason}
        for each in found
        for member, reason in why.items()
        if each[member] is None
    ]
    gone = sorted(set(hours) - {each["name"] for each in found})
    return unknown + [
        {"what": name, "why": "it was written, and is no resource of these models any more"}
        for name in gone
    ]
