"""The checker sees what each mutant of Decanter breaks, and nothing where nothing is broken."""

import pytest

from decanter.proof.mutants import stored
from decanter.proof.mutants.table import MUTANTS
from decanter.proof.simulation.pool import run_all, workers

STORED = {each.mutant: each for each in stored.read()}


@pytest.fixture(scope="module")
def found():
    """Kinds of violations, by plan and mutant; None: without any."""
    plans = dict.fromkeys(each.plan for each in STORED.values())
    asked = [*((each.plan, each.mutant) for each in STORED.values()), *((p, None) for p in plans)]
    jobs = ({"plan": p, "mutant": m, "number": n} for n, (p, m) in enumerate(asked))
    with workers(2) as pool:
        answers = [*run_all(pool, jobs)]
    return {asked[each["number"]]: {kind for kind, *_ in each["violations"]} for each in answers}


def test_each_mutant_has_a_plan():
    assert {*STORED} == {*MUTANTS}


@pytest.mark.parametrize("name", STORED)
def test_a_mutant_is_caught(found, name):
    assert STORED[name].kind in found[STORED[name].plan, name]


@pytest.mark.parametrize("name", STORED)
def test_without_the_mutant_nothing_is_broken(found, name):
    assert found[STORED[name].plan, None] == set()
