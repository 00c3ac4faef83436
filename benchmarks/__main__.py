"""The command line of the benchmarks: ``python -m benchmarks <benchmark>``."""

import argparse
import os
import sys
from importlib import import_module

from benchmarks.harness import printed
from decanter.contract import committed
from decanter.local.demo import airports
from decanter.local.environment import direct

MODULES = {
    "drain": "benchmarks.drain.measure",
    "intake": "benchmarks.intake.measure",
    "bulk": "benchmarks.intake.bulk",
    "coldstart": "benchmarks.coldstart.measure",
}


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each case as soon as it is measured; returns the exit code."""
    options = parser().parse_args(arguments)
    if options.benchmark != "bulk" and not airports.fit(committed()):
        print(
            "This benchmark is of the sample tables, and chalicelib/models.py has others:"
            " run it in a clone of Decanter itself.",
            file=sys.stderr,
        )
        return 1
    os.environ.update(direct())
    for result in import_module(MODULES[options.benchmark]).run(options.quick):
        print(printed(options.benchmark, result, options.json), flush=True)
    return 0


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure Decanter beside its peers, in one run."
    )
    found.add_argument(
        "benchmark",
        choices=MODULES,
        help="drain: rows a second, from the event to after COMMIT; intake: processor time of a"
        " request in the API function; bulk: of a row in a large body; coldstart: of the first"
        " request",
    )
    found.add_argument("--quick", action="store_true", help="fewer sizes and rounds")
    found.add_argument("--json", action="store_true", help="one JSON object a line")
    return found


if __name__ == "__main__":
    sys.exit(main())
