"""A process that runs plans: ``python -m decanter.proof.worker URL CONTRACT``.

It reads a job a line and writes an answer a line, both JSON, until its input ends. PYTHONHASHSEED
has to be 0: the order of sets is part of a history. URL: of a database of its
own. CONTRACT: of the proof's tables, a file.
"""

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from decanter.proof.checker import check
from decanter.proof.checking.explain import explain
from decanter.proof.history import History
from decanter.proof.mutants.search import Search, prepared, search
from decanter.proof.simulation import container, distributed, run
from decanter.proof.simulation.database import Database
from decanter.proof.simulation.generator import generate
from decanter.proof.simulation.plan import Plan, load
from decanter.proof.simulation.pool import end_with_parent
from decanter.proof.simulation.shrink import shrink

Mutate = Callable[[], None]


def main() -> None:
    """Answer all jobs. A job has `seed`, or `plan`, the text of one; `shrink`: whether a failing
    plan is shrunk too, and its history explained; `mutant`, the name of one, if any; `number`,
    which its answer has too. Or it has `search`, see there."""
    serve(_answer)


def serve(answer: Callable[[Mapping[str, Any], Database], Mapping[str, Any]]) -> None:
    """Answer each job with what `answer` makes of it, until the input ends."""
    url, contract = sys.argv[1:3]
    end_with_parent()
    os.environ.setdefault("DECANTER_AUTH", "jwt")
    container.preload(Path(contract))
    database = distributed.opened(url)
    try:
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), database)), flush=True)
    finally:
        database.close()


def _answer(job: Mapping[str, Any], database: Database) -> dict[str, Any]:
    if "search" in job:
        return search(Search(*job["search"]), database)
    mutate = prepared(job["mutant"]).apply if job.get("mutant") else _nothing
    plan = load(job["plan"]) if "plan" in job else generate(job["seed"], database.engine.name)
    result = run.simulate(plan, database, mutate)
    violations = check(result.history)
    answer = _counts(result) | {"seed": plan.seed, "violations": violations}
    answer |= {"number": job.get("number")}
    if violations and job.get("shrink"):
        answer |= _shrunk(plan, violations[0].kind, database, mutate)
    return answer


def _nothing() -> None:
    """Change no code."""


def _digest(history: History) -> str:
    """Return what is equal for equal histories: everything but transaction IDs."""
    seen = [each._replace(before=None, after=None) for each in history.readings]
    effects = [each._replace(transaction=0) for each in history.effects]
    text = repr((history.attempts, seen, effects, sorted(history.rows.items())))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _counts(result: run.Result) -> dict[str, Any]:
    history = result.history
    writes = sum(len(each.writes) for each in history.attempts)
    return {
        "attempts": len(history.attempts),
        "writes": writes,
        "accepted": sum(each.is_accepted for each in history.attempts),
        "unanswered": sum(each.status is None for each in history.attempts),
        "effects": len(history.effects),
        "readings": len(history.readings),
        "rejections": Counter(
            kind for each in history.finals.values() for kind in each.rejections.values()
        ),
        "faults": Counter(result.injected),
        "steps": result.steps,
        "batches": result.batches,
        "deliveries": result.deliveries,
        "redeliveries": result.repeated,
        "dead_letters": result.buried,
        "deadlocks": result.deadlocks,
        "digest": _digest(history),
    }


def _shrunk(plan: Plan, kind: str, database: Database, mutate: Mutate) -> dict[str, Any]:
    """Return the shortest plan that breaks the same promise, and what happens in it."""

    def fails(candidate: Plan) -> bool:
        history = run.simulate(candidate, database, mutate).history
        return any(each.kind == kind for each in check(history))

    smallest = shrink(plan, fails)
    history = run.simulate(smallest, database, mutate).history
    violations = check(history)
    explained = [explain(history, each) for each in violations]
    return {"plan": smallest.text(), "explanation": "\n".join(explained)}


if __name__ == "__main__":
    main()
