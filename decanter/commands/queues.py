"""Make the queues that `chalice deploy` expects."""

from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    options.parameters(parser)


def run(given: Namespace) -> int:
    from decanter.deployment import chalice_deploy

    return chalice_deploy.main(PROJECT, given.stage, given.parameter)
