"""A peer's run → a history for the checker, and violations → counts by promise.

A peer has no statuses, so what its functions log takes their place, as if its clients could read
it: a write without an effect that was logged as rejected is rejected, and any other accepted write
has to have an effect.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from decanter.proof.history import Attempt, Effect, History, Reading, Violation, Write
from decanter.proof.peers.log import Logged

CLASSES = {
    "lost": ("lost", "unfinished"),
    "doubled": ("doubled",),
    "misordered": ("misordered", "wrong-row"),
}
"""Classes of violations, and their kinds."""


class Judged(NamedTuple):
    """history: for the checker. untold: rejected writes whose clients read that they were accepted,
    and nothing more. misled: requests whose clients read that they were refused, and which were
    applied."""

    history: History
    untold: int = 0
    misled: int = 0


def of_queue(history: History, messages: Mapping[int, frozenset[str]], log: Mapping[str, Logged],
             ) -> Judged:  # fmt: skip
    """Judge a peer that takes messages. messages: dedup IDs of each request."""
    applied = _tokens(history.effects)
    attempts = without_reused_keys(history.attempts)
    finals: dict[str, Reading] = {}
    untold = 0
    for request, own in _by_request(attempts).items():
        logged = [log[name] for name in messages.get(request, ()) if name in log]
        rejections = _rejections(own[0].writes, logged, applied)
        receipts = [each.receipt for each in own if each.is_accepted and each.receipt]
        if rejections is not None:
            finals |= {each: _final(each, rejections, len(own[0].writes)) for each in receipts}
            untold += len(rejections) if receipts else 0
    return Judged(_with(history, attempts, finals), untold)


def of_answers(history: History) -> Judged:
    """Judge a peer whose answers are the outcomes."""
    applied = _tokens(history.effects)
    finals: dict[str, Reading] = {}
    attempts = []
    for each in history.attempts:
        receipt = f"request {each.request}" if each.is_accepted else None
        attempts.append(each._replace(receipt=receipt, key=None))
        if receipt:
            finals[receipt] = _final(receipt, {}, len(each.writes))
    misled = sum(
        own[-1].is_refused
        and not any(each.is_accepted for each in own)
        and any(write.token in applied for write in own[0].writes)
        for own in _by_request(attempts).values()
    )
    return Judged(_with(history, attempts, finals), misled=misled)


def count(violations: Iterable[Violation]) -> dict[str, int]:
    """The number of violations in each class; `other` for the kinds of no class."""
    names = {kind: name for name, kinds in CLASSES.items() for kind in kinds}
    counted = Counter(names.get(each.kind, "other") for each in violations)
    return {name: counted[name] for name in (*CLASSES, "other")}


def unserved(history: History) -> int:
    """Requests whose clients gave up: no answer, or none but that of a service that is out of
    order."""
    return sum(
        not any(each.is_accepted for each in own) and not own[-1].is_refused
        for own in _by_request(history.attempts).values()
    )


def untold(history: History) -> int:
    """Accepted writes whose clients read neither that they were applied nor that they were not."""
    return sum(
        len(own[0].writes)
        for own in _by_request(history.attempts).values()
        if any(each.is_accepted for each in own)
        and not any(each.receipt in history.finals for each in own)
    )


def without_reused_keys(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Without Idempotency-Keys. What becomes of two requests with one key is not promised by a
    peer, so that their outcomes are unknown."""
    sharing: dict[str | None, set[int]] = defaultdict(set)
    for each in attempts:
        sharing[each.key].add(each.request)
    return [
        each._replace(key=None, status=None, answered_at=None, receipt=None)
        if each.key is not None and len(sharing[each.key]) > 1
        else each._replace(key=None)
        for each in attempts
    ]


def _rejections(
    writes: Sequence[Write], logged: Sequence[Logged], applied: frozenset[str]
) -> dict[int, str] | None:
    """Types of rejections by item. None: nobody knows, of a delete whose log has a gap."""
    found: dict[int, str] = {}
    for write in writes:
        outcomes = [kind for each in logged for kind in each.outcomes.get(write.item, ())]
        if write.token in applied or "" in outcomes or not outcomes:
            if write.op == "delete" and not outcomes and logged:
                return None
            continue
        if write.op == "delete" and sum(each.deliveries for each in logged) > len(outcomes):
            return None
        found[write.item] = outcomes[0]
    return found


def _final(receipt: str, rejections: Mapping[int, str], writes: int) -> Reading:
    state = "rejected" if len(rejections) == writes else "partial" if rejections else "applied"
    types: dict[int | None, str] = {}
    types.update(rejections.items())
    return Reading(receipt, float("inf"), float("inf"), state, types)


def _with(history: History, attempts: Sequence[Attempt], finals: Mapping[str, Reading]) -> History:
    return History(
        attempts=attempts,
        readings=(),
        finals=finals,
        effects=history.effects,
        rows=history.rows,
        is_ordered=any(each.place is not None for each in attempts),
        dead_letters=history.dead_letters,
    )


def _tokens(effects: Iterable[Effect]) -> frozenset[str]:
    return frozenset(str(each.after.get("token")) for each in effects if each.after)


def _by_request(attempts: Iterable[Attempt]) -> dict[int, list[Attempt]]:
    found: dict[int, list[Attempt]] = defaultdict(list)
    for each in attempts:
        found[each.request].append(each)
    return found
