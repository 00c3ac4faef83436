"""Print the connection budget, and whether the database has room for it."""

import sys
from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser, "dev")
    parser.add_argument("--url", help="database to check, in place of the deployed stage's")
    parser.add_argument(
        "--others",
        type=int,
        default=0,
        metavar="N",
        help="connections to reserve for other programs, if they hold fewer now",
    )


def run(given: Namespace) -> int:
    from decanter.deployment import budget, pipeline
    from decanter.deployment.stage import load

    stage = load(PROJECT, given.stage)
    holders = budget.holders(stage)
    print(f"Connection budget of stage {given.stage!r}:\n")
    print("\n".join(budget.table(holders)), end="\n\n")
    granted = pipeline.granted(stage, given.url)
    if granted is None:
        print("The stage is not deployed, so its database cannot be checked; see --url.")
    else:
        granted = {**granted, "others": max(granted["others"], given.others)}
        print(budget.grant(granted))
    findings = budget.findings(holders, granted)
    for each in findings:
        print(each, file=sys.stderr)
    if not findings and granted is not None:
        print("It fits.")
    return int(bool(findings))
