"""The plan of one history: settings, what clients do, and what goes wrong.

A plan is data. It can be written down, run again, and made smaller.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from chalicelib.ops import OPS, Op, creates
from decanter.proof.history import Values, Write
from decanter.proof.tables import PARENTS, key_text

RESOLUTIONS = {facts.op: name for name, facts in creates().items()}


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
    whether somebody asks for its status with a receipt that was never issued to them. condition:
    `present` or `absent`, what the row has to be (If-Match: *, If-None-Match: *); empty for none.
    """

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
    condition: str = ""

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


class Stream(NamedTuple):
    """The front table's stream. lanes: shards, or parts of them that are delivered side by side.
    records: most of a batch. filters: whether only items with a message are delivered. poison_at:
    when somebody puts an entry with another message into the table; None: nobody does."""

    lanes: int = 1
    records: int = 100
    filters: bool = True
    poison_at: float | None = None


@dataclass(frozen=True)
class Plan:
    """One history. mapping_partial: whether the event source mapping understands partial responses;
    says_partial: whether the functions are told so. drains: most at a time. batch: most messages of
    one. kills_late: whether an invocation ends at its time-out. redrives: when dead letters are
    sent again. resends: when an operator sends copies of all messages again. sweeps: when the sweep
    runs. finals: when receipts are read for the last time,
    before the ledger forgets them; None: at the end. latest: seconds after all of that until
    everything has to be done. stream: of the front table; None: the stage has none. reconciles:
    when an operator has writes poured that the stream may have dropped."""

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
    stream: Stream | None = None
    reconciles: tuple[float, ...] = ()

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
        if each.resource not in PARENTS
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
    if rest.get("stream"):
        rest["stream"] = Stream(*rest["stream"])
    fields: dict[str, Any] = {**rest, **made}
    return Plan(**fields)


def _record(kind: Any, values: Sequence[Any]) -> Any:
    made = kind(*values)
    if isinstance(made, Request):
        return made._replace(
            rows=tuple(made.rows), retries=tuple(made.retries), again=tuple(made.again)
        )
    return made


def without_repeats(requests: Iterable[Request]) -> tuple[Request, ...]:
    """The requests without those that have become equal to another with their Idempotency-Key, and
    so would be its retries."""
    found: dict[tuple[object, ...], Request] = {}
    for each in requests:
        what = each.op, each.resource, repr(each.rows), each.padding, each.condition
        found.setdefault((each.client, each.key, *what) if each.key else (each.number,), each)
    return tuple(found.values())
