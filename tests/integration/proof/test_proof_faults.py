"""Faults of the drain, its connection and its database: after all of them, the promises hold."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from decanter.proof.faults.catalogue import FAULTS
from decanter.proof.faults.run import run
from tests.kit.waiting import LONG, until


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all temporary files."""
    found = tmp_path / "temporary"
    found.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(found))
    return found


def children() -> set[int]:
    return {each.pid for each in psutil.Process().children(recursive=True)}


def test_no_fault_breaks_a_promise_and_nothing_is_left_behind(folder) -> None:
    before = children()

    outcomes = list(run(seed=1, names=None, is_short=True))

    assert [each for each in outcomes if each.violations] == []
    assert [each for each in outcomes if not each.was_reached] == []
    assert {each.fault for each in outcomes} == {
        name for name, fault in FAULTS.items() if fault.is_quick
    }
    assert list(folder.iterdir()) == []
    assert children() == before


def test_a_drain_that_claims_and_pours_in_two_transactions_is_found(folder) -> None:
    outcomes = run(1, ["drain-killed"], is_short=True, modules=["tests.kit.broken_drain"])

    kinds = {violation.kind for each in outcomes for violation in each.violations}
    assert "lost" in kinds


_PROGRAM = """
from decanter.local import signals
signals.listen()
from decanter.proof.faults.run import run
for outcome in run(1, ["drain-frozen", "drain-killed"], is_short=False):
    print(outcome, flush=True)
"""


def in_folder(folder: Path) -> dict[int, str]:
    """Processes that have to do with files in the folder."""
    found = {}
    for each in psutil.process_iter(("pid", "cmdline", "cwd")):
        places = [*(each.info["cmdline"] or ()), each.info["cwd"] or ""]
        if any(str(folder) in place for place in places):
            found[each.pid] = " ".join(places)
    return found


def environment(folder: Path) -> Mapping[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.long
def test_an_interrupted_run_leaves_nothing_behind(folder) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert in_folder(folder)
        process.send_signal(signal.SIGTERM)
        process.wait(LONG)

    until(lambda: not in_folder(folder), "the end of all processes")
    assert list(folder.iterdir()) == []
