"""Whether contract and revisions say what the models say.

Asked in a process of its own in the folder of a project, as it is the models there that count.
"""

import contextlib
import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

from decanter.package.faults import PackagingError

HERE = Path(__file__).parents[2]
CHECKED = HERE / "build" / "checked"
_RUN = (
    "from decanter.commands import errors; from decanter.package import current;"
    " raise SystemExit(errors.guarded(current.main))"
)


def check(project: Path, checked: Path = CHECKED) -> None:
    """Refuse a stale contract, and models that no revision brings the database to.

    What was found in order is not checked again while it stays the same; ``checked`` remembers it.
    Raises PackagingError.
    """
    mark = checked / _state(project)
    if mark.exists():
        return
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    if done.returncode != 0:
        raise PackagingError((done.stderr or done.stdout).strip())
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _state(project: Path) -> str:
    """Changes with all that the answer depends on."""
    digest = hashlib.sha256((project / "requirements.txt").read_bytes())
    decanter = HERE / "decanter"
    folders = [project / "chalicelib", decanter / "contract", decanter / "migration"]
    for path in [Path(__file__), *sorted(file for each in folders for file in each.rglob("*"))]:
        if path.suffix in (".py", ".json", ".jsonl"):
            base = project if path.is_relative_to(project) else HERE
            digest.update(f"{path.relative_to(base)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def main() -> int:
    """1, and why on stderr, where something is out of date."""
    from decanter import contract

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        if contract.main(["--check"], Path.cwd() / "chalicelib" / "contract.json"):
            return 1
    return _check_revisions()


def _check_revisions() -> int:
    from decanter import migration

    missing = migration.missing()
    if not missing:
        return 0
    print(
        "chalicelib/models.py has changes that no revision brings to the database; run: "
        'make migration m="what changed"\n' + "\n".join(missing[:40]),
        file=sys.stderr,
    )
    return 1
