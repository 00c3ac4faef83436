"""Start the local cloud with `chalice local` in front; every change takes effect at once."""

from argparse import ArgumentParser, Namespace

from decanter.commands import errors, options
from decanter.local import signals


def arguments(parser: ArgumentParser) -> None:
    options.data_dir(parser)
    options.port(parser, "`chalice local` (8000 if free)")


def run(given: Namespace) -> int:
    with signals.loading():
        from decanter.local import dev

    return dev.serve(given.data_dir, given.port, errors.explain)
