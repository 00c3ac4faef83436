"""The next revision: what brings the database from the last one to the models."""

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

from chalicelib.migrate.handler import FOLDER, SAMPLE
from decanter.migration.difference import Difference, difference
from decanter.migration.revision import BRANCH, files, write
from decanter.migration.target import remembered


class ScratchServer(Protocol):
    """A Postgres with an empty database."""

    def url(self) -> str:
        """The libpq URL of that database."""


Scratch = Callable[[], AbstractContextManager[ScratchServer]]
"""Gives a server that is gone at the end of the block."""


class Written(NamedTuple):
    """file: of the revision; None: it would do nothing. replaced: the sample's revision, which is
    gone."""

    file: Path | None
    change: Difference
    replaced: Path | None


def written(message: str, drop: Sequence[str], scratch: Scratch) -> Written:
    """Write the next revision of the project's models. See `generate`."""
    with _in_place_of_the_sample(FOLDER) as replaced:
        change = _compared(scratch, drop)
        file = write(change, message, FOLDER)
    if file is not None:
        _format(file)
    return Written(file, change, replaced)


def missing(scratch: Scratch) -> list[str]:
    """The statements that no revision has, and that the models need."""
    return [step.sql for step in _compared(scratch).upgrade]


def generate(
    metadatas: Sequence[MetaData],
    message: str,
    database_url: str,
    folder: Path = FOLDER,
    drop: Sequence[str] = (),
) -> Path | None:
    """Compare the models with the revisions and write the next one; None when nothing differs.

    database_url: of an empty database, which is brought to the newest revisions.
    folder: laid out like `chalicelib/migrations`.
    """
    return write(compared(metadatas, database_url, folder, drop), message, folder)


def compared(
    metadatas: Sequence[MetaData],
    database_url: str,
    folder: Path = FOLDER,
    drop: Sequence[str] = (),
) -> Difference:
    """What the next revision has to do, see `generate`. Raises ModelError, CommandError, and
    what a revision raises."""
    from alembic import command

    from chalicelib.migrate.connection import locked
    from chalicelib.migrate.handler import alembic_config
    from decanter.migration.model_catalog import created

    _check_line(folder)
    memory = remembered(files(folder))
    with locked(database_url) as connection:
        models = created(connection, metadatas)
        command.upgrade(alembic_config(connection, folder=folder), "heads")
        connection.rollback()
        return difference(connection.connection.dbapi_connection, models, memory, drop)


def _check_line(folder: Path) -> None:
    """Raises CommandError where two revisions follow the same one, as of two people who did not
    know of each other, or one follows what is not there."""
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
            f"{error}. Get its file back; or let the one that follows it follow the one before"
            f" (down_revision), the first one None, with branch_labels = ({BRANCH!r},)."
        ) from None
    last = [name for revision in heads for name in files.get(revision, ())]
    if len(last) > 1:
        raise CommandError(f"{' and '.join(last)} are both the last revision. {cure}")


@contextmanager
def _in_place_of_the_sample(folder: Path) -> Iterator[Path | None]:
    """The sample's revision is gone while the first one of other tables is written, and afterwards:
    nobody wants its tables in a database. `migrate` knows that it may have been applied."""
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


def _compared(scratch: Scratch, drop: Sequence[str] = ()) -> Difference:
    from chalicelib import models
    from chalicelib.postgres.resources import metadatas, resources_of
    from decanter.contract.names import check

    found = metadatas(models)
    resources_of(*found)
    check(found)
    with scratch() as server:
        return compared(found, server.url(), drop=drop)


def _format(path: Path) -> None:
    # Only formatted does it show whether a line is too long, and the template's noqa is needed.
    for arguments in (["format"], ["check", "--fix", "--exit-zero"], ["format"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--quiet", str(path)]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
