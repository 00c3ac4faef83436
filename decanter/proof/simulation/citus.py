"""Citus in a simulation: what goes wrong between its nodes, and what its coordinator notes."""

from dataclasses import replace
from random import Random

from chalicelib.ops import Op
from chalicelib.postgres import engine
from decanter.proof import tables
from decanter.proof.history import Values
from decanter.proof.relay import Loss
from decanter.proof.simulation.plan import Fault, Plan, Request

NAME = engine.CITUS.name

NOTE = "INSERT INTO proof.transaction DEFAULT VALUES; "
"""What a transaction that has written a row of the proof's tables does before it commits."""

LOSSES = {"unsettled": Loss("^COMMIT", arrives=False), "unheard": Loss("^COMMIT", arrives=True)}
"""Faults of the next commit on a worker: it does not get there, or its answer does not come back.
What is committed and has not got there is not visible until it is recovered."""

WORKER_LOST = "08006"
"""The SQLSTATE of a connection that the coordinator has lost to a worker."""

_NUMBER = 8  # of an account that no other request names


def planned(plan: Plan) -> Plan:
    """A plan with commits that are lost on the way to workers, and lost workers. Nobody holds the
    key of an unordered row, as a wait for it on a worker has no limit."""
    draw = Random(f"citus {plan.seed}")
    # Not a whole day's outage: its queue would be looked at for all of it.
    if draw.random() < 0.5 and not plan.reconciles:
        plan = _built_on_what_is_lost(plan, draw)
    kinds = draw.choices(("drain", "settle", "sweep"), (8, 1, 1), k=draw.choice((0, 2, 6)))
    names = (*LOSSES, *LOSSES, WORKER_LOST)
    lost = [
        Fault(kind, draw.randint(0, 8), draw.randint(0, 18), draw.choice(names)) for kind in kinds
    ]
    locks = tuple(each for each in plan.locks if each.resource not in tables.UNORDERED)
    return replace(plan, locks=locks, faults=(*lost, *plan.faults))


def _built_on_what_is_lost(plan: Plan, draw: Random) -> Plan:
    """Rows are created, changed, needed by others and deleted, while the first commits are lost."""
    first = max((each.number for each in plan.requests), default=-1) + 1
    account, key = {"id": _NUMBER}, {"account": _NUMBER, "number": 1}
    steps: list[tuple[Op, str, Values]] = [
        ("create", "accounts", account), ("merge", "accounts", account), ("create", "entries", key),
        ("delete", "entries", key), ("delete", "accounts", account),
    ]  # fmt: skip
    at, requests = 0.0, []
    for number, (op, resource, row) in enumerate(steps, start=first):
        values = row if op == "delete" else {**row, "a": 1, "token": f"t{number}.0"}
        requests.append(Request(number, at, "eve", op, resource, (values,)))
        at += draw.uniform(0.5, 12)
    how = draw.choice([*LOSSES])
    faults = [Fault("drain", number, 1, how) for number in range(draw.choice((4, 12)))]
    return replace(plan, requests=(*requests, *plan.requests), faults=(*faults, *plan.faults))
