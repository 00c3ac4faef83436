"""The checker sees what each mutant of Decanter breaks, and nothing without it."""

from collections import defaultdict

import pytest

from decanter.proof.mutants import stored
from decanter.proof.mutants.table import MUTANTS
from decanter.proof.simulation.pool import run_all, workers

STORED = {each.mutant: each for each in stored.read()}
HERE = [name for name in STORED if MUTANTS[name].engine == "postgres"]


@pytest.fixture(scope="module")
def found():
    """Kinds of violations by mutant, run on the plan of each."""
    jobs = (
        {"plan": each.plan, "mutant": name, "number": n}
        for n, (name, each) in enumerate((name, STORED[name]) for name in HERE)
    )
    with workers(2) as pool:
        answers = [*run_all(pool, jobs)]
    return {HERE[each["number"]]: {kind for kind, *_ in each["violations"]} for each in answers}


def test_each_mutant_has_a_plan():
    assert {*STORED} == {*MUTANTS}


@pytest.mark.parametrize("name", HERE)
def test_a_mutant_is_caught(found, name):
    assert STORED[name].kind in found[name]


@pytest.mark.long
def test_without_the_mutants_nothing_is_broken():
    by_engine = defaultdict(dict)
    for name, each in STORED.items():
        if MUTANTS[name].engine != "citus":  # see test_simulation_citus
            by_engine[MUTANTS[name].engine][each.plan] = None
    for engine, plans in by_engine.items():
        with workers(2, engine=engine) as pool:
            answers = [*run_all(pool, ({"plan": plan} for plan in plans))]
        assert [each["violations"] for each in answers if each["violations"]] == []
