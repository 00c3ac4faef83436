"""Create the secrets of a stage's database roles."""

from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    parser.add_argument(
        "--rotate", action="store_true", help="set new passwords, which the next deployment uses"
    )


def run(given: Namespace) -> None:
    from decanter.deployment import pipeline, secrets
    from decanter.deployment.stage import load

    stage = load(PROJECT, given.stage)
    written = secrets.ensure(
        pipeline.client, stage.prefix, tokens=stage.tokens, rotate=given.rotate
    )
    print("\n".join(f"{name} written" for name in written) or "All secrets exist.")
