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
    from decanter.deployment.stage import load

    written = pipeline.make_secrets(load(PROJECT, given.stage), rotate=given.rotate)
    print("\n".join(f"{name} written" for name in written) or "All secrets are there.")
    return 0
