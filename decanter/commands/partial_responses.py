"""Turn partial batch responses on, after `chalice deploy`."""

from argparse import Namespace

from decanter import PROJECT
from decanter.commands import options

arguments = options.stage


def run(given: Namespace) -> int:
    from decanter.deployment import chalice_deploy

    return chalice_deploy.partial_responses_main(PROJECT, given.stage)
