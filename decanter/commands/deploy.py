"""Package, check, migrate, deploy, and test what was deployed."""

from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    options.parameters(parser)
    parser.add_argument(
        "--bucket", help="bucket for the code (decanter-ACCOUNT-REGION, made if it is missing)"
    )
    parser.add_argument(
        "--force", action="store_true", help="migrate even if messages that are queued break"
    )


def run(given: Namespace) -> int:
    from decanter.deployment import pipeline, preflight

    values = dict(given.parameter)
    stage = preflight.load(PROJECT, given.stage)
    stack = pipeline.deploy_stage(
        pipeline.client, PROJECT, stage, values, bucket=given.bucket, force=given.force
    )
    print("\n".join(["", *pipeline.summary(stack)]))
    return 0
