"""One history: a plan → the real functions in virtual time → what clients saw and the database
recorded."""

from collections.abc import Callable
from dataclasses import dataclass

from decanter.proof.history import History, Reading
from decanter.proof.simulation.clients import Clients
from decanter.proof.simulation.database import Database
from decanter.proof.simulation.plan import Plan, innocent
from decanter.proof.simulation.service import Service

_FINALS_SECONDS = 1_000.0
_ROUNDS = 60  # of dead letters that are sent again
_MOST_EVENTS = 30_000
"""Ten times as many as a history has that ends. One that does not leaves something unfinished."""


@dataclass
class Result:
    """A history and what happened in it. injected: the faults that found their step."""

    plan: Plan
    history: History
    steps: int
    batches: int
    deliveries: int
    repeated: int
    buried: int
    deadlocks: int
    injected: tuple[str, ...]
    seconds: float
    most_connections: int
    refused_connections: int


def simulate(plan: Plan, database: Database, mutate: Callable[[], None] = lambda: None) -> Result:
    """Run a plan. mutate: changes the code of the functions, in their own processes."""
    database.reset()
    service = Service(plan, database, mutate)
    try:
        clients = Clients(plan, service)
        finals: dict[str, Reading] = {}
        if plan.finals is not None:
            service.engine.after(plan.finals, lambda: clients.read_finals(finals))
        run_to_the_end(service)
        clients.read_finals(finals)
        # What is not poured by now may come again for ever.
        until = service.engine.now + _FINALS_SECONDS
        while (
            not clients.has_all(finals) and service.engine.now < until and service.engine.run_next()
        ):
            pass
        history = _history(plan, service, clients, finals)
    finally:
        service.engine.close()
    engine = service.engine
    return Result(
        plan,
        history,
        engine.steps,
        service.batches,
        service.deliveries,
        service.repeated,
        len(service.buried),
        engine.deadlocks,
        tuple(engine.injected),
        engine.now,
        engine.most_connections,
        engine.refused_connections,
    )


def run_to_the_end(service: Service) -> None:
    """Run until everything is poured, or until that takes far too long."""
    engine = service.engine
    for _ in range(_ROUNDS):
        events = 0
        until = _planned_end(service.plan) + service.plan.latest
        while engine.now < until and engine.run_next():
            events += 1
            if events > _MOST_EVENTS:
                return
        if not any(queue.dead for queue in service.queues.values()):
            return
        service.redrive()


def _planned_end(plan: Plan) -> float:
    ends: list[float] = [
        *(each.at + sum(each.retries) + sum(each.again) for each in plan.requests),
        *(each.at + each.seconds for each in plan.outages),
        *(each.at + each.seconds for each in plan.locks),
        *(each.at for each in plan.releases),
        *plan.redrives,
        *plan.resends,
        *plan.sweeps,
        *plan.reconciles,
    ]
    return max(ends, default=0.0)


def _history(plan: Plan, service: Service, clients: Clients, finals: dict[str, Reading]) -> History:
    return History(
        attempts=clients.attempts(),
        readings=clients.readings,
        finals=finals,
        effects=service.database.effects(),
        rows=service.database.rows(),
        is_ordered=True,
        left=service.left(),
        needless_deadlocks=service.engine.needless_deadlocks,
        forgeries=clients.forgeries,
        dead_letters=clients.requests_at(service.buried),
        innocent=innocent(plan),
        bound_seconds=2 * plan.visibility + 4 * plan.invocation,
        commit_seconds=max((each.seconds for each in plan.faults), default=0.0) + plan.invocation,
        front=clients.in_front(),
        front_bound_seconds=4 * plan.invocation,
    )
