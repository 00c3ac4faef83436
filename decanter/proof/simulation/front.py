"""The front table, its stream and the functions beside it, in virtual time."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from decanter.proof.front_history import Entry, TableWrite
from decanter.proof.simulation.container import EPOCH
from decanter.proof.simulation.database import Database
from decanter.proof.simulation.engine import Engine, Outcome, Task
from decanter.proof.simulation.plan import Fault, Plan, Stream
from decanter.proof.simulation.steps import Step
from decanter.proof.simulation.stream import Lane, StreamRecord
from decanter.proof.simulation.table import Changes, Table, TableRefusal, error

CALL_SECONDS = 0.005
_READ_SECONDS = 5.0  # until the client of DynamoDB gives up
_BUSY_SECONDS = 1.0  # until Lambda tries again what has no free container
_SETTLE_SECONDS = 60.0
_RECONCILE_SECONDS = 900.0
_WINDOWS = (0.0, 0.02, 1.0)
_EXPIRES_SECONDS = 2 * 86_400.0
_SHORT_SECONDS = 20.0

_THROTTLED = error("ProvisionedThroughputExceededException")
_FAILED = error("InternalServerError", status=500)
_CONFLICT = error("TransactionConflictException")


@dataclass
class Front:
    """settings: the environment of a container that starts now. wake: has the schedules run.
    attempt_of: the position of the attempt that an invocation of the API function serves."""

    plan: Plan
    stream: Stream
    engine: Engine
    database: Database
    settings: Callable[[], Mapping[str, str]]
    wake: Callable[[], None]
    attempt_of: Callable[[Task], int | None] = lambda _task: None
    writes: list[TableWrite] = field(default_factory=list)
    batches: int = 0
    _caller: Task | None = None
    _records: int = 0
    _settled: tuple[int, str] | None = None
    _is_settling: bool = False

    def __post_init__(self) -> None:
        self.table = Table(self._written)
        self.lanes = [Lane() for _ in range(self.stream.lanes)]
        if self.stream.poison_at is not None:
            self.engine.after(self.stream.poison_at, self._poison)

    def call(self, task: Task, step: Step, fault: Fault | None) -> None:
        """Answer a call of DynamoDB. A fault refuses it (`error`, `part`), loses its answer
        (`lose`, and `late` after the client's time-out), or is a time-out before anything was done
        (`unconfirmed`)."""
        name = fault.name if fault else ""
        is_short = fault is not None and fault.seconds < _SHORT_SECONDS
        if name == "error":
            refusal = _THROTTLED if is_short else _FAILED
            return self.engine.answer(task, CALL_SECONDS, "error", refusal)
        if name == "part":
            return self.engine.answer(task, CALL_SECONDS, "error", _conflict(step))
        if name == "unconfirmed":
            return self.engine.answer(task, _READ_SECONDS, "time-out", None)
        lost: tuple[str, Any] | None = None
        seconds = min(fault.seconds, _READ_SECONDS) if fault and name == "late" else CALL_SECONDS
        if (name == "lose" and is_short) or seconds == _READ_SECONDS:
            seconds, lost = _READ_SECONDS, ("time-out", None)
        elif name == "lose":
            lost = ("error", _FAILED)

        def do() -> None:
            if not task.is_over:
                reply = self._do(task, step)
                self.engine.answer(task, seconds, *(lost or reply))

        return self.engine.after(CALL_SECONDS, do)

    def _do(self, task: Task, step: Step) -> tuple[str | None, Any]:
        self._caller = task
        try:
            operation, parameters = step.detail["operation"], step.detail["parameters"]
            return None, self.table.call(operation, parameters, self.engine.now)
        except TableRefusal as refusal:
            return "error", refusal.response
        finally:
            self._caller = None

    def _written(self, changes: Changes) -> None:
        number, now, caller = len(self.writes) + 1, self.engine.now, self._caller
        is_api = caller is not None and caller.container.kind == "api"
        attempt = self.attempt_of(caller) if caller and is_api else None
        self.writes.append(TableWrite(number, now, attempt, dict(changes)))
        for pk, entry in changes.items():
            self._expire_later(pk, entry)
            if not self.stream.filters or (entry and "write" in entry):
                self._records += 1
                record = StreamRecord(str(self._records), number, pk, entry, now)
                lane = self.lanes[zlib.crc32(pk.encode()) % len(self.lanes)]
                lane.records.append(record)
                self.engine.after(self.engine.random.choice(_WINDOWS), partial(self._poll, lane))
        self.wake()

    def _expire_later(self, pk: str, entry: Entry | None) -> None:
        """Have the time to live remove an entry, some days late, in histories that take as long."""
        if entry is None or "ttl" not in entry or self.plan.finals is None:
            return

        def expire() -> None:
            if self.table.entries.get(pk) is entry:
                self.table.remove(pk)

        seconds = int(entry["ttl"]["N"]) - EPOCH - self.engine.now
        self.engine.after(seconds + self.engine.random.uniform(0, _EXPIRES_SECONDS), expire)

    def _poison(self) -> None:
        """Put an entry as somebody else does."""
        entry = {"pk": {"S": "row/tags/of somebody else"}, "write": {"S": "of somebody else"}}
        self.table.call("put_item", {"TableName": "front", "Item": entry}, self.engine.now)

    def _poll(self, lane: Lane) -> None:
        """Deliver the next batch of a lane, unless it has one, or all containers are busy."""
        plan, engine = self.plan, self.engine
        if sum(each.is_busy for each in self.lanes) >= plan.drains and not lane.is_busy:
            return engine.after(_BUSY_SECONDS, lambda: self._poll(lane))
        batch = lane.take(engine.now, engine.random.randint(1, self.stream.records))
        if not batch:
            return None
        self.batches += 1

        def end(outcome: Outcome) -> None:
            lane.end(batch, self._failed(outcome), engine.now)
            pause = max(0.0, lane.ready_at - engine.now)
            if lane.records:
                engine.after(pause + 0.001, lambda: self._poll(lane))

        event = {"Records": [_record(each) for each in batch]}
        work = ("drain_stream", event, plan.invocation)
        engine.invoke("drain", self.settings(), work, end, plan.kills_late)
        return None

    def _failed(self, outcome: Outcome) -> frozenset[str] | None:
        """The records that a batch named; None if it failed as a whole."""
        if outcome.error:
            return None
        if not self.plan.mapping_partial:
            return frozenset()
        return frozenset(each["itemIdentifier"] for each in outcome.result["batchItemFailures"])

    def is_drained(self) -> bool:
        """Whether the stream is poured, and what Postgres has refused is settled."""
        return not any(each.records for each in self.lanes) and not self._is_unsettled()

    def left(self) -> int:
        """The number of records that were not poured."""
        return sum(len(each.records) for each in self.lanes)

    def dropped(self) -> frozenset[int]:
        """The writes whose records the stream has dropped."""
        return frozenset(each.number for lane in self.lanes for each in lane.dropped)

    def _is_unsettled(self) -> bool:
        return self._refused() != self._settled

    def _refused(self) -> tuple[int, str]:
        """The number of writes that Postgres has refused, and which version would look at them: an
        earlier one leaves out tables that it does not know."""
        return self.database.refused_in_front(), self.settings()["CONTRACT"]

    def settle(self, event: Mapping[str, Any]) -> None:
        """Invoke settle, as its schedule does each minute; not if it has nothing to look at."""
        if self._is_settling or not self._is_unsettled():
            return
        self._is_settling = True
        refused = self._refused()

        def end(outcome: Outcome) -> None:
            self._is_settling = False
            if not outcome.error:
                self._settled = refused

        work = ("settle", event, _SETTLE_SECONDS)
        self.engine.invoke("settle", self.settings(), work, end)

    def reconcile(self) -> None:
        """Run the operator's command."""
        work: tuple[str, Mapping[str, Any], float] = ("reconcile", {}, _RECONCILE_SECONDS)
        self.engine.invoke("operator", self.settings(), work, lambda _: None)

    def pour(self, task: Task, step: Step) -> None:
        """Invoke the stream's drain for a command, which waits for its answer."""
        event = json.loads(step.detail["parameters"]["Payload"])

        def end(outcome: Outcome) -> None:
            self.engine.answer_invocation(task, outcome)
            self.wake()

        work = ("drain_stream", event, self.plan.invocation)
        self.engine.invoke("drain", self.settings(), work, end)


def _conflict(step: Step) -> Any:
    """The refusal of a call whose items another transaction writes just now."""
    if step.detail["operation"] != "transact_write_items":
        return _CONFLICT
    actions: Sequence[Any] = step.detail["parameters"]["TransactItems"]
    reasons = [{"Code": "TransactionConflict"}, *[{"Code": "None"} for _ in actions[1:]]]
    return error("TransactionCanceledException", CancellationReasons=reasons)


def _record(each: StreamRecord) -> Mapping[str, Any]:
    image: Entry | None = each.entry
    return {
        "eventID": each.sequence,
        "eventName": "REMOVE" if image is None else "MODIFY",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "dynamodb": {
            "ApproximateCreationDateTime": int(EPOCH + each.at),
            "Keys": {"pk": {"S": each.pk}},
            **({} if image is None else {"NewImage": image}),
            "SequenceNumber": each.sequence,
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": "arn:aws:dynamodb:eu-central-1:1:table/front/stream/2026-01-01",
    }
