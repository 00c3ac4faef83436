"""A stranger's tables in a fresh clone: all that a user runs, without a complaint."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.project import clone

MODELS = Path(__file__).parents[1] / "strangers" / "models.py"
COMPLAINT = re.compile(r"traceback|warning|error", re.IGNORECASE)
QUICK = ["tests/unit/test_app.py", "tests/unit/test_rules.py", "tests/unit/test_listing.py"]


class Clone:
    """A clone in which a stranger's models stand in the place of the samples."""

    def __init__(self, folder: Path) -> None:
        self.folder = clone(folder)
        shutil.copy(MODELS, self.folder / "chalicelib" / "models.py")

    def make(self, *target: str) -> str:
        """What a target prints. It succeeds, and complains of nothing."""
        return self._run("make", "--no-print-directory", *target)

    def decanter(self, *arguments: str) -> str:
        return self._run(sys.executable, "-m", "decanter", *arguments)

    def revisions(self) -> list[str]:
        folder = self.folder / "chalicelib/database/migrations/versions/models"
        return sorted(path.name for path in folder.glob("*.py"))

    def _run(self, *command: str) -> str:
        mine = {name: value for name, value in os.environ.items() if name != "DECANTER_TESTED"}
        done = subprocess.run(
            command, cwd=self.folder, env=mine, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert not COMPLAINT.search(done.stdout), done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("stranger") / "clone")


def test_a_clone_takes_other_tables_without_a_complaint(ours: Clone, tmp_path: Path) -> None:
    assert "written" in ours.make("contract")
    assert "drops" not in ours.make("migration", "m=flights")
    assert ours.revisions() == ["0001_flights.py"]
    assert "nothing was written" in ours.make("migration")

    assert " passed" in ours.make("models")
    assert "sam.json" in ours.make("package", "STAGE=dev")
    assert "ready" in ours.decanter("run", "--once", "--data-dir", str(tmp_path / "data"))


def test_the_tests_do_not_depend_on_the_models(ours: Clone) -> None:
    assert " passed" in ours._run(sys.executable, "-m", "pytest", "-q", *QUICK)


@pytest.mark.long
def test_no_test_depends_on_the_models(ours: Clone) -> None:
    assert " passed" in ours.make("test")
