"""The project under test: this one, with the tests' own models in place of whatever its user has.

`chalicelib/models.py`, the contract, the revisions of the tables and `.chalice/config.json` are
the user's. So that the tests say the same in every project, they run on a copy in which these are
those of `tests/samples`. `make models` checks the user's.
"""

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

HOME = Path(__file__).parents[2]
_SAMPLES = HOME / "tests" / "samples"
_REVISIONS = "chalicelib/migrations/versions/models"
_SHARED = (".venv", "build/layers", "build/checked")  # what takes long to make
_LEFT = (
    "__pycache__",
    ".*_cache",
    ".git",
    ".venv",
    ".decanter",
    "build",
    "deployed",
    "deployments",
)


def clone(target: Path, *left: str) -> Path:
    """A clone of the project with the samples in it, for which nothing has to be installed.

    left: patterns of what is left out besides what no clone has.
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
    # Another user may run Postgres, and read what belongs to the project.
    folder = Path(tempfile.mkdtemp(prefix="decanter-project-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    return clone(folder / "project", "tests")


def _compile_contract() -> None:
    from chalicelib import models
    from decanter import contract

    for file, text in contract.files(models, contract.FILE).items():
        file.write_text(text, encoding="utf-8")


PROJECT = _under_test()
sys.path.insert(0, str(PROJECT))
_compile_contract()
