"""The project under test: a copy of this one with the models of the tests.

Users change `chalicelib/models.py`, the contract, the revisions and `.chalice/config.json`. In the
copy these are the ones of `tests/samples`, so that tests give the same results in every project.
`make models` checks those of the user.
"""

import atexit
import compileall
import shutil
import sys
import tempfile
from pathlib import Path

HOME = Path(__file__).parents[2]
_SAMPLES = HOME / "tests" / "samples"
_REVISIONS = "chalicelib/migrations/versions/models"
_SHARED = (".venv", "build/layers", "build/codes", "build/checked")  # slow to make
_LEFT = (
    ".*_cache",
    ".git",
    ".hypothesis",
    ".venv",
    ".decanter",
    "build",
    "deployed",
    "deployments",
)


def clone(target: Path, *left: str) -> Path:
    """Clone the project with the samples, sharing what is installed.

    left: patterns of further files to leave out.
    """
    shutil.copytree(HOME, target, ignore=shutil.ignore_patterns(*_LEFT, *left))
    shutil.rmtree(target / _REVISIONS)
    shutil.copytree(_SAMPLES, target, dirs_exist_ok=True)
    (target / "build").mkdir()
    for name in _SHARED:
        (HOME / name).mkdir(parents=True, exist_ok=True)
        (target / name).symlink_to(HOME / name)
    return target


def _under_test() -> Path:
    # Postgres may run as another user, who has to read the project.
    folder = Path(tempfile.mkdtemp(prefix="decanter-project-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    # Once here instead of in each copy, and in each program that runs in one.
    for name in ("chalicelib", "decanter", "benchmarks"):
        compileall.compile_dir(HOME / name, quiet=1)
    return clone(folder / "project", "tests")


def _compile_contract() -> None:
    from chalicelib import models
    from decanter import contract

    for file, text in contract.files(models, contract.FILE).items():
        file.write_text(text, encoding="utf-8")


PROJECT = _under_test()
sys.path.insert(0, str(PROJECT))
_compile_contract()
