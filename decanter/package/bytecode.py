"""Bytecode of modules. Without it every container would compile all that it imports, since Lambda's
file system is read-only; that is most of a cold start."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from decanter.package.archive import Files
from decanter.package.runtime import Runtime


def compile_modules(
    files: Mapping[str, bytes], root: str, runtime: Runtime, *, checked: bool
) -> Files:
    """Return the bytecode of modules by path of the module; nothing for another Python than this.

    root: their folder on Lambda, for tracebacks. checked: whether bytecode becomes invalid when its
    module changes. Modules with syntax errors are left out.
    """
    if sys.version_info[:2] != runtime.python:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        for name, content in files.items():
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        # In a fresh process: modules that this one has loaded would affect the bytes.
        mode = "checked-hash" if checked else "unchecked-hash"
        command = [sys.executable, "-I", "-S", "-m", "compileall", "-qq", "-b"]
        options = ["--invalidation-mode", mode, "-s", folder, "-p", root]
        subprocess.run([*command, *options, folder], check=False, capture_output=True)
        compiled = {name: (top / name).with_suffix(".pyc") for name in files}
        return {name: path.read_bytes() for name, path in compiled.items() if path.exists()}
