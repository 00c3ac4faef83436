"""The contract compiler: `chalicelib/models.py` → `chalicelib/contract.json`, and from that
`rules.jsonl` beside it."""

import inspect
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import MetaData, Table

import chalicelib
from chalicelib.postgres.resources import metadatas, resources_of

FILE = Path(chalicelib.__file__).with_name("contract.json")
RULES = "rules.jsonl"


def files(models: ModuleType, file: Path) -> dict[Path, str]:
    """The right contents of the contract's file and of the rules beside it. Raises ModelError."""
    from decanter.contract.rules import rules

    text = compiled(models)
    return {file: text, file.with_name(RULES): rules(text)}


def committed() -> dict[str, Any]:
    """The contract in the file, with all digits of its numbers."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"), parse_float=Decimal)
    return found


def check(found: Sequence[MetaData], engines: Sequence[str] = ()) -> None:
    """Raises ModelError for models that no engine can serve, or that one of these cannot hold."""
    from decanter.contract import engines as holding
    from decanter.contract import names, placement

    names.check(found)
    placement.check(found)
    for engine in engines:
        holding.check(found, engine)


def compiled(models: ModuleType) -> str:
    """The text of the contract of a module of models. Raises ModelError."""
    from decanter.contract.document import document
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
            # A dataclass without a docstring has its signature as one.
            if not text.startswith(f"{value.__name__}("):
                found[table] = text
    return found
