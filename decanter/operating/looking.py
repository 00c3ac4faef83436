"""Calls that look, and what of their answers is shown. Each returns its command's exit code."""

import re
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from decanter.operating import filters, tables
from decanter.operating.client import Client
from decanter.operating.documents import Json
from decanter.operating.tables import NONE, UNKNOWN, plain, seconds, short, show

_REJECTION = re.compile(r"[0-9a-f-]{36}\.[0-9]+")
_SHOWN = 100
"""Entries of a list that people are shown, unless they ask for another number."""


def overview(client: Client, given: Namespace) -> int:
    """Show the overview."""
    found = client.get("overview")
    if given.json:
        tables.json_text(found)
        return 0
    _buffers(found["buffers"])
    _resources(found["resources"] or [])
    _reasons(found["waiting"] or [])
    _connections(found)
    if found["rejections"]:
        _simple(found["rejections"], "resource type constraint writes", "rejected in 24 hours")
    _score(found["estimate_score"])
    tables.unknown(found["unknown"])
    return 0


def lanes(client: Client, given: Namespace) -> int:
    """Show the lanes in which writes wait."""
    found = client.get("lanes")
    if given.json:
        tables.json_text(found)
        return 0
    rows = []
    for each in found["lanes"]:
        blocking = each["blocking"] or {}
        names = ("id", "resource", "reason", "since")
        rows.append([plain(each["lane"]), plain(each["waiting"]),
                     *(plain(blocking.get(name)) for name in names)])  # fmt: skip
    show(("lane", "waiting", "blocked by", "resource", "reason", "since"), rows)
    tables.line(plain(found["basis"]))
    return 0


def rejections(client: Client, given: Namespace) -> int:
    """List rejections."""
    query = filters.chosen(given)
    return _list(client, given, "rejections", "rejections", query, _rejection_rows)


def causes(client: Client, given: Namespace) -> int:
    """Show rejections by their causes."""
    found = client.get("rejections/causes", filters.chosen(given))
    if given.json:
        tables.json_text(found)
    else:
        by_cause(found["causes"])
    return 0


def by_cause(causes: Sequence[Json]) -> None:
    """Print causes of rejections."""
    names = "resource type constraint column sqlstate writes open first_at last_at example"
    _simple(causes, names)


def one(client: Client, given: Namespace) -> int:
    """Show a rejection, or all that became of a write."""
    if _REJECTION.fullmatch(given.id):
        found = client.get(f"rejections/{quote(given.id, safe='')}")
        if given.json:
            tables.json_text(found)
        else:
            tables.members(found)
        return 0
    found = client.get(f"writes/{quote(given.id, safe='')}")
    if given.json:
        tables.json_text(found)
        return 0
    tables.line(f"{plain(found['resource'], UNKNOWN)} {plain(found['id'])}")
    _simple(found["events"], "at what item detail act other")
    tables.unknown(found["unknown"])
    return 0


def find(client: Client, given: Namespace) -> int:
    """List writes."""
    query = filters.chosen(given)
    if not query:
        given.usage("name the writes: --receipt, --resource with --key, or --resource and times")
    names = "id resource writes rejected waiting accepted_at poured_at"
    return _list(client, given, "writes", "writes", query, lambda each: _simple(each, names))


def acts(client: Client, given: Namespace) -> int:
    """List acts."""
    named = {name: getattr(given, name) for name in ("kind", "who", "since", "until")}
    query = {name: text for name, text in named.items() if text is not None}
    return _list(client, given, "acts", "acts", query, act_rows)


def act_rows(found: Sequence[Json]) -> None:
    """Print acts."""
    _simple(found, "id kind state done failed writes who begun_at note")


def dead_letters(client: Client, given: Namespace) -> int:
    """Show dead letters."""
    buffers = [given.buffer] if given.buffer else ["ordered", "unordered"]
    found = [client.get("dead-letters", {"buffer": each}) for each in buffers]
    if given.json:
        tables.json_text({"dead_letters": found})
        return 0
    for each in found:
        tables.line(f"{each['buffer']}: {plain(each['count'], UNKNOWN)} dead letters")
        if each["messages"]:
            names = "id resource op writes accepted_at receives poured newer reason"
            _simple(each["messages"], names, unknown=UNKNOWN)
        tables.unknown(each["unknown"])
    return 0


def audit(client: Client, given: Namespace) -> int:
    """Compare an hour's accepted writes with what became of them; 1 if some are missing."""
    query = {"hour": given.hour or _last_hour()}
    found = _whole_hour(client, query)
    missing = sum(each["missing"] or 0 for each in found["resources"])
    if given.json:
        tables.json_text(found)
    else:
        _simple(found["resources"], "resource accepted applied rejected waiting missing",
                f"accepted in the hour of {query['hour']}", unknown=UNKNOWN)  # fmt: skip
        if found["missing"]:
            _simple(found["missing"], "id resource writes accepted_at", "missing")
        tables.unknown(found["unknown"])
        tables.line(_verdict(missing, found["is_complete"]))
    return int(missing > 0 or not found["is_complete"])


def _verdict(missing: int, is_complete: bool) -> str:
    if missing:
        return f"{missing:,} accepted writes are missing: neither applied, rejected nor waiting."
    if not is_complete:
        return "Not all that was accepted in this hour is known; see above."
    return "All that was accepted in this hour is applied, rejected or waiting."


def _whole_hour(client: Client, query: Mapping[str, str]) -> Json:
    """The audit of an hour, which may take several calls: each covers a part of what was
    accepted."""
    found = client.get("audit", query)
    while (cursor := found.get("next")) is not None:
        part = client.get("audit", {**query, "cursor": cursor})
        found = {
            **part,
            "resources": _added(found["resources"], part["resources"]),
            "missing": [*found["missing"], *part["missing"]],
            "unknown": _once([*found["unknown"], *part["unknown"]]),
        }
    return found


def _once(unknown: Sequence[Json]) -> list[Json]:
    """What several parts do not know, said once."""
    return [*{(each["what"], each["why"]): each for each in unknown}.values()]


def _added(some: Sequence[Json], more: Sequence[Json]) -> list[Json]:
    """Numbers of resources, added."""
    sums: dict[str, Json] = {}
    for each in (*some, *more):
        known = sums.setdefault(each["resource"], {"resource": each["resource"]})
        for name, number in each.items():
            if name != "resource":
                known[name] = known.get(name, 0) + (number or 0)
    return [*sums.values()]


def _last_hour() -> str:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    return hour.strftime("%Y-%m-%dT%H:00:00Z")


def _list(
    client: Client,
    given: Namespace,
    path: str,
    name: str,
    query: Mapping[str, str],
    print_: Callable[[list[Json]], None],
) -> int:
    """Show a list: all of it as JSON, or as much as people read."""
    most = given.limit if given.limit or given.json else _SHOWN
    found = client.listed(path, name, query, most)
    if given.json:
        tables.json_text({name: found})
        return 0
    if not found:
        tables.line(f"No {name} match.")
        return 0
    print_(found)
    if most is not None and len(found) >= most:
        tables.line(f"The first {most:,}; --limit N shows more, and --json has all.")
    return 0


def _simple(
    found: Sequence[Mapping[str, Any]], names: str, title: str = "", unknown: str = NONE
) -> None:
    """Print objects as a table of these members."""
    columns = names.split()
    rows = [
        [unknown if each.get(name) is None else short(each[name]) for name in columns]
        for each in found
    ]
    show([name.replace("_", " ") for name in columns], rows, title)


def _rejection_rows(found: Sequence[Json]) -> None:
    names = ("id", "resource", "op", "type", "constraint", "reason", "caller", "rejected_at")
    rows = [
        [*(short(each[name]) for name in names), plain((each["correction"] or {}).get("kind"))]
        for each in found
    ]
    show([*(name.replace("_", " ") for name in names), "corrected"], rows)


def _buffers(found: Sequence[Json]) -> None:
    def drain(mapping: Json | None) -> str:
        if mapping is None:
            return UNKNOWN
        return "paused" if mapping["paused"] else plain(mapping["state"])

    counts = ("queued", "in_flight", "dead_letters")
    rows = [
        [plain(each["name"]), *(plain(each[name], UNKNOWN) for name in counts),
         seconds(each["oldest_seconds"], UNKNOWN if each["queued"] != 0 else NONE),
         drain(each["mapping"]), _soon(each["estimate"]["seconds"])]
        for each in found
    ]  # fmt: skip
    show(("buffer", "queued", "in flight", "dead letters", "oldest", "drain", "poured in"), rows)


def _soon(value: Any) -> str:
    return "now" if value == 0 else seconds(value)


def _resources(found: Sequence[Json]) -> None:
    rows = []
    for each in found:
        lag = each["lag"] or {}
        shown = (seconds(lag.get(name), NONE) for name in ("p50", "p95", "p99"))
        counts = (plain(each[name], UNKNOWN) for name in ("rejected_last_hour", "waiting"))
        rows.append([plain(each["name"]), plain(each["writes_per_minute"], UNKNOWN), *shown,
                     *counts])  # fmt: skip
    names = ("resource", "writes/min", "lag p50", "p95", "p99", "rejected (1 h)", "waiting")
    show(names, rows)


def _reasons(found: Sequence[Json]) -> None:
    if found:
        _simple(found, "reason writes since", "waiting in the database")


def _connections(found: Json) -> None:
    rows = [
        [plain(each["role"]), plain(each["in_use"], UNKNOWN), plain(each["most"], UNKNOWN)]
        for each in found["connections"]
    ]
    title = f"connections, of a budget of {plain(found['budget'], UNKNOWN)}"
    show(("role", "in use", "at most"), rows, title)


def _score(found: Json | None) -> None:
    if found and found["scored"]:
        tables.line(
            f"estimates of the last hour: {found['scored']:,} scored, half of them within"
            f" {seconds(found['median_error_seconds'])}, {float(found['within_factor_2']):.0%}"
            " within a factor of 2"
        )
