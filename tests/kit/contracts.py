"""Contracts of models that stand in no module, each compiled once."""

import os
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from sqlalchemy import MetaData

from decanter import contract


def contract_of(metadata: MetaData) -> Path:
    """The file of the contract of these tables, with its rules beside it; nobody may change it."""
    tables = metadata.tables.values()
    return _compiled(metadata, tuple((id(each), len(each.c), repr(each.info)) for each in tables))


@cache
def _compiled(metadata: MetaData, _tables: tuple[tuple[int, int, str], ...]) -> Path:
    models = ModuleType("models")
    models.metadata = metadata  # type: ignore[attr-defined]
    folder = tempfile.mkdtemp(prefix="contract-", dir=os.environ["PYTEST_DEBUG_TEMPROOT"])
    written = contract.files(models, Path(folder) / contract.FILE.name)
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    return next(iter(written))
