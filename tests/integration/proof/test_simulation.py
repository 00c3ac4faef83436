"""Histories in virtual time: none breaks a promise, one seed is one history, and nothing stays."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from decanter import PROJECT
from decanter.proof.mutants import stored
from decanter.proof.simulation.generator import generate
from decanter.proof.simulation.pool import run_all, workers

SEEDS = (0, 2, 3, 5, 7, 9, 12, 16, 17)
AGAIN = (12, 9, 5)
FOUND = [*Path(__file__).parent.glob("plans/found/*.json")]
"""Shortest plans of bugs that were found, and mended."""


@pytest.fixture(scope="module")
def pool():
    with workers(2) as made:
        yield made


@pytest.fixture(scope="module")
def answers(pool):
    """By seed; those of some seeds a second time; and by bug that was found."""
    first = [*run_all(pool, ({"seed": seed} for seed in SEEDS))]
    second = [*run_all(pool, ({"seed": seed} for seed in AGAIN))]
    found = [*run_all(pool, ({"plan": p.read_text(), "number": p.stem} for p in FOUND))]
    by_seed = ({each["seed"]: each for each in answers} for answers in (first, second))
    return *by_seed, {each["number"]: each for each in found}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_history_keeps_every_promise(answers, seed):
    assert answers[0][seed]["violations"] == []


@pytest.mark.parametrize("name", [path.stem for path in FOUND])
def test_a_bug_that_was_found_is_mended(answers, name):
    assert answers[2][name]["violations"] == []


def test_the_histories_have_what_they_are_for(answers):
    found = [*answers[0].values()]
    faults = sum((Counter(each["faults"]) for each in found), Counter())
    rejections = sum((Counter(each["rejections"]) for each in found), Counter())

    assert all(sum(each[name] for each in found)
               for name in ("redeliveries", "dead_letters", "unanswered", "readings"))  # fmt: skip
    assert {"kill", "cut", "freeze", "call lose", "call part"} <= {*faults}
    assert {"conflict", "missing", "missing-parent", "check"} <= {*rejections}
    assert any(generate(seed).sweeps for seed in SEEDS)


@pytest.mark.parametrize("seed", AGAIN)
def test_a_seed_gives_the_same_history_each_time(answers, seed):
    first, second, _ = answers

    assert second[seed]["digest"] == first[seed]["digest"]


def test_a_failing_history_is_shrunk_and_explained(pool):
    known = next(each for each in stored.read() if each.mutant == "claim-committed-first")
    answer = pool[0].run({"plan": known.plan, "mutant": known.mutant, "shrink": True})
    again = pool[0].run({"plan": answer["plan"], "mutant": known.mutant})

    kinds = {kind for kind, *_ in again["violations"]}
    assert answer["violations"][0][0] in kinds
    assert len(answer["plan"]) <= len(known.plan)
    assert "at the end, the row is" in answer["explanation"]


@pytest.mark.long
def test_a_terminated_proof_leaves_nothing() -> None:
    command = [sys.executable, "-m", "decanter", "prove", "--minutes", "60", "--json"]
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="interrupted-") as folder:
        Path(folder).chmod(0o755)
        running = subprocess.Popen(
            command,
            cwd=PROJECT,
            env={**os.environ, "TMPDIR": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert running.stdout is not None
        running.stdout.readline()
        started = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(signal.SIGTERM)
        running.communicate()

        assert running.returncode == 130
        assert [*Path(folder).iterdir()] == []
    until = time.monotonic() + 60
    while any(each.is_running() for each in started) and time.monotonic() < until:
        time.sleep(0.05)
    assert [each for each in started if each.is_running()] == []
