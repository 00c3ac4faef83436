"""Compile chalicelib/models.py into chalicelib/contract.json."""

import difflib
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when it is out of date"
    )


def run(given: Namespace) -> int:
    from chalicelib import models
    from decanter import contract

    wanted = contract.files(models, contract.FILE)
    stale = [file for file, text in wanted.items() if _read(file) != text]
    if not stale:
        print(f"{_shown(contract.FILE)} is current")
    elif given.check:
        for file in stale:
            print(f"{_shown(file)} is not what the models say; run: make contract", file=sys.stderr)
        was, is_ = _read(stale[0]).splitlines(), wanted[stale[0]].splitlines()
        changes = difflib.unified_diff(was, is_, "committed", "models", n=1, lineterm="")
        print("\n".join(list(changes)[:60]), file=sys.stderr)
        return 1
    else:
        for file in stale:
            file.write_text(wanted[file], encoding="utf-8")
            print(f"{_shown(file)} written")
    return 0


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


def _shown(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
