"""Histories in virtual time on Citus: none breaks a promise but by a mistake."""

import os
from collections import Counter

import pytest

from decanter import CITUS_URL
from decanter.proof.mutants import stored
from decanter.proof.mutants.table import MUTANTS
from decanter.proof.simulation import citus
from decanter.proof.simulation.generator import generate
from decanter.proof.simulation.pool import run_all, workers

SEEDS = (1, 5, 10, 14)
STORED = {each.mutant: each for each in stored.read() if MUTANTS[each.mutant].engine == "citus"}


@pytest.fixture(scope="module")
def answers():
    """By seed; and by mutant, run on the plan of each; and once more by seed."""
    if CITUS_URL not in os.environ:
        pytest.skip(f"did not run: {CITUS_URL} names no cluster")
    jobs = [{"seed": seed, "number": number} for number in (1, 2) for seed in SEEDS]
    for name, each in STORED.items():
        jobs += [{"plan": each.plan, "mutant": name, "number": name}]
        jobs += [{"plan": each.plan, "number": f"not {name}"}]
    with workers(2, engine="citus") as pool:
        found = [*run_all(pool, iter(jobs))]
    return {(each["number"], each["seed"]): each for each in found}


def violations(answers, name):
    (found,) = (each["violations"] for (number, _), each in answers.items() if number == name)
    return {kind for kind, *_ in found}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_history_keeps_every_promise(answers, seed):
    assert answers[1, seed]["violations"] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_is_the_same_each_time(answers, seed):
    assert answers[1, seed]["digest"] == answers[2, seed]["digest"]


@pytest.mark.parametrize("name", STORED)
def test_a_mutant_is_caught(answers, name):
    assert STORED[name].kind in violations(answers, name)
    assert violations(answers, f"not {name}") == set()


def test_the_histories_have_what_they_are_for(answers):
    found = [answers[1, seed] for seed in SEEDS]
    faults = sum((Counter(each["faults"]) for each in found), Counter())
    assert all(faults[name] > 0 for name in citus.LOSSES)
    assert all(sum(each[name] for each in found) for name in ("effects", "batches", "redeliveries"))
    assert {*sum((Counter(each["rejections"]) for each in found), Counter())}


def test_nobody_holds_what_a_worker_waits_for_without_a_limit():
    plans = [generate(seed, citus.NAME) for seed in range(60)]
    assert any(each.locks for each in plans)
    assert not any(lock.resource == "events" for each in plans for lock in each.locks)
