"""Prove Decanter's promises: random histories with faults, and a checker that judges them; with
`mutants`, that the checker sees each known mistake; with `peers`, what other ways make of them."""

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
    parser.add_argument(
        "part",
        nargs="?",
        choices=("mutants", "peers"),
        help="mutants: each has to be caught; peers: a table of Decanter and other ways",
    )
    parser.add_argument("--seed", type=_seed, default=0, help="of the first history (0)")
    parser.add_argument("--runs", type=_positive, help=f"number of histories ({_RUNS})")
    parser.add_argument(
        "--minutes", type=_minutes, help="begin no history later; without --runs: any number"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--mutant", type=_mutant, help="with mutants: this one alone")
    parser.add_argument(
        "--write", action="store_true", help="with mutants: store a short plan of each, for tests"
    )


def run(given: Namespace) -> int:
    _refuse_options(given)
    parts = {"mutants": _run_mutants, "peers": _run_peers}
    return parts.get(given.part, _run_histories)(given)


def _refuse_options(given: Namespace) -> None:
    of_mutants = {"--mutant": given.mutant, "--write": given.write}
    of_histories = {"--runs": given.runs, "--minutes": given.minutes}
    has_mutants = given.part == "mutants"
    for name, value in (of_histories if has_mutants else of_mutants).items():
        if value:
            what = "does not go with" if has_mutants else "needs"
            raise SystemExit(f"{name} {what} mutants: python -m decanter prove mutants")


def _run_mutants(given: Namespace) -> int:
    from decanter.local import signals

    with signals.loading():
        from decanter.proof.mutants.table import MUTANTS
        from decanter.proof.mutants.trial import store, try_all
        from decanter.proof.simulation.pool import workers
    names = [given.mutant] if given.mutant else [*MUTANTS]
    failed = 0
    with workers(min(os.cpu_count() or 1, len(names))) as pool:
        for answer in (store if given.write else try_all)(pool, names, given.seed):
            failed += not answer["violations"] or bool(answer["failing"])
            if given.json:
                print(json.dumps(answer), flush=True)
            else:
                _report_mutant(answer, MUTANTS[answer["mutant"]].broken)
    return int(failed > 0)


def _report_mutant(answer: dict[str, Any], broken: str) -> None:
    name, histories = answer["mutant"], answer["histories"]
    for plan in answer["failing"]:
        print(f"a history fails without any mutant; its plan:\n{plan}", file=sys.stderr)
    if answer["violations"]:
        kinds = ", ".join(sorted({kind for kind, *_ in answer["violations"]}))
        print(f"{name}: caught by history {histories}, seed {answer['seed']}: {kinds}", flush=True)
    else:
        text = f"{name} SURVIVES {histories} histories: {broken}. The proof has a hole"
        print(text, file=sys.stderr, flush=True)


def _run_histories(given: Namespace) -> int:
    from decanter.local import signals

    with signals.loading():
        from decanter.proof.simulation.pool import run_all, workers
    runs, ends_at = _limits(given)
    failed = 0
    with workers(min(os.cpu_count() or 1, runs or 2)) as pool:
        for answer in run_all(pool, _jobs(given.seed, runs, ends_at)):
            failed += bool(answer["violations"])
            if given.json:
                print(json.dumps(answer), flush=True)
            elif answer["violations"]:
                _report(answer)
    return int(failed > 0)


def _run_peers(given: Namespace) -> int:
    from decanter.local import signals

    with signals.loading():
        from decanter.proof.peers import compare
    runs, ends_at = _limits(given)
    workers = min(os.cpu_count() or 1, runs or 2)
    found = compare.rows(compare.compare(_seeds(given.seed, runs, ends_at), workers))
    if given.json:
        print("\n".join(json.dumps(row._asdict()) for row in found))
    else:
        print(compare.table(found))
    ours = found[0]
    return int(any((ours.broken, ours.untold, ours.misled)))


def _limits(given: Namespace) -> tuple[int | None, float | None]:
    """The number of histories, and when the last one may begin; None: without limit."""
    ends_at = time.monotonic() + given.minutes * 60 if given.minutes else None
    return given.runs or (None if ends_at else _RUNS), ends_at


def _jobs(seed: int, runs: int | None, ends_at: float | None) -> Iterator[dict[str, Any]]:
    return ({"seed": each, "shrink": True} for each in _seeds(seed, runs, ends_at))


def _seeds(seed: int, runs: int | None, ends_at: float | None) -> Iterator[int]:
    for number in count() if runs is None else range(runs):
        if ends_at is not None and time.monotonic() >= ends_at:
            return
        yield seed + number


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


def _mutant(name: str) -> str:
    from decanter.proof.mutants.table import MUTANTS

    if name not in MUTANTS:
        known = ", ".join(MUTANTS)
        raise argparse.ArgumentTypeError(f"there is no mutant {name!r}; there are: {known}")
    return name


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
