"""Options that several commands have."""

import argparse
from argparse import ArgumentParser
from pathlib import Path

from decanter.local import HOME


def stage(command: ArgumentParser, default: str | None = None) -> None:
    """--stage, required unless there is a default."""
    text = "stage in .chalice/config.json" + (f" ({default})" if default else "")
    command.add_argument("--stage", required=default is None, default=default, help=text)


def parameters(command: ArgumentParser) -> None:
    """--parameter, any number of times."""
    command.add_argument(
        "--parameter",
        action="append",
        type=_pair,
        default=[],
        metavar="NAME=VALUE",
        help="of the template; others keep their values",
    )


def data_dir(command: ArgumentParser) -> None:
    """--data-dir."""
    command.add_argument(
        "--data-dir",
        type=Path,
        default=HOME,
        metavar="DIR",
        help="where the data of Postgres and the logs are kept (.decanter)",
    )


def port(command: ArgumentParser, what: str = "MiniStack and so of the API (4566 if free)") -> None:
    """--port."""
    command.add_argument("--port", type=_port, help=f"port of {what}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text} is no port: a number from 1 to 65535")
    return int(text)
