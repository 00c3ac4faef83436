"""Options shared by several commands."""

import argparse
from argparse import ArgumentParser
from pathlib import Path

from decanter.local import HOME


def stage(command: ArgumentParser, default: str | None = None) -> None:
    text = "stage in .chalice/config.json" + (f" ({default})" if default else "")
    command.add_argument("--stage", required=default is None, default=default, help=text)


def parameters(command: ArgumentParser) -> None:
    command.add_argument(
        "--parameter",
        action="append",
        type=_pair,
        default=[],
        metavar="NAME=VALUE",
        help="parameter of the template; the others keep their values (repeatable)",
    )


def data_dir(command: "argparse._ActionsContainer") -> None:
    command.add_argument(
        "--data-dir",
        type=Path,
        default=HOME,
        metavar="DIR",
        help="folder for the data of Postgres and the logs (.decanter)",
    )


def port(command: ArgumentParser, what: str = "MiniStack and the API (4566 if free)") -> None:
    command.add_argument("--port", type=_port, help=f"port of {what}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def positive(text: str) -> int:
    """A number of at least 1. Raise argparse's error for anything else."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def written_file(text: str) -> Path:
    """A file to write, in a folder that is there. Raise argparse's error for any other, before the
    work whose result it is to hold."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"there is no folder {path.parent} to write {path.name} into; make it, or name another"
        )
    return path


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text} is not a port number from 1 to 65535")
    return int(text)
