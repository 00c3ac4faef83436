"""Make the secrets of the database roles of a stage."""

from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    parser.add_argument(
        "--rotate", action="store_true", help="new passwords; deploy to have them used"
    )


def run(given: Namespace) -> int:
    from decanter.deployment import pipeline

    return pipeline.secrets_main(PROJECT, given.stage, rotate=given.rotate)
