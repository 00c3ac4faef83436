"""Decanter's functions, queues and event source mappings, as they are deployed, in virtual time."""

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from decanter.proof.simulation.container import EPOCH
from decanter.proof.simulation.database import Database
from decanter.proof.simulation.engine import Engine, Outcome, Task, by_place
from decanter.proof.simulation.front import Front
from decanter.proof.simulation.plan import Fault, Lock, Outage, Plan
from decanter.proof.simulation.queue import Queue, Received
from decanter.proof.simulation.steps import Step

_CALL_SECONDS = 0.005
_TICK_SECONDS = 60.0
_MANY_TICKS = 15
_RARE_SECONDS = 3_600.0  # during a long outage, in which each of them fails alike
_READERS = 4
_SWEEP_SECONDS = 60.0
_API_SECONDS = 28.0
_READER_SECONDS = 10.0
_SCHEDULE_MEMBERS = (
    *("version", "account", "region", "detail-type", "source"),
    *("time", "id", "resources", "detail"),
)
_KEYS = {"k1": "1" * 32, "k2": "2" * 32}
_QUEUES = {"https://sqs/ordered.fifo": "ordered", "https://sqs/unordered": "unordered"}
_ARNS = {
    name: f"arn:aws:sqs:eu-central-1:1:{url.rpartition('/')[2]}" for url, name in _QUEUES.items()
}
_UNAVAILABLE = {
    "Error": {"Code": "ServiceUnavailable", "Message": "by the simulation"},
    "ResponseMetadata": {"HTTPStatusCode": 503},
}
_THROTTLED = {
    "Error": {"Code": "TooManyRequestsException", "Message": "by the simulation"},
    "ResponseMetadata": {"HTTPStatusCode": 429},
}


@dataclass
class Service:
    """One deployment. accepted: is called with the invocation, body and place of each message
    that a queue accepts. buried: places of messages that became dead letters."""

    plan: Plan
    database: Database
    mutate: Callable[[], None] = lambda: None
    accepted: Callable[[Task, str, int], None] = lambda _task, _body, _place: None
    batches: int = 0
    deliveries: int = 0
    repeated: int = 0
    buried: set[int] = field(default_factory=set)
    _active: dict[str, int] = field(default_factory=lambda: {"ordered": 0, "unordered": 0})
    _has_tick: bool = False
    _failing: int = 0
    _next_poll: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan = self.plan
        self.engine = Engine(self.database, plan.seed, by_place(plan.faults), mutate=self.mutate)
        self.engine.calls = self._call
        numbers = random.Random(f"queues {plan.seed}")
        places: count[int] = count(1)
        self.queues = {
            name: Queue(is_fifo, plan.visibility, plan.most_receives, numbers, places, plan.doubles)
            for name, is_fifo in (("ordered", True), ("unordered", False))
        }
        self.front = None
        if plan.stream:
            common = (lambda: self.settings, self._wake_schedule)
            self.front = Front(plan, plan.stream, self.engine, self.database, *common)
        if self.front:
            for at in plan.reconciles:
                self.engine.after(at, self.front.reconcile)
            for release in plan.releases:  # which may know tables that the one before did not
                self.engine.after(release.at, self._wake_schedule)
        for outage in plan.outages:
            self._schedule_outage(outage)
        for lock in plan.locks:
            self._schedule_lock(lock)
        if (later := self._later_contract_at) is not None:
            self.engine.after(max(0.0, later - 0.001), self.database.migrate)
        for at in plan.redrives:
            self.engine.after(at, self.redrive)
        for at in plan.resends:
            self.engine.after(at, self._resend)
        for at in plan.sweeps:
            self.engine.after(at, self._sweep)

    @property
    def _later_contract_at(self) -> float | None:
        """When a second contract is deployed, whose migration comes first."""
        if all(each.contract for each in self.plan.releases):
            return None
        return min((each.at for each in self.plan.releases if each.contract), default=None)

    @property
    def settings(self) -> Mapping[str, str]:
        """The environment of a container that starts now."""
        release = [each for each in self.plan.releases if each.at <= self.engine.now][-1]
        return {
            "LANES": str(release.lanes),
            "FORMAT": str(release.format),
            "CONTRACT": str(release.contract),
            "MIGRATED": "1" if self._later_contract_at is not None else "",
            "DECANTER_MESSAGE_BYTES": str(release.message_bytes),
            "DECANTER_RECEIPT_KEY": " ".join(_KEYS[name] for name in release.keys.split()),
            "DECANTER_ORDERED_QUEUE_URL": "https://sqs/ordered.fifo",
            "DECANTER_UNORDERED_QUEUE_URL": "https://sqs/unordered",
            "DECANTER_READER_FUNCTION": "reader",
            "DECANTER_DATABASE_URL": self.database.url,
            "DECANTER_ENGINE": self.database.engine.name,
            "DECANTER_PARTIAL_RESPONSES": "1" if self.plan.says_partial else "0",
            "DECANTER_PARENT_PATIENCE_SECONDS": str(self.plan.patience),
            **({"DECANTER_FRONT_TABLE": "front"} if self.plan.stream else {}),
        }

    def request(self, event: Mapping[str, Any], on_end: Callable[[Outcome], None]) -> Task:
        """Invoke the API function; return the invocation."""
        return self.engine.invoke("api", self.settings, ("app", event, _API_SECONDS), on_end)

    def redrive(self) -> None:
        """Send all dead letters again."""
        for name, queue in self.queues.items():
            queue.redrive(self.engine.now)
            self._wake(name)

    def _resend(self) -> None:
        """Send copies of all messages again, as from an archive."""
        for name, queue in self.queues.items():
            queue.resend(self.engine.now)
            self._wake(name)

    def is_drained(self) -> bool:
        """Whether nothing is queued, being poured, or waiting."""
        queued = any(queue.messages for queue in self.queues.values())
        if queued or self.engine.tasks or self.database.waits():
            return False
        return self.front is None or self.front.is_drained()

    def left(self) -> int:
        """The number of messages and writes that were not poured."""
        queued = sum(len(queue.messages) + len(queue.dead) for queue in self.queues.values())
        return queued + self.database.waits() + (self.front.left() if self.front else 0)

    def _wake(self, name: str) -> None:
        """Have the mapping look at its queue soon."""
        self.engine.after(self.engine.random.choice((0.0, 0.02, 0.5)), lambda: self._poll(name))
        self._wake_schedule()

    def _wake_schedule(self) -> None:
        """Have the schedules run."""
        if not self._has_tick:
            self._has_tick = True
            self.engine.after(_TICK_SECONDS, self._tick)

    def _poll(self, name: str) -> None:
        queue = self.queues[name]
        while self._active[name] < self.plan.drains:
            size = self.engine.random.randint(1, self.plan.batch)
            batch = queue.receive(self.engine.now, size)
            self.buried |= {each.place for each in queue.dead}
            if not batch:
                break
            self._active[name] += 1
            self._deliver(name, batch)
        self._poll_when_visible(name)

    def _poll_when_visible(self, name: str) -> None:
        """Look again when the next message in flight comes back, unless that is planned."""
        now = self.engine.now
        visible = self.queues[name].next_visible(now)
        if visible is None or self._next_poll.get(name, math.inf) <= visible:
            return

        def poll() -> None:
            if self._next_poll.get(name) == visible:
                del self._next_poll[name]
                self._poll(name)

        self._next_poll[name] = visible
        self.engine.after(visible + 0.001 - now, poll)

    def _deliver(self, name: str, batch: Sequence[Received]) -> None:
        self.batches += 1
        self.deliveries += len(batch)
        self.repeated += sum(each.receives > 1 for each in batch)
        event = {"Records": [_record(name, each) for each in batch]}

        def end(outcome: Outcome) -> None:
            self._active[name] -= 1
            if not outcome.error:
                self._delete(name, batch, outcome.result)
            self.engine.after(0.0, lambda: self._poll(name))

        work = (f"drain_{name}", event, self.plan.invocation)
        self.engine.invoke("drain", self.settings, work, end, self.plan.kills_late)

    def _delete(self, name: str, batch: Sequence[Received], result: Mapping[str, Any]) -> None:
        failed: set[str] = set()
        if self.plan.mapping_partial:
            failed = {each["itemIdentifier"] for each in result["batchItemFailures"]}
        for each in batch:
            if each.message.id not in failed:
                self.queues[name].delete(each, self.engine.now)

    def _tick(self) -> None:
        """The schedules of the ordered drain and of settle, for as long as there is anything to
        do."""
        self._has_tick = False
        if self.is_drained():
            return
        self._has_tick = True
        self._failing = self._failing + 1 if self.engine.is_down else 0
        is_rare = self._failing > _MANY_TICKS
        self.engine.after(_RARE_SECONDS if is_rare else _TICK_SECONDS, self._tick)
        if self.database.waits():
            event: dict[str, Any] = {}
            work = ("drain_ordered", event, self.plan.invocation)
            self.engine.invoke("drain", self.settings, work, lambda _: None)
        if self.front:
            self.front.settle(_schedule_event())

    def _sweep(self) -> None:
        work = ("sweep", _schedule_event(), _SWEEP_SECONDS)
        self.engine.invoke("sweep", self.settings, work, lambda _: None)

    def _schedule_outage(self, outage: Outage) -> None:
        engine = self.engine

        def set_to(is_on: bool) -> None:
            if outage.name == "read-only":
                self.database.set_read_only(is_on)
                engine.end_sessions()
            elif outage.name == "down":
                engine.is_down = is_on
                if is_on:
                    engine.end_sessions()
            elif outage.name == "disk-full":
                engine.is_full = is_on
            else:
                engine.refuses = is_on

        engine.after(outage.at, lambda: set_to(True))
        engine.after(outage.at + outage.seconds, lambda: set_to(False))

    def _schedule_lock(self, lock: Lock) -> None:
        self.engine.after(lock.at, lambda: self.database.lock(lock.resource, lock.key))
        self.engine.after(lock.at + lock.seconds, self._release)

    def _release(self) -> None:
        self.database.release()
        self.engine.look()

    def _call(self, task: Task, step: Step, fault: Fault | None) -> None:
        name = fault.name if fault else ""
        if step.detail["service"] == "dynamodb" and self.front:
            return self.front.call(task, step, fault)
        if step.detail["operation"] == "invoke":
            return self._invoke(task, step, name)
        if step.detail["operation"] == "get_queue_attributes":
            return self._count(task, step, name)
        if name in ("error", "unconfirmed"):
            verdict, value = ("error", _UNAVAILABLE) if name == "error" else (None, {})
            return self.engine.answer(task, _CALL_SECONDS, verdict, value)
        return self.engine.after(_CALL_SECONDS, lambda: self._send(task, step, name, fault))

    def _count(self, task: Task, step: Step, fault: str) -> None:
        """Answer how many messages a queue has, for estimates."""
        queue = self.queues[_QUEUES[step.detail["parameters"]["QueueUrl"]]]
        waiting, hidden = queue.counts(self.engine.now)
        counts = {
            "ApproximateNumberOfMessages": str(waiting),
            "ApproximateNumberOfMessagesNotVisible": str(hidden),
        }
        verdict, value = ("error", _UNAVAILABLE) if fault else (None, {"Attributes": counts})
        self.engine.answer(task, _CALL_SECONDS, verdict, value)

    def _send(self, task: Task, step: Step, name: str, fault: Fault | None) -> None:
        """Accept messages, and answer as SQS does."""
        if task.is_over:
            return
        parameters = step.detail["parameters"]
        entries = parameters.get("Entries")
        queue = _QUEUES[parameters["QueueUrl"]]
        sent = []
        for number, entry in enumerate(entries or [parameters]):
            if name == "part" and number % 2 == 0:
                continue
            message = self.queues[queue].send(
                entry["MessageBody"],
                entry.get("MessageGroupId"),
                entry.get("MessageDeduplicationId"),
                self.engine.now,
            )
            self.accepted(task, message.body, message.place)
            sent.append((number, message.id))
        self._wake(queue)
        seconds = fault.seconds if fault and name == "late" else _CALL_SECONDS
        if name == "lose":
            self.engine.answer(task, seconds, "time-out", None)
        elif entries is None:
            verdict, value = (None, {"MessageId": sent[0][1]}) if sent else ("error", _UNAVAILABLE)
            self.engine.answer(task, seconds, verdict, value)
        else:
            confirmed = {number for number, _ in sent}
            failed = [
                {"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"}
                for number, entry in enumerate(entries)
                if number not in confirmed
            ]
            successful = [{"Id": entries[number]["Id"], "MessageId": id_} for number, id_ in sent]
            reply = {"Successful": successful, **({"Failed": failed} if failed else {})}
            self.engine.answer(task, seconds, None, reply)

    def _invoke(self, task: Task, step: Step, fault: str) -> None:
        """Invoke the reader; or the drain of the stream, for an operator's command."""
        is_command = step.detail["parameters"]["FunctionName"] == "drain_stream"
        busy = sum(each.container.kind == "reader" for each in self.engine.tasks)
        if fault or (busy >= _READERS and not is_command):
            return self.engine.answer(task, _CALL_SECONDS, "error", _THROTTLED)
        if self.front and is_command:
            return self.front.pour(task, step)
        question = json.loads(step.detail["parameters"]["Payload"])

        def end(outcome: Outcome) -> None:
            self.engine.answer_invocation(task, outcome)

        work = ("reader", question, _READER_SECONDS)
        self.engine.invoke("reader", self.settings, work, end)
        return None


def _schedule_event() -> Mapping[str, Any]:
    return dict.fromkeys(_SCHEDULE_MEMBERS, "")


def _record(queue: str, each: Received) -> dict[str, Any]:
    message = each.message
    lane = {} if message.lane is None else {"MessageGroupId": message.lane}
    return {
        "messageId": message.id,
        "eventSourceARN": _ARNS[queue],
        "receiptHandle": str(each.handle),
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": str(each.receives),
            "SentTimestamp": str(int((EPOCH + message.sent_at) * 1000)),
            **lane,
        },
    }
