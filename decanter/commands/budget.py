"""Print the connection budget, and whether the database fits."""

import sys
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

    holders = budget.holders(PROJECT, given.stage)
    print(f"Connection budget of stage {given.stage!r}:\n")
    print("\n".join(budget.table(holders)), end="\n\n")
    granted = budget.granted(PROJECT, given.stage, given.url)
    if granted is None:
        print("No stage is deployed that could be asked what the database grants; see --url.")
    else:
        granted = {**granted, "others": max(granted["others"], given.others)}
        print(budget.left(granted))
    faults = budget.faults(holders, granted)
    for each in faults:
        print(each, file=sys.stderr)
    if not faults and granted is not None:
        print("It fits.")
    return int(bool(faults))
