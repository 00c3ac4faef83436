"""The layer: the dependencies of the functions, from the wheels pinned in requirements.txt.

Chalice builds such a zip itself unless it finds one under the name that it expects. Its own has all
files of every wheel, which is twice the size, and it installs some without checking their hashes.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from decanter import PROJECT
from decanter.package import archive, bytecode, contents
from decanter.package.archive import Files
from decanter.package.faults import PackagingError
from decanter.package.runtime import Runtime

CACHE = PROJECT / "build" / "layers"
_PIP_FILES = re.compile(r"bin/|[^/]+\.dist-info/(INSTALLER|REQUESTED)$")


def build_cached(project: Path, runtime: Runtime, cache: Path = CACHE) -> Path:
    """Return the layer of a project, built unless it is in the cache. Raise PackagingError."""
    path = cache / builder_digest() / chalice_name(project, runtime)
    if not path.exists():
        archive.write(path, build(project, runtime))
    return path


def place(project: Path, runtime: Runtime, cache: Path = CACHE) -> Path:
    """Put the layer where Chalice looks for it, and return its path."""
    made = build_cached(project, runtime, cache)
    path = project / ".chalice" / "deployments" / made.name
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.copy2(made, beside)
    beside.replace(path)
    return path


def chalice_name(project: Path, runtime: Runtime) -> str:
    """Return the file name that Chalice expects, a digest of requirements.txt and vendor/."""
    from chalice.deploy.packager import DependencyBuilder, LayerDeploymentPackager
    from chalice.utils import UI, OSUtils

    system = OSUtils()
    builder = DependencyBuilder(system, architecture=runtime.architecture)
    packager = LayerDeploymentPackager(system, builder, UI(), runtime.architecture)
    path: str = packager.deployment_package_filename(str(project), runtime.name)
    return Path(path).name


def build(project: Path, runtime: Runtime) -> Files:
    """Return the files of the layer, from wheels and vendor/. Raise PackagingError."""
    files = {
        path: content
        for path, content in wheels(project, runtime).items()
        if contents.is_packaged(path)
    }
    modules = {path: content for path, content in files.items() if path.endswith(".py")}
    code = bytecode.compile_modules(
        modules, f"/opt/{runtime.site_packages}", runtime, checked=False
    )
    files = {path: content for path, content in files.items() if path not in code}
    files |= {f"{module}c": content for module, content in code.items()}
    vendor = project / "vendor"
    for folder, _folders, names in os.walk(vendor, followlinks=True):
        for path in (Path(folder, name) for name in names):
            if "__pycache__" not in path.parts:
                files[path.relative_to(vendor).as_posix()] = path.read_bytes()
    return {f"{runtime.site_packages}/{path}": content for path, content in files.items()}


def wheels(project: Path, runtime: Runtime) -> Files:
    """Return the installed files of the wheels that a project pins in requirements.txt."""
    with tempfile.TemporaryDirectory() as folder:
        _install(project / "requirements.txt", runtime, folder)
        found = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in Path(folder).rglob("*")
            if path.is_file()
        }
    return {path: content for path, content in found.items() if not _PIP_FILES.match(path)}


def _install(requirements: Path, runtime: Runtime, folder: str) -> None:
    """Have pip install the wheels, each with a hash in requirements.txt.

    pip and nothing faster, because this machine is already configured for it (indexes, proxies).
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    command += ["--quiet", "--require-hashes", "--only-binary=:all:", "--no-compile"]
    command += ["--implementation", "cp", "--python-version", "{}.{}".format(*runtime.python)]
    command += [f"--abi={abi}" for abi in (runtime.abi, "abi3", "none")]
    command += [f"--platform={platform}" for platform in runtime.platforms]
    command += ["--requirement", str(requirements), "--target", folder]
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    if done.returncode != 0:
        raise PackagingError(_explain(done.stderr, runtime))


def _explain(output: str, runtime: Runtime) -> str:
    """Explain the errors of pip."""
    errors = "\n".join(line for line in output.splitlines() if not line.startswith("WARNING"))
    if "HASHES" in errors:
        return (
            f"A downloaded file is not one that requirements.txt names:\n{errors.strip()}"
            "\nIf that is expected, run: make requirements"
        )
    if "hashes" in errors.lower() or "pinned" in errors:
        return (
            "requirements.txt lacks a dependency of its packages. Run: make requirements"
            f"\n{errors.strip()}"
        )
    if missing := re.search(r"No matching distribution found for (\S+)", errors):
        return (
            f"{missing[1]} has no wheel for {runtime.name} on {runtime.architecture} of Lambda. "
            "Pin a version that has one in requirements.in and run: make requirements. Or put the "
            "package into vendor/."
        )
    return f"pip could not fetch the wheels of requirements.txt:\n{errors.strip()}"


def builder_digest() -> str:
    """Return a digest of this Python and of the code that builds and inspects zips."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
