"""Compiled modules. Where functions run nothing can be written: without them, each container
compiles all that it imports, which is most of its cold start."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from decanter.package.archive import Files
from decanter.package.runtime import Runtime


def compiled(files: Mapping[str, bytes], root: str, runtime: Runtime, *, checked: bool) -> Files:
    """The bytecode of modules, by the path of the module; none where another Python is wanted.

    root: where they will be, for tracebacks. checked: whether a module that changes is compiled
    anew. What has a syntax error is left out.
    """
    if sys.version_info[:2] != runtime.python:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        for name, content in files.items():
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        # In a process of its own: what else this one has loaded would show in the bytes.
        mode = "checked-hash" if checked else "unchecked-hash"
        command = [sys.executable, "-I", "-S", "-m", "compileall", "-qq", "-b"]
        options = ["--invalidation-mode", mode, "-s", folder, "-p", root]
        subprocess.run([*command, *options, folder], check=False, capture_output=True)
        written = {name: (top / name).with_suffix(".pyc") for name in files}
        return {name: path.read_bytes() for name, path in written.items() if path.exists()}
