"""Compile chalicelib/models.py into chalicelib/contract.json."""

import difflib
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from decanter import relative


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if it is out of date"
    )


def run(given: Namespace) -> int:
    from chalicelib import models
    from chalicelib.postgres.resources import metadatas
    from decanter import PROJECT, contract
    from decanter.contract import engines
    from decanter.deployment import stage

    for engine in stage.engines(PROJECT):
        engines.check(metadatas(models), engine)
    wanted = contract.files(models, contract.FILE)
    stale = [file for file, text in wanted.items() if _read(file) != text]
    if not stale:
        print(f"{relative(contract.FILE)} is up to date")
    elif given.check:
        for file in stale:
            print(
                f"{relative(file)} does not match the models; run: make contract", file=sys.stderr
            )
        before, after = _read(stale[0]).splitlines(), wanted[stale[0]].splitlines()
        changes = difflib.unified_diff(before, after, "committed", "models", n=1, lineterm="")
        print("\n".join(list(changes)[:60]), file=sys.stderr)
        return 1
    else:
        for file in stale:
            file.write_text(wanted[file], encoding="utf-8")
            print(f"{relative(file)} written")
    return 0


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""
