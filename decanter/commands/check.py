"""Check everything that could make a deployment fail; change nothing."""

from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    options.parameters(parser)
    parser.add_argument(
        "--plain",
        action="store_true",
        help="check the queues that `chalice deploy` expects",
    )


def run(given: Namespace) -> None:
    from decanter.deployment import pipeline, preflight

    stage = preflight.load(PROJECT, given.stage)
    pipeline.check(PROJECT, stage, dict(given.parameter), plain=given.plain)
    print(f"Stage {given.stage!r} can be deployed.")
