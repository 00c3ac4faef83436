"""Turn on partial batch responses after `chalice deploy`, and set up the front table's stream."""

from argparse import Namespace

from decanter import PROJECT
from decanter.commands import options

arguments = options.stage


def run(given: Namespace) -> None:
    from decanter.deployment import chalice_deploy, functions, mappings, pipeline
    from decanter.deployment.stage import load

    stage = load(PROJECT, given.stage)
    chalice_deploy.turn_on(pipeline.client, chalice_deploy.mapping_settings(stage), print)
    for drain, _queue in functions.drains():
        if drain.has_clock:
            name = drain.deployed_name(stage.application)
            chalice_deploy.wake_up(pipeline.client, name, print)
    mappings.name_in_functions(pipeline.client, stage, print)
    names = {each.name: each.deployed_name(stage.application) for each in stage.functions}
    for name in mappings.paused(pipeline.client, names):
        print(mappings.note(functions.function(name)))
