"""Which services of AWS the functions call, as far as their code says."""

import ast
from collections.abc import Iterator
from pathlib import Path

from decanter.package import contents
from decanter.package.faults import PackagingError

_MAKERS = ("client", "create_client")


def check(project: Path) -> None:
    """Refuse clients whose description is left out of the layer. Raises PackagingError."""
    for path in [project / "app.py", *sorted((project / "chalicelib").rglob("*.py"))]:
        for line, service in _clients(path):
            if service not in contents.SERVICES:
                raise PackagingError(
                    f"{path.relative_to(project)}:{line} makes a client of {service!r}, whose "
                    "description is left out of the layer: name it in SERVICES in "
                    "decanter/package/contents.py."
                )


def _clients(path: Path) -> Iterator[tuple[int, str]]:
    """Line and service of each call that makes a client of a service known to the SDK."""
    import botocore

    known = Path(botocore.__file__).parent / "data"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", None))
        match node.args[0]:
            case ast.Constant(value=str(service)) if name in _MAKERS:
                if service and (known / service).is_dir():
                    yield node.lineno, service
