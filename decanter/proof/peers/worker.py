"""A process that runs plans of peers: ``python -m decanter.proof.peers.worker URL CONTRACT``.

Its jobs and answers are like those of `decanter.proof.worker`.
"""

from collections.abc import Mapping
from typing import Any

from decanter.proof import worker
from decanter.proof.checking.explain import explain
from decanter.proof.peers import judging, run
from decanter.proof.simulation.database import Database
from decanter.proof.simulation.plan import Plan, load
from decanter.proof.simulation.shrink import shrink


def _answer(job: Mapping[str, Any], database: Database) -> dict[str, Any]:
    """A job has `peer`, one of `compare.NAMES`; `seed` or `plan`; and `shrink`: a class of
    violations, whose shortest plan is wanted."""
    plan = load(job["plan"]) if "plan" in job else run.plan(job["seed"])
    name = job["peer"]
    found = run.judge(name, plan, database)
    answer = {
        "peer": name,
        "seed": plan.seed,
        "writes": sum(len(each.writes) for each in plan.requests),
        **judging.count(found.violations),
        "untold": found.untold,
        "misled": found.misled,
        "connections": found.connections,
        "refused_connections": found.refused_connections,
        "unserved": found.unserved,
        "violations": [(each.kind, each.text) for each in found.violations],
    }
    if job.get("shrink"):
        answer |= _shrunk(name, plan, job["shrink"], database)
    return answer


def _shrunk(name: str, plan: Plan, wanted: str, database: Database) -> dict[str, Any]:
    def fails(candidate: Plan) -> bool:
        return bool(judging.count(run.judge(name, candidate, database).violations)[wanted])

    smallest = shrink(plan, fails)
    found = run.judge(name, smallest, database)
    explained = [explain(found.history, each) for each in found.violations]
    return {"plan": smallest.text(), "explanation": "\n".join(explained)}


if __name__ == "__main__":
    worker.serve(_answer)
