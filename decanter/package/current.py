"""Checks that contract and revisions match the models.

The commands of Decanter check this in processes that run in the project's folder, with its models.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from decanter import PROJECT
from decanter.package.faults import PackagingError

CHECKED = PROJECT / "build" / "checked"


def check(project: Path, checked: Path = CHECKED) -> None:
    """Raise PackagingError for a stale contract, and for changes of models without a revision.

    checked: the folder that records successful checks, which are not repeated without a change.
    """
    mark = checked / _state(project)
    if mark.exists():
        return
    for command in ("contract", "migration"):
        done = subprocess.run(
            [sys.executable, "-m", "decanter", command, "--check"],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            start_new_session=True,
        )
        if done.returncode != 0:
            raise PackagingError((done.stderr or done.stdout).strip())
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _state(project: Path) -> str:
    """Return a digest of all that the result depends on."""
    digest = hashlib.sha256((project / "requirements.txt").read_bytes())
    decanter = PROJECT / "decanter"
    folders = [project / "chalicelib", decanter / "contract", decanter / "migration"]
    for path in [Path(__file__), *sorted(file for each in folders for file in each.rglob("*"))]:
        if path.suffix in (".py", ".json", ".jsonl"):
            base = project if path.is_relative_to(project) else PROJECT
            digest.update(f"{path.relative_to(base)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
