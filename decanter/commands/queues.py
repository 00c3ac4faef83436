"""Create the queues, and the front table, that `chalice deploy` expects."""

from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    options.parameters(parser)


def run(given: Namespace) -> None:
    from decanter.deployment import chalice_deploy, pipeline, preflight
    from decanter.deployment.functions import FRONT_STREAM_OUTPUT
    from decanter.deployment.stage import CONFIG_FILE

    stage = preflight.load(PROJECT, given.stage)
    outputs = chalice_deploy.make(pipeline.client, stage, dict(given.parameter))
    folder = chalice_deploy.prepare(pipeline.client, PROJECT, stage, outputs)
    for name, value in outputs.items():
        print(f"{name:<28} {value}")
    shown = folder.relative_to(PROJECT)
    if FRONT_STREAM_OUTPUT in outputs:
        place = f"{shown}/{CONFIG_FILE}"
        print(f"\n{chalice_deploy.STREAM_VARIABLE} in {place}, which app.py reads, is")
        print("the ARN of the front table's stream; drain_stream is subscribed to it.")
    print(f"\nNow run: chalice --project-dir {shown} deploy --stage {given.stage}")
