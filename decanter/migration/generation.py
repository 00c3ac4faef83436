"""The next revision, which brings a database from the last one to the models."""

import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from alembic.util import CommandError
from sqlalchemy import MetaData

from chalicelib.errors import MigrationRefused
from chalicelib.migrate.adapted import adapted
from chalicelib.migrate.handler import FOLDER, SAMPLE
from chalicelib.postgres.engine import ENGINES
from chalicelib.postgres.resources import ModelError
from decanter.migration.difference import Difference, difference
from decanter.migration.revision import BRANCH, files, write
from decanter.migration.statements import Step
from decanter.migration.target import read_history


class ScratchServer(Protocol):
    """A Postgres with an empty database."""

    def url(self) -> str:
        """The libpq URL of that database."""


Scratch = Callable[[], AbstractContextManager[ScratchServer]]
"""Returns a server that exists until the end of the block."""


class Written(NamedTuple):
    """file: of the revision, None where nothing changes. replaced: the removed revision of the
    sample tables."""

    file: Path | None
    change: Difference
    replaced: Path | None


def write_next(
    message: str, drop: Sequence[str], scratch: Scratch, engines: Sequence[str] = ()
) -> Written:
    """Write the next revision of the project's models, which has to be one for these engines. See
    `generate`."""
    with _replace_sample(FOLDER) as replaced:
        change = _compare_project(scratch, drop, engines)
        for engine in engines:
            check_steps(change.upgrade, engine)
        file = write(change, message, FOLDER)
    if file is not None:
        _format(file)
    return Written(file, change, replaced)


def missing_statements(scratch: Scratch) -> list[str]:
    """Return the statements that the models need and no revision has."""
    return [step.sql for step in _compare_project(scratch).upgrade]


def check_steps(steps: Sequence[Step], engine: str) -> None:
    """Raise ModelError for a statement that the engine of that name has nothing for."""
    try:
        for step in steps:
            adapted(step.sql, ENGINES[engine])
    except MigrationRefused as error:
        raise ModelError(f"No revision can be written for the stages on it: {error}") from error


def generate(
    metadatas: Sequence[MetaData],
    message: str,
    database_url: str,
    folder: Path = FOLDER,
    drop: Sequence[str] = (),
) -> Path | None:
    """Compare the models with the revisions and write the next one; None when nothing differs.

    database_url: an empty database, in which the revisions are applied. folder: laid out like
    `chalicelib/migrations`.
    """
    return write(compare(metadatas, database_url, folder, drop), message, folder)


def compare(
    metadatas: Sequence[MetaData],
    database_url: str,
    folder: Path = FOLDER,
    drop: Sequence[str] = (),
) -> Difference:
    """Return what the next revision has to do; see `generate`. Raise ModelError, CommandError, and
    whatever a revision raises."""
    from alembic import command

    from chalicelib.migrate.connection import locked
    from chalicelib.migrate.handler import alembic_config
    from decanter.migration.model_catalog import describe_models

    _check_line(folder)
    history = read_history(files(folder))
    with locked(database_url) as connection:
        models = describe_models(connection, metadatas)
        command.upgrade(alembic_config(connection, folder=folder), "heads")
        connection.rollback()
        return difference(connection.connection.dbapi_connection, models, history, drop)


def _check_line(folder: Path) -> None:
    """Raise CommandError where two revisions follow the same one, as after a merge of two branches,
    or one follows a revision that is missing."""
    from alembic.script import ScriptDirectory

    from chalicelib.migrate.handler import alembic_config
    from chalicelib.postgres.revisions import REVISION

    cure = (
        "Give the later one the next number, in its name and as its revision, and the revision"
        " before it as its down_revision."
    )
    files: dict[str, list[str]] = {}
    for path in sorted((folder / "versions" / BRANCH).glob("*.py")):
        if match := REVISION.search(path.read_text()):
            files.setdefault(match[1], []).append(path.name)
    for revision, names in files.items():
        if len(names) > 1:
            raise CommandError(f"{' and '.join(names)} are both revision {revision}. {cure}")
    try:
        with warnings.catch_warnings(action="error", category=UserWarning):
            heads = ScriptDirectory.from_config(alembic_config(folder=folder)).get_heads()
    except UserWarning as error:
        raise CommandError(
            f"{error}. Restore its file; or set down_revision of its successor to the revision"
            f" before it (of the first one to None, with branch_labels = ({BRANCH!r},))."
        ) from None
    last = [name for revision in heads for name in files.get(revision, ())]
    if len(last) > 1:
        raise CommandError(f"{' and '.join(last)} are both the last revision. {cure}")


@contextmanager
def _replace_sample(folder: Path) -> Iterator[Path | None]:
    """Remove the revision of the sample tables, for good, once the first one of other tables is
    written in the block. `migrate` knows that it may have been applied."""
    from chalicelib import models
    from chalicelib.postgres.resources import metadatas

    sample, *others = [*files(folder), None]
    text = "" if sample is None or others != [None] else sample.read_text(encoding="utf-8")
    made = set(re.findall(r'op\.create_table\(\s*"(\w+)"', text))
    ours = {table.name for metadata in metadatas(models) for table in metadata.tables.values()}
    if sample is None or f'revision = "{SAMPLE}"' not in text or made & ours:
        yield None
        return
    sample.unlink()
    try:
        yield sample
    except BaseException:
        sample.write_text(text, encoding="utf-8")
        raise


def _compare_project(
    scratch: Scratch, drop: Sequence[str] = (), engines: Sequence[str] = ()
) -> Difference:
    from chalicelib import models
    from chalicelib.postgres.resources import metadatas, resources_of
    from decanter.contract.compiler import check

    found = metadatas(models)
    resources_of(*found)
    check(found, engines)
    with scratch() as server:
        return compare(found, server.url(), drop=drop)


def _format(path: Path) -> None:
    # Whether the template's noqa is needed shows only after formatting.
    for arguments in (["format"], ["check", "--fix", "--exit-zero"], ["format"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--quiet", str(path)]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
