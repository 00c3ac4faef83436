"""Random histories of a mutant, until the checker sees that something is broken."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from decanter.proof.checker import check
from decanter.proof.history import Violation
from decanter.proof.mutants.edits import compiled
from decanter.proof.mutants.mutant import Mutant
from decanter.proof.mutants.table import MUTANTS
from decanter.proof.simulation import container
from decanter.proof.simulation.database import Database
from decanter.proof.simulation.generator import generate
from decanter.proof.simulation.plan import Plan, load
from decanter.proof.simulation.run import simulate
from decanter.proof.simulation.shrink import shrink


class Search(NamedTuple):
    """What a worker is asked. plans: texts of plans to try before those of seeds. seed: the first
    one. most: how many. shrink_runs: histories to find a shorter plan."""

    mutant: str
    seed: int
    most: int
    plans: tuple[str, ...] = ()
    shrink_runs: int = 0


def search(asked: Search, database: Database) -> dict[str, Any]:
    """Run a mutant until it is caught. Returns its name, the number of histories that this took,
    violations (none for one that survives), and the plan.

    A plan that fails without the mutant shows nothing about it, so it does not count, and its text
    is among `failing`. Raises NoSuchText, or RuntimeError for a mutant that cannot run.
    """
    mutant = prepared(asked.mutant)
    failing: list[str] = []
    tried = 0
    for tried, plan in enumerate(_plans(asked, database.engine.name), start=1):
        violations = _violations(plan, database, mutant)
        if not violations:
            continue
        if _violations(plan, database):
            failing.append(plan.text())
            continue
        smallest = _shrunk(plan, violations[0].kind, database, asked)
        return _answer(asked, tried, failing, plan, smallest, violations)
    return _answer(asked, tried, failing)


@cache
def prepared(name: str) -> Mutant:
    """The mutant, once it is known that containers can become it."""
    mutant = MUTANTS[name]
    compiled(mutant.edits)
    container.try_out(mutant.apply)
    return mutant


def _answer(
    asked: Search,
    tried: int,
    failing: list[str],
    plan: Plan | None = None,
    smallest: Plan | None = None,
    violations: list[Violation] | None = None,
) -> dict[str, Any]:
    return {
        "mutant": asked.mutant,
        "histories": tried,
        "seed": plan.seed if plan else None,
        "violations": violations or [],
        "plan": smallest.text() if smallest else None,
        "failing": failing,
    }


def _plans(asked: Search, engine: str) -> Iterator[Plan]:
    yield from map(load, asked.plans)
    for seed in range(asked.seed, asked.seed + asked.most):
        yield generate(seed, engine)


def _violations(plan: Plan, database: Database, mutant: Mutant | None = None) -> list[Violation]:
    if mutant is None:
        return check(simulate(plan, database).history)
    return check(simulate(plan, database, mutant.apply).history)


def _shrunk(plan: Plan, kind: str, database: Database, asked: Search) -> Plan:
    """The shortest plan found that fails in the same way, and only with the mutant."""
    if not asked.shrink_runs or plan.text() in asked.plans:
        return plan
    mutant = MUTANTS[asked.mutant]

    def fails(candidate: Plan) -> bool:
        found = _violations(candidate, database, mutant)
        return any(each.kind == kind for each in found) and not _violations(candidate, database)

    return shrink(plan, fails, asked.shrink_runs)
