"""Look for all that would make a deployment fail; change nothing."""

from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    options.parameters(parser)
    parser.add_argument(
        "--plain", action="store_true", help="of `chalice deploy`: look at the queues it expects"
    )


def run(given: Namespace) -> int:
    from decanter.deployment import pipeline, preflight

    stage = preflight.load(PROJECT, given.stage)
    pipeline.check(PROJECT, stage, dict(given.parameter), plain=given.plain)
    print(f"Nothing keeps stage {given.stage!r} from being deployed.")
    return 0
