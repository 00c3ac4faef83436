"""When what waits in a buffer will be poured, and how good such estimates were."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from chalicelib.messages.pace import PACE_SECONDS, Pace
from chalicelib.messages.place import moment

_LEAST_SECONDS = 1.0  # the ledger's moments are whole seconds
_FACTOR = 2.0

_NOT_KNOWN = "it is not known when what waits will be poured"


class Estimate(NamedTuple):
    """When what waits now will be poured.

    seconds: until then, and at: the time, ISO 8601. writes_ahead: how many writes wait.
    writes_per_second: how fast they are poured. Each is None where it is not known. basis: a
    sentence that says what all this was made of, or why it is not known.
    """

    seconds: float | None
    at: str | None
    writes_ahead: int | None
    writes_per_second: float | None
    basis: str


def estimate(
    buffer: str, messages: int | None, pace: Pace | None, is_paused: bool, now: float
) -> Estimate:
    """When the messages in a buffer will be poured. messages: None if they are not counted. pace:
    None if the database does not tell it. now: seconds since the epoch."""
    rate = None if pace is None else _rate(pace, is_stalled=bool(messages))
    shown, ahead = None if rate is None else _rounded(rate), _writes(messages, pace)
    if messages == 0:
        basis = f"nothing waits in {buffer}, by SQS' count"
        return Estimate(0.0, _moment(now), 0, shown, basis)
    if messages is None or ahead is None or rate is None or is_paused:
        why = _why_not(buffer, messages, pace, is_paused)
        return Estimate(None, None, ahead, shown, f"{_NOT_KNOWN}: {why}")
    basis = (
        f"some {ahead:,} writes in {messages:,} messages wait in {buffer}, by SQS' count and the"
        f" messages of the last {PACE_SECONDS} s; {_spelled(rate)} writes a second were poured in"
        " that time, while any waited"
    )
    seconds = ahead / rate
    return Estimate(round(seconds, 1), _moment(now + seconds), ahead, shown, basis)


def unknown(why: str) -> Estimate:
    """An estimate that cannot be made, and why."""
    return Estimate(None, None, None, None, f"{_NOT_KNOWN}: {why}")


def latest(estimates: Sequence[Estimate]) -> Estimate:
    """For something in one of several buffers: the one that is not known, or else the latest."""
    return next(
        (each for each in estimates if each.seconds is None),
        max(estimates, key=lambda each: each.seconds or 0.0),
    )


def score(past: Sequence[Pace], now: float) -> dict[str, Any]:
    """How good estimates at past moments would have been: {"scored": their number,
    "median_error_seconds", "within_factor_2": share of them, from 0 to 1, "basis"}.

    A moment counts if something waited then. It does not if any of that was poured in the last
    minute, as more of it may still wait.
    """
    errors, hits = [], 0
    for each in past:
        rate = _rate(each, is_stalled=False)
        if not each.waiting or not rate or each.last is None or each.last > now - PACE_SECONDS:
            continue
        predicted, true = each.waiting / rate, each.last - each.at
        errors.append(abs(predicted - true))
        known = [max(_LEAST_SECONDS, seconds) for seconds in (predicted, true)]
        hits += max(known) <= _FACTOR * min(known)
    return {
        "scored": len(errors),
        "median_error_seconds": round(statistics.median(errors), 2) if errors else None,
        "within_factor_2": round(hits / len(errors), 2) if errors else None,
        "basis": (
            "for each buffer and each minute of the last hour in which something waited: the writes"
            " that waited then, over the pace of the minute before, against the time when the last"
            " of them was poured, both by the ledger; less than a second counts as one"
        ),
    }


def _rate(pace: Pace, is_stalled: bool) -> float | None:
    """Writes a second, of the time in which some waited; None if none were poured. is_stalled:
    whether some have waited since the last pour."""
    busy = pace.busy + (pace.idle if is_stalled else 0.0)
    seconds = min(max(busy, _LEAST_SECONDS), float(PACE_SECONDS))
    return pace.writes / seconds if pace.writes else None


def _writes(messages: int | None, pace: Pace | None) -> int | None:
    if not messages:
        return messages
    if pace is None or not pace.messages:
        return None
    return max(messages, round(messages * pace.writes / pace.messages))


def _why_not(buffer: str, messages: int | None, pace: Pace | None, is_paused: bool) -> str:
    if is_paused:
        return f"the drain of {buffer} is paused"
    if messages is None:
        return f"it is not known how many messages wait in {buffer}"
    if pace is None:
        return "the database does not tell the pace now"
    return f"nothing of {buffer} was poured in the last {PACE_SECONDS} s"


def _rounded(rate: float) -> float:
    """With three digits that count."""
    return float(f"{rate:.3g}")


def _spelled(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _moment(seconds: float) -> str:
    return moment(int(seconds * 1_000_000))
