"""A stranger's tables in a fresh clone: all that a user runs, without a complaint."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from tests.kit.processes import gone
from tests.kit.project import HOME, clone
from tests.kit.waiting import LONG

MODELS = HOME / "tests" / "flights" / "models.py"
COMPLAINT = re.compile(r"traceback|warning|error", re.IGNORECASE)
QUICK = "tests/unit/contract/test_rules.py"  # the long test below runs them all


class Clone:
    """A clone of the project, and what its user runs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = clone(folder)
        self.make("contract")  # that of the samples

    def put_models(self) -> None:
        """The flights, in the place of the samples."""
        shutil.copy(MODELS, self.folder / "chalicelib" / "models.py")

    def make(self, *target: str) -> str:
        return self.says("make", "--no-print-directory", *target)

    def says(self, *command: str) -> str:
        """What a command prints. It succeeds, and complains of nothing."""
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert not COMPLAINT.search(done.stdout), done.stdout
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[str]:
        """What the local cloud prints until it serves. It does for the block; then it is killed,
        and leaves no process."""
        self.data = self.folder.parent / "data"
        command = [sys.executable, "-m", "decanter", "cloud", "--data-dir", str(self.data)]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self._environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            said = ""
            while "Serving until" not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            yield said
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
            assert gone(self.data)

    def revisions(self) -> list[str]:
        folder = self.folder / "chalicelib/migrations/versions/models"
        return sorted(path.name for path in folder.glob("*.py"))

    @property
    def _environment(self) -> dict[str, str]:
        of_make = ("DECANTER_TESTED", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")
        return {name: value for name, value in os.environ.items() if name not in of_make}


def test_a_clone_takes_other_tables_without_a_complaint(tmp_path: Path) -> None:
    ours = Clone(tmp_path / "clone")
    with ours.serving() as said:
        ours.put_models()
        assert "written" in ours.make("contract")
        assert "drop" not in ours.make("migration", "m=flights")
        assert ours.revisions() == ["0001_flights.py"]
        assert "nothing was written" in ours.make("migration")
        assert " passed" in ours.make("models")
        assert "deployment.zip" in ours.make("package", "STAGE=dev")

        # The database has the samples, and a revision that is no longer there.
        again = [sys.executable, "-m", "decanter", "redeploy", "--data-dir", str(ours.data)]
        assert "migrating the database: 0001" in ours.says(*again)
        (api,) = re.findall("^API=(.*)$", said, re.M)
        (token,) = re.findall("^TOKEN=(.*)$", said, re.M)
        assert f"{api}/console in a browser" in said
        plane = {"tailnum": "N504MQ", "engine": "turbo_fan", "manufacturer": "EMBRAER", "seats": 50}
        answer = urllib3.request(
            "POST",
            f"{api}/planes",
            json=plane,
            headers={"Authorization": f"Bearer {token}", "Prefer": "wait=20"},
            timeout=LONG,
            retries=False,
        )
        assert (answer.status, json.loads(answer.data)["state"]) == (201, "applied")

    # The tests do not depend on the models.
    assert " passed" in ours.says(sys.executable, "-m", "pytest", "-q", QUICK)


@pytest.mark.long
def test_no_test_depends_on_the_models(tmp_path: Path) -> None:
    ours = Clone(tmp_path / "clone")
    ours.put_models()
    ours.make("contract")
    ours.make("migration", "m=flights")

    assert " passed" in ours.make("test")
