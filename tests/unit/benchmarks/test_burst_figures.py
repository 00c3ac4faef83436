"""The figures and the picture of a burst, and what it needs of the machine."""

import re
import resource
from pathlib import Path

import psutil
import pytest

from benchmarks import child
from benchmarks.burst import descriptors, direct, picture
from benchmarks.burst.client import ACCEPTED, Attempt
from benchmarks.burst.observer import Sample
from benchmarks.burst.outcome import Outcome
from benchmarks.harness import OURS
from tests.kit.project import HOME

FULL = "503 Too many connections"
OUTCOME = Outcome(
    attempts={
        0: [Attempt(10.0, 10.5, ACCEPTED)],
        1: [Attempt(10.1, 10.2, FULL), Attempt(11.0, 11.5, ACCEPTED)],
        2: [Attempt(10.2, 10.4, FULL), Attempt(10.6, 10.7, "TimeoutError")],
        3: [Attempt(10.3, 11.0, ACCEPTED)],
    },
    samples=[
        Sample(9.5, 0, []),
        Sample(10.5, 1, []),
        Sample(11.2, 3, [0]),
        Sample(12.0, 2, [1]),
        Sample(13.0, 2, []),
    ],
    rows={0: 1, 1: 2},
)
"""Write 1 is stored twice, write 2 is refused, and write 3 is lost."""


def test_figures_of_a_burst() -> None:
    figures = {name: figure for (name, _), figure in OUTCOME.figures().items()}

    assert OUTCOME.failures() == {FULL: 2, "TimeoutError": 1}
    assert figures["open at once"] == 3
    assert figures["accepted"] == 3
    assert figures["accepted at the first attempt"] == 2
    assert figures["failed after all attempts"] == 1
    assert figures["rows"] == 3
    assert figures["lost"] == 1
    assert figures["doubled"] == 1
    assert figures["most connections"] == 3
    assert figures["latency p50"] == pytest.approx(1.0)
    assert figures["all rows stored after"] == pytest.approx(2.0)


def test_lag_counts_only_writes_that_were_accepted_and_seen_to_be_missing() -> None:
    assert OUTCOME.lags == [pytest.approx(0.0), pytest.approx(0.0)]
    # Write 0 is accepted at 10.5 and missing then; write 3 is missing from 11.0 on.
    assert OUTCOME.lag() == [
        (pytest.approx(at), pytest.approx(lag))
        for at, lag in [(0.5, 0.0), (1.2, 0.2), (2.0, 1.0), (3.0, 2.0)]
    ]


def test_a_line_keeps_the_ends_of_what_does_not_change() -> None:
    samples = [Sample(at, connections, []) for at, connections in enumerate([5, 1, 1, 1, 2], 10)]

    assert OUTCOME._replace(samples=samples).connections() == [(0, 5), (1, 1), (3, 1), (4, 2)]


def test_the_picture_of_the_same_burst_is_the_same_on_white_and_has_no_date(
    tmp_path: Path,
) -> None:
    ways = dict.fromkeys((OURS, *direct.POOLS), OUTCOME)
    paths = [tmp_path / "one.svg", tmp_path / "other.svg"]
    for path in paths:
        picture.draw(ways, 100, [path])

    one, other = (path.read_text() for path in paths)
    assert one == other
    assert "date" not in one
    assert re.search(r'id="figure_1">\s*<g id="patch_1">\s*<path [^>]*fill: #ffffff', one)
    for text in ("4 clients", "connections", "lag (s)", "time since the burst (s)", *NAMES):
        assert text in one


NAMES = picture.NAMES.values()


def test_the_readme_shows_the_picture_that_the_command_drew() -> None:
    assert "(docs/burst.svg)" in (HOME / "README.md").read_text()
    drawn = (HOME / "docs" / "burst.svg").read_text()
    assert "1,000 clients" in drawn
    assert all(name in drawn for name in NAMES)
    assert not re.search(r"\d{4}-\d\d-\d\d", drawn)


def test_a_limit_of_open_files_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (256, 4_096))
    monkeypatch.setattr(resource, "setrlimit", lambda _which, both: limits.append(both))

    descriptors.allow(200)
    descriptors.allow(2_512)

    assert limits == [(2_512, 4_096)]
    with pytest.raises(descriptors.TooFewFilesError, match="ulimit -Hn 5000"):
        descriptors.allow(5_000)


@pytest.fixture
def waiting_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program that never ends by itself, unless it is told to fail."""
    (tmp_path / "waits.py").write_text(
        "import os, threading\n"
        "from benchmarks import child\n"
        "def work(settings, hear):\n"
        "    child.say({'pid': os.getpid(), **settings, **hear()})\n"
        "    hear()['fail']\n"
        "    threading.Event().wait()\n"
        "child.serve(work)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "waits"


def test_a_process_of_a_burst_ends_with_its_block(waiting_module: str) -> None:
    found = {}

    def be_interrupted() -> None:
        with child.started(waiting_module, {"a": 1}) as process:
            process.tell({"b": 2})
            found.update(process.hear())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()

    assert (found["a"], found["b"]) == (1, 2)
    assert not psutil.pid_exists(found["pid"])


def test_a_process_whose_work_fails_is_not_waited_for(
    waiting_module: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with child.started(waiting_module, {}) as process:
        process.tell({})
        process.hear()
        process.tell({})
        with pytest.raises(child.ChildError, match="waits ended"):
            process.hear()

    assert "KeyError: 'fail'" in capfd.readouterr().err


def test_a_process_that_does_not_start_is_not_waited_for() -> None:
    def hear() -> None:
        with child.started("no_such_module", {}) as process:
            process.hear()

    with pytest.raises(child.ChildError, match="no_such_module ended"):
        hear()
