"""A copy of this project with the tables of the proof, made by the commands that teams use."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from decanter import POSTGRES_URL, PROJECT
from decanter.local.cloud import STAGE
from decanter.proof import tables

_FILES = ("app.py", "requirements.txt")
_FOLDERS = ("chalicelib", "decanter", ".chalice")
_REVISIONS = "chalicelib/migrations/versions/models"


def copy_project(folder: Path, variables: Mapping[str, str], postgres_url: str) -> Path:
    """Copy this project into a new folder, with the tables of the proof as its models, their
    contract and their revision.

    variables: environment variables of all functions. postgres_url: of a server on which the
    revision may be tried out. Raises CalledProcessError with what the commands say.
    """
    folder.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
    for name in _FOLDERS:
        shutil.copytree(PROJECT / name, folder / name, ignore=ignored)
    for name in _FILES:
        shutil.copy2(PROJECT / name, folder / name)
    shutil.copy2(tables.__file__, folder / "chalicelib" / "models.py")
    shutil.rmtree(folder / _REVISIONS, ignore_errors=True)
    _set_variables(folder / ".chalice" / "config.json", variables)
    for command in (["contract"], ["migration", "the tables of the proof"]):
        subprocess.run(
            [sys.executable, "-m", "decanter", *command],
            cwd=folder,
            env={**os.environ, POSTGRES_URL: postgres_url},
            check=True,
            capture_output=True,
        )
    return folder


def _set_variables(file: Path, variables: Mapping[str, str]) -> None:
    configuration = json.loads(file.read_text())
    configuration["stages"][STAGE]["environment_variables"] |= variables
    file.write_text(json.dumps(configuration, indent=2))
