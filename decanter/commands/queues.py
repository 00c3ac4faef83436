"""Create the queues that `chalice deploy` expects."""

from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    options.parameters(parser)


def run(given: Namespace) -> None:
    from decanter.deployment import chalice_deploy, pipeline, preflight

    stage = preflight.load(PROJECT, given.stage)
    outputs = chalice_deploy.make(pipeline.client, stage, dict(given.parameter))
    folder = chalice_deploy.prepare(pipeline.client, PROJECT, stage, outputs)
    for name, value in outputs.items():
        print(f"{name:<28} {value}")
    shown = folder.relative_to(PROJECT)
    print(f"\nNow run: chalice --project-dir {shown} deploy --stage {given.stage}")
