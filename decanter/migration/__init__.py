"""`make migration`: write the revision that brings the database from the last one to the models."""

import re
import subprocess
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import MetaData

from chalicelib.database.migrate import FOLDER

BRANCH = "models"

_DROP = re.compile(r'op\.drop_(?:table\(\s*"([^"]+)"|column\(\s*"([^"]+)",\s*"([^"]+)")')


def main(arguments: Sequence[str] = ()) -> int:
    """`python -m decanter migration [message]`; needs nothing running."""
    from alembic.util import CommandError

    from chalicelib import models
    from chalicelib.database.resources import ModelError, metadatas, resources_of
    from decanter.contract.names import check

    message = " ".join(arguments) or "models"
    try:
        found = metadatas(models)
        resources_of(*found)
        check(found)
        with scratch_database() as url:
            written = generate(found, message, url)
    except (ModelError, CommandError) as error:
        print(error, file=sys.stderr)
        return 1
    if written is None:
        print("The revisions already say what the models say; nothing was written.")
        return 0
    print(f"{written.relative_to(FOLDER.parents[2])} written. Read it, and change what you like.")
    for lost in dropped(written.read_text()):
        print(
            f"It drops {lost}, and what is in it. If that only has another name now, rename it"
            " there instead (op.alter_column, op.rename_table); docs/operating.md says how to go on"
            " while the version before still runs."
        )
    return 0


def generate(
    metadatas: Sequence[MetaData], message: str, database_url: str, folder: Path = FOLDER
) -> Path | None:
    """Compare the models with the revisions and write the next one; None when nothing differs.

    database_url: of an empty database, which is brought to the newest revisions.
    folder: laid out like `chalicelib/database/migrations`.
    """
    from alembic import command
    from alembic.script import Script

    from chalicelib.database.migrate import alembic_config, locked
    from decanter.migration.compare import comparison

    _check_line(folder)
    with locked(database_url) as connection, warnings.catch_warnings():
        # Foreign keys in a circle are taken care of in `compare`.
        warnings.filterwarnings("ignore", message="Cannot correctly sort tables")
        command.upgrade(alembic_config(connection, folder=folder), "heads")
        connection.rollback()
        config = alembic_config(connection, folder=folder, **comparison(metadatas))
        config.cmd_opts = Namespace(quiet=True)
        config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
        numbers = _numbers(folder)
        scripts = command.revision(
            config,
            message,
            autogenerate=True,
            rev_id=f"{max(numbers, default=0) + 1:04}",
            head=f"{BRANCH}@head" if numbers else "base",
            branch_label=None if numbers else BRANCH,
            version_path=str(folder / "versions" / BRANCH),
        )
    for script in scripts if isinstance(scripts, list) else [scripts]:
        if isinstance(script, Script):
            path = Path(script.path)
            _format(path)
            return path
    return None


def dropped(revision: str) -> list[str]:
    """Tables, and columns as `table.column`, that the upgrade of a revision drops."""
    upgrade = revision.partition("def upgrade(")[2].partition("def downgrade(")[0]
    return [".".join(filter(None, match.groups())) for match in _DROP.finditer(upgrade)]


@contextmanager
def scratch_database() -> Iterator[str]:
    """URL of an empty database, which is gone afterwards."""
    from decanter.cloud.server import scratch

    with scratch("migration") as server:
        yield server.url()


def _check_line(folder: Path) -> None:
    """Raises CommandError where two revisions follow the same one, as of two people who did not
    know of each other."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    from chalicelib.database.migrate import alembic_config
    from chalicelib.database.revisions import REVISION

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
    heads = ScriptDirectory.from_config(alembic_config(folder=folder)).get_heads()
    last = [name for revision in heads for name in files.get(revision, ())]
    if len(last) > 1:
        raise CommandError(f"{' and '.join(last)} are both the last revision. {cure}")


def _numbers(folder: Path) -> list[int]:
    """Numbers of the user's revisions, which are the beginnings of their file names."""
    names = (path.name.split("_")[0] for path in (folder / "versions" / BRANCH).glob("*.py"))
    return [int(name) for name in names if name.isdecimal()]


def _format(path: Path) -> None:
    # Only formatted does it show whether a line is too long, and the template's noqa is needed.
    for arguments in (["format"], ["check", "--fix", "--exit-zero"], ["format"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--quiet", str(path)]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
