"""Plans with both fronts: requests to resources behind the front table among those behind SQS."""

import random
from dataclasses import replace
from typing import Any

from chalicelib.ops import OPS, Op
from decanter.proof.history import Values
from decanter.proof.simulation.plan import RESOLUTIONS, Fault, Plan, Request, Stream
from decanter.proof.tables import KEYS

_SHARE = 1 / 3  # of all plans
_REQUESTS = 0.7  # of them that are in front


def with_front(plan: Plan) -> Plan:
    """In a third of all plans, send some requests to the front table instead."""
    draw = random.Random(f"front {plan.seed}")
    if draw.random() >= _SHARE:
        return plan
    keys = draw.choice((1, 2, 3))
    requests = [
        _in_front(each, draw, keys) if draw.random() < _REQUESTS else each for each in plan.requests
    ]
    return replace(
        plan,
        requests=tuple(requests),
        faults=(*plan.faults, *_faults(draw, bool(plan.faults))),
        stream=Stream(draw.choice((1, 1, 2, 4)), draw.choice((1, 3, 100)), draw.random() < 0.8),
    )


def _in_front(request: Request, draw: random.Random, keys: int) -> Request:
    """Another request of the same client at the same time, with the same key."""
    resource = draw.choices(("tags", "notes"), (3, 2))[0]
    op: Op = draw.choices([*OPS], [3, 3, 3, 2, 2, 1])[0]
    count = draw.randint(2, 4) if op in RESOLUTIONS and draw.random() < 0.25 else 1
    rows = tuple(_row(draw, request.number, item, resource, op, keys) for item in range(count))
    conditions = ("present", "absent") if op == "replace" else ("present",)
    has_condition = OPS[op].names_row and draw.random() < 0.25
    return request._replace(
        op=op,
        resource=resource,
        rows=rows,
        padding=0,
        condition=draw.choice(conditions) if has_condition else "",
    )


def _row(draw: random.Random, number: int, item: int, resource: str, op: Op, keys: int) -> Values:
    row: dict[str, Any] = {name: draw.randint(1, keys) for name in KEYS[resource]}
    if op == "delete":
        return row
    row["token"] = f"t{number}.{item}"
    for name in ("a", "b"):
        if draw.random() < 0.5:
            row[name] = draw.choice((-1, 1, 2, 3, 4, None))
    return row


def _faults(draw: random.Random, has_some: bool) -> list[Fault]:
    """More faults of calls, and of settle, where there are faults at all."""
    if not has_some:
        return []
    names = ("kill", "error", "lose", "part", "unconfirmed", "late")
    found = [
        Fault(
            "api",
            draw.randint(0, 12),
            draw.randint(0, 4),
            draw.choice(names),
            10.0 ** draw.randint(0, 1),
        )
        for _ in range(draw.randint(0, 4))
    ]
    found += [
        Fault("settle", draw.randint(0, 2), draw.randint(0, 4), draw.choice(names), 1.0)
        for _ in range(draw.randint(0, 2))
    ]
    return found
