"""Each row: its effects, its final values and the outcomes of its writes fit together."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from chalicelib.ops import OPS
from decanter.proof.checking.order import fits_somewhere, is_quiet, order_violation
from decanter.proof.checking.requests import RowName, TracedWrite, may_supersede
from decanter.proof.checking.semantics import outcome
from decanter.proof.history import Effect, History, Values, Violation
from decanter.proof.tables import PARENTS, UNORDERED

_BY_ROW = ("conflict", "missing", "check")
"""Rejections that follow from the write and its row alone."""


@dataclass(frozen=True)
class Rows:
    """All rows of a history: effects in their order, and writes."""

    history: History
    chains: Mapping[RowName, Sequence[Effect]]
    writes: Mapping[RowName, Sequence[TracedWrite]]
    by_token: Mapping[str, TracedWrite]

    @cached_property
    def children(self) -> Mapping[RowName, Sequence[Sequence[Effect]]]:
        """Chains of the rows that refer to a row."""
        found: dict[RowName, list[Sequence[Effect]]] = defaultdict(list)
        for (resource, key), chain in self.chains.items():
            if resource in PARENTS:
                found[PARENTS[resource], key.split(",")[0]].append(chain)
        return found

    def violations(self) -> Iterator[Violation]:
        names = {**self.chains, **self.writes, **self.history.rows}
        for row in sorted(names):
            found = [*self._of_row(row)]
            yield from (Violation(kind, f"{' '.join(row)}: {text}", row) for kind, text in found)

    def _of_row(self, row: RowName) -> Iterator[tuple[str, str]]:
        chain, writes = self.chains.get(row, ()), self.writes.get(row, ())
        found = [
            *_links(chain, self.history.rows.get(row)),
            *self._made(chain),
            *_deletes(chain, writes),
            *self._ends(chain, writes),
        ]
        yield from found
        if not found:  # else there is no order anyway
            dead_letters, has_order = self.history.dead_letters, row[0] not in UNORDERED
            if broken := order_violation(chain, writes, self._fits, dead_letters, has_order):
                yield broken

    def _made(self, chain: Sequence[Effect]) -> Iterator[tuple[str, str]]:
        """Effects are those of writes, and each write has one."""
        first: dict[str, int] = {}
        for effect in chain:
            if effect.after is None:
                if effect.before is None:
                    yield "invented", f"effect {effect.number} is of no row, before and after it"
                continue
            token = str(effect.after.get("token"))
            each = self.by_token.get(token)
            if each is None:
                yield "invented", f"effect {effect.number} has token {token}, which no write has"
            elif token in first:
                yield (
                    "doubled",
                    f"{each} has effect {effect.number} after its effect {first[token]}",
                )
            elif _differs(each, effect):
                sent = f"{each} sent {dict(each.write.values)}, and effect {effect.number}"
                yield "invented", f"{sent} made {_shown(effect.after)} of {_shown(effect.before)}"
            first.setdefault(token, effect.number)

    def _ends(
        self, chain: Sequence[Effect], writes: Sequence[TracedWrite]
    ) -> Iterator[tuple[str, str]]:
        """Each write ends as its client is told."""
        for each in writes:
            rejected = f"{each} is rejected as {each.rejection}"
            if each.effects and not each.may_change:
                if each.rejection is None:
                    text = f"{each} was refused, and has effect {each.effects[0].number}"
                    yield "refused-but-applied", text
                else:
                    yield "untruthful", f"{rejected}, and has effect {each.effects[0].number}"
            elif each.fate == "rejected" and not self._is_right(each, chain, writes):
                yield "wrong-rejection", f"{rejected}, and there was never a reason"
            elif (
                each.fate == "applied"
                and not each.effects
                and each.write.op != "delete"
                and not fits_somewhere(each, chain, self._fits)
            ):
                yield "lost", f"{each} is accepted and not rejected, and has no effect"

    def _is_right(
        self, each: TracedWrite, chain: Sequence[Effect], writes: Sequence[TracedWrite]
    ) -> bool:
        if each.rejection == "superseded":
            return each.request.number in self.history.overtaken or any(
                other is not each
                and (other.fate == "applied" or (other.fate == "unknown" and _may_be_done(other)))
                and may_supersede(other, each)
                for other in writes
            )
        return fits_somewhere(each, chain, self._fits)

    def _fits(self, each: TracedWrite, row: Values | None) -> bool:
        """Whether a write without an effect may end as it did where its row is as given."""
        if not each.rejection:
            return is_quiet(each, row)
        if each.rejection in self.history.allowed:
            return True
        found = outcome(each.write, row)
        if each.rejection == "conflict" and self._was_taken(each):
            return True
        if each.rejection == "conflict" and each.write.op == "create":
            return row is not None  # also where another reason would have done
        if each.rejection in _BY_ROW:
            return each.rejection in found.rejections
        if each.rejection == "missing-parent":
            return row is None and found.changes and self._was_without_parent(each)
        if found.rejections or not found.changes:
            return False
        return each.rejection == "still-referenced" and self._was_referenced(each)

    def _was_without_parent(self, each: TracedWrite) -> bool:
        """Whether the parent of a row was absent at some time after the row was sent."""
        parent = PARENTS.get(each.write.resource)
        if parent is None or not OPS[each.write.op].inserts:
            return False
        chain = self.chains.get((parent, each.write.key.split(",")[0]), ())
        if not chain or chain[-1].after is None:
            return True
        return any(self._ends_after(effect, each) for effect in chain if effect.before is None)

    def _was_referenced(self, each: TracedWrite) -> bool:
        """Whether a row had a child at some time after its delete was sent."""
        if not OPS[each.write.op].removes:
            return False
        return any(
            chain[-1].after is not None
            or any(self._ends_after(effect, each) for effect in chain if effect.after is None)
            for chain in self.children.get(each.row, ())
        )

    def _was_taken(self, each: TracedWrite) -> bool:
        """Whether another row had the write's unique value at some time after it was sent."""
        value = each.write.values.get("b")
        if each.write.resource != "tags" or value is None:
            return False
        return any(
            (effect.after and effect.after["b"] == value)
            and (effect is chain[-1] or self._ends_after(chain[place + 1], each))
            for (resource, key), chain in self.chains.items()
            if resource == "tags" and key != each.write.key
            for place, effect in enumerate(chain)
        )

    def _ends_after(self, effect: Effect, each: TracedWrite) -> bool:
        """Whether what an effect changed was still so when a write was sent."""
        return effect.at + self.history.commit_seconds >= each.request.first_sent


def _links(chain: Sequence[Effect], final: Values | None) -> Iterator[tuple[str, str]]:
    """Effects form a chain that begins with no row and ends with the final one."""
    if not chain and final is not None:
        yield "invented", f"there is a row {_shown(final)}, and no effect that made it"
    before, last = None, "the beginning"
    for effect in chain:
        if not _equal(effect.before, before):
            yield (
                "misordered",
                (
                    f"effect {effect.number} changed {_shown(effect.before)}, but {last} left"
                    f" {_shown(before)}"
                ),
            )
        before, last = effect.after, f"effect {effect.number}"
    if chain and not _equal(before, final):
        yield "wrong-row", f"the row is {_shown(final)}, but {last} left {_shown(before)}"


def _deletes(chain: Sequence[Effect], writes: Sequence[TracedWrite]) -> Iterator[tuple[str, str]]:
    """As many effects are deletes as there are deletes."""
    found = [effect.number for effect in chain if effect.after is None]
    deletes = [each for each in writes if each.write.op == "delete"]
    most = sum(each.may_change for each in deletes)
    least = sum(each.fate == "applied" for each in deletes)
    if len(found) > most:
        text = f"effects {_listed(found)} delete the row, and {most} deletes may have done so"
        yield _kind_of_delete(deletes), text
    if len(found) < least:
        applied = ", ".join(str(each) for each in deletes if each.fate == "applied")
        text = f"accepted and not rejected: {applied}; but the row was deleted {len(found)} times"
        yield "lost", text


def _kind_of_delete(deletes: Sequence[TracedWrite]) -> str:
    """The kind of violation if there are too many effects that delete a row."""
    if not deletes:
        return "invented"
    if any(each.may_change for each in deletes):
        return "doubled"
    return "untruthful" if any(each.rejection for each in deletes) else "refused-but-applied"


def _may_be_done(each: TracedWrite) -> bool:
    """Whether a write of an unknown outcome may have been applied."""
    return bool(each.effects) or each.write.op in ("delete", "create-or-ignore")


def _differs(each: TracedWrite, effect: Effect) -> bool:
    found = outcome(each.write, effect.before)
    return not found.changes or not _equal(found.after, effect.after)


def _equal(one: Values | None, other: Values | None) -> bool:
    return (one is None) == (other is None) and dict(one or {}) == dict(other or {})


def _shown(row: Values | None) -> str:
    return "no row" if row is None else str(dict(row))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
