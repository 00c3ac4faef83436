"""A profile from the traffic of the last days, as `GET /ops/traffic` tells it.

The day is the one with the most requests, in UTC: its hours are the rates, and its busiest minute a
burst, where it stands out. Shares, rows and keys are those of all days. What the ledger does not
know is estimated from Postgres' statistics, or taken from a small file; each such figure is told
with its basis.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chalicelib.contract.resources import Resource
from chalicelib.ops import Op, available
from chalicelib.settings import MAX_FRONT_ROWS, MAX_MESSAGE_BYTES, MAX_ROWS
from decanter.planning import documents
from decanter.planning.documents import PlanningError
from decanter.planning.profile import SCHEMA

Json = dict[str, Any]

GOAL_SECONDS, REGION, ROW_BYTES = 10, "us-east-1", 200
"""What is assumed where neither the ledger nor a file says it."""

_HOUR, _HOURS = 3_600, 24
_LEAST_SECONDS = 60.0  # of an hour that has only begun
_BURST = 2.0  # times the rate of its hour, and so many standard deviations above it
_DEVIATIONS = 5
_LEAST_SHARE = 0.0005  # smaller ones are left out
_RANKED_WRITES = 20  # of a key, with which it counts as frequent
_MOST_ZIPF = 3.0

_NAMED = ("goal", "region", "connections", "round_trip_ms")
_GIVEN: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        **{name: SCHEMA["properties"][name] for name in _NAMED},
        "resources": {
            "type": "object",
            "description": "bytes_per_row and ops of resources, by their names",
            "additionalProperties": {
                "type": "object",
                "description": "bytes_per_row, ops, or both",
                "properties": {
                    name: SCHEMA["properties"]["resources"]["additionalProperties"]["properties"][
                        name
                    ]
                    for name in ("bytes_per_row", "ops")
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
    "description": (
        "what the ledger does not know: goal, region, connections, round_trip_ms, and resources"
        " with bytes_per_row and ops"
    ),
}


@dataclass(frozen=True)
class Fitted:
    """A profile as it is written, and where its figures are from, a line each."""

    document: Json
    basis: tuple[str, ...]


def given(document: Any, name: str) -> Mapping[str, Any]:
    """What a file says beside the ledger. Raises PlanningError."""
    documents.check(document, _GIVEN, name)
    return dict(document)


def fit(
    traffic: Mapping[str, Any], resources: Mapping[str, Resource], said: Mapping[str, Any]
) -> Fitted:
    """The profile of a traffic. resources: of the contract, by name. said: see `given`. Raises
    PlanningError for a ledger without traffic of these resources."""
    found = [each for each in traffic["resources"] if each["name"] in resources]
    used = [each for each in found if sum(each["requests"])]
    if not used:
        days = len(traffic["hours"]) // _HOURS
        raise PlanningError(
            f"The ledger has no traffic: in the last {days} days, no write to a resource of the"
            " contract was accepted and poured. Ask a stage that has traffic (--stage, --url), or"
            " give a profile: python -m decanter plan day.yaml"
        )
    basis = [*_sampling(traffic)]
    totals = {each["name"]: sum(each["requests"]) for each in used}
    least = _LEAST_SHARE * sum(totals.values())
    for name in [name for name, requests in totals.items() if requests < least]:
        basis.append(f"resources.{name}: left out, as it has {totals.pop(name):,} requests alone")
    kept = [each for each in used if each["name"] in totals]
    shares = _rounded(totals)
    document: Json = {
        "region": _said(said, "region", REGION, basis),
        **{name: said[name] for name in ("connections", "round_trip_ms") if name in said},
        "goal": _said(said, "goal", {"lag_p99_seconds": GOAL_SECONDS}, basis),
        **_day(traffic, kept, basis),
        "resources": {
            each["name"]: {
                "share": shares[each["name"]],
                **_resource(each, resources[each["name"]], said, basis),
            }
            for each in kept
        },
    }
    return Fitted(document, tuple(basis))


def text(fitted: Fitted) -> str:
    """The profile as YAML that its user can keep and edit; its basis stands in front."""
    import yaml

    body: str = yaml.safe_dump(fitted.document, sort_keys=False, default_flow_style=None, width=100)
    return "".join(f"# {each}\n" for each in fitted.basis) + body


def _sampling(traffic: Mapping[str, Any]) -> Iterator[str]:
    share = float(traffic["sampled_share"])
    if share < 1:
        yield f"all counts: scaled up from {share:.1%} of the ledger, as it is large"


def _said(said: Mapping[str, Any], name: str, otherwise: Any, basis: list[str]) -> Any:
    if name in said:
        return said[name]
    basis.append(f"{name}: assumed; give it in a file that you name before --from-ledger")
    return otherwise


def _day(traffic: Mapping[str, Any], kept: Sequence[Json], basis: list[str]) -> Json:
    """The rates of the day with the most requests, and its busiest minute."""
    begins = [datetime.fromisoformat(each) for each in traffic["hours"]]
    requests = [sum(each) for each in zip(*(one["requests"] for one in kept), strict=True)]
    days: dict[Any, dict[int, int]] = {}
    for place, begin in enumerate(begins):
        days.setdefault(begin.date(), {})[begin.hour] = place
    date, hours = max(
        days.items(), key=lambda day: sum(requests[place] for place in day[1].values())
    )
    now = datetime.fromisoformat(traffic["now"])
    others = {begin.hour: place for place, begin in enumerate(begins) if begin.hour not in hours}
    hours = {**hours, **others}

    def rate(hour: int) -> float:
        if hour not in hours:
            return 0.0
        begun = (now - begins[hours[hour]]).total_seconds()
        return float(requests[hours[hour]] / min(_HOUR, max(_LEAST_SECONDS, begun)))

    rates = [_digits(rate(hour)) for hour in range(_HOURS)]
    basis.append(
        f"rate: of {date.isoformat()} (UTC), the day with the most requests of"
        f" {len(begins) // _HOURS}"
        + (f"; {len(others)} hours that are not among these, of another day" if others else "")
    )
    found: Json = {"rate": {"minutes": 60, "requests_per_second": rates}}
    burst = None
    if traffic["sampled_share"] < 1:
        basis.append(
            "bursts: not known, as pages of the ledger were read, and a page has the messages of a"
            " moment; add those that you know"
        )
    else:
        burst = _burst(kept, hours, rate)
    if burst:
        found["bursts"] = [burst]
        basis.append(
            "bursts: the busiest minute of that day; when in its hour, and in how few of its"
            " seconds, is not known"
        )
    return found


def _burst(
    kept: Sequence[Json], hours: Mapping[int, int], rate: Callable[[int], float]
) -> Json | None:
    """The busiest minute, if it stands out of its hour. That of a resource: the ledger's answer
    has no minute of all of them."""
    busiest = [
        (max(each["busiest_minute"][at] for each in kept), hour) for hour, at in hours.items()
    ]
    found = []
    for requests, hour in busiest:
        expected = 60 * rate(hour)
        is_high = requests > expected + _DEVIATIONS * math.sqrt(expected)
        if is_high and requests > _BURST * expected:
            found.append((requests - expected, hour))
    if not found:
        return None
    more, hour = max(found)
    at = f"{hour:02}:30"
    return {"at": at, "seconds": 60, "requests_per_second": _digits(more / 60)}


def _resource(found: Json, resource: Resource, said: Mapping[str, Any], basis: list[str]) -> Json:
    name = resource.name
    own = said.get("resources", {}).get(name, {})
    most = MAX_FRONT_ROWS if resource.is_fronted else MAX_ROWS
    rows = max(1, min(most, round(sum(found["writes"]) / sum(found["requests"]))))
    ops = own.get("ops") or _ops(found, resource, rows, basis)
    made: Json = {
        "rows_per_request": rows,
        "bytes_per_row": own.get("bytes_per_row") or _bytes(found, name, basis),
        "ops": ops,
    }
    if resource.ordered and found["keys"]:
        made["keys"] = _keys(found["keys"], name, basis)
    return made


def _ops(found: Json, resource: Resource, rows: int, basis: list[str]) -> Json:
    """The shares of ops by the table's statistics, as far as the resource has such ops."""
    possible = [
        each.op
        for each in available(resource.ordered, "replace" in resource.schemas)
        if rows == 1 or not each.names_row
    ]
    where = f"resources.{resource.name}.ops"
    counts = found["ops"]
    if not counts:
        basis.append(f"{where}: assumed to be creates; give them in a file, or edit this")
        return {"create": 1}
    kinds: Mapping[str, tuple[Op, ...]] = {
        "inserted": ("create",),
        "updated": ("merge", "replace", "create-or-merge"),
        "deleted": ("delete",),
    }
    written: Counter[str] = Counter()
    for kind, ops in kinds.items():
        op = next((each for each in ops if each in possible), None)
        if op and counts[kind]:
            written[op] += int(counts[kind])
    basis.append(f"{where}: estimated by {counts['basis']}")
    return _rounded(written) if written else {"create": 1}


def _bytes(found: Json, name: str, basis: list[str]) -> int:
    where = f"resources.{name}.bytes_per_row"
    if not found["row_bytes"]:
        basis.append(f"{where}: assumed; give it in a file, or edit this")
        return ROW_BYTES
    basis.append(f"{where}: estimated by {found['row_bytes']['basis']}")
    return max(2, min(MAX_MESSAGE_BYTES, int(found["row_bytes"]["mean"])))


def _keys(sample: Json, name: str, basis: list[str]) -> Json:
    """How writes are spread: the number of keys by those seen once and twice (Chao), and Zipf's law
    by the frequent ones but the first, which may be more frequent than it says."""
    seen, once, twice = sample["keys"], sample["once"], sample["twice"]
    number = seen + once * (once - 1) / (2 * (twice + 1))
    top, writes = sample["top"], sample["writes"]
    zipf = _zipf(top)
    expected = top[1] * 2**zipf if len(top) > 1 else 0.0
    hottest = max(0.0, top[0] - expected) / writes if top[0] >= _RANKED_WRITES else 0.0
    basis.append(f"resources.{name}.keys: estimated from {writes:,} writes that were sampled")
    return {
        "number": max(1, min(1_000_000_000, round(number))),
        "hottest": round(min(1.0, hottest), 4),
        "zipf": zipf,
    }


def _zipf(top: Sequence[int]) -> float:
    """The exponent by the slope of the frequent keys, on logarithmic scales; 0 for too few."""
    ranked = [(math.log(rank), math.log(each)) for rank, each in enumerate(top, 1) if rank > 1]
    if len(ranked) < 3 or top[1] < _RANKED_WRITES:
        return 0.0
    x, y = (sum(each) / len(ranked) for each in zip(*ranked, strict=True))
    slope = sum((a - x) * (b - y) for a, b in ranked) / sum((a - x) ** 2 for a, _ in ranked)
    return float(round(min(_MOST_ZIPF, max(0.0, -slope)), 1))


def _rounded(counts: Mapping[str, int]) -> dict[str, float]:
    """Shares with four digits that sum up to 1: the largest takes what rounding leaves."""
    total = sum(counts.values())
    found = {name: round(each / total, 4) for name, each in counts.items()}
    largest = max(found, key=lambda name: found[name])
    found[largest] = round(found[largest] + 1 - sum(found.values()), 4)
    return {name: each for name, each in found.items() if each}


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
