"""Turn partial batch responses on, after `chalice deploy`."""

from argparse import Namespace

from decanter import PROJECT
from decanter.commands import options

arguments = options.stage


def run(given: Namespace) -> int:
    from decanter.deployment import chalice_deploy, pipeline

    application = f"{pipeline.application(PROJECT)}-{given.stage}"
    functions = [f"{application}-{name}" for name in chalice_deploy.DRAINS]
    chalice_deploy.turn_on(pipeline.client, functions, print)
    chalice_deploy.wake_up(pipeline.client, functions[0], print)
    return 0
