"""Deploy the project onto the running local cloud."""

import os
from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="even if that breaks queued messages")
    options.data_dir(parser)


def run(given: Namespace) -> None:
    from decanter.deployment import pipeline, preflight
    from decanter.local import environment, ministack
    from decanter.local.cloud import STAGE

    variables = ministack.serving(given.data_dir)
    with environment.isolated():
        os.environ.update(variables)
        stage = preflight.load(PROJECT, STAGE)
        stack = pipeline.deploy_stage(pipeline.client, PROJECT, stage, {}, force=given.force)
    print("", *pipeline.summary(stack), sep="\n")
