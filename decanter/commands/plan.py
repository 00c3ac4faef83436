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
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(given: Namespace) -> int:
    """Return 1 if the goal is not met."""
    from chalicelib.contract import resources
    from decanter.deployment import functions
    from decanter.deployment.stage import load
    from decanter.local import environment
    from decanter.planning import capacity, profile, service, text
    from decanter.planning.plan import Planner

    stage = load(PROJECT, given.stage)
    known = {name: resources.resource(name) for name in resources.names()}
    wanted = profile.load(given.profile, known)
    times = service.load(given.service or service.FILE)
    with environment.isolated():
        os.environ.update(stage.variables(functions.function("api")))  # the size of messages
        planner = Planner(wanted, capacity.of_stage(stage), times, known, given.seed, _say)
        found = planner.plan()
    if given.json:
        print(json.dumps(text.document(found), indent=2))
    else:
        print("\n".join(text.lines(found)))
    return int(bool(found.objections))


def _say(question: str) -> None:
    if sys.stderr.isatty():
        print(f"simulating: {question} …", file=sys.stderr)
