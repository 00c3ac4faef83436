"""The contract compiler: `chalicelib/models.py` → `chalicelib/contract.json`."""

import difflib
import inspect
import json
import re
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import Table

from chalicelib.database.resources import ModelError, metadatas, resources_of

FILE = Path(__file__).parents[2] / "chalicelib" / "contract.json"


_LINE = 80
_SCALARS = re.compile(r'(\[\n(?:\s+(?:"(?:[^"\\\n]|\\.)*"|[\w.+-]+),?\n)+\s*\])')


def main(arguments: Sequence[str] = (), file: Path = FILE) -> int:
    """`make contract`: write the contract. With --check: 1 when it is not what the models say."""
    from chalicelib import models

    try:
        current = compiled(models)
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    written = file.read_text(encoding="utf-8") if file.exists() else ""
    if written == current:
        print(f"{_shown(file)} is current")
        return 0
    if "--check" in arguments:
        print(f"{_shown(file)} is not what the models say; run: make contract", file=sys.stderr)
        changes = difflib.unified_diff(
            written.splitlines(), current.splitlines(), "committed", "models", n=1, lineterm=""
        )
        print("\n".join(list(changes)[:60]), file=sys.stderr)
        return 1
    file.write_text(current, encoding="utf-8")
    print(f"{_shown(file)} written")
    return 0


def compiled(models: ModuleType) -> str:
    """The contract of a module of models, as it stands in the file. Raises ModelError."""
    from decanter.contract.document import document

    return render(document(resources_of(*metadatas(models)), _docstrings(models)))


def render(document: Any) -> str:
    """JSON text, with all digits of every Decimal."""
    # json has no way to write a number as it is, so each goes in as a marked string.
    mark = "\0"
    text = json.dumps(
        document,
        indent=2,
        ensure_ascii=False,
        default=lambda value: f"{mark}{value}{mark}" if isinstance(value, Decimal) else str(value),
    )
    escaped = json.dumps(mark)[1:-1]
    text = text.replace(f'"{escaped}', "").replace(f'{escaped}"', "")
    return _SCALARS.sub(_on_one_line, text) + "\n"


def _on_one_line(array: re.Match[str]) -> str:
    short = re.sub(r"\n\s*", " ", array[1]).replace("[ ", "[").replace(" ]", "]")
    return short if len(short) <= _LINE else array[1]


def _docstrings(models: ModuleType) -> dict[Table, str]:
    found: dict[Table, str] = {}
    for value in vars(models).values():
        table = getattr(value, "__table__", None)
        if isinstance(value, type) and isinstance(table, Table):
            text = inspect.cleandoc(vars(value).get("__doc__") or "")
            # Dataclasses have their signature for a docstring when they are given none.
            if not text.startswith(f"{value.__name__}("):
                found[table] = text
    return found


def _shown(file: Path) -> str:
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
