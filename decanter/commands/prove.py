"""Prove Decanter's promises: random histories with faults, and a checker that judges them."""

import argparse
import json
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from itertools import count
from typing import Any

_RUNS = 100


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--seed", type=_seed, default=0, help="of the first history (0)")
    parser.add_argument("--runs", type=_positive, help=f"number of histories ({_RUNS})")
    parser.add_argument(
        "--minutes", type=_minutes, help="begin no history later; without --runs: any number"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(given: Namespace) -> int:
    from decanter.local import signals

    with signals.loading():
        from decanter.proof.simulation.pool import run_all, workers
    ends_at = time.monotonic() + given.minutes * 60 if given.minutes else None
    runs = given.runs or (None if ends_at else _RUNS)
    failed = 0
    with workers(min(os.cpu_count() or 1, runs or 2)) as pool:
        for answer in run_all(pool, _jobs(given.seed, runs, ends_at)):
            failed += bool(answer["violations"])
            if given.json:
                print(json.dumps(answer), flush=True)
            elif answer["violations"]:
                _report(answer)
    return int(failed > 0)


def _jobs(seed: int, runs: int | None, ends_at: float | None) -> Iterator[dict[str, Any]]:
    for number in count() if runs is None else range(runs):
        if ends_at is not None and time.monotonic() >= ends_at:
            return
        yield {"seed": seed + number, "shrink": True}


def _report(answer: dict[str, Any]) -> None:
    print(f"seed {answer['seed']} breaks a promise:", file=sys.stderr)
    for kind, text, _row in answer["violations"]:
        print(f"  {kind}: {text}", file=sys.stderr)
    print("the shortest history that still does:", file=sys.stderr)
    print(answer["explanation"], file=sys.stderr)
    print(answer["plan"], file=sys.stderr)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed: a whole number from 0")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of histories, from 1")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes, such as 10 or 0.5")
    return minutes
