"""Load the rows of a closed resource into the front table."""

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from decanter import PROJECT
from decanter.commands import options

_SHOWN_SECONDS = 1.0


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("resource", metavar="RESOURCE", help="its name in the paths of the API")
    options.stage(parser)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(given: Namespace) -> int:
    """Return 1 if there are rows that no item can hold."""
    from decanter.deployment import pipeline
    from decanter.deployment.hydrate import Hydrated
    from decanter.deployment.stage import load

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    done, name = Hydrated(), given.resource
    shown = 0.0
    for done in pipeline.hydrate_resource(load(PROJECT, given.stage), name, say):
        if time.monotonic() > shown + _SHOWN_SECONDS:
            say(f"{done.rows:,} rows looked at, {done.written:,} entries written")
            shown = time.monotonic()
    for line in done.named:
        say(f"no item can hold {line}")
    if given.json:
        print(json.dumps(asdict(done)))
    elif done.unfit:
        print(f"{done.unfit:,} of {done.rows:,} rows of {name} have no item. Change these rows in")
        print("Postgres, and run this again; or leave the resource behind SQS.")
    else:
        print(
            f"{name} has an item for each of its {done.rows:,} rows: {done.written:,} entries were"
        )
        print(f'written, {done.removed:,} removed. Now set its front to "dynamodb", and deploy.')
    return int(done.unfit > 0)
