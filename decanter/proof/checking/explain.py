"""The history of one row, for whoever looks for the cause of a violation."""

from collections.abc import Iterator

from decanter.proof.history import Attempt, Effect, History, Reading, Values, Violation


def explain(history: History, violation: Violation) -> str:
    """A violation, and the history of its row if it is about one."""
    text = f"{violation.kind}: {violation.text}"
    return f"{text}\n{explain_key(history, *violation.row)}" if violation.row else text


def explain_key(history: History, resource: str, key: str) -> str:
    """What clients sent and read about a row, and what became of it, by time: a line each."""
    row = (resource, key)
    attempts = [
        attempt
        for attempt in history.attempts
        if any((write.resource, write.key) == row for write in attempt.writes)
    ]
    requests = {attempt.receipt: attempt.request for attempt in attempts if attempt.receipt}
    lines = [
        *(line for attempt in attempts for line in _attempt(attempt, row)),
        *(_reading(each, requests) for each in history.readings if each.receipt in requests),
        *(_effect(each) for each in history.effects if (each.resource, each.key) == row),
    ]
    lines.sort(key=lambda line: line[0])
    finals = [
        f"at the end, request {requests[receipt]} reads {_status(final)}"
        for receipt, final in history.finals.items()
        if receipt in requests
    ]
    end = f"at the end, the row is {_row(history.rows.get(row))}"
    return "\n".join([*(f"{at:12.3f}  {text}" for at, text in lines), *finals, end])


def _attempt(attempt: Attempt, row: tuple[str, str]) -> Iterator[tuple[float, str]]:
    name = f"request {attempt.request}"
    for write in attempt.writes:
        if (write.resource, write.key) == row:
            place = attempt.place_of(write.item)
            yield (
                attempt.sent_at,
                f"{name} of {attempt.client}: item {write.item}, {write.op} {dict(write.values)}"
                f"{'' if attempt.key is None else f', with key {attempt.key}'}"
                f"{'' if place is None else f', at place {place}'}"
                f"{'' if attempt.answered_at is not None else ', without an answer'}",
            )
    if attempt.answered_at is not None:
        yield attempt.answered_at, f"{name} is answered {attempt.status}"


def _reading(reading: Reading, requests: dict[str, int]) -> tuple[float, str]:
    name = f"request {requests[reading.receipt]}"
    text = f"{name} reads {_status(reading)}, asked at {reading.asked_at:.3f}"
    return reading.answered_at, text


def _status(reading: Reading) -> str:
    rejections = f" with {dict(reading.rejections)}" if reading.rejections else ""
    return f"{reading.state}{rejections}"


def _effect(effect: Effect) -> tuple[float, str]:
    name = f"effect {effect.number}, transaction {effect.transaction}"
    return effect.at, f"{name}: {_row(effect.before)} → {_row(effect.after)}"


def _row(row: Values | None) -> str:
    return "no row" if row is None else str(dict(row))
