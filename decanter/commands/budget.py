"""Print the connection budget, and whether the database fits."""

from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser, "dev")
    parser.add_argument("--url", help="the database to ask, in place of the deployed stage's")
    parser.add_argument(
        "--others",
        type=int,
        default=0,
        metavar="N",
        help="connections that other programs may need, if they have less now",
    )


def run(given: Namespace) -> int:
    from decanter.deployment import budget

    return budget.main(PROJECT, given.stage, given.url, given.others)
