"""The command line, ``python -m decanter <command>``: finds the commands in `decanter.commands`."""

import argparse
import os
import sys
from importlib import import_module
from pkgutil import iter_modules

from decanter import commands
from decanter.commands import errors
from decanter.local.environment import without_local_proxy


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    own = given[: given.index("--")] if "--" in given else given
    options = parser().parse_args(own)
    options.passed_on = given[len(own) + 1 :]  # to psql
    os.environ.update(without_local_proxy())
    return errors.run_reporting(lambda: options.run(options) or 0)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands, each a module with ``run``, whose docstring is the help.

    ``run`` returns the exit code, or None for 0.
    """
    top = argparse.ArgumentParser(
        prog="python -m decanter",
        description="Decanter takes writes over REST and pours them into Postgres.",
    )
    found = top.add_subparsers(required=True, metavar="command")
    for each in iter_modules(commands.__path__):
        module = import_module(f"{commands.__name__}.{each.name}")
        if hasattr(module, "run"):
            text = module.__doc__ or ""
            command = found.add_parser(each.name.replace("_", "-"), help=text, description=text)
            module.arguments(command)
            command.set_defaults(run=module.run)
    return top


if __name__ == "__main__":
    sys.exit(main())
