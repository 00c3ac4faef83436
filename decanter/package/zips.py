"""The template and the zips.

After all checks that are possible without AWS, ``chalice package`` runs with the merge template on
a copy of the deployed files. The zips have only the files in use, and bytecode, and are
reproducible.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from decanter import PROJECT
from decanter.package import archive, bytecode, current, inspection, layer, services
from decanter.package.archive import Files
from decanter.package.faults import PackagingError
from decanter.package.requirements import Pin, pins
from decanter.package.runtime import Runtime

NO_AWS = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Variables that keep SDKs from using profiles and from asking the machine for credentials."""

REGION = "us-east-1"  # any: Chalice only looks up host names
CODE = "deployment.zip"
LAYER = "layer-deployment.zip"
SOURCE = ".source"  # the copy of the project that Chalice packaged
CODES = PROJECT / "build" / "codes"
"""The latest zips of code that were made and inspected: stages often differ in nothing else."""

_KEPT = 20
_DEPLOYED = ("chalicelib", "vendor")
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".DS_Store")


@dataclass(frozen=True)
class Package:
    """A folder with the template and the zips that it refers to."""

    folder: Path

    @cached_property
    def template(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "sam.json").read_text())
        return document

    @cached_property
    def contract(self) -> Any:
        """The contract in the code."""
        return json.loads(archive.read(self.code)["chalicelib/contract.json"])

    @property
    def code(self) -> Path:
        """The zip with the code of the functions."""
        return self.folder / CODE

    @property
    def layer(self) -> Path:
        """The zip with their dependencies."""
        return self.folder / LAYER


def package(
    project: Path,
    stage: str,
    out: Path,
    runtime: Runtime,
    merge: Mapping[str, Any],
    configuration: Mapping[str, Any],
) -> Package:
    """Package a project for a stage into ``out``, which replaces an earlier package.

    merge: the template to merge with Chalice's. configuration: the ``.chalice/config.json`` for
    Chalice. ``out`` does not exist until the package is complete. Raise PackagingError.
    """
    _remove(out)
    pinned = pins(project, runtime)
    services.check(project)
    current.check(project)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        made = Package(Path(folder) / "package")
        source = made.folder / SOURCE
        copy_deployed(project, source, configuration)
        layer.place(source, runtime)
        merged = source / "merge.json"
        merged.write_text(json.dumps(merge, indent=2))
        run_chalice(source, stage, made.folder, "--merge-template", str(merged))
        shutil.copyfile(_finished(made, pinned, runtime), made.code)
        _remove(out)
        made.folder.rename(out)
    return Package(out)


def _finished(made: Package, pinned: Sequence[Pin], runtime: Runtime) -> Path:
    """The zip of the code that Chalice packed, with its bytecode: from the cache if the same was
    finished before, with the same layer. Raise PackagingError if anything is wrong with it."""
    packed = archive.read(made.code)
    digest = hashlib.sha256(f"{layer.builder_digest()} {pinned} {runtime}\n".encode())
    digest.update(made.layer.read_bytes())
    for name in sorted(packed):
        digest.update(f"\n{name} {len(packed[name])}\n".encode() + packed[name])
    path = CODES / f"{digest.hexdigest()}.zip"
    if path.exists():
        path.touch()  # the latest that was used are kept
    else:
        code = _with_bytecode(packed, runtime)
        if faults := inspection.find_faults(code, archive.read(made.layer), pinned, runtime):
            raise PackagingError("\n".join(faults))
        for old in sorted(CODES.glob("*.zip"), key=os.path.getmtime)[: 1 - _KEPT]:
            old.unlink(missing_ok=True)
        archive.write(path, code)
    return path


def app_code(project: Path) -> bytes:
    """Return the zip of the functions' code for a local cloud, without checks and bytecode."""
    import chalice

    runtime = Path(chalice.__file__).parent
    files = {f"chalice/{name}": (runtime / name).read_bytes() for name in ("__init__.py", "app.py")}
    files["app.py"] = (project / "app.py").read_bytes()
    for path in (project / "chalicelib").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            files[path.relative_to(project).as_posix()] = path.read_bytes()
    return archive.pack(files)


def _remove(out: Path) -> None:
    """Remove an earlier package, and nothing else."""
    if out.exists():
        if not (out / SOURCE).is_dir() and any(out.iterdir()):
            raise PackagingError(f"{out} is not a package: name another folder.")
        with (
            tempfile.TemporaryDirectory(dir=out.parent) as folder,
            contextlib.suppress(FileNotFoundError),  # removed meanwhile
        ):
            out.rename(Path(folder) / "old")  # atomically, for other processes


def copy_deployed(project: Path, source: Path, configuration: Mapping[str, Any]) -> None:
    """Copy the deployed files; Chalice would pack every file in the project, caches included."""
    for folder in _DEPLOYED:
        if (project / folder).is_dir():
            shutil.copytree(project / folder, source / folder, ignore=_IGNORED)
    (source / ".chalice").mkdir(parents=True, exist_ok=True)
    for name in ("app.py", "requirements.txt"):
        shutil.copy2(project / name, source / name)
    for path in (project / ".chalice").glob("*.json"):
        if path.name != "config.json":
            shutil.copy2(path, source / ".chalice" / path.name)
    (source / ".chalice" / "config.json").write_text(json.dumps(configuration, indent=2))


def run_chalice(project: Path, stage: str, out: Path, *options: str) -> None:
    """Run ``chalice package``. Raise PackagingError with its output."""
    command = [sys.executable, "-c", "from chalice.cli import main; raise SystemExit(main())"]
    command += ["--project-dir", str(project), "package", "--stage", stage, *options, str(out)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    own = {**NO_AWS, "AWS_DEFAULT_REGION": REGION, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, env=kept | own, capture_output=True, text=True, start_new_session=True
    )
    if done.returncode != 0:
        raise PackagingError(f"chalice package failed: {done.stderr or done.stdout}")


def _with_bytecode(code: Mapping[str, bytes], runtime: Runtime) -> Files:
    """Add bytecode, and keep the sources for tracebacks."""
    modules = {name: content for name, content in code.items() if name.endswith(".py")}
    files = dict(code)
    for name, content in bytecode.compile_modules(
        modules, "/var/task", runtime, checked=True
    ).items():
        folder, slash, base = name.rpartition("/")
        tag = f"cpython-{runtime.abi[2:]}"
        files[f"{folder}{slash}__pycache__/{base.removesuffix('.py')}.{tag}.pyc"] = content
    return files
