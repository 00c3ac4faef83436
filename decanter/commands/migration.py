"""Write the migration that brings the database to chalicelib/models.py."""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decanter.migration.generation import Written


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("message", nargs="*", help="what changes, for the name of the file")
    parser.add_argument(
        "--drop",
        default="",
        metavar="NAMES",
        help="what is to go though the models do not know it, separated by commas",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when a migration is missing"
    )


def run(given: Namespace) -> int:
    from decanter.local.server import scratch
    from decanter.migration import generation

    empty = partial(scratch, "migration")
    if given.check:
        return _check(generation.missing_statements(empty))
    message = " ".join(given.message) or "models"
    _print(generation.write_next(message, given.drop.split(","), empty))
    return 0


def _check(missing: list[str]) -> int:
    if missing:
        print(
            "chalicelib/models.py has changes that no revision brings to the database; run: "
            'make migration m="what changed"\n' + "\n".join(missing[:40]),
            file=sys.stderr,
        )
    return int(bool(missing))


def _print(written: "Written") -> None:
    from chalicelib.migrate.handler import FOLDER

    file, change, replaced = written
    if replaced is not None:
        print(f"{replaced.name} is gone: none of its tables is in the models.")
    if file is None:
        print("The revisions already say what the models say; nothing was written.")
    else:
        print(f"{file.relative_to(FOLDER.parents[1])} written. Read it, and change what you like.")
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
