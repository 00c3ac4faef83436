"""Start and deploy the local cloud, and serve until Ctrl-C."""

from argparse import ArgumentParser, Namespace

from decanter.commands import options
from decanter.local import signals


def arguments(parser: ArgumentParser) -> None:
    options.data_dir(parser)
    options.port(parser)


def run(given: Namespace) -> int:
    with signals.loading():
        from decanter.local import serving

    with serving.deployed(given.data_dir, given.port) as (cloud, stack):
        return serving.serve(cloud, stack)
