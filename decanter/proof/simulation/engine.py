"""Containers in virtual time: one step at a time, in the order of their times.

Only one container works at any moment, so a history is the same each time. One that waits in
Postgres for another's lock stays where it is until that lock is released.
"""

import heapq
import json
import os
import random
import signal
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from decanter.proof.simulation import citus, container, nearby
from decanter.proof.simulation.database import Database
from decanter.proof.simulation.link import Link
from decanter.proof.simulation.plan import Fault
from decanter.proof.simulation.steps import Reply, Step, Work

_CALL_SECONDS = 0.005
_LOOK_SECONDS = 0.004  # of real time, before a silent container may be one that waits for a lock
_DEADLOCK_SECONDS = 1.0
_RECOVERY_SECONDS = 60.0  # until Citus finishes a commit that was lost on the way to a worker
_IDLE_SECONDS = 30.0  # in a transaction, until Postgres ends the session
_DISK_FULL = "53100"
_COUNTED = ("connect", "statement", "sleep", "call", "done", "failed")

Settings = Mapping[str, str]


@dataclass
class Container:
    """A process. backend: its connection's process ID in Postgres."""

    kind: str
    settings: Settings
    pid: int
    link: Link
    backend: int | None = None
    is_busy: bool = False
    is_alive: bool = True

    def kill(self) -> None:
        if self.is_alive:
            self.is_alive = False
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.link.close()


class Outcome(NamedTuple):
    """The end of an invocation. result: None if it failed or was killed. error: why."""

    result: Any = None
    error: str = ""


@dataclass
class Task:
    """An invocation. number: of its kind, from 0. blocked: the step that waits for a lock.
    generation: of its steps, so that a late event of an earlier step does nothing."""

    container: Container
    number: int
    on_end: Callable[[Outcome], None]
    steps: int = 0
    generation: int = 0
    in_transaction: bool = False
    is_over: bool = False
    blocked: Step | None = None
    running: Step | None = None


@dataclass
class Engine:
    """The virtual clock, the events to come, and all containers.

    calls: answers calls of AWS. mutate: changes the code of the containers. is_down: whether
    Postgres is out of reach, refuses: whether it takes no new connection, is_full: whether its disk
    has no room for rows.
    """

    database: Database
    seed: int
    faults: Mapping[tuple[str, int, int], Fault]
    calls: Callable[[Task, Step, Fault | None], None] = lambda _task, _step, _fault: None
    mutate: Callable[[], None] = lambda: None
    now: float = 0.0
    is_down: bool = False
    refuses: bool = False
    is_full: bool = False
    steps: int = 0
    deadlocks: int = 0
    most_connections: int = 0
    refused_connections: int = 0
    containers: list[Container] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    injected: list[str] = field(default_factory=list)
    needless_deadlocks: list[float] = field(default_factory=list)
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)
    _numbers: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self.random = random.Random(f"engine {self.seed}")

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something happen so many seconds from now."""
        heapq.heappush(self._events, (self.now + seconds, next(self._order), event))

    def run_next(self) -> bool:
        """Advance to the next event; return whether there was one."""
        if not self._events:
            return False
        self.now, _, event = heapq.heappop(self._events)
        event()
        return True

    def invoke(
        self,
        kind: str,
        settings: Settings,
        work: tuple[str, Mapping[str, Any], float],
        on_end: Callable[[Outcome], None],
        kills_late: bool = True,
    ) -> Task:
        """Run a function in a free container of these settings, or in a new one; return the
        invocation. work: function, event, and seconds until it is killed."""
        function, event, seconds = work
        free = next(
            (c for c in self.containers
             if c.kind == kind and c.is_alive and not c.is_busy and c.settings == settings),
            None,
        )  # fmt: skip
        place = free or self._start(kind, settings)
        place.is_busy = True
        task = Task(place, self._numbers[kind], on_end)
        self._numbers[kind] += 1
        self.tasks.append(task)
        if kills_late:
            self.after(seconds, lambda: self._end_late(task))
        place.link.send(Work(function, event, seconds, self.now))
        self._settle(task)
        return task

    def kill(self, task: Task, why: str) -> None:
        """Kill the process of an invocation, and wait until Postgres has rolled back."""
        place = task.container
        place.kill()
        if place.backend is not None:
            self.database.terminate(place.backend)
        self._end(task, Outcome(error=f"killed: {why}"))

    def reply(self, task: Task, verdict: str | None = None, value: Any = None) -> None:
        """Let a task go on now, and wait until it has to be answered again."""
        task.generation += 1
        task.container.link.send(Reply(self.now, verdict, value))
        self._settle(task)

    def answer(self, task: Task, seconds: float, verdict: str | None, value: Any) -> None:
        """Answer a task's call after so many seconds."""

        def go_on() -> None:
            if not task.is_over:
                self.reply(task, verdict, value)

        self.after(seconds, go_on)

    def answer_invocation(self, task: Task, outcome: Outcome) -> None:
        """Answer a task that has invoked another function, as Lambda does."""
        body = outcome.error if outcome.error else outcome.result
        value = {"Payload": json.dumps(body).encode()}
        if outcome.error:
            value["FunctionError"] = b"Unhandled"
        self.answer(task, _CALL_SECONDS, None, value)

    def end_sessions(self) -> None:
        """Lose all connections, as when the server stops."""
        for each in self.containers:
            if each.is_alive and each.backend is not None:
                self.database.terminate(each.backend)
        self.look()

    def close(self) -> None:
        for each in self.containers:
            each.kill()
            if each.backend is not None:
                self.database.terminate(each.backend)

    def _start(self, kind: str, settings: Settings) -> Container:
        seed = f"{self.seed} {len(self.containers)}"
        pid, link = container.start(settings, seed, self.mutate)
        made = Container(kind, settings, pid, link)
        self.containers.append(made)
        return made

    def _settle(self, task: Task) -> None:
        """Wait until a task stops at its next step or waits for a lock; then look at the others,
        whose locks it may have released."""
        self._await_step(task)
        self.look()

    def look(self) -> None:
        """Let those go on whose locks were released."""
        while waiting := [each for each in self.tasks if each.blocked]:
            still = self.database.blocked([self._backend(each) for each in waiting])
            released = [each for each in waiting if self._backend(each) not in still]
            if not released:
                return
            for each in released:
                each.blocked = None
                each.generation += 1
                self.database.resume(self._backend(each))
                self._await_step(each)

    def _await_step(self, task: Task) -> None:
        link, backend = task.container.link, task.container.backend
        while not link.poll(_LOOK_SECONDS):
            if backend is not None and self.database.blocked([backend]):
                if self.database.engine.waits_for_locks:
                    return self._block(task)
                return self._cancel(task, "conflict")
        try:
            step: Step = link.recv()
        except EOFError:
            return self.kill(task, "it has ended by itself")
        return self._take(task, step)

    def _end_late(self, task: Task) -> None:
        if not task.is_over:
            self.kill(task, "time-out")
            self.look()

    def _backend(self, task: Task) -> int:
        assert task.container.backend is not None
        return task.container.backend

    def _take(self, task: Task, step: Step) -> None:
        """Do what a task has announced, now or later."""
        if step.kind == "connected":
            task.container.backend = step.detail["pid"]
            nearby.join(step.detail["pid"])
            held = sum(each.is_alive and each.backend is not None for each in self.containers)
            self.most_connections = max(self.most_connections, held)
            task.container.link.send(Reply(self.now))
            return self._await_step(task)
        if step.kind == "unsupported":
            raise RuntimeError(f"{self.database.engine.name} refuses: {step.detail['reason']}")
        if step.kind == "closed":
            self._forget_backend(task)
            task.container.link.send(Reply(self.now))
            return self._await_step(task)
        fault = None
        if step.kind in _COUNTED:
            fault = self.faults.get((task.container.kind, task.number, task.steps))
            task.steps += 1
            self.steps += 1
        if fault and fault.name == "kill":
            self.injected.append(fault.name)
            return self.kill(task, "by the plan")
        return _TAKEN[step.kind](self, task, step, fault)

    def _connect(self, task: Task, _step: Step, _fault: Fault | None) -> None:
        self._forget_backend(task)
        self._later(task, 0.01, self._refusal)

    def _refusal(self) -> str | None:
        is_refused = self.is_down or self.refuses
        self.refused_connections += is_refused
        return "refuse" if is_refused else None

    def _forget_backend(self, task: Task) -> None:
        """Wait until Postgres has rolled back what a closed connection has left."""
        if task.container.backend is not None:
            self.database.await_end(task.container.backend)
            task.container.backend = None
        task.in_transaction = False

    def _statement(self, task: Task, step: Step, fault: Fault | None) -> None:
        seconds = self.random.uniform(0.001, 0.02)
        verdict = None
        if fault:
            self.injected.append(fault.name)
            if fault.name in ("freeze", "slow"):
                seconds += fault.seconds
                self._watch_idle(task, fault.seconds)
            elif fault.name in citus.LOSSES:
                self._lose_commit(fault.name)
            elif fault.name in ("cut", "lose") or len(fault.name) == 5:
                verdict = fault.name
        task.in_transaction = not step.detail["ends"]
        self._later(task, seconds, lambda: self._outage(step) or verdict, step)

    def _lose_commit(self, how: str) -> None:
        self.database.lose_commit(how)
        self.after(_RECOVERY_SECONDS, self._recover)

    def _recover(self) -> None:
        self.database.recover()
        self.look()

    def _outage(self, step: Step) -> str | None:
        """What an outage of Postgres makes of a statement."""
        if self.is_down:
            return "cut"
        return _DISK_FULL if self.is_full and step.detail["writes"] else None

    def _watch_idle(self, task: Task, seconds: float) -> None:
        """Postgres ends a session that is idle in its transaction for too long."""
        backend = task.container.backend
        if task.in_transaction and seconds > _IDLE_SECONDS and backend is not None:
            self.after(_IDLE_SECONDS, lambda: self._end_session(backend))

    def _end_session(self, backend: int) -> None:
        self.database.terminate(backend)
        self.look()

    def _sleep(self, task: Task, step: Step, _fault: Fault | None) -> None:
        self._later(task, step.detail["seconds"], lambda: None)

    def _call(self, task: Task, step: Step, fault: Fault | None) -> None:
        if fault:
            self.injected.append(f"call {fault.name}")
        self.calls(task, step, fault)

    def _done(self, task: Task, step: Step, _fault: Fault | None) -> None:
        self._end(task, Outcome(step.detail["result"]))

    def _failed(self, task: Task, step: Step, _fault: Fault | None) -> None:
        self._end(task, Outcome(error=step.detail["error"]))

    def _end(self, task: Task, outcome: Outcome) -> None:
        if task.is_over:
            return
        task.is_over = True
        task.blocked = None
        task.container.is_busy = False
        self.tasks.remove(task)
        task.on_end(outcome)

    def _later(
        self,
        task: Task,
        seconds: float,
        verdict: Callable[[], str | None],
        step: Step | None = None,
    ) -> None:
        generation = task.generation

        def go_on() -> None:
            if not task.is_over and task.generation == generation:
                task.running = step
                self.reply(task, verdict())

        self.after(seconds, go_on)

    def _block(self, task: Task) -> None:
        """Leave a task that waits for a lock, for as long as its time-outs allow."""
        step = task.running
        assert step is not None
        task.blocked = step
        self.database.pause(self._backend(task))
        generation = task.generation
        limits = {"statement": step.detail["limit"]}
        if self.database.limits_waiting(self._backend(task)):
            limits["lock"] = step.detail["lock"]
        given = {name: seconds for name, seconds in limits.items() if seconds is not None}

        def is_same() -> bool:
            return task.blocked is step and task.generation == generation and not task.is_over

        if given:
            name = min(given, key=given.__getitem__)
            self.after(given[name], lambda: self._cancel(task, name) if is_same() else None)
        self.after(_DEADLOCK_SECONDS, lambda: self._check_deadlock(task) if is_same() else None)

    def _cancel(self, task: Task, reason: str) -> None:
        task.blocked = None
        task.generation += 1
        task.container.link.send(Reply(self.now, reason))
        self.database.cancel(self._backend(task))
        self.database.resume(self._backend(task))
        task.container.link.poll(None)  # until then, it may look as if it waited for another lock
        self._settle(task)

    def _judge_deadlock(self, backends: set[int]) -> None:
        """A deadlock is needless between drains that have written no more than one set each: they
        did not lock its rows, or claim its messages, in one order."""
        own = [each for each in self.tasks if each.container.backend in backends]
        sets = [each.running.detail["sets"] if each.running else None for each in own]
        if len(own) == len(backends) and all(each is not None and each <= 1 for each in sets):
            self.needless_deadlocks.append(self.now)

    def _check_deadlock(self, task: Task) -> None:
        own = self._backend(task)
        known: set[int] = set()
        ahead = self.database.blockers(own)
        while ahead:
            pid = ahead.pop()
            if pid == own:
                self.deadlocks += 1
                self._judge_deadlock({own, *known})
                return self._cancel(task, "deadlock")
            if pid not in known:
                known.add(pid)
                ahead += self.database.blockers(pid)
        return None


_TAKEN: Mapping[str, Callable[[Engine, Task, Step, Fault | None], None]] = {
    "connect": Engine._connect,
    "statement": Engine._statement,
    "sleep": Engine._sleep,
    "call": Engine._call,
    "done": Engine._done,
    "failed": Engine._failed,
}


def by_place(faults: Sequence[Fault]) -> dict[tuple[str, int, int], Fault]:
    """The faults of a plan by the step at which they happen."""
    return {(each.kind, each.invocation, each.step): each for each in faults}
