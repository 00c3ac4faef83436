"""Is there one order of the writes of a row, as they were accepted, that gives what was recorded?

A search for such an order follows the row's effects. A write without an effect leaves the row as it
is, so it is placed as soon as its turn has come and its outcome fits. An effect names the write
that made it, by its token; only for a delete there may be a choice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from decanter.proof.checking.requests import TracedWrite, precedes
from decanter.proof.checking.semantics import outcome
from decanter.proof.history import Effect, Values

MAX_STATES = 20_000
"""States of the search for one row. A row whose writes have places needs one for each effect."""

Fits = Callable[[TracedWrite, Values | None], bool]
"""Whether a write that has no effect may end like that where its row is as given."""


@dataclass(frozen=True)
class Problem:
    """The writes of a row, as numbers, and their constraints, as bits of one number for each write.

    writes: those that must have been done, and unknown deletes. earlier, later: of each write, what
    must be done before and after it. must: writes that must be done.
    """

    chain: Sequence[Effect]
    writes: Sequence[TracedWrite]
    owners: Sequence[int | None]
    quiet: Sequence[int]
    deletes: Sequence[int]
    earlier: Sequence[int]
    later: Sequence[int]
    must: int
    fits: Fits

    def row(self, step: int) -> Values | None:
        """The row after so many effects."""
        return self.chain[step - 1].after if step else None

    def may_be_next(self, number: int, done: int) -> bool:
        """Whether it is a write's turn: a later one cannot have been done either."""
        return not done >> number & 1 and not (
            self.earlier[number] & self.must & ~done or self.later[number] & done
        )


def order_violation(
    chain: Sequence[Effect],
    writes: Sequence[TracedWrite],
    fits: Fits,
    dead_letters: frozenset[int],
    has_order: bool,
) -> tuple[str, str] | None:
    """Kind and text of the violation, if there is no order.

    chain: effects of one row, each of which one of the writes made.
    """
    problem = _problem(chain, writes, fits, dead_letters, has_order)
    furthest = (0, 0)
    states = [(0, 0)]
    seen: set[tuple[int, int]] = set()
    while states:
        step, done = states.pop()
        done = _place_quiet(problem, step, done)
        if (step, done) in seen:
            continue
        seen.add((step, done))
        if len(seen) > MAX_STATES:
            return "undecided", f"no order was found in {MAX_STATES} steps"
        furthest = max(furthest, (step, done), key=lambda state: (state[0], state[1].bit_count()))
        states += [(step, done | 1 << number) for number in _quiet(problem, step, done)]
        if step < len(chain):
            states += [(step + 1, done | 1 << number) for number in _next(problem, step, done)]
        elif not problem.must & ~done:
            return None
    return "misordered", _blame(problem, *furthest)


def _problem(
    chain: Sequence[Effect],
    writes: Sequence[TracedWrite],
    fits: Fits,
    dead_letters: frozenset[int],
    has_order: bool,
) -> Problem:
    known = sorted((each for each in writes if _counts(each)), key=_rank)
    numbers = range(len(known))
    earlier, later = [0 for _ in known], [0 for _ in known]
    for one in numbers if has_order else ():
        for other in numbers:
            if one != other and precedes(known[one], known[other], dead_letters):
                earlier[other] |= 1 << one
                later[one] |= 1 << other
    owner_of = {each.write.token: number for number, each in enumerate(known) if each.write.token}
    deletes = [n for n in numbers if known[n].write.op == "delete" and known[n].may_change]
    return Problem(
        chain,
        known,
        [owner_of[str(each.after["token"])] if each.after else None for each in chain],
        [n for n in numbers if not known[n].effects and n not in {*deletes}],
        # Last in, first tried: those that must have been done.
        sorted(deletes, key=lambda number: known[number].fate == "applied"),
        earlier,
        later,
        sum(1 << n for n in numbers if known[n].effects or known[n].fate != "unknown"),
        fits,
    )


def _counts(each: TracedWrite) -> bool:
    """Whether a write has any place in the order. One whose outcome is unknown has none if it has
    left no effect; a superseded one is judged by itself."""
    if each.fate == "unknown":
        return bool(each.effects) or each.write.op == "delete"
    return each.fate == "applied" or (each.fate == "rejected" and each.rejection != "superseded")


def _rank(each: TracedWrite) -> tuple[float, float, int]:
    place = float("inf") if each.place is None else each.place
    return place, each.request.first_sent, each.write.item


def _place_quiet(problem: Problem, step: int, done: int) -> int:
    """Place the quiet writes that only keep others from their turn."""
    before = None
    while done != before:
        before = done
        for number in _quiet(problem, step, done):
            if not problem.earlier[number] & ~done:
                done |= 1 << number
    return done


def _quiet(problem: Problem, step: int, done: int) -> Iterator[int]:
    """The quiet writes whose turn it may be. Some leave out an earlier write whose outcome is
    unknown, which may come later only if they wait too."""
    row = problem.row(step)
    for number in problem.quiet:
        if problem.may_be_next(number, done) and problem.fits(problem.writes[number], row):
            yield number


def _next(problem: Problem, step: int, done: int) -> Iterator[int]:
    """Writes that may have made the next effect."""
    owner = problem.owners[step]
    for number in problem.deletes if owner is None else [owner]:
        if problem.may_be_next(number, done):
            yield number


def _blame(problem: Problem, step: int, done: int) -> str:
    """Why the order that came furthest goes no further."""
    left = [n for n in range(len(problem.writes)) if problem.must & ~done & 1 << n]
    stuck = [n for n in left if not any(problem.earlier[n] >> other & 1 for other in left)]
    if step == len(problem.chain):
        each = problem.writes[stuck[0]]
        return f"{each} {_end(each)}, which was not possible when its turn had come"
    effect, owner = problem.chain[step], problem.owners[step]
    makers = [*problem.deletes] if owner is None else [owner]
    name = f"effect {effect.number} at {effect.at:.3f}"
    for maker in makers:
        for number in stuck:
            if problem.earlier[maker] >> number & 1:
                return f"{_order(problem, number, maker)} not before {name}"
        for number in range(len(problem.writes)):
            if problem.later[maker] & done & 1 << number:
                return f"{_order(problem, maker, number)} only after it"
    return f"no delete was accepted that may have made {name}"


def _order(problem: Problem, one: int, other: int) -> str:
    """Of two writes: which was accepted first, and how it ended."""
    first, second = problem.writes[one], problem.writes[other]
    places = "" if first.place is None or second.place is None else (
        f" (at place {first.place}, and that at {second.place})"
    )  # fmt: skip
    return f"{first} was accepted before {second}{places}, and {_end(first)}, but"


def _end(each: TracedWrite) -> str:
    if each.effects:
        return f"has effect {each.effects[0].number}"
    return f"is rejected as {each.rejection}" if each.rejection else "is applied"


def fits_somewhere(each: TracedWrite, chain: Sequence[Effect], fits: Fits) -> bool:
    """Whether a write without an effect may have ended like that at any time at all."""
    return fits(each, None) or any(effect.after and fits(each, effect.after) for effect in chain)


def is_quiet(each: TracedWrite, row: Values | None) -> bool:
    """Whether a write is applied to a row without any change."""
    found = outcome(each.write, row)
    return not found.rejections and not found.changes
