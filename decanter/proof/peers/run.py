"""One history of Decanter or of a peer: the same plan, with the settings that the peer's
documentation asks for."""

import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from decanter.proof.checker import check
from decanter.proof.history import History, Violation
from decanter.proof.peers import direct, judging, powertools
from decanter.proof.peers.compare import DECANTER, DIRECT, IDEMPOTENT, POWERTOOLS
from decanter.proof.peers.dynamodb import Table
from decanter.proof.peers.log import Log
from decanter.proof.simulation import run
from decanter.proof.simulation.clients import Clients
from decanter.proof.simulation.database import Database
from decanter.proof.simulation.engine import Task
from decanter.proof.simulation.generator import behind_sqs
from decanter.proof.simulation.plan import Fault, Outage, Plan
from decanter.proof.simulation.service import Service
from decanter.proof.simulation.steps import Step

# As AWS advises.
_VISIBILITY = 6.0  # times the time-out of the function
_RECEIVES = 5  # at least, before a message becomes a dead letter
_ENDINGS = ("kill", "lose", "cut", "freeze")
_MORE_FAULTS = 8
_LONG_SECONDS = 1_200.0
_AS_STATEMENTS = {"kill": "kill", "lose": "lose", "error": "cut", "late": "slow"}


@dataclass(frozen=True)
class Judgement:
    """What a history shows. connections: the most at once. refused_connections: by Postgres.
    unserved: requests."""

    history: History
    violations: list[Violation]
    connections: int
    refused_connections: int
    unserved: int
    untold: int
    misled: int = 0


@dataclass
class Peer:
    """install: makes a container the peer's. has_keys: whether it knows a request by its
    Idempotency-Key for as long as Decanter. is_direct: whether the API function writes."""

    install: Callable[[Log], None]
    has_keys: bool = False
    is_direct: bool = False


PEERS = {
    POWERTOOLS: Peer(partial(powertools.install, is_idempotent=False)),
    IDEMPOTENT: Peer(partial(powertools.install, is_idempotent=True), has_keys=True),
    DIRECT: Peer(direct.install, is_direct=True),
}


@dataclass
class _Messages:
    """The dedup IDs of the messages of each request, as the queues accept them."""

    service: Service
    clients: Clients
    found: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        self._inner = self.service.accepted
        self.service.accepted = self._accepted

    def _accepted(self, task: Task, body: str, place: int) -> None:
        self._inner(task, body, place)
        header = json.loads(body.partition("\n")[0])
        for request in self.clients.requests_at({place}):
            self.found[request].add(header["id"])


def plan(seed: int) -> Plan:
    """The plan of a seed, for Decanter and all peers: with more faults where a function that writes
    can be ended or cut off, as a history of a few requests meets few; and some with an outage of
    twenty minutes, after which there are dead letters."""
    made = behind_sqs(seed)
    draw = random.Random(f"peers {seed}")
    more = [
        Fault("drain", draw.randint(0, 12), draw.randint(2, 12), draw.choice(_ENDINGS), 40.0)
        for _ in range(_MORE_FAULTS)
    ]
    long = [Outage(draw.uniform(0, 60.0), _LONG_SECONDS, "down")] if draw.random() < 0.1 else []
    return replace(made, faults=(*made.faults, *more), outages=(*made.outages, *long))


def judge(name: str, plan: Plan, database: Database) -> Judgement:
    """Run a plan and judge what became of it. name: one of `compare.NAMES`."""
    if name != DECANTER:
        return _judge_peer(PEERS[name], plan, database)
    result = run.simulate(plan, database)
    history = result.history
    return Judgement(
        history,
        check(history),
        result.most_connections,
        result.refused_connections,
        judging.unserved(history),
        judging.untold(history),
    )


def _judge_peer(peer: Peer, plan: Plan, database: Database) -> Judgement:
    database.reset()
    with tempfile.NamedTemporaryFile(prefix="decanter-proof-", suffix=".log") as file:
        log = Log(Path(file.name))
        adapted = _adapted(plan, peer)
        service = Service(adapted, database, partial(peer.install, log))
        try:
            clients = Clients(adapted, service, has_statuses=False)
            messages = _Messages(service, clients)
            _add_dynamodb(service)
            run.run_to_the_end(service)
            seen = _seen(service, clients)
        finally:
            service.engine.close()
        if peer.is_direct:
            judged = judging.of_answers(seen)
        else:
            names = {request: frozenset(found) for request, found in messages.found.items()}
            judged = judging.of_queue(seen, names, log.read())
    # That nobody reads a status is not counted once more for each request.
    violations = [each for each in check(judged.history) if each.kind != "unfinished"]
    return Judgement(
        judged.history,
        violations,
        service.engine.most_connections,
        service.engine.refused_connections,
        judging.unserved(seen),
        judged.untold,
        judged.misled,
    )


def _seen(service: Service, clients: Clients) -> History:
    return History(
        attempts=clients.attempts(),
        readings=(),
        finals={},
        effects=service.database.effects(),
        rows=service.database.rows(),
        dead_letters=clients.requests_at(service.buried),
    )


def _add_dynamodb(service: Service) -> None:
    others, table = service.engine.calls, Table(service.engine)

    def call(task: Task, step: Step, fault: Fault | None) -> None:
        (table.call if step.detail["service"] == "dynamodb" else others)(task, step, fault)

    service.engine.calls = call


def _adapted(plan: Plan, peer: Peer) -> Plan:
    """Without Idempotency-Keys, nobody repeats a request that was accepted. Partial responses are
    on, and no message is visible while its batch may still be handled."""
    keep = peer.has_keys
    requests = [each._replace(again=each.again if keep else ()) for each in plan.requests]
    return replace(
        plan,
        requests=tuple(requests),
        faults=_direct_faults(plan.faults) if peer.is_direct else plan.faults,
        mapping_partial=True,
        says_partial=True,
        visibility=plan.invocation * _VISIBILITY,
        most_receives=max(plan.most_receives, _RECEIVES),
        resends=(),
        sweeps=(),
        finals=None,
    )


def _direct_faults(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """The API function has the statements, so the faults of the drain's hit it; so do those of its
    calls."""
    return tuple(
        each._replace(kind="api", name=name)
        for each in faults
        if (name := each.name if each.kind == "drain" else _AS_STATEMENTS.get(each.name))
    )
