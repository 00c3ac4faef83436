"""A plan in words and tables, and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from decanter.deployment.budget import OVERLAP
from decanter.planning.outcome import BufferOutcome, Outcome, ResourceOutcome
from decanter.planning.plan import MOST_TIMES, Limit, Plan
from decanter.planning.profile import DAY_SECONDS


def lines(plan: Plan) -> Iterator[str]:
    """The plan for people."""
    outcome, goal = plan.outcome, plan.profile.lag_p99_seconds
    yield f"{outcome.requests:,.0f} requests a day; the goal is lag p99 of {goal:g} s"
    if outcome.seconds < DAY_SECONDS:
        yield f"The stage cannot keep up; simulated until {_time(outcome.seconds)}."
    yield ""
    yield from _table(
        ("buffer", "lag p50", "p95", "p99", "longest", "most waiting", "at", "cleared in"),
        [
            (each.name, *map(_seconds, each.lag), f"{each.peak_backlog:,.0f}",
             _time(each.peak_second), _seconds(each.clear_seconds))
            for each in outcome.buffers
            if each.messages
        ],
    )  # fmt: skip
    yield ""
    yield from _table(
        ("resource", "lag p50", "p95", "p99", "longest", "requests", "rows"),
        [
            (each.resource, *map(_seconds, each.lag), f"{each.requests:,.0f}", f"{each.rows:,.0f}")
            for each in outcome.resources
        ],
    )
    yield ""
    yield from _connections(plan, outcome)
    yield ""
    if plan.objections:
        yield from (f"Not met: {each}." for each in plan.objections)
    else:
        yield "The goal is met."
    yield ""
    yield from _limit(plan.limit, goal)
    yield ""
    yield from _caps(plan)


def document(plan: Plan) -> dict[str, Any]:
    """The plan for programs."""
    return {
        "goal_met": not plan.objections,
        "objections": [*plan.objections],
        "goal": {"lag_p99_seconds": plan.profile.lag_p99_seconds},
        "outcome": {
            **asdict(plan.outcome),
            "buffers": [_figures(each) for each in plan.outcome.buffers],
            "resources": [_figures(each) for each in plan.outcome.resources],
        },
        "budget": plan.capacity.budget,
        "limit": {**plan.limit._asdict(), "gains": [each._asdict() for each in plan.limit.gains]},
        "caps": dict(plan.caps),
    }


def _figures(found: BufferOutcome | ResourceOutcome) -> dict[str, Any]:
    return {**asdict(found), "lag": found.lag._asdict()}


def _connections(plan: Plan, outcome: Outcome) -> Iterator[str]:
    yield from _table(
        ("function", "connections", "at most"),
        [
            *(
                (drain.function, str(outcome.connections[drain.function]), str(drain.connections))
                for drain in plan.capacity.drains.values()
            ),
            *((name, str(cap), str(cap)) for name, cap in plan.capacity.others.items()),
            ("sum", str(outcome.peak_connections), str(plan.capacity.budget)),
        ],
    )
    granted = plan.profile.connections
    shown = "the profile does not say how many" if granted is None else f"{granted}"
    yield (
        f"While two versions run side by side: {OVERLAP * plan.capacity.budget} at most. The"
        f" database grants: {shown}."
    )


def _limit(limit: Limit, goal: float) -> Iterator[str]:
    if not limit.what:
        yield f"Nothing breaks at {MOST_TIMES:g} times this traffic."
        return
    if limit.times:
        yield f"Breaks first at {limit.at:.3g} times this traffic: {limit.what}."
    else:
        yield f"Less traffic does not help: at {limit.at:.3g} times this traffic, {limit.what}."
    for each in limit.gains:
        before = limit.lag_p99[each.buffer]
        met = ", which meets the goal" if each.lag_p99 <= goal < before else ""
        yield (
            f"  There, with {each.change}: lag p99 of {each.buffer} {_seconds(each.lag_p99)} in"
            f" place of {_seconds(before)}{met}."
        )


def _caps(plan: Plan) -> Iterator[str]:
    yield "The lowest caps that meet the goal:"
    for name in (each.name for each in plan.outcome.buffers if each.messages):
        cap, drain = plan.caps[name], plan.capacity.drains[name]
        if cap is None:
            yield (
                f"  {drain.function}: none does, however high. Send more rows in a request, spread"
                " the writes over more keys, or allow more lag."
            )
        else:
            yield f"  {drain.function}: {cap} (now {drain.cap})"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        first = row[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([first, *rest])


def _seconds(seconds: float) -> str:
    for unit, size in (("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3f} s" if seconds < 1 else f"{seconds:.1f} s"


def _time(second: float) -> str:
    return f"{int(second) // 3600:02}:{int(second) % 3600 // 60:02}"
