"""Themes of histories: what rarely comes together by chance."""

import random
from dataclasses import replace

from chalicelib.ops import Op
from decanter.proof.history import Values
from decanter.proof.simulation.plan import Fault, Lock, Outage, Plan, Request, without_repeats
from decanter.proof.tables import KEYS, UNORDERED

_PARENT = 9
"""An account that no other request names."""


def themed(plan: Plan) -> Plan:
    """In most plans, let come together what rarely does by chance."""
    draw = random.Random(f"theme {plan.seed}")
    themes = (_rolled_back, _split_anew, _locked, _orphaned, _redriven)
    chosen = draw.randrange(len(themes) + 2)
    return themes[chosen](plan, draw) if chosen < len(themes) else plan


def _rolled_back(plan: Plan, draw: random.Random) -> Plan:
    """A newer version is deployed, rolled back and deployed again. Its messages are queued when the
    older one comes, as the database was down."""
    first = plan.releases[0]
    newer_at, back = draw.uniform(1, 3), draw.uniform(4, 8)
    newer = first._replace(at=newer_at, keys="k2 k1", format=1)
    if draw.random() < 0.5:
        newer, first = newer._replace(format=0), first._replace(contract=0)
    older = first._replace(at=back, keys="k1 k2")
    again = newer._replace(at=back + draw.uniform(60, 200))
    keys = {name: dict.fromkeys(each, 1) for name, each in KEYS.items() if name not in UNORDERED}
    # To few rows, so that messages of both versions are in one lane.
    requests = (
        each._replace(
            at=draw.uniform(0, 1.5 * back),
            rows=tuple({**row, **keys.get(each.resource, {})} for row in each.rows),
        )
        for each in plan.requests
    )
    return replace(
        plan,
        requests=without_repeats(requests),
        outages=(Outage(newer_at, back - newer_at + draw.uniform(1, 30), "down"),),
        releases=(first._replace(lanes=1), *(r._replace(lanes=1) for r in (newer, older, again))),
    )


def _split_anew(plan: Plan, draw: random.Random) -> Plan:
    """Large requests are accepted in part, and sent again to a version with other messages."""
    before, after = draw.choice(((10_000, 1_000_000), (1_000_000, 10_000)))
    first = plan.releases[0]._replace(lanes=draw.choice((1, 1, 16)), message_bytes=before)
    number = max((each.number for each in plan.requests), default=-1) + 1
    requests = []
    for place in range(3):
        token = f"t{number + place}"
        rows = tuple(
            {"id": draw.choice((1, 1, 2, 3)), "a": item % 4 + 1, "token": f"{token}.{item}"}
            for item in range(draw.randint(3, 6))
        )
        key, retries = draw.choice(((f"big-{place}", (3.0, 400.0)), (None, ())))
        requests.append(
            Request(
                number + place, draw.uniform(0, 3), "ann", "create-or-merge", "accounts", rows,
                key, retries, padding=draw.choice((4_000, 4_770)),
            )
        )  # fmt: skip
    faults = tuple(
        Fault("api", invocation, step, draw.choice(("error", "part", "lose")), 1.0)
        for invocation in range(12)
        for step in (0, 1)
        if draw.random() < 0.4
    )
    releases = (first, first._replace(at=draw.uniform(1, 5), keys="k2 k1", message_bytes=after))
    return replace(
        plan, requests=(*plan.requests, *requests), faults=(*plan.faults, *faults),
        releases=releases,
    )  # fmt: skip


def _locked(plan: Plan, draw: random.Random) -> Plan:
    """Writes to one row come while somebody else holds its lock, and after that. Some set null."""
    number = max((each.number for each in plan.requests), default=-1) + 1
    ops: list[Op] = ["create", *draw.choices(("merge", "replace"), k=draw.randint(2, 5))]
    values = [1, *draw.choices((2, 3, 4, None), k=len(ops) - 1)]
    requests = [
        Request(
            number + place, place * draw.uniform(0.6, 1.4), "bob", op, "accounts",
            ({"id": 1, "a": a, "token": f"t{number + place}.0"},), None,
        )
        for place, (op, a) in enumerate(zip(ops, values, strict=True))
    ]  # fmt: skip
    lock = Lock(draw.uniform(0.3, 1.5), draw.choice((3.0, 14.0, 14.0, 40.0)), "accounts", "1")
    return replace(
        plan, requests=(*plan.requests, *requests), locks=(*plan.locks, lock),
        drains=draw.choice((1, 2)), visibility=plan.invocation * draw.choice((1.0, 2.0)),
    )  # fmt: skip


def _orphaned(plan: Plan, draw: random.Random) -> Plan:
    """Rows wait for their parent, and others to the same keys behind them. When it comes, several
    drains are at work at once; or the database was down, and one has all of it in a batch."""
    first = max((each.number for each in plan.requests), default=-1) + 1
    begins, comes = draw.uniform(0, 2), draw.uniform(3, 6)
    # The parent is the first account; the others only keep drains busy.
    accounts = [(comes + 0.01 * place, _PARENT + place) for place in range(draw.randint(2, 5))]
    sent: list[tuple[float, str, Op, str, Values]] = [
        (at, "bob", "create", "accounts", {"id": id_}) for at, id_ in accounts
    ]
    for place in range(draw.randint(2, 4)):
        later: list[Op] = ["merge", "replace"]
        ops: list[Op] = ["create", *draw.sample(later, draw.randint(0, 2))]
        key = {"account": _PARENT, "number": place}
        at = begins + 0.05 * place
        sent += [(at + 0.01 * n, "ann", op, "entries", key) for n, op in enumerate(ops)]
    requests = [
        Request(number, at, who, op, resource, ({**key, "a": 1, "token": f"t{number}.0"},))
        for number, (at, who, op, resource, key) in enumerate(sent, first)
    ]
    killed = [
        Fault("drain", invocation, draw.randint(2, 16), "kill")
        for invocation in range(3, 12)
        if draw.random() < 0.4
    ]
    return replace(
        plan, requests=(*plan.requests, *requests), drains=3, batch=10, patience=90,
        outages=draw.choice(((), (Outage(0.0, comes + 1, "down"),))),
        faults=draw.choice((plan.faults, (*plan.faults, *killed))),
    )  # fmt: skip


def _redriven(plan: Plan, draw: random.Random) -> Plan:
    """Messages become dead letters, as the database is down for long, and are redriven after newer
    writes to the same rows."""
    down, back = draw.uniform(0, 2), draw.uniform(500, 700)
    requests = (
        each._replace(at=draw.uniform(0, 30) if draw.random() < 0.5 else back + draw.uniform(0, 60))
        for each in plan.requests
    )
    return replace(
        plan, requests=tuple(requests), outages=(Outage(down, back - down, "down"),),
        visibility=2 * plan.invocation, kills_late=True, most_receives=2,
        redrives=(back + draw.uniform(30, 200),),
    )  # fmt: skip
