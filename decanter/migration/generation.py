"""`make migration`: write the revision that brings the database from the last one to the models."""

import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from alembic.util import CommandError
from sqlalchemy import MetaData

from chalicelib.migrate.handler import FOLDER, SAMPLE
from decanter.migration.aim import remembered
from decanter.migration.difference import Difference, difference
from decanter.migration.revision import BRANCH, files, write


def main(arguments: Sequence[str] = (), drop: str = "") -> int:
    """`python -m decanter migration [message] [--drop names]`; needs nothing running.

    drop: what is to go though the models do not know it, separated by commas.
    """
    with _in_place_of_the_samples(FOLDER):
        change = _compared(drop.split(","))
        written = write(change, " ".join(arguments) or "models", FOLDER)
    if written is None:
        print("The revisions already say what the models say; nothing was written.")
    else:
        _format(written)
        print(
            f"{written.relative_to(FOLDER.parents[2])} written. Read it, and change what you like."
        )
        for lost in change.dropped:
            print(
                f"It drops {lost}, and what is in it. If that only has another name now, rename it"
                " there instead (ALTER TABLE … RENAME); docs/operating.md says how to go on while"
                " the version before still runs."
            )
    if change.left:
        print(
            "Not in the models, and left as it is:\n"
            + "\n".join(f"- {name}" for name in change.left)
            + '\nTo drop it, and what is in it: make migration drop="name, name"'
        )
    return 0


def missing() -> list[str]:
    """The statements that no revision has, and that the models need."""
    return [step.sql for step in _compared().upgrade]


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

    from chalicelib.migrate.handler import alembic_config, locked
    from decanter.migration.created import created

    _check_line(folder)
    memory = remembered(files(folder))
    with locked(database_url) as connection:
        models = created(connection, metadatas)
        command.upgrade(alembic_config(connection, folder=folder), "heads")
        connection.rollback()
        return difference(connection.connection.dbapi_connection, models, memory, drop)


@contextmanager
def scratch_database() -> Iterator[str]:
    """URL of an empty database, which is gone afterwards."""
    from decanter.local.server import scratch

    with scratch("migration") as server:
        yield server.url()


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
def _in_place_of_the_samples(folder: Path) -> Iterator[None]:
    """The samples' revision is gone while the first one of other tables is written, and afterwards:
    nobody wants their tables in a database. `migrate` knows that it may have been applied."""
    from chalicelib import models
    from chalicelib.postgres.resources import metadatas

    sample, *others = [*files(folder), None]
    text = "" if sample is None or others != [None] else sample.read_text(encoding="utf-8")
    made = set(re.findall(r'op\.create_table\(\s*"(\w+)"', text))
    ours = {table.name for metadata in metadatas(models) for table in metadata.tables.values()}
    if sample is None or f'revision = "{SAMPLE}"' not in text or made & ours:
        yield
        return
    sample.unlink()
    try:
        yield
    except BaseException:
        sample.write_text(text, encoding="utf-8")
        raise
    print(f"{sample.name} is gone: none of its tables is in the models.")


def _compared(drop: Sequence[str] = ()) -> Difference:
    from chalicelib import models
    from chalicelib.postgres.resources import metadatas, resources_of
    from decanter.contract.names import check

    found = metadatas(models)
    resources_of(*found)
    check(found)
    with scratch_database() as url:
        return compared(found, url, drop=drop)


def _format(path: Path) -> None:
    # Only formatted does it show whether a line is too long, and the template's noqa is needed.
    for arguments in (["format"], ["check", "--fix", "--exit-zero"], ["format"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--quiet", str(path)]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
