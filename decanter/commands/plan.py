"""Simulate a day of your traffic: connections, lag, what breaks first, and which caps suffice."""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("profile", type=Path, metavar="PROFILE", help="the traffic: YAML or JSON")
    options.stage(parser, "dev")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what is random (1)")
    parser.add_argument(
        "--service",
        type=Path,
        metavar="FILE",
        help="service times, of `python -m benchmarks service` (decanter/planning/service.json)",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="set the stage's caps in .chalice/config.json to the lowest that meet the goal",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="draw lag and backlog over the day, as SVG or PNG",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(given: Namespace) -> int:
    """Return 1 if the goal is not met."""
    from chalicelib.contract import resources
    from decanter.deployment import functions
    from decanter.deployment.stage import CONFIG_FILE, load
    from decanter.local import environment
    from decanter.planning import (
        capacity,
        caps,
        cost,
        images,
        memory,
        price_list,
        profile,
        service,
        text,
    )
    from decanter.planning.plan import Planner

    if given.picture:
        images.check(given.picture)
    stage = load(PROJECT, given.stage)
    known = {name: resources.resource(name) for name in resources.names()}
    wanted = profile.load(given.profile, known)
    prices = price_list.load(wanted.region)
    file = given.service or service.FILE
    times, containers = service.load(file), memory.containers(file)
    with environment.isolated():
        os.environ.update(stage.variables(functions.function("api")))  # the size of messages
        planner = Planner(wanted, capacity.of_stage(stage), times, known, given.seed, _say)
        found = planner.plan()
    month = cost.Month(stage, wanted, found.outcome, times, containers, prices)
    bills = cost.bills(month)
    goal = wanted.lag_p99_seconds
    sweeps = memory.sweeps(stage, found.outcome, containers, times, prices, goal, month.months)
    if given.json:
        document = {
            **text.document(found),
            "cost": cost.document(bills),
            "memory": memory.document(sweeps),
        }
        print(json.dumps(document, indent=2))
    else:
        lines = (*text.lines(found), "", *cost.table(bills), "", *memory.tables(sweeps))
        print("\n".join(lines))
    if given.picture:
        images.write(wanted, found.outcome, given.picture)
    if not given.write:
        return int(bool(found.objections))
    difference = caps.write(PROJECT, given.stage, found)
    print(difference or f"{CONFIG_FILE} has these caps.", file=sys.stderr if given.json else None)
    return 0


def _say(question: str) -> None:
    if sys.stderr.isatty():
        print(f"simulating: {question} …", file=sys.stderr)
