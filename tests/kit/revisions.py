"""Revisions of models in a temporary folder, and the resulting catalogs."""

import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from chalicelib.migrate import handler
from chalicelib.migrate.connection import locked
from chalicelib.migrate.handler import FOLDER, upgrade
from decanter.migration.catalog import describe

CONVENTION = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def catalog(url: str) -> dict[Any, Any]:
    with closing(psycopg2.connect(url, options="-c search_path=public")) as connection:
        return {k: thing.definition for k, thing in describe(connection.cursor()).items()}


def unlike(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> dict[Any, tuple[Any, Any]]:
    """Return the differences, except for casts of text that Postgres spells in two ways."""
    plain = {
        key: (_plain(one.get(key)), _plain(other.get(key)))
        for key in sorted(one.keys() | other.keys())
    }
    return {key: pair for key, pair in plain.items() if pair[0] != pair[1]}


def _plain(definition: Any) -> Any:
    if not definition or definition[0] != "c":
        return definition
    return re.sub(r"::(text|character varying)(\[\])?|[() ]", "", definition[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of migrations as shipped, without those of the user's tables."""
    shutil.copytree(FOLDER, tmp_path / "migrations")
    for file in (tmp_path / "migrations" / "versions" / "models").glob("*.py"):
        file.unlink()
    return tmp_path / "migrations"


@pytest.fixture
def apply(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def apply(url: str, target: str = "heads") -> Any:
        defaults: Any = handler.alembic_config.__kwdefaults__
        with monkeypatch.context() as patch:
            # The default of a parameter is bound when the function is defined.
            patch.setitem(defaults, "folder", folder)
            return upgrade(url, target)

    return apply


def downgrade(url: str, folder: Path, target: str) -> None:
    from alembic import command

    with locked(url) as connection:
        command.downgrade(handler.alembic_config(connection, folder=folder), target)
