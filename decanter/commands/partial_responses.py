"""Turn on partial batch responses after `chalice deploy`."""

from argparse import Namespace

from decanter import PROJECT
from decanter.commands import options

arguments = options.stage


def run(given: Namespace) -> None:
    from decanter.deployment import chalice_deploy, functions, pipeline
    from decanter.deployment.stage import load

    application = load(PROJECT, given.stage).application
    drains = [drain for drain, _queue in functions.drains()]
    names = [each.deployed_name(application) for each in drains]
    chalice_deploy.turn_on(pipeline.client, names, print)
    for each in drains:
        if each.has_clock:
            chalice_deploy.wake_up(pipeline.client, each.deployed_name(application), print)
