"""The deployed stack on the local cloud, under load, with faults in all of its parts."""

import json
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from chalicelib.settings import ENGINES
from decanter.deployment import budget
from decanter.deployment.functions import QUEUES, roles
from decanter.local import issuer
from decanter.local.cloud import Cloud, local_cloud
from decanter.local.dsql import CLUSTER, dsql_before
from decanter.local.issuer import DAY
from decanter.local.network import free_port
from decanter.local.postgres import Postgres
from decanter.local.server import server
from decanter.proof import checker, evidence
from decanter.proof.history import Attempt, History, Reading, Sample, Violation
from decanter.proof.load.aws_proxy import aws_proxy
from decanter.proof.load.client import Calls, WritingClient
from decanter.proof.load.conflicts import Conflicts
from decanter.proof.load.injection import Injection, Phases
from decanter.proof.load.lag import longest_lag
from decanter.proof.load.observation import StatusReader, sampled_connections
from decanter.proof.load.places import with_places
from decanter.proof.load.project import copy_project
from decanter.proof.load.requests import MOST_ROWS, PlannedRequest, planned, undisturbed
from decanter.proof.load.settling import Settled, finals, heal, rows, settle, sweep
from decanter.proof.load.system import System

PREFIX = "proof"
_READERS = 4
_UNDISTURBED = "undisturbed"
_UNDISTURBED_PAUSE_SECONDS = 0.5
_VISIBILITY_SECONDS = "3"
"""Far less than a drain may take, so that messages are delivered again while they are poured."""

_DELIVERIES = 4  # of an unordered message until it is a dead letter
_PARENT_PATIENCE_SECONDS = "2"
_COMMIT_SECONDS = 60.0  # a drain that is frozen ends its transaction that late, or Postgres does


class Workload(NamedTuple):
    """clients: that write at once. most_rows: of a request. phases: of the faults."""

    clients: int
    most_rows: int
    phases: Phases


LONG = Workload(12, MOST_ROWS, Phases(faulty_seconds=12, quiet_seconds=12))
SHORT = Workload(4, 6, Phases(faulty_seconds=6, quiet_seconds=1))


@dataclass(frozen=True)
class Outcome:
    """What a run did, and which promises were broken.

    requests, writes: that were sent; writes count once, however often they were sent. accepted,
    refused: requests by their last answer; unknown: without an answer. rejections: of writes, by
    type. faults: how often each struck. connections: the most at once by kind, with the budget.
    redriven: dead letters. left: messages and waiting writes that never ended.
    lag_seconds: the longest of a write that no fault touched. conflicts: how many kinds of
    statements each role sent to DSQL, and how many of them were struck by one.
    """

    seed: int
    requests: int
    writes: int
    accepted: int
    unknown: int
    refused: int
    retries: int
    statuses: Mapping[str, int]
    rejections: Mapping[str, int]
    faults: Mapping[str, int]
    connections: Mapping[str, tuple[int, int]]
    readings: int
    effects: int
    redriven: int
    left: int
    lag_seconds: float | None
    conflicts: Mapping[str, Mapping[str, int]]
    seconds: float
    violations: tuple[Violation, ...]


@dataclass
class Records:
    """What is recorded while the load runs."""

    attempts: list[Attempt] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


def run(
    seed: int,
    writes: int,
    cloud: Cloud | None = None,
    workload: Workload = LONG,
    settle_seconds: float = 120.0,
    engine: str = ENGINES[0],
    say: Callable[[str], None] = lambda _line: None,
) -> Outcome:
    """Send so many writes, at least, while faults are injected, and judge what came of them.

    cloud: a running one, which others use as well; None: one of its own, whose server and MiniStack
    may be stopped too. settle_seconds: how long the last writes may make no progress. engine: whose
    rules stand before the embedded Postgres, `postgres` (none) or `dsql`.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        home = stack.enter_context(_folder())
        is_own = cloud is None
        running = stack.enter_context(_own_cloud(home)) if cloud is None else cloud
        say("deploying the tables of the proof")
        system = _deployed(stack, running, home / "project", engine, is_own=is_own)
        records = Records()
        injection = Injection(system, seed, workload.phases)
        say(f"sending {writes:,} writes by {workload.clients} clients, while parts of it all fail")
        _throttle(system, workload.clients)
        with sampled_connections(system, records.samples):
            _load(system, seed, writes, workload, records, injection)
            say(f"{len(records.attempts):,} requests sent; waiting until the last write is poured")
            heal(system)
            settled = settle(system, settle_seconds)
            unswept = sweep(system)
        say("reading the last status of every request")
        history = _history(system, records, settled.left, workload.clients)
        say("judging")
        violations = (*checker.check(history), *unswept, *_unstruck(system))
    seconds = time.monotonic() - began
    return _outcome(seed, history, injection, settled, violations, seconds)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that other users may enter, as Postgres may run as one."""
    folder = Path(tempfile.mkdtemp(prefix="decanter-load-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _own_cloud(home: Path) -> Iterator[Cloud]:
    folder = home / "cloud"
    try:
        with local_cloud(folder, port=free_port()) as running:
            yield running
    finally:
        server(folder).drop()


def _deployed(
    stack: ExitStack, cloud: Cloud, project: Path, engine: str, *, is_own: bool
) -> System:
    """Deploy a copy of this project with the tables of the proof, and their evidence."""
    proxy = stack.enter_context(aws_proxy(cloud.ministack.endpoint))
    variables = proxy.variables | {
        "DECANTER_PARENT_PATIENCE_SECONDS": _PARENT_PATIENCE_SECONDS,
        "DECANTER_ENGINE": engine,
    }
    copy_project(project, variables, cloud.postgres.url("postgres"))
    may_stop = is_own and isinstance(cloud.postgres, Postgres)
    if engine == "dsql":
        name = f"{PREFIX}_dsql"
        cloud.postgres.ensure_database(name)
        url = cloud.postgres.url(name)
        dsql = stack.enter_context(dsql_before(url, with_roles=True))
        dsql.conflict = conflicts = Conflicts()
        deployed = cloud.deploy(
            project,
            prefix=name.replace("_", "-"),
            parameters={"DatabaseResource": CLUSTER},
            database_url=dsql.url,
        )
        # Those who watch see the database as it is.
        watched = replace(deployed, database_url=url)
        system = System(cloud, watched, proxy, may_stop, threading.Event(), dsql, conflicts)
    else:
        deployed = cloud.deploy(project, prefix=PREFIX, database=PREFIX)
        system = System(cloud, deployed, proxy, may_stop, threading.Event())
    with system.session() as cursor:
        evidence.install(cursor)
    _deliver_soon(system)
    return system


def _deliver_soon(system: System) -> None:
    """Have unfinished messages delivered again soon, and unordered ones become dead letters."""
    client = system.cloud.client("sqs")
    for queue in QUEUES:
        url = system.stack.queue_urls[queue.name]
        attributes = {"VisibilityTimeout": _VISIBILITY_SECONDS}
        if not queue.is_fifo:
            attributes["RedrivePolicy"] = _redrive_policy(client, url)
        client.set_queue_attributes(QueueUrl=url, Attributes=attributes)


def _throttle(system: System, clients: int) -> None:
    """Refuse API calls that are too many: those that clients have given up go on, and would take
    the machine from others."""
    system.cloud.client("lambda").put_function_concurrency(
        FunctionName=system.stack.function("api"),
        ReservedConcurrentExecutions=2 * (clients + _READERS),
    )


def _redrive_policy(client: Any, url: str) -> str:
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
    policy = json.loads(found["Attributes"]["RedrivePolicy"])
    return json.dumps({**policy, "maxReceiveCount": _DELIVERIES})


def _load(
    system: System,
    seed: int,
    writes: int,
    workload: Workload,
    records: Records,
    injection: Injection,
) -> None:
    """Run clients, faults and observers, until all writes are sent."""
    clients, most_rows = workload.clients, workload.most_rows
    writing = [
        threading.Thread(
            target=_client(system, seed, records, str(number)).send_all,
            args=(planned(seed, number, writes // clients + 1, most_rows),),
            name=f"client-{number}",
        )
        for number in range(clients)
    ]
    undisturbed_client = _client(system, seed, records, _UNDISTURBED)
    others = [
        threading.Thread(target=each)
        for each in (
            injection.run,
            lambda: undisturbed_client.send_all(_paced(system, clients)),
            *(_reader(system, seed, records, number).run for number in range(_READERS)),
        )
    ]
    try:
        for each in (*others, *writing):
            each.start()
        for each in writing:
            _await(each)
    finally:
        system.stopped.set()
        for each in (*writing, *others):
            if each.is_alive():
                _await(each)
    if injection.errors:
        raise injection.errors[0]


def _await(thread: threading.Thread) -> None:
    """Wait for the end of a thread, in steps, so that a signal is noticed."""
    while thread.is_alive():
        thread.join(0.2)


def _paced(system: System, client: int) -> Iterator[PlannedRequest]:
    for each in undisturbed(client):
        if system.stopped.is_set():
            return
        yield each
        system.pause(_UNDISTURBED_PAUSE_SECONDS)


def _client(system: System, seed: int, records: Records, name: str) -> WritingClient:
    random = Random(f"{seed} client {name}")
    return WritingClient(name, _calls(system), records.attempts, random, system.stopped)


def _reader(system: System, seed: int, records: Records, number: int) -> StatusReader:
    random = Random(f"{seed} reader {number}")
    return StatusReader(system, _calls(system), records.attempts, records.readings, random)


def _calls(system: System) -> Calls:
    return Calls(system.stack.api_url, system.cloud.issuer.token(seconds=DAY))


def _history(system: System, records: Records, left: int, clients: int) -> History:
    """Read everything, by so many clients. left: what was never poured."""
    caller = f"{issuer.URL} {issuer.SUBJECT}"
    attempts, are_known = with_places(records.attempts, system.proxy.accepted, caller)
    receipts = dict.fromkeys(each.receipt for each in attempts if each.receipt)
    last = finals([_calls(system) for _ in range(clients)], receipts)
    with system.session() as cursor:
        return History(
            attempts=attempts,
            readings=records.readings,
            finals=last,
            effects=[*evidence.effects(cursor)],
            rows=rows(cursor),
            samples=records.samples,
            budget=_budget(system),
            is_ordered=are_known,
            left=left,
            commit_seconds=_COMMIT_SECONDS,
        )


def _budget(system: System) -> dict[str, int]:
    """The most connections of each role; while a container that was killed has a session that
    Postgres has not noticed, they are more than its containers."""
    found = {kind: budget.of_role(system.stack.stage, kind) for kind in roles()}
    return {kind: most for kind, most in found.items() if most is not None}


def _outcome(
    seed: int,
    history: History,
    injection: Injection,
    settled: Settled,
    violations: tuple[Violation, ...],
    seconds: float,
) -> Outcome:
    last = {each.request: each for each in history.attempts}
    requests = {each.request: each.writes for each in history.attempts}
    accepted = {each.request for each in history.attempts if each.is_accepted}
    lag = longest_lag(history.attempts, history.effects, injection.quiet, _UNDISTURBED)
    return Outcome(
        seed=seed,
        requests=len(requests),
        writes=sum(map(len, requests.values())),
        accepted=len(accepted),
        unknown=sum(not each.is_refused for n, each in last.items() if n not in accepted),
        refused=sum(each.is_refused for n, each in last.items() if n not in accepted),
        retries=len(history.attempts) - len(requests),
        statuses=_counted(each.status or "none" for each in history.attempts),
        rejections=_counted(
            type_ for each in history.finals.values() for type_ in each.rejections.values()
        ),
        faults=_counted(injection.struck.elements()),
        connections={
            kind: (max((s.connections for s in history.samples if s.kind == kind), default=0), most)
            for kind, most in history.budget.items()
        },
        readings=len(history.readings),
        effects=len(history.effects),
        redriven=settled.redriven,
        left=settled.left,
        lag_seconds=lag,
        conflicts=injection.system.conflicts.by_role(),
        seconds=seconds,
        violations=violations,
    )


def _unstruck(system: System) -> Iterator[Violation]:
    """Statements without the conflict that this run is to try on them."""
    for kind in system.conflicts.spared():
        yield Violation("conflict", f"none struck what {kind.role} sends: {kind.text}")


def _counted(values: Iterable[object]) -> dict[str, int]:
    return dict(sorted(Counter(map(str, values)).items()))
