"""A seed → the plan of one history."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chalicelib.ops import OPS, Op
from decanter.proof.history import Values
from decanter.proof.simulation import citus, dsql
from decanter.proof.simulation.front_plans import with_front
from decanter.proof.simulation.plan import (
    RESOLUTIONS,
    Fault,
    Lock,
    Outage,
    Plan,
    Release,
    Request,
)
from decanter.proof.simulation.themes import themed
from decanter.proof.tables import KEYS

AT_STATEMENTS = ("kill", "cut", "lose", "freeze", "slow", "53100", "53200", "57014", "57P01",
                 "40001", "40P01", "25006")  # fmt: skip
"""Faults of a drain at one of its round trips to Postgres, where a name of five characters is the
SQLSTATE with which the server refuses it. lose: it is done, and the answer is lost."""

AT_CALLS = ("kill", "error", "lose", "part", "unconfirmed", "late")
"""Faults of the API function at one of its calls of SQS. lose: SQS has accepted, and the answer is
lost. part: it accepts one entry in two."""


def generate(seed: int, engine: str = "postgres") -> Plan:
    """Make the plan of a seed, for a database on an engine."""
    plan = with_front(behind_sqs(seed))
    if engine == dsql.NAME:
        return dsql.planned(plan)
    return citus.planned(plan) if engine == citus.NAME else plan


def behind_sqs(seed: int) -> Plan:
    """Make the plan of a seed with all of its requests behind SQS."""
    return _Generator(seed).plan()


class _Generator:
    """Draws from one random sequence."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(f"plan {seed}")
        self.span = self.random.choice((5.0, 60.0, 600.0))
        self.is_contended = self.random.random() < 0.15
        if self.is_contended:  # several drains insert the same keys
            self.span = 1.0
        # Two rows fill a message of 10,000 bytes; of longer ones, two messages fit into a batch.
        self.padding = self.random.choice((0, 0, 4_000, 4_770))

    def plan(self) -> Plan:
        draw = self.random
        invocation = draw.choice((15.0, 30.0))
        mapping = draw.random() < 0.6
        requests = self._requests()
        has_leap = draw.random() < 0.15
        if has_leap:
            requests = [self._leaping(each) for each in requests]
        late = [self.span + draw.uniform(60, 4_000) for _ in range(draw.choice((0, 0, 1, 2)))]
        if has_leap:  # dead letters are kept for 14 days
            late += [self.span + 10_000 * number for number in range(1, 9)]
        plan = Plan(
            seed=self.seed,
            requests=tuple(requests),
            faults=tuple(self._faults()),
            mapping_partial=mapping,
            says_partial=mapping and draw.random() < 0.8,
            drains=3 if self.is_contended else draw.choice((1, 2, 2, 3)),
            batch=1 if self.is_contended else draw.choice((1, 3, 10, 10)),
            invocation=invocation,
            visibility=invocation * draw.choice((0.5, 1.0, 2.0, 6.0)),
            most_receives=draw.choice((2, 4, 1_000, 1_000)),
            doubles=draw.choice((0.0, 0.2)),
            patience=draw.choice((0, 5, 90)),
            kills_late=draw.random() < 0.8,
            redrives=tuple(sorted(late)),
            resends=tuple(self.span + 86_400 * day for day in (33, 63)) if has_leap else (),
            sweeps=tuple(self.span + 86_400 * day for day in (1, 20, 32, 62)) if has_leap else (),
            finals=86_400 * 29.9 if has_leap else None,
        )
        # Where a drain may still have a message that is delivered again, it must not become a dead
        # letter meanwhile: what was poured since, that drain does not know. `check` refuses such a
        # visibility, and Lambda ends each invocation at its time-out.
        outlived = plan.visibility < plan.invocation or not plan.kills_late
        plan = replace(
            plan,
            most_receives=1_000 if outlived else plan.most_receives,
            outages=tuple(self._outages()),
            locks=tuple(self._locks()),
            releases=tuple(self._releases()),
        )
        return plan if self.is_contended else themed(plan)

    def _requests(self) -> list[Request]:
        draw = self.random
        keys = draw.choice((1, 2, 4))
        found = [self._request(number, keys) for number in range(draw.choice((*range(2, 9), 16)))]
        reused = [each for each in found if each.key and draw.random() < 0.1]
        for each in reused:
            other = self._request(len(found), keys)
            if other.rows != each.rows:  # it would be a retry
                found.append(other._replace(key=each.key, client=each.client))
        for each in [each for each in found if each.key and draw.random() < 0.1]:
            other = self._request(len(found), keys)
            client = "ann" if each.client == "bob" else "bob"
            found.append(other._replace(key=each.key, client=client))
        return found

    def _request(self, number: int, keys: int) -> Request:
        draw = self.random
        resources, weights = ("accounts", "entries", "events"), (5, 3, 2)
        resource = "events" if self.is_contended else draw.choices(resources, weights)[0]
        ops: list[Op] = ["create"] if resource == "events" else list(OPS)
        op = draw.choices(ops, [3] if resource == "events" else [3, 3, 3, 2, 2, 1])[0]
        is_many = op in RESOLUTIONS and draw.random() < (0.9 if self.is_contended else 0.4)
        count = draw.randint(4 if self.is_contended else 2, 6) if is_many else 1
        rows = tuple(self._row(number, item, resource, op, keys) for item in range(count))
        if self.is_contended:
            order = draw.sample(range(1, 6), min(count, 5))
            rows = tuple({**row, "id": id_} for row, id_ in zip(rows, order, strict=False))
        is_keyed = draw.random() < 0.6
        gaps = (0.5, 3.0, 40.0, 290.0, 310.0, 2_000.0)
        return Request(
            number,
            number * 0.02 if self.is_contended else round(draw.uniform(0, self.span), 3),
            draw.choice(("ann", "bob")),
            op,
            resource,
            rows,
            f"key-{number}" if is_keyed else None,
            tuple(draw.choice(gaps) for _ in range(3)) if is_keyed else (),
            tuple(draw.choice(gaps) for _ in range(draw.choice((0, 0, 1)))) if is_keyed else (),
            draw.choice((2.0, 29.0, 29.0)),
            self.padding if is_many else 0,
            draw.random() < 0.1,
        )

    def _row(self, number: int, item: int, resource: str, op: Op, keys: int) -> Values:
        draw = self.random
        # Of an unordered resource nobody knows which of two rows with one key comes first.
        unique = resource == "events" and not self.is_contended and draw.random() < 0.8
        key = {name: draw.randint(1, keys) for name in KEYS[resource]}
        if unique:
            key = {"id": 1_000 * number + item}
        if op == "delete":
            return key
        row: dict[str, Any] = {**key, "token": f"t{number}.{item}"}
        members = ("a",) if resource == "events" else ("a", "b")
        for name in () if self.is_contended else members:
            if draw.random() < 0.5:
                row[name] = draw.choice((-1, 1, 2, 3, 4, 5, None))
        return row

    def _leaping(self, request: Request) -> Request:
        """Have some requests repeated days later: within the ledger's promise, and after."""
        if request.key is None or self.random.random() < 0.5:
            return request
        days = self.random.choice((1, 13, 25, 29))
        return request._replace(again=(86_400.0 * days,))

    def _faults(self) -> list[Fault]:
        draw = self.random
        found = []
        for _ in range(draw.choice((0, 1, 2, 4, 8))):
            seconds = draw.choice((1.0, 10.0, 28.0, 40.0, 100.0))
            if draw.random() < 0.7:
                name = draw.choice((*AT_STATEMENTS, "kill", "kill", "cut"))
                # Where something is set apart, a batch takes more statements.
                step = draw.randint(0, draw.choice((10, 18)))
                found.append(Fault("drain", draw.randint(0, 8), step, name, seconds))
            else:
                name = draw.choice(AT_CALLS)
                found.append(Fault("api", draw.randint(0, 16), draw.randint(0, 2), name, seconds))
        return [*found, *self._bad_day(found)]

    def _bad_day(self, known: Sequence[Fault]) -> list[Fault]:
        """Often, many calls of SQS fail at once, or many statements."""
        draw = self.random
        chance = draw.random()
        if chance < 0.6:
            return []
        if chance < 0.9:
            own = [name for name in AT_CALLS if name != "kill"]
            days = [Fault("api", number, 0, draw.choice(own), 10.0) for number in range(20)]
        else:
            state = draw.choice([name for name in AT_STATEMENTS if len(name) == 5])
            place = draw.randint(0, 4)
            days = [Fault("drain", place, step, state) for step in range(24)]
        places = {(each.kind, each.invocation, each.step) for each in known}
        return [each for each in days if (each[:3] not in places) and draw.random() < 0.5]

    def _outages(self) -> list[Outage]:
        draw = self.random
        if draw.random() < 0.75:
            return []
        name = draw.choice(("down", "full", "read-only", "disk-full"))
        return [Outage(draw.uniform(0, self.span), draw.choice((5.0, 60.0, 400.0)), name)]

    def _locks(self) -> list[Lock]:
        draw = self.random
        if self.is_contended:
            return [Lock(0.0, 1.2, "events", str(draw.randint(1, 5)))]
        if draw.random() < 0.75:
            return []
        key = str(draw.randint(1, 2))
        return [Lock(draw.uniform(0, self.span), draw.choice((2.0, 50.0, 300.0)), "accounts", key)]

    def _releases(self) -> list[Release]:
        draw = self.random
        first = Release(0.0, draw.choice((1, 2, 16)), draw.choice((10_000, 1_000_000)), "k1")
        if draw.random() < 0.6:
            return [first]
        at = draw.uniform(0, self.span)
        second = Release(at, first.lanes, draw.choice((10_000, 1_000_000)), "k2 k1")
        if draw.random() < 0.3:
            return [first, second]
        back = at + draw.uniform(1, 60)
        third = first._replace(at=back, keys="k1 k2")
        if draw.random() < 0.5:
            return [first, second, third]
        newer = second._replace(format=1)  # it is deployed again after a rollback
        if draw.random() < 0.5:
            newer, first, third = second, first._replace(contract=0), third._replace(contract=0)
        return [first, newer, third, newer._replace(at=back + draw.uniform(1, 600))]
