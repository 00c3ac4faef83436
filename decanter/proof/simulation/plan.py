"""A seed → the plan of one history: settings, what clients do, and what goes wrong.

A plan is data. It can be written down, run again, and made smaller.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from chalicelib.ops import OPS, Op, creates
from decanter.proof.history import Values, Write
from decanter.proof.tables import KEYS, key_text

RESOLUTIONS = {facts.op: name for name, facts in creates().items()}

AT_STATEMENTS = ("kill", "cut", "lose", "freeze", "slow", "53100", "53200", "57014", "57P01",
                 "40001", "40P01", "25006")  # fmt: skip
"""Faults of a drain at one of its round trips to Postgres, where a name of five characters is the
SQLSTATE with which the server refuses it. lose: it is done, and the answer is lost."""

AT_CALLS = ("kill", "error", "lose", "part", "unconfirmed", "late")
"""Faults of the API function at one of its calls of SQS. lose: SQS has accepted, and the answer is
lost. part: it accepts one entry in two."""


class Fault(NamedTuple):
    """What goes wrong at the nth step (from 0) of the nth invocation of a kind of function."""

    kind: str
    invocation: int
    step: int
    name: str
    seconds: float = 0.0


class Request(NamedTuple):
    """What a client does. retries: seconds until each retry, of an attempt that had no answer or a
    503; only with a key. again: seconds until the request is repeated although it was accepted.
    patience: how long the client waits for an answer. padding: spaces in each row's JSON. forges:
    whether somebody asks for its status with a receipt that was never issued to them."""

    number: int
    at: float
    client: str
    op: Op
    resource: str
    rows: tuple[Values, ...]
    key: str | None = None
    retries: tuple[float, ...] = ()
    again: tuple[float, ...] = ()
    patience: float = 29.0
    padding: int = 0
    forges: bool = False

    @property
    def writes(self) -> tuple[Write, ...]:
        return tuple(
            Write(item, self.resource, self.op, key_text(self.resource, row), row)
            for item, row in enumerate(self.rows)
        )


class Outage(NamedTuple):
    """The database is unavailable: `down`, `full` (it takes no new connection), `read-only`, or
    `disk-full` (it can write no row)."""

    at: float
    seconds: float
    name: str


class Lock(NamedTuple):
    """Somebody else holds the lock of a row, or of the key of an unordered one."""

    at: float
    seconds: float
    resource: str
    key: str


class Release(NamedTuple):
    """A deployment: containers started from then on have these settings. keys: names of the keys
    that sign and verify receipts, the first signs. format: of messages; containers of a lower one
    cannot read them. contract: 0 for the one without entries."""

    at: float
    lanes: int
    message_bytes: int
    keys: str
    format: int = 0
    contract: int = 1


@dataclass(frozen=True)
class Plan:
    """One history. mapping_partial: whether the event source mapping understands partial responses;
    says_partial: whether the functions are told so. drains: most at a time. batch: most messages of
    one. kills_late: whether an invocation ends at its time-out. redrives: when dead letters are
    sent again. resends: when an operator sends copies of all messages again. sweeps: when the sweep
    runs. finals: when receipts are read for the last time,
    before the ledger forgets them; None: at the end. latest: seconds after all of that until
    everything has to be done."""

    seed: int
    requests: tuple[Request, ...]
    faults: tuple[Fault, ...] = ()
    outages: tuple[Outage, ...] = ()
    locks: tuple[Lock, ...] = ()
    releases: tuple[Release, ...] = (Release(0.0, 16, 1_000_000, "k1"),)
    mapping_partial: bool = True
    says_partial: bool = True
    drains: int = 2
    batch: int = 10
    invocation: float = 30.0
    visibility: float = 180.0
    most_receives: int = 1_000
    doubles: float = 0.0
    patience: int = 90
    kills_late: bool = True
    redrives: tuple[float, ...] = ()
    resends: tuple[float, ...] = ()
    sweeps: tuple[float, ...] = ()
    finals: float | None = None
    latest: float = 6 * 3_600.0

    def text(self) -> str:
        return json.dumps(asdict(self), default=tuple)


def innocent(plan: Plan) -> frozenset[int]:
    """The requests of a plan that nothing may hold up but the load: neither their rows' locks or
    parents, nor faults, which concern whole batches."""
    is_troubled = plan.faults or plan.outages or not plan.kills_late or plan.doubles
    if is_troubled or plan.visibility < plan.invocation or plan.most_receives < 1_000:
        return frozenset()
    locked = {(lock.resource, lock.key) for lock in plan.locks}
    return frozenset(
        each.number
        for each in plan.requests
        if each.resource != "entries"
        and not OPS[each.op].removes
        and locked.isdisjoint((write.resource, write.key) for write in each.writes)
    )


def load(text: str) -> Plan:
    """Read a plan that `text` wrote."""
    raw: dict[str, Any] = json.loads(text)
    kinds = {"requests": Request, "faults": Fault, "outages": Outage, "locks": Lock,
             "releases": Release}  # fmt: skip
    made = {name: tuple(_record(kinds[name], each) for each in raw[name]) for name in kinds}
    rest = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in raw.items()
        if name not in kinds
    }
    fields: dict[str, Any] = {**rest, **made}
    return Plan(**fields)


def _record(kind: Any, values: Sequence[Any]) -> Any:
    made = kind(*values)
    if isinstance(made, Request):
        return made._replace(
            rows=tuple(made.rows), retries=tuple(made.retries), again=tuple(made.again)
        )
    return made


def generate(seed: int) -> Plan:
    """Make the plan of a seed."""
    return _Generator(seed).plan()


def themed(plan: Plan) -> Plan:
    """In half of all plans, let come together what rarely does by chance."""
    draw = random.Random(f"theme {plan.seed}")
    themes = (_rolled_back, _split_anew, _locked)
    chosen = draw.randrange(2 * len(themes))
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
    keys = {"accounts": ("id",), "entries": ("account", "number")}
    return replace(
        plan,
        # To few rows, so that messages of both versions are in one lane.
        requests=tuple(
            each._replace(
                at=draw.uniform(0, 1.5 * back),
                rows=tuple(_with_key(row, keys.get(each.resource, ()), 1) for row in each.rows),
            )
            for each in plan.requests
        ),
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
    """Writes to one row come while somebody else holds its lock, and after that."""
    number = max((each.number for each in plan.requests), default=-1) + 1
    ops: list[Op] = ["create", *draw.choices(("merge", "replace"), k=draw.randint(2, 5))]
    requests = [
        Request(
            number + place, place * draw.uniform(0.6, 1.4), "bob", op, "accounts",
            ({"id": 1, "a": place % 4 + 1, "token": f"t{number + place}.0"},), None,
        )
        for place, op in enumerate(ops)
    ]  # fmt: skip
    lock = Lock(draw.uniform(0.3, 1.5), draw.choice((3.0, 14.0, 14.0, 40.0)), "accounts", "1")
    return replace(
        plan, requests=(*plan.requests, *requests), locks=(*plan.locks, lock),
        drains=draw.choice((1, 2)), visibility=plan.invocation * draw.choice((1.0, 2.0)),
    )  # fmt: skip


def _with_key(row: Values, columns: Sequence[str], value: int) -> Values:
    return {name: value if name in columns else each for name, each in row.items()}


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
        count = draw.randint(2, 6) if is_many else 1
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
                name = draw.choice(AT_STATEMENTS)
                found.append(Fault("drain", draw.randint(0, 8), draw.randint(0, 10), name, seconds))
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
