"""Package what is deployed of the project: a CloudFormation template, and the zips it refers to."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decanter import template

REGION = "us-east-1"  # nothing is signed while packaging; Chalice asks for host names only
_DEPLOYED = ("chalicelib", "vendor")


class PackagingError(Exception):
    """``chalice package`` failed, or left out what the functions need."""


@dataclass(frozen=True)
class Package:
    """What ``chalice package`` made: the template and the zips that it refers to."""

    folder: Path

    @property
    def template(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "sam.json").read_text())
        return document

    @property
    def code(self) -> Path:
        return self.folder / "deployment.zip"


def package(
    project: Path, build: Path, layers: Path, stage: str = "dev", prefix: str | None = None
) -> Package:
    """Package a copy of what is deployed of the project, into ``build``.

    ``layers`` keeps the zips of dependencies, one per content of requirements.txt. Another prefix
    than the stage's puts the stack beside it. Raises PackagingError with Chalice's message.
    """
    built_for = template.stage(project, stage, prefix)
    source, out = build / "source", build / "package"
    _copy_deployed(project, source, stage, built_for.prefix)
    packed = source / ".chalice" / "deployments"
    _link("managed-layer-*.zip", layers, packed)
    merge = build / "merge.json"
    merge.write_text(json.dumps(template.build(built_for), indent=2))
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-c", "from chalice.cli import main; raise SystemExit(main())"]
    done = subprocess.run(
        [
            *command,
            "--project-dir", str(source),
            "package", "--stage", stage, "--merge-template", str(merge), str(out),
        ],
        env=_environment(),
        capture_output=True,
        text=True,
        start_new_session=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise PackagingError(f"chalice package failed:\n{(done.stderr or done.stdout).strip()}")
    _check_wheels(source / "requirements.txt", out)
    _link("managed-layer-*.zip", packed, layers)
    _forget_old_packages(packed)
    return Package(out)


def app_code(project: Path) -> bytes:
    """The zip of the functions' own code: app.py, chalicelib and Chalice's runtime."""
    import io

    import chalice

    runtime = Path(chalice.__file__).parent
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("__init__.py", "app.py"):
            archive.write(runtime / name, f"chalice/{name}")
        archive.write(project / "app.py", "app.py")
        for path in sorted((project / "chalicelib").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, str(path.relative_to(project)))
    return buffer.getvalue()


def _copy_deployed(project: Path, source: Path, stage: str, prefix: str) -> None:
    """Copy what is deployed; Chalice hashes and packs every file it finds, caches included."""
    for folder in _DEPLOYED:
        shutil.rmtree(source / folder, ignore_errors=True)
        if (project / folder).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(project / folder, source / folder, ignore=ignore)
    (source / ".chalice").mkdir(parents=True, exist_ok=True)
    for name in ("app.py", "requirements.txt"):
        shutil.copy2(project / name, source / name)
    for path in (project / ".chalice").glob("*.json"):
        shutil.copy2(path, source / ".chalice" / path.name)
    configuration = source / ".chalice" / "config.json"
    document = json.loads(configuration.read_text())
    document["stages"][stage]["environment_variables"]["DECANTER_QUEUES"] = prefix
    configuration.write_text(json.dumps(document, indent=2))


def _environment() -> dict[str, str]:
    # Chalice signs nothing while packaging, and asks only for the region's host names.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _check_wheels(requirements: Path, out: Path) -> None:
    """Chalice only warns of a wheel that it could not find. Raises PackagingError."""
    wanted = {
        _normal(match.group(0))
        for line in requirements.read_text().splitlines()
        if (match := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line))
    }
    found = set()
    for path in out.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if match := re.search(r"([^/]+?)-[^/-]+\.dist-info/", name):
                    found.add(_normal(match.group(1)))
    if missing := sorted(wanted - found):
        raise PackagingError(
            f"No wheel for Lambda was found of {', '.join(missing)}: pin a version in "
            "requirements.txt that has one, or put the package into vendor/."
        )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _link(pattern: str, origin: Path, target: Path) -> None:
    """Let the target folder have the files of the origin, without copying them if possible."""
    target.mkdir(parents=True, exist_ok=True)
    for path in origin.glob(pattern):
        if (target / path.name).exists():
            continue
        beside = target / f".{path.name}.{os.getpid()}"
        try:
            os.link(path, beside)
        except OSError:  # another file system
            shutil.copy2(path, beside)
        beside.replace(target / path.name)


def _forget_old_packages(packed: Path, kept: int = 3) -> None:
    """Chalice keeps a zip per state of the code."""
    files = sorted(packed.glob("appcode-*.zip"), key=lambda path: path.stat().st_mtime)
    for path in files[:-kept]:
        path.unlink()
