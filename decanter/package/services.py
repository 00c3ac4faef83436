"""The AWS services that the code of the functions calls."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from decanter.package import contents
from decanter.package.faults import PackagingError

_FACTORIES = ("client", "create_client")
_CALL = re.compile(rf"\b({'|'.join(_FACTORIES)})[\s\\]*\(")


def check(project: Path) -> None:
    """Raise PackagingError for a client of a service whose data files are not in the layer."""
    for path in [project / "app.py", *sorted((project / "chalicelib").rglob("*.py"))]:
        for line, service in _clients(path):
            if service not in contents.SERVICES:
                raise PackagingError(
                    f"{path.relative_to(project)}:{line} makes a client of {service!r}, whose "
                    "data files are not in the layer: add it to SERVICES in "
                    "decanter/package/contents.py."
                )


def _clients(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and service of each call that creates a client of a service."""
    import botocore

    known = Path(botocore.__file__).parent / "data"
    text = path.read_text(encoding="utf-8")
    if not _CALL.search(text):  # most modules; parsing takes long
        return
    for node in ast.walk(ast.parse(text, str(path))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", None))
        match node.args[0]:
            case ast.Constant(value=str(service)) if name in _FACTORIES:
                if service and (known / service).is_dir():
                    yield node.lineno, service
