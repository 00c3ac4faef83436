"""Prove Decanter's promises: random histories with faults, which a checker judges."""

import argparse
import json
import logging
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import count
from typing import Any

from decanter import CITUS_URL

_RUNS = 100
_WRITES = 2_000

_PARTS = {
    "histories": "simulated in virtual time (default)",
    "faults": "real processes and a real Postgres, killed, cut off and frozen at every step",
    "load": "the deployed stack under load, while all of its parts fail",
    "mutants": "known mistakes, each of which has to be caught",
    "peers": "the same histories beside other ways to write, in one table",
    "flood": "one caller's flood beside others, in virtual time: how long these wait",
}
_NO_CLUSTER = (
    f"{CITUS_URL} names no cluster. Set it to the URL of a superuser, and of any database with"
    " Citus on the coordinator; docs/engines.md says how to start one."
)
_OPTIONS = {
    "runs": ("histories", "peers", "flood"),
    "minutes": ("histories", "peers"),
    "plan": ("histories",),
    "fault": ("faults",),
    "writes": ("load",),
    "engine": ("histories", "load"),
    "mutant": ("mutants",),
    "write": ("mutants",),
}
"""The parts that an option is for; the others are for all."""


def arguments(parser: ArgumentParser) -> None:
    parts = "; ".join(f"{name}: {text}" for name, text in _PARTS.items())
    parser.add_argument("part", nargs="?", choices=_PARTS, default="histories", help=parts)
    parser.add_argument("--seed", type=_seed, default=0, help="of the first history (0)")
    parser.add_argument("--runs", type=_whole, help=f"number of histories ({_RUNS})")
    parser.add_argument("--minutes", type=_minutes, help="begin no history later than that")
    parser.add_argument("--plan", help="run this plan, as a failure prints it, instead of seeds")
    parser.add_argument("--fault", type=_fault, action="append", help="this one (repeatable)")
    parser.add_argument("--writes", type=_whole, help=f"number of writes ({_WRITES:,})")
    parser.add_argument(
        "--engine",
        choices=("dsql", "citus"),
        help="dsql: with the rules of Aurora DSQL before the database; citus: histories on the"
        f" cluster of {CITUS_URL}",
    )
    parser.add_argument("--mutant", type=_mutant, help="this one alone")
    parser.add_argument("--write", action="store_true", help="store a short plan of each mutant")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(given: Namespace) -> int:
    from decanter.local import signals

    for name, parts in _OPTIONS.items():
        if getattr(given, name) and given.part not in parts:
            raise SystemExit(f"--{name} is for: python -m decanter prove {' or '.join(parts)}")
    signals.listen()
    if given.engine == "citus":
        _check_cluster(given)
    runs: dict[str, Callable[[Namespace], int]] = {
        "histories": _run_histories,
        "faults": _run_faults,
        "load": _run_load,
        "mutants": _run_mutants,
        "peers": _run_peers,
        "flood": _run_flood,
    }
    return runs[given.part](given)


def _check_cluster(given: Namespace) -> None:
    if given.part == "load":
        raise SystemExit("--engine citus is for: python -m decanter prove histories")
    if CITUS_URL not in os.environ:
        raise SystemExit(_NO_CLUSTER)


def _run_histories(given: Namespace) -> int:
    from decanter.proof.simulation.pool import run_all, workers

    runs, ends_at = (1, None) if given.plan else _limits(given)
    jobs: Iterable[dict[str, Any]] = ({"seed": each} for each in _seeds(given.seed, runs, ends_at))
    if given.plan:
        jobs = [{"plan": _plan(given.plan)}]
    totals: Counter[str] = Counter()
    with workers(_processes(runs), engine=given.engine or "postgres") as pool:
        for answer in run_all(pool, ({**job, "shrink": True} for job in jobs)):
            totals += Counter(histories=1, broken=bool(answer["violations"]))
            totals += Counter({name: answer[name] for name in ("writes", "effects", "deliveries")})
            totals["redeliveries"] += answer["redeliveries"]
            totals["faults"] += sum(answer["faults"].values())
            _print_json(given, answer)
            if answer["violations"] and not given.json:
                _report_history(answer, given.engine)
    _print_totals(given, totals)
    return int(totals["broken"] > 0)


def _report_history(answer: Mapping[str, Any], engine: str | None) -> None:
    print(f"seed {answer['seed']} breaks a promise:", file=sys.stderr)
    _report_violations(answer["violations"])
    print("The shortest history that still does:", file=sys.stderr)
    print(answer["explanation"], file=sys.stderr)
    on = f"--engine {engine} " if engine else ""
    print(f"To run it again: {on}--plan '{answer['plan']}'", file=sys.stderr)


def _run_faults(given: Namespace) -> int:
    from decanter.proof.faults import run as faults

    totals: Counter[str] = Counter()
    for outcome in faults.run(given.seed, given.fault, is_short=False):
        totals += Counter(cases=1, broken=bool(outcome.violations), writes=outcome.writes)
        totals += Counter({"deliveries": outcome.deliveries})
        _print_json(given, outcome._asdict())
        if outcome.violations and not given.json:
            print(f"{outcome.fault}, {outcome.step} breaks a promise:", file=sys.stderr)
            _report_violations(outcome.violations)
    _print_totals(given, totals)
    return int(totals["broken"] > 0)


def _run_load(given: Namespace) -> int:
    from decanter.proof.load import run as load

    outcome = load.run(
        given.seed,
        given.writes or _WRITES,
        engine=given.engine or "postgres",
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    _print_json(given, asdict(outcome))
    if not given.json:
        for name, value in asdict(outcome).items():
            print(f"{name:12} {value}")
    _report_violations(outcome.violations)
    return int(bool(outcome.violations))


def _run_mutants(given: Namespace) -> int:
    from decanter.proof.mutants.table import MUTANTS
    from decanter.proof.mutants.trial import store, try_all

    names = [given.mutant] if given.mutant else [*MUTANTS]
    on_cluster = [name for name in names if MUTANTS[name].engine == "citus"]
    if on_cluster and CITUS_URL not in os.environ:
        if given.mutant:
            raise SystemExit(_NO_CLUSTER)
        print(f"{', '.join(on_cluster)}: did not run. {_NO_CLUSTER}", file=sys.stderr)
        names = [name for name in names if name not in on_cluster]
    failed = 0
    processes = _processes(len(names))
    for answer in (store if given.write else try_all)(names, given.seed, processes):
        failed += not answer["violations"] or bool(answer["failing"])
        _print_json(given, answer)
        if not given.json:
            _report_mutant(answer, MUTANTS[answer["mutant"]].broken)
    return int(failed > 0)


def _report_mutant(answer: Mapping[str, Any], broken: str) -> None:
    name, histories = answer["mutant"], answer["histories"]
    for plan in answer["failing"]:
        print(f"A history fails without any mutant: --plan '{plan}'", file=sys.stderr)
    if answer["violations"]:
        kinds = ", ".join(sorted({kind for kind, *_ in answer["violations"]}))
        print(f"{name}: caught by history {histories}, seed {answer['seed']}: {kinds}", flush=True)
    else:
        text = f"{name} SURVIVES {histories} histories: {broken}. The proof has a hole"
        print(text, file=sys.stderr, flush=True)


def _run_peers(given: Namespace) -> int:
    from decanter.proof.peers import compare

    runs, ends_at = _limits(given)
    seeds = _seeds(given.seed, runs, ends_at)
    found = compare.rows(compare.compare(seeds, _processes(runs)))
    for row in found:
        _print_json(given, row._asdict())
    if not given.json:
        print(compare.table(found))
    ours = found[0]
    return int(any((ours.broken, ours.untold, ours.misled)))


def _run_flood(given: Namespace) -> int:
    from decanter.proof.flood import run as flood

    logging.getLogger("decanter.intake").setLevel(logging.ERROR)  # of each container that refuses
    broken = 0
    for seed in range(given.seed, given.seed + (given.runs or 1)):
        found = {case.name: flood.run(case, seed) for case in flood.CASES}
        for outcome in found.values():
            _print_json(given, outcome._asdict())
        if not given.json:
            print(flood.table(found))
        texts = flood.violations(found)
        broken += bool(texts)
        _report_violations(("flood", text) for text in texts)
    return int(broken > 0)


def _limits(given: Namespace) -> tuple[int | None, float | None]:
    """The number of histories, and when the last one may begin; None: without limit."""
    ends_at = time.monotonic() + given.minutes * 60 if given.minutes else None
    return given.runs or (None if ends_at else _RUNS), ends_at


def _seeds(seed: int, runs: int | None, ends_at: float | None) -> Iterator[int]:
    for number in count() if runs is None else range(runs):
        if ends_at is not None and time.monotonic() >= ends_at:
            return
        yield seed + number


def _processes(jobs: int | None) -> int:
    processors = os.cpu_count() or 1
    return processors if jobs is None else min(processors, jobs)


def _print_json(given: Namespace, answer: Mapping[str, Any]) -> None:
    if given.json:
        print(json.dumps(answer), flush=True)


def _print_totals(given: Namespace, totals: Mapping[str, int]) -> None:
    if not given.json:
        print(
            ", ".join(f"{number:,} {name}" for name, number in totals.items() if name != "broken")
        )
        print(f"{totals['broken']:,} of them broke a promise")


def _report_violations(violations: Iterable[Any]) -> None:
    for kind, text, *_ in violations:
        print(f"  {kind}: {text}", file=sys.stderr)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed: a whole number from 0")
    return int(text)


def _whole(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes, such as 10 or 0.5")
    return minutes


def _plan(text: str) -> str:
    from decanter.proof.simulation.plan import load

    try:
        load(text)
    except (ValueError, TypeError, KeyError) as error:
        raise SystemExit(f"--plan is not a plan as a failure prints it: {error}") from None
    return text


def _fault(name: str) -> str:
    from decanter.proof.faults.catalogue import FAULTS

    return _known(name, "fault", FAULTS)


def _mutant(name: str) -> str:
    from decanter.proof.mutants.table import MUTANTS

    return _known(name, "mutant", MUTANTS)


def _known(name: str, kind: str, names: Iterable[str]) -> str:
    if name not in names:
        known = ", ".join(names)
        raise argparse.ArgumentTypeError(f"there is no {kind} {name!r}; there are: {known}")
    return name
