"""How long the writes of an undisturbed client took while nothing was broken."""

from collections.abc import Iterable, Mapping, Sequence

from decanter.proof.history import Attempt, Effect

_SETTLING_SECONDS = 5.0  # a lane that a fault blocked is free again
_LAST_SECONDS = 1.0  # the next fault may strike a write that is accepted so late


def longest_lag(
    attempts: Iterable[Attempt],
    effects: Iterable[Effect],
    quiet: Sequence[tuple[float, float]],
    client: str,
) -> float | None:
    """The longest time in seconds from the answer to the effect of a client's writes that were
    accepted in a quiet phase; None if there was none."""
    applied = {str(each.after["token"]): each.at for each in effects if each.after}
    lags = [
        lag
        for each in attempts
        if each.client == client and each.is_accepted and _is_quiet(each, quiet)
        for lag in _lags(each, applied)
    ]
    return max(lags, default=None)


def _lags(attempt: Attempt, applied: Mapping[str, float]) -> Iterable[float]:
    assert attempt.answered_at is not None
    for each in attempt.writes:
        if each.token in applied:
            yield max(0.0, applied[each.token] - attempt.answered_at)


def _is_quiet(attempt: Attempt, quiet: Sequence[tuple[float, float]]) -> bool:
    sent = attempt.sent_at
    return any(begin + _SETTLING_SECONDS <= sent <= end - _LAST_SECONDS for begin, end in quiet)
