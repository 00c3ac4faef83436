"""What clients read agrees with the database at all times."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from decanter.proof.checking.requests import KEY_REUSED, RowName, TracedRequest, TracedWrite
from decanter.proof.history import Effect, History, Reading, Violation

_DONE = ("applied", "partial", "rejected")
_LAST = (*_DONE, "expired")
_STATES = (*_LAST, "pending")


class _Told(NamedTuple):
    """A status of a request that its client read."""

    request: TracedRequest
    reading: Reading

    def violation(self, text: str) -> Violation:
        name = f"request {self.request.number} reads {self.reading.state}"
        return Violation("untruthful", f"{name} at {self.reading.answered_at:.3f}: {text}")


def status_violations(
    history: History,
    writes: Mapping[TracedRequest, Sequence[TracedWrite]],
    chains: Mapping[RowName, Sequence[Effect]],
) -> Iterator[Violation]:
    readings: dict[str, list[Reading]] = defaultdict(list)
    for reading in history.readings:
        readings[reading.receipt].append(reading)
    for request, own in writes.items():
        for receipt in request.receipts:
            final = history.finals.get(receipt)
            read = [*sorted(readings[receipt], key=lambda each: each.asked_at)]
            told = [_Told(request, each) for each in (*read, *([final] if final else []))]
            yield from _changed(told)
            for each in told:
                yield from _contradicted(each)
                yield from _ahead(each, own, chains)
                yield from _behind(each, own)
        yield from _disagreeing(request, history.finals)


def _changed(told: Sequence[_Told]) -> Iterator[Violation]:
    """What was read as done stays so."""
    last: _Told | None = None
    for each in told:
        reading = each.reading
        if last and reading.asked_at >= last.reading.answered_at:
            was = last.reading
            if (was.state, dict(was.rejections)) != (reading.state, dict(reading.rejections)):
                yield each.violation(
                    f"it had read {was.state} with rejections {dict(was.rejections)} at"
                    f" {was.answered_at:.3f}, and has {dict(reading.rejections)} now"
                )
        if reading.state in _LAST and (
            last is None or reading.answered_at < last.reading.answered_at
        ):
            last = each


def _contradicted(told: _Told) -> Iterator[Violation]:
    """A state agrees with its rejections."""
    state, rejections = told.reading.state, told.reading.rejections
    count, rejected = len(told.request.writes), len(rejections)
    if state not in _STATES:
        yield told.violation("no request of this run may have that state")
    elif None in rejections and (state, {**rejections}) != ("rejected", {None: KEY_REUSED}):
        yield told.violation(f"its rejections are {dict(rejections)}")
    elif None in rejections or state not in _DONE:
        return
    elif not {*rejections} <= {write.item for write in told.request.writes}:
        yield told.violation(f"it has {count} writes, and rejections {dict(rejections)}")
    elif state != ("applied" if not rejected else "rejected" if rejected == count else "partial"):
        yield told.violation(f"{rejected} of its {count} writes are rejected")


def _ahead(
    told: _Told, writes: Sequence[TracedWrite], chains: Mapping[RowName, Sequence[Effect]]
) -> Iterator[Violation]:
    """What reads as applied is in the database by then, and what reads as rejected is not."""
    reading = told.reading
    for each in writes:
        if reading.rejections.keys() & {each.write.item, None}:
            if each.effects and each.may_change:  # else its row says so
                yield told.violation(f"{each} is rejected, and has effect {each.effects[0].number}")
        elif reading.state in _DONE:
            effects = each.effects
            if each.write.op == "delete" and each.fate == "applied":
                effects = tuple(one for one in chains.get(each.row, ()) if one.after is None)
            late = [effect for effect in effects if not _is_visible(effect, reading)]
            if late and len(late) == len(effects):
                yield told.violation(
                    f"effect {late[0].number} of {each}, of transaction {late[0].transaction} at"
                    f" {late[0].at:.3f}, was not visible yet"
                )


def _is_visible(effect: Effect, reading: Reading) -> bool:
    if reading.after is None:
        return effect.at <= reading.answered_at
    return reading.after.sees(effect.transaction)


def _behind(told: _Told, writes: Sequence[TracedWrite]) -> Iterator[Violation]:
    """What reads as pending was not done before the question."""
    before = told.reading.before
    if told.reading.state != "pending" or before is None:
        return
    if all(any(before.sees(one.transaction) for one in each.effects) for each in writes):
        yield told.violation("all of its writes had their effects before the question")


def _disagreeing(request: TracedRequest, finals: Mapping[str, Reading]) -> Iterator[Violation]:
    """All receipts of a request show the same."""
    found = {
        receipt: (finals[receipt].state, dict(finals[receipt].rejections))
        for receipt in request.receipts
        if receipt in finals
    }
    if any(each != next(iter(found.values())) for each in found.values()):
        yield Violation("untruthful", f"receipts of request {request.number} disagree: {found}")


def forged(history: History) -> Iterator[Violation]:
    """Receipts that were accepted although they were never issued to whoever asked."""
    for each in history.forgeries:
        if each.state != "unknown":
            text = f"the receipt {each.receipt} was not issued to whoever reads {each.state} at"
            yield Violation("forged", f"{text} {each.answered_at:.3f}")
