"""The contract compiler: `chalicelib/models.py` → `chalicelib/contract.json`, and from that
`rules.jsonl` beside it."""

import difflib
import inspect
import json
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import Table

import chalicelib
from chalicelib.postgres.resources import ModelError, metadatas, resources_of

FILE = Path(chalicelib.__file__).with_name("contract.json")
RULES = "rules.jsonl"


def main(arguments: Sequence[str] = (), file: Path = FILE) -> int:
    """`make contract`: write the contract and its rules. With --check: 1 when they are not what the
    models say."""
    from chalicelib import models

    try:
        current = compiled(models)
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    from decanter.contract.rules import rules

    wanted = {file: current, file.with_name(RULES): rules(current)}
    stale = [each for each, text in wanted.items() if _read(each) != text]
    if not stale:
        print(f"{_shown(file)} is current")
        return 0
    if "--check" in arguments:
        for each in stale:
            print(f"{_shown(each)} is not what the models say; run: make contract", file=sys.stderr)
        was, is_ = _read(stale[0]).splitlines(), wanted[stale[0]].splitlines()
        changes = difflib.unified_diff(was, is_, "committed", "models", n=1, lineterm="")
        print("\n".join(list(changes)[:60]), file=sys.stderr)
        return 1
    for each in stale:
        each.write_text(wanted[each], encoding="utf-8")
        print(f"{_shown(each)} written")
    return 0


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


def committed() -> dict[str, Any]:
    """The contract as it stands in the file, with all digits of its numbers."""
    found: dict[str, Any] = json.loads(_read(FILE), parse_float=Decimal)
    return found


def compiled(models: ModuleType) -> str:
    """The contract of a module of models, as it stands in the file. Raises ModelError."""
    from decanter.contract.document import document
    from decanter.contract.names import check
    from decanter.contract.render import render

    found = metadatas(models)
    check(found)
    return render(document(resources_of(*found), _docstrings(models)))


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
