"""Write the migration that brings the database to chalicelib/models.py."""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decanter.migration.generation import Written


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("message", nargs="*", help="what changes; becomes the name of the file")
    parser.add_argument(
        "--drop",
        default="",
        metavar="NAMES",
        help="objects to drop that are not in the models, separated by commas",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a migration is missing"
    )


def run(given: Namespace) -> int:
    from decanter import PROJECT
    from decanter.deployment import stage
    from decanter.local.server import scratch
    from decanter.migration import generation

    empty = partial(scratch, "migration")
    if given.check:
        return _check(generation.missing_statements(empty))
    message = " ".join(given.message) or "models"
    engines = stage.engines(PROJECT)
    _print(generation.write_next(message, given.drop.split(","), empty, engines))
    return 0


def _check(missing: list[str]) -> int:
    if missing:
        print(
            "chalicelib/models.py has changes that are in no revision; run: "
            'make migration m="what changed"\n' + "\n".join(missing[:40]),
            file=sys.stderr,
        )
    return int(bool(missing))


def _print(written: "Written") -> None:
    from chalicelib.migrate.handler import FOLDER

    file, change, replaced = written
    if replaced is not None:
        print(f"{replaced.name} was removed: none of its tables is in the models.")
    if file is None:
        print("The revisions already match the models; nothing was written.")
    else:
        print(f"{file.relative_to(FOLDER.parents[1])} written. Review it, and edit it as you like.")
        for lost in change.dropped:
            print(
                f"It drops {lost} with its data. If that was only renamed, write ALTER TABLE …"
                " RENAME there instead; docs/operating.md says how to do so while the old version"
                " still runs."
            )
    if change.left:
        print(
            "Not in the models, and left unchanged:\n"
            + "\n".join(f"- {name}" for name in change.left)
            + '\nTo drop them with their data: make migration drop="name, name"'
        )
