"""The command line of the benchmarks: ``python -m benchmarks <benchmark>``."""

import argparse
import os
import sys
from importlib import import_module

from benchmarks.harness import format_result
from decanter.commands import errors
from decanter.contract import committed
from decanter.local import signals
from decanter.local.demo import airports
from decanter.local.environment import without_local_proxy

MODULES = {
    "drain": "benchmarks.drain.measure",
    "ledger": "benchmarks.drain.ledger",
    "drains": "benchmarks.drains.measure",
    "engines": "benchmarks.engines.measure",
    "growth": "benchmarks.growth.measure",
    "intake": "benchmarks.intake.measure",
    "bulk": "benchmarks.intake.bulk",
    "front": "benchmarks.front.measure",
    "coldstart": "benchmarks.coldstart.measure",
    "burst": "benchmarks.burst.measure",
    "rejections": "benchmarks.rejections",
    "service": "benchmarks.service.measure",
}
OF_OWN_TABLES = ("bulk", "engines", "front", "growth", "rejections")
OPTIONS = {"only": "drain", "rows": "growth", "table": "growth"}
"""Options that one benchmark alone takes."""


def main(arguments: list[str] | None = None) -> int:
    """Run one benchmark and return the exit code."""
    options = parser().parse_args(arguments)
    for name, benchmark in OPTIONS.items():
        if getattr(options, name) is not None and options.benchmark != benchmark:
            parser().error(f"--{name} is an option of {benchmark}, not of {options.benchmark}")
    return errors.run_reporting(lambda: _measure(options))


def _measure(options: argparse.Namespace) -> int:
    """Print a line for each case as soon as it is measured; return the exit code."""
    if options.benchmark not in OF_OWN_TABLES and not airports.match(committed()):
        print(
            "This benchmark needs the sample tables, which are not in chalicelib/models.py: run it"
            " in a clone of Decanter itself.",
            file=sys.stderr,
        )
        return 1
    os.environ.update(without_local_proxy())
    own = [name for name, benchmark in OPTIONS.items() if benchmark == options.benchmark]
    given = {name: getattr(options, name) for name in own}
    for result in import_module(MODULES[options.benchmark]).run(options.quick, **given):
        print(format_result(options.benchmark, result, options.json), flush=True)
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure Decanter and its peers in one run."
    )
    top.add_argument(
        "benchmark",
        choices=MODULES,
        help="drain: rows a second, from event to COMMIT; ledger: the same without the resource in"
        " the ledger; drains: several drains at once; engines: one drain on Postgres, on the rules"
        " of Aurora DSQL, and on Citus where DECANTER_CITUS_URL names one; growth: a table and a"
        " ledger of ten million rows beside empty ones; intake: processor time of a request in"
        " the API function; bulk: of a row in a large body; front: of a request to a table behind"
        " DynamoDB; coldstart: of the first request; burst: 1,000 clients at once, drawn in"
        " docs/burst.svg, or in build/ with --quick; rejections: what operators ask of ten million;"
        " service: what a batch costs a drain, written to decanter/planning/service.json, or to"
        " build/ with --quick",
    )
    top.add_argument("--quick", action="store_true", help="fewer sizes and rounds")
    top.add_argument("--json", action="store_true", help="one JSON object a line")
    top.add_argument(
        "--only", choices=("create", "replace", "merge", "delete", "mixed"), help="drain: of one op"
    )
    top.add_argument("--rows", type=_rows, help="growth: rows of the large table and ledger")
    top.add_argument(
        "--table",
        choices=("timed", "random", "indexed", "ledger"),
        help="growth: of this table alone",
    )
    return top


def _rows(text: str) -> int:
    """Raise ArgumentTypeError for anything but a whole number above 0."""
    digits = text.replace("_", "")
    if not (digits.isascii() and digits.isdecimal() and int(digits)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number of rows, such as 10_000_000"
        )
    return int(digits)


if __name__ == "__main__":
    signals.listen()
    sys.exit(main())
