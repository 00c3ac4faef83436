"""Connections within the budget, and no write held up by another."""

from collections.abc import Iterable, Iterator

from decanter.proof.checking.requests import TracedWrite
from decanter.proof.history import History, Sample, Violation
from decanter.proof.tables import FRONTED


def over_budget(history: History) -> Iterator[Violation]:
    """The worst sample of each kind of function that had too many connections."""
    worst: dict[str, Sample] = {}
    for sample in history.samples:
        if sample.connections > max(
            history.budget.get(sample.kind, 0),
            worst[sample.kind].connections if sample.kind in worst else 0,
        ):
            worst[sample.kind] = sample
    for kind, sample in worst.items():
        allowed = history.budget.get(kind, 0)
        text = f"{kind} has {sample.connections} connections at {sample.at:.3f}, and may have"
        yield Violation("over-budget", f"{text} {allowed}")


def slow(history: History, writes: Iterable[TracedWrite]) -> Iterator[Violation]:
    """Writes that nothing may delay, and that took longer than the bound."""
    for each in writes:
        in_front = each.write.resource in FRONTED
        bound = history.front_bound_seconds if in_front else history.bound_seconds
        request = each.request
        sent = [attempt for attempt in request.attempts if attempt.is_accepted]
        if bound is None or request.number not in history.innocent or not sent:
            continue
        accepted = min(sent, key=lambda attempt: attempt.answered_at or 0.0)
        times = [effect.at for effect in each.effects] or [
            history.rejected_at[receipt, each.write.item]
            for receipt in request.receipts
            if (receipt, each.write.item) in history.rejected_at
        ]
        if times and min(times) - accepted.sent_at > bound:
            text = (
                f"{each}, sent at {accepted.sent_at:.3f}, was done at {min(times):.3f}: after"
                f" {min(times) - accepted.sent_at:.3f} s, and {bound:.3f} s are promised"
            )
            yield Violation("slow", f"{' '.join(each.row)}: {text}", each.row)


def deadlocks(history: History) -> Iterator[Violation]:
    """Deadlocks that one order of rows and messages would have prevented."""
    for at in history.needless_deadlocks:
        yield Violation("deadlock", f"drains with one set each had a deadlock at {at:.3f}")
