"""The contract of a benchmark's own tables, in place of the project's."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

from sqlalchemy import MetaData

from chalicelib.contract import resources
from decanter.contract import RULES, compiled
from decanter.contract.rules import rules


@contextmanager
def served(metadata: MetaData) -> Iterator[Path]:
    """Have the API serve these tables in the block; provide the file of their contract."""
    models = ModuleType("models")
    models.metadata = metadata  # type: ignore[attr-defined]
    document = compiled(models)
    with tempfile.TemporaryDirectory(prefix="decanter-bench-") as folder:
        file = Path(folder, "contract.json")
        file.write_text(document, encoding="utf-8")
        file.with_name(RULES).write_text(rules(document), encoding="utf-8")
        with patch.object(resources, "_FILE", file):
            _forget()
            yield file
    _forget()


def _forget() -> None:
    for each in (resources._rules, resources.resource, resources._check):
        each.cache_clear()
