"""Package, check, migrate, deploy and smoke-test a stage."""

from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    options.parameters(parser)
    parser.add_argument(
        "--bucket", help="bucket for the code (decanter-ACCOUNT-REGION, created if missing)"
    )
    parser.add_argument(
        "--force", action="store_true", help="migrate even if that breaks queued messages"
    )


def run(given: Namespace) -> None:
    from decanter.deployment import pipeline, preflight

    values = dict(given.parameter)
    stage = preflight.load(PROJECT, given.stage)
    stack = pipeline.deploy_stage(
        pipeline.client, PROJECT, stage, values, bucket=given.bucket, force=given.force
    )
    print("", *pipeline.summary(stack), sep="\n")
