"""Plans with both fronts: requests to resources behind the front table among those behind SQS."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chalicelib.ops import OPS, Op
from decanter.proof.history import Values
from decanter.proof.simulation.plan import (
    RESOLUTIONS,
    Fault,
    Outage,
    Plan,
    Request,
    Stream,
    without_repeats,
)
from decanter.proof.tables import FRONTED, KEYS

_SHARE = 1 / 3  # of all plans
_REQUESTS = 0.7  # of them that are in front
_AT_CALLS = ("kill", "error", "lose", "part", "unconfirmed", "late")
_AT_STATEMENTS = ("kill", "kill", "freeze", "freeze", "57P01", "40001")
_BESIDE = 6
"""Most other requests, as each container costs."""

_DAY_SECONDS = 86_400.0


def with_front(plan: Plan) -> Plan:
    """In a third of all plans, send some requests to the front table instead."""
    draw = random.Random(f"front {plan.seed}")
    if draw.random() >= _SHARE:
        return plan
    keys = draw.choice((1, 2, 3))
    requests = [
        _in_front(each, draw, keys) if draw.random() < _REQUESTS else each
        for each in sorted(plan.requests, key=lambda each: each.at)
    ]
    stream = Stream(
        draw.choice((1, 1, 2, 4)),
        draw.choice((1, 3, 100)),
        draw.random() < 0.8,
        draw.uniform(0, 5) if draw.random() < 0.1 else None,
    )
    plan = replace(plan, stream=stream, requests=without_repeats(requests))
    themes = (_busy, _rewritten, _orphans, _orphans, _long_outage, _after_outage, _calls_fail,
              _drains_fail, _lost)  # fmt: skip
    chosen = draw.randrange(len(themes) + 3)
    return themes[chosen](plan, draw) if chosen < len(themes) else plan


def _in_front(request: Request, draw: random.Random, keys: int) -> Request:
    """Another request of the same client at the same time, with the same Idempotency-Key."""
    resource = draw.choices(("tags", "notes", "marks"), (3, 2, 2))[0]
    op: Op = draw.choices([*OPS], [3, 4, 3, 2, 2, 1])[0]
    most = len(_keys(resource, keys))
    is_many = op in RESOLUTIONS and draw.random() < 0.4
    count = draw.randint(2, 4) if is_many else 1
    is_odd = draw.random() < 0.1  # a row twice
    own = draw.choices(_keys(resource, keys), k=count) if is_odd else None
    own = own or draw.sample(_keys(resource, keys), min(count, most))
    rows = tuple(_row(draw, f"t{request.number}.{item}", op, key) for item, key in enumerate(own))
    conditions = ("present", "absent") if op == "replace" else ("present",)
    has_condition = OPS[op].names_row and draw.random() < 0.25
    return request._replace(
        op=op,
        resource=resource,
        rows=rows,
        padding=0,
        condition=draw.choice(conditions) if has_condition else "",
    )


def _keys(resource: str, keys: int) -> list[Values]:
    names = KEYS[resource]
    if len(names) == 1:
        return [{names[0]: number} for number in range(1, keys + 1)]
    return [{names[0]: n, names[1]: m} for n in range(1, keys + 1) for m in (1, 2)]


def _row(draw: random.Random, token: str, op: Op, key: Values) -> Values:
    if op == "delete":
        return key
    row: dict[str, Any] = {**key, "token": token}
    if draw.random() < 0.5:
        row["a"] = draw.choice((-1, -1, 1, 2, 3, None))
    if draw.random() < 0.6:
        row["b"] = draw.choice((1, 1, 1, 2, None))
    return row


def _busy(plan: Plan, draw: random.Random) -> Plan:
    """Many requests for a few rows within seconds, or at once."""
    more = _more(plan, draw, draw.choice((0.02, 0.02, 5.0, 90.0)))
    return replace(plan, requests=(*plan.requests[:_BESIDE], *more))


def _rewritten(plan: Plan, draw: random.Random) -> Plan:
    """Postgres refuses marks, which are written again just before settle looks at them."""
    first = max((each.number for each in plan.requests), default=-1) + 1
    marks = [
        Request(first + 10 * id_ + place, at, "bob", "replace", "marks",
                ({"id": id_, "a": a, "token": f"t{first + 10 * id_ + place}.0"},))
        for id_ in (7, 8)
        for place, (at, a) in enumerate(((0.0, -1), (draw.uniform(59.3, 60.0), 1)))
    ]  # fmt: skip
    own = tuple(each for each in plan.requests[:_BESIDE] if each.resource not in FRONTED)
    return replace(plan, requests=(*own, *marks), faults=(), outages=(), reconciles=())


def _orphans(plan: Plan, draw: random.Random) -> Plan:
    """Postgres refuses a tag, for which notes wait, and others come behind them. Nothing fails."""
    first = max((each.number for each in plan.requests), default=-1) + 1
    tag: Values = {"id": 9, "a": -1, "token": f"t{first}.0"}
    refused = Request(first, 0.0, "ann", "create", "tags", (tag,))
    notes = [
        Request(number, draw.uniform(0.1, 1), "ann", "create", "notes",
                ({"tag": 9, "number": number, "token": f"t{number}.0"},))
        for number in range(first + 1, first + draw.randint(2, 4))
    ]  # fmt: skip
    mark: Values = {"id": 9, "a": 1, "token": f"t{first + 9}.0"}
    behind = Request(first + 9, draw.uniform(1, 3), "bob", "replace", "marks", (mark,))
    return replace(
        plan,
        requests=(*plan.requests[:_BESIDE], refused, *notes, behind),
        stream=Stream(1, draw.choice((1, 100))),
        faults=(),
        outages=(),
        doubles=0.0,
        kills_late=True,
        patience=90,
        most_receives=1_000,
        invocation=15.0,
        visibility=max(plan.visibility, 15.0),
        releases=plan.releases[:1],
    )


def _more(plan: Plan, draw: random.Random, span: float) -> Sequence[Request]:
    first = max((each.number for each in plan.requests), default=-1) + 1
    keys = draw.choice((1, 2, 3))
    gaps = (0.5, 3.0, 40.0)
    found = []
    for number in range(first, first + draw.randint(4, 7)):
        key, retries = draw.choice(((f"key-{number}", (draw.choice(gaps), 310.0)), (None, ())))
        at, client = draw.uniform(0, span), draw.choice(("ann", "bob"))
        asked = Request(number, at, client, "create", "tags", (), key, retries)
        found.append(_in_front(asked, draw, keys))
    return found


def _calls_fail(plan: Plan, draw: random.Random) -> Plan:
    """Calls of DynamoDB fail, by the API function and by settle."""
    plan = _busy(plan, draw)
    api = [
        Fault("api", number, draw.randint(0, 3), draw.choice(_AT_CALLS), draw.choice((1.0, 40.0)))
        for number in range(24)
        if draw.random() < 0.4
    ]
    settle = [
        Fault("settle", draw.randint(0, 2), draw.randint(0, 5), draw.choice(_AT_CALLS), 1.0)
        for _ in range(2)
    ]
    return replace(plan, faults=(*plan.faults, *api, *settle))


def _drains_fail(plan: Plan, draw: random.Random) -> Plan:
    """Drains are killed, frozen and refused, again and again."""
    plan = _busy(plan, draw)
    faults = [
        Fault("drain", number, draw.randint(0, 6), draw.choice(_AT_STATEMENTS), 28.0)
        for number in range(12)
        if draw.random() < 0.5
    ]
    return replace(plan, faults=tuple(faults))


def _lost(plan: Plan, draw: random.Random) -> Plan:
    """DynamoDB's answers are lost while several clients write to one row."""
    first = max((each.number for each in plan.requests), default=-1) + 1
    writes = []
    for number in range(first, first + draw.randint(4, 7)):
        op: Op = draw.choice(("create", "replace", "replace", "delete"))
        row = _row(draw, f"t{number}.0", op, {"id": 1})
        at, client = draw.uniform(0, 0.02), draw.choice(("ann", "bob"))
        writes.append(Request(number, at, client, op, "marks", (row,)))
    lost = [Fault("api", number, 0, "lose") for number in range(16) if draw.random() < 0.6]
    return replace(plan, requests=(*plan.requests[:2], *writes), faults=tuple(lost))


def _long_outage(plan: Plan, draw: random.Random) -> Plan:
    """Postgres is down for longer than the stream keeps its records; then an operator reconciles.
    Requests come at its beginning, and at its end."""
    requests = [each for each in plan.requests if each.resource in FRONTED]
    requests += _more(replace(plan, requests=tuple(requests)), draw, 5.0)
    seconds = _DAY_SECONDS + draw.uniform(600, 20_000)
    at = draw.uniform(0, 3)
    late = [
        each._replace(at=at + seconds - draw.uniform(0, 4_000)) if draw.random() < 0.3 else each
        for each in requests
    ]
    stops = Fault("operator", 0, draw.randint(0, 3), draw.choice(("kill", "error")))
    return replace(
        plan,
        requests=tuple(each._replace(again=()) for each in late),
        faults=(*plan.faults, *draw.choice(((), (stops,)))),
        outages=(Outage(at, seconds, "down"),),
        releases=plan.releases[:1],
        locks=(),
        redrives=(),
        resends=(),
        sweeps=(),
        finals=None,
        reconciles=(at + seconds + draw.uniform(-600, 5_000), at + seconds + 8_000),
    )


def _after_outage(plan: Plan, draw: random.Random) -> Plan:
    """An operator reconciles after a short outage, while the stream has its records."""
    plan = _busy(plan, draw)
    at, seconds = draw.uniform(0, 2), draw.choice((60.0, 400.0))
    times = [at + seconds + draw.uniform(-1, 5), at + seconds + draw.uniform(5, 600)]
    outage = Outage(at, seconds, "down")
    return replace(plan, outages=(outage,), reconciles=tuple(sorted(times)))
