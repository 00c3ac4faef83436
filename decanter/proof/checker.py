"""Decides whether a history keeps Decanter's promises: docs/architecture.md, *What always holds*.

Pure: what clients did and saw, and what the database recorded, is all that it looks at.
"""

from collections import defaultdict
from collections.abc import Iterable

from decanter.proof.checking import limits
from decanter.proof.checking.front import front_violations
from decanter.proof.checking.front_log import poured
from decanter.proof.checking.requests import (
    RowName,
    TracedWrite,
    requests,
    reused_keys,
    traced,
    unfinished,
)
from decanter.proof.checking.rows import Rows
from decanter.proof.checking.statuses import forged, status_violations
from decanter.proof.history import Effect, History, Violation

KINDS = {
    "lost": "an accepted write has neither an effect nor a rejection",
    "unfinished": "an accepted write ends neither as applied nor as rejected",
    "doubled": "a write, or an Idempotency-Key, has more than one effect",
    "misordered": "no order of the accepted writes of a row gives its effects and rejections",
    "undecided": "the search for such an order took too long",
    "wrong-row": "a row is not what its last effect left",
    "wrong-rejection": "a write is rejected for a reason that it never had",
    "invented": "a row or an effect is not what any write makes",
    "refused-but-applied": "a request was refused, and has an effect",
    "untruthful": "a status does not agree with the database, or with an earlier one",
    "forged": "a receipt that was never issued to whoever asks is answered",
    "over-budget": "functions held more connections than they may",
    "deadlock": "two drains waited for each other, and need not have",
    "wrong-item": "an item of the front table is not what its request makes of the one before",
    "misled": "an answer of the front does not agree with its table, or with an earlier one",
    "diverged": "in the end, an item of the front table and its row in Postgres differ",
    "slow": "a write waited longer than the bound because of others",
}
"""Kinds of violations, and what each means."""


def check(history: History) -> list[Violation]:
    """All violations; none means that every promise was kept."""
    in_front = [*front_violations(history)]
    history = poured(history)
    chains: dict[RowName, list[Effect]] = defaultdict(list)
    by_token: dict[str, list[Effect]] = defaultdict(list)
    for effect in sorted(history.effects, key=lambda each: each.number):
        chains[effect.resource, effect.key].append(effect)
        if effect.after is not None:
            by_token[str(effect.after.get("token"))].append(effect)
    found = requests(history)
    writes = {request: traced(request, by_token) for request in found}
    every = [each for own in writes.values() for each in own]
    tokens = {each.write.token: each for each in every if each.write.token}
    return [
        *in_front,
        *unfinished(found, history.left, history.overtaken),
        *reused_keys(found, by_token),
        *Rows(history, chains, _by_row(every), tokens).violations(),
        *status_violations(history, writes, chains),
        *forged(history),
        *limits.over_budget(history),
        *limits.deadlocks(history),
        *limits.slow(history, every),
    ]


def _by_row(writes: Iterable[TracedWrite]) -> dict[RowName, list[TracedWrite]]:
    found: dict[RowName, list[TracedWrite]] = defaultdict(list)
    for each in writes:
        found[each.row].append(each)
    return found
