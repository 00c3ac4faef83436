"""The layer: the dependencies of the functions, from the wheels that requirements.txt names.

Chalice makes such a zip itself, and takes the one that is there under the name it expects. It then
has all of every wheel, which is twice as much, and asks pip for some of them without their hashes.
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
_OF_PIP = re.compile(r"bin/|[^/]+\.dist-info/(INSTALLER|REQUESTED)$")


def ready(project: Path, runtime: Runtime, cache: Path = CACHE) -> Path:
    """The layer of a project for a runtime, from the cache or made now. Raises PackagingError."""
    path = cache / _rules() / chalice_name(project, runtime)
    if not path.exists():
        archive.write(path, build(project, runtime))
    return path


def place(project: Path, runtime: Runtime, cache: Path = CACHE) -> Path:
    """Put the layer where Chalice looks for it, in place of what is there; returns where."""
    made = ready(project, runtime, cache)
    path = project / ".chalice" / "deployments" / made.name
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        os.link(made, beside)
    except OSError:  # another file system
        shutil.copy2(made, beside)
    beside.replace(path)
    return path


def chalice_name(project: Path, runtime: Runtime) -> str:
    """The file name that Chalice expects; it tells requirements.txt and vendor/ apart by it."""
    from chalice.deploy.packager import DependencyBuilder, LayerDeploymentPackager
    from chalice.utils import UI, OSUtils

    system = OSUtils()
    builder = DependencyBuilder(system, architecture=runtime.architecture)
    packager = LayerDeploymentPackager(system, builder, UI(), runtime.architecture)
    path: str = packager.deployment_package_filename(str(project), runtime.name)
    return Path(path).name


def build(project: Path, runtime: Runtime) -> Files:
    """The files of the layer: from the wheels, and from vendor/. Raises PackagingError."""
    files = {
        path: content
        for path, content in wheels(project, runtime).items()
        if contents.is_packaged(path)
    }
    modules = {path: content for path, content in files.items() if path.endswith(".py")}
    code = bytecode.compiled(modules, f"/opt/{runtime.site_packages}", runtime, checked=False)
    files = {path: content for path, content in files.items() if path not in code}
    files |= {f"{module}c": content for module, content in code.items()}
    vendor = project / "vendor"
    for folder, _folders, names in os.walk(vendor, followlinks=True):
        for path in (Path(folder, name) for name in names):
            if "__pycache__" not in path.parts:
                files[path.relative_to(vendor).as_posix()] = path.read_bytes()
    return {f"{runtime.site_packages}/{path}": content for path, content in files.items()}


def wheels(project: Path, runtime: Runtime) -> Files:
    """All files of the wheels that requirements.txt of a project pins, as they are installed."""
    with tempfile.TemporaryDirectory() as folder:
        _install(project / "requirements.txt", runtime, folder)
        found = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in Path(folder).rglob("*")
            if path.is_file()
        }
    return {path: content for path, content in found.items() if not _OF_PIP.match(path)}


def _install(requirements: Path, runtime: Runtime, folder: str) -> None:
    """Have pip install the wheels, each only with a hash that requirements.txt has.

    pip rather than something faster: how it gets packages is configured for this machine already.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    command += ["--quiet", "--require-hashes", "--only-binary=:all:", "--no-compile"]
    command += ["--implementation", "cp", "--python-version", "{}.{}".format(*runtime.python)]
    command += [f"--abi={abi}" for abi in (runtime.abi, "abi3", "none")]
    command += [f"--platform={platform}" for platform in runtime.platforms]
    command += ["--requirement", str(requirements), "--target", folder]
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    if done.returncode != 0:
        raise PackagingError(_reason(done.stderr, runtime))


def _reason(said: str, runtime: Runtime) -> str:
    """What pip means."""
    errors = "\n".join(line for line in said.splitlines() if not line.startswith("WARNING"))
    if "HASHES" in errors:
        return (
            f"A file that was downloaded is not one that requirements.txt names:\n{errors.strip()}"
            "\nIf you know why, run: make requirements"
        )
    if "hashes" in errors.lower() or "pinned" in errors:
        return (
            "requirements.txt lacks something that it needs itself. Run: make requirements"
            f"\n{errors.strip()}"
        )
    if missing := re.search(r"No matching distribution found for (\S+)", errors):
        return (
            f"{missing[1]} has no wheel for {runtime.name} on {runtime.architecture} of Lambda. "
            "Pin a version that has one in requirements.in and run: make requirements. Or put the "
            "package into vendor/."
        )
    return f"pip could not fetch the wheels of requirements.txt:\n{errors.strip()}"


def _rules() -> str:
    """Another name for each way to make layers."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
