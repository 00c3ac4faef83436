"""A failing plan → the shortest one that still fails."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from decanter.proof.simulation.plan import Plan, Release, Stream

_LISTS = ("requests", "faults", "outages", "locks", "redrives", "resends", "sweeps",
          "releases")  # fmt: skip
_SIMPLER: tuple[dict[str, Any], ...] = (
    {"drains": 1},
    {"batch": 10},
    {"doubles": 0.0},
    {"kills_late": True},
    {"latest": 600.0},
    {"most_receives": 1_000},
    {"visibility": 180.0},
    {"mapping_partial": True, "says_partial": True},
    {"releases": (Release(0.0, 16, 1_000_000, "k1"),)},
)


def shrink(plan: Plan, fails: Callable[[Plan], bool], most: int = 150) -> Plan:
    """Return the smallest plan found that fails, after at most so many runs."""
    runs = 0
    is_smaller = True
    while is_smaller and runs < most:
        is_smaller = False
        for candidate in _candidates(plan):
            runs += 1
            if fails(candidate):
                plan, is_smaller = candidate, True
                break
            if runs >= most:
                break
    return plan


def _candidates(plan: Plan) -> Iterator[Plan]:
    """Plans that are smaller by one step, the largest steps first."""
    for name in _LISTS:
        items = getattr(plan, name)
        least = 1 if name in ("requests", "releases") else 0
        for left in _without_parts(items):
            if len(left) >= least and (name != "releases" or _may_follow(left)):
                change: dict[str, Any] = {name: left}
                yield replace(plan, **change)
    for change in _SIMPLER:
        if any(getattr(plan, name) != value for name, value in change.items()):
            yield replace(plan, **change)
    if plan.stream and plan.stream != Stream():
        yield replace(plan, stream=Stream())
    for place, request in enumerate(plan.requests):
        for smaller in _smaller_requests(request):
            requests = [*plan.requests]
            requests[place] = smaller
            yield replace(plan, requests=tuple(requests))


def _may_follow(releases: Sequence[Release]) -> bool:
    """Whether the first is there from the beginning, and the last can read all messages."""
    last = releases[-1]
    is_latest = all(e.format <= last.format and e.contract <= last.contract for e in releases)
    return releases[0].at == 0.0 and is_latest


def _without_parts(items: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    size = len(items)
    while size:
        for start in range(0, len(items), size):
            yield tuple(items[:start]) + tuple(items[start + size :])
        size //= 2


def _smaller_requests(request: Any) -> Iterator[Any]:
    for left in _without_parts(request.rows):
        if left:
            yield request._replace(rows=left)
    if request.again:
        yield request._replace(again=())
    if request.retries:
        yield request._replace(retries=())
    if request.padding:
        yield request._replace(padding=0)
    if request.condition:
        yield request._replace(condition="")
    if request.forges:
        yield request._replace(forges=False)
    if request.key and not (request.again or request.retries):
        yield request._replace(key=None)
