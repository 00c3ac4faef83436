"""Histories in virtual time on the rules of Aurora DSQL: none breaks a promise but by a mistake."""

from collections import Counter

import pytest

from decanter.proof.mutants import stored
from decanter.proof.mutants.table import MUTANTS
from decanter.proof.simulation import dsql
from decanter.proof.simulation.dsql import Rules
from decanter.proof.simulation.generator import generate
from decanter.proof.simulation.pool import run_all, workers

SEEDS = (1, 3, 4)
STORED = {each.mutant: each for each in stored.read() if MUTANTS[each.mutant].engine == "dsql"}


@pytest.fixture(scope="module")
def answers():
    """By seed; and by mutant, run on the plan of each."""
    jobs = [{"seed": seed} for seed in SEEDS]
    jobs += [{"plan": each.plan, "mutant": name, "number": name} for name, each in STORED.items()]
    with workers(2, engine="dsql") as pool:
        found = [*run_all(pool, iter(jobs))]
    return {each["number"] or each["seed"]: each for each in found}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_history_keeps_every_promise(answers, seed):
    assert answers[seed]["violations"] == []


@pytest.mark.parametrize("name", STORED)
def test_a_mutant_is_caught(answers, name):
    assert STORED[name].kind in {kind for kind, *_ in answers[name]["violations"]}


def test_the_histories_have_what_they_are_for(answers):
    found = [answers[seed] for seed in SEEDS]
    faults = sum((Counter(each["faults"]) for each in found), Counter())
    assert faults[dsql.CONFLICT] > 3
    assert all(sum(each[name] for each in found) for name in ("effects", "batches", "redeliveries"))
    assert {*sum((Counter(each["rejections"]) for each in found), Counter())}
    assert not any(generate(seed, dsql.NAME).locks for seed in SEEDS)


def test_what_dsql_has_not_is_refused():
    assert "SAVEPOINT is not supported" in Rules().refusal(b"BEGIN; SAVEPOINT rows")
    assert Rules().refusal(b"BEGIN; INSERT INTO a VALUES ('SAVEPOINT'); COMMIT") == ""
