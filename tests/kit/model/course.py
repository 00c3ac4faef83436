"""The run of a random plan, compared with the model at each delivery."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from chalicelib.api.writes import calls
from chalicelib.buffer.sqs import put, take
from chalicelib.drain import handler
from chalicelib.errors import DatabaseUnavailable
from chalicelib.messages import split
from chalicelib.messages.message import Condition, Message, decode
from chalicelib.postgres.connecting import connection
from chalicelib.postgres.connecting.connection import Transaction
from tests.kit.model.plans import CREATES, Batch, Cut, Plan, Request
from tests.kit.model.schema import Rows, Value, Values
from tests.kit.model.search import Poured, explain
from tests.kit.model.semantics import ANY_ROW, Precondition, Tables, Write, write
from tests.kit.world import Context, World, changed, without_patience
from tests.kit.world import event as sqs_event


@dataclass
class Queued:
    """A message on the queue.

    receives: number of deliveries. settled: outcome of each settled write by item: the type of its
    rejection, or None if it was applied.
    """

    entry: put.QueueEntry
    message: Message
    writes: Mapping[int, Write]
    receives: int = 0
    is_claimed: bool = False
    settled: dict[int, str | None] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        return self.is_claimed and len(self.settled) == len(self.writes)

    @property
    def rejected(self) -> dict[int, str]:
        return {item: kind for item, kind in self.settled.items() if kind}


@dataclass
class Course:
    """One example on its way through API function, queue and drain, checked after each batch."""

    world: World
    own: Any
    plan: Plan
    lanes: dict[str | None, list[Queued]] = field(default_factory=lambda: defaultdict(list))
    messages: dict[str, Queued] = field(default_factory=dict)
    batches: list[list[Queued]] = field(default_factory=list)
    keys: dict[tuple[str, Value], list[tuple[Queued, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    alike: dict[tuple[str, Value], list[tuple[Queued, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    waits: dict[tuple[str, int], str] = field(default_factory=dict)
    receipts: list[tuple[str, list[str]]] = field(default_factory=list)
    tables: Tables = field(default_factory=dict)
    read: dict[tuple[str, Value], list[tuple[str, Values]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def begin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        numbers = count(1)
        monkeypatch.setattr(
            calls, "new_id", lambda _: UUID(int=7 << 76 | 2 << 62 | next(numbers) << 16)
        )
        partial = "1" if self.plan.is_partial else "0"
        monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", partial)
        patience = "3600" if self.plan.is_patient else "0"
        monkeypatch.setenv("DECANTER_PARENT_PATIENCE_SECONDS", patience)
        monkeypatch.setattr(split, "LANES", self.plan.lanes)
        names = ", ".join(rows.name for rows in self.plan.schema.tables)
        self.query(f"TRUNCATE {names}, decanter.ledger, decanter.rejection, decanter.waiting")
        self.tables = {rows.resource: {} for rows in self.plan.schema.tables}

    def accept(self, request: Request) -> None:
        rows = self.plan.schema.rows(request.resource)
        written = [write(rows, request.op, row) for row in request.rows]
        receipt = self._send(rows, request)
        sent, self.world.queued = self.world.queued, []
        if request.match or request.none:
            condition, asked = self._condition(rows, request, written[0].key)
            written = [replace(written[0], asked=asked)]
            sent = [
                changed(each, lambda message: message._replace(condition=condition))
                for each in sent
            ]
        for entry in sent:
            message = decode(entry.body)
            items = [item for part in message.sets for item in part.items]
            queued = Queued(entry, message, {item: written[item] for item in items})
            assert entry.dedup_id not in self.messages
            self.messages[entry.dedup_id] = queued
            self.lanes[entry.lane].append(queued)
            # One such row, and the whole message is rejected at once, whatever its keys wait for.
            if not rows.ordered or any(own.is_mismatch for own in queued.writes.values()):
                continue
            for item, own in sorted(queued.writes.items()):
                self.keys[own.resource, own.key].append((queued, item))
                self.alike[own.resource, rows.told_apart(own.key)].append((queued, item))
        items = [item for entry in sent for item in self.messages[entry.dedup_id].writes]
        assert sorted(items) == list(range(len(written)))
        self.receipts.append((receipt, [entry.dedup_id for entry in sent]))

    def _condition(
        self, rows: Rows, request: Request, key: Value
    ) -> tuple[Condition, Precondition]:
        """Return the condition as it is sent, and as the model has it."""
        read = self.read[rows.resource, key]
        before = read[-1:]
        now = self._etag(rows, key)
        read += now
        etags = {"now": now, "before": before, "now or before": [*now, *before], "no": []}
        sent, known = [], []
        for wanted in (request.match, request.none):
            found = etags.get(wanted or "", [])
            any_row = wanted == "any"
            tags = ("*",) if any_row else ("of no row", *(etag for etag, _ in found))
            models = (ANY_ROW,) if any_row else tuple(values for _, values in found)
            sent.append(tags if wanted else None)
            known.append(models if wanted else None)
        return Condition(*sent), Precondition(*known)

    def _etag(self, rows: Rows, key: Value) -> list[tuple[str, Values]]:
        """Return the current ETag of a row with the model's values; nothing without a row."""
        for (text,) in self.query(f"SELECT row_to_json(shown)::text FROM {rows.name} AS shown"):
            row = json.loads(text, parse_float=Decimal)
            if (
                rows.key_of({each.name: each.canonical(row[each.name]) for each in rows.fields})
                == key
            ):
                etag = hashlib.sha256(text.encode()).hexdigest()[:32]
                return [(etag, self.tables[rows.resource][key])]
        return []

    def _send(self, rows: Rows, request: Request) -> str:
        is_create = request.op in CREATES
        key = [_segment(request.rows[0][each.name]) for each in rows.key if not is_create]
        names = {each.name for each in rows.key} if not is_create else set()
        shown = [_object(row, names) for row in request.rows]
        body = f"[{','.join(shown)}]" if request.is_array else shown[0]
        headers = {"Idempotency_Key": f"k{len(self.receipts)}"} if request.is_keyed else {}
        if is_create:
            resolution = CREATES[request.op]
            headers |= {"Prefer": f"resolution={resolution}"} if resolution else {}
            return self.world.post(rows.resource, body.encode(), **headers)
        if request.op == "delete":
            return self.world.delete(rows.resource, key, **headers)
        change = self.world.put if request.op == "replace" else self.world.patch
        return change(rows.resource, key, body.encode(), **headers)

    def deliver(self, batch: Batch) -> None:
        found = self._next_messages(batch.lanes)
        if not found:
            return
        found += [found[place % len(found)] for place in batch.doubled]
        old = [each for n in batch.again for each in self._poured_before(n)]
        if batch.idle_cut:
            self.cut()
        self.pour(old + found if batch.is_again_first else found + old, batch.cut)
        self.batches.append(found)

    def _next_messages(self, wanted: Sequence[int]) -> list[Queued]:
        """Return the next messages of these lanes, each in order."""
        taken: dict[str | None, int] = defaultdict(int)
        found = []
        for number in wanted:
            open_ = [lane for lane, waiting in self.lanes.items() if taken[lane] < len(waiting)]
            if open_:
                lane = open_[number % len(open_)]
                found.append(self.lanes[lane][taken[lane]])
                taken[lane] += 1
        return found

    def _poured_before(self, number: int) -> list[Queued]:
        """Return the poured messages of an earlier batch; the rest is still in its lane."""
        batch = self.batches[number % len(self.batches)] if self.batches else []
        return [each for each in batch if each.is_done]

    def pour(self, batch: Sequence[Queued], cut: Cut | None = None) -> None:
        records = []
        for each in batch:
            each.receives += 1
            records += sqs_event([each.entry], each.receives)["Records"]
        with cutting(self, cut):
            answer = handler.drain({"Records": records}, Context(30), take)
        assert answer == {"batchItemFailures": []}
        before = self.tables
        unsettled = self._unsettled()
        waits = self._compare(batch)

        assert all(each.is_claimed for each in batch)
        for each in batch:
            if each in self.lanes[each.entry.lane]:
                self.lanes[each.entry.lane].remove(each)
        delivered = {each.message.dedup_id for each in batch}
        for (dedup_id, item), reason in waits.items():
            own = self.messages[dedup_id].writes[item]
            is_delivered = dedup_id in delivered
            if reason == "parent":
                # One that is not due is not tried, and stays as it is.
                is_left = not is_delivered and self.waits.get((dedup_id, item)) == "parent"
                assert self.plan.is_patient or is_left
                assert self._may_wait(own, before, unsettled if is_delivered else None), own
            else:
                assert reason == "key"
                # Waiting writes of other messages are tried once: they may be one batch behind.
                ahead = self._unsettled() if is_delivered else unsettled
                assert not ahead.isdisjoint(self._earlier_writes(dedup_id, item))
        self.waits = waits
        for lane, left in self.lanes.items():
            assert lane is None or left == sorted(left, key=self._accepted)

    def _unsettled(self) -> set[tuple[str, int]]:
        """Return the writes that are neither applied nor rejected."""
        return {
            (dedup_id, item)
            for dedup_id, each in self.messages.items()
            for item in each.writes.keys() - each.settled.keys()
        }

    def _earlier_writes(self, dedup_id: str, item: int) -> set[tuple[str, int]]:
        """Return writes accepted before this one, to its key or to one that may be equal."""
        own = self.messages[dedup_id].writes[item]
        rows = self.plan.schema.rows(own.resource)
        same = [
            (queued.message.dedup_id, place)
            for queued, place in self.alike[own.resource, rows.told_apart(own.key)]
        ]
        return {*same[: same.index((dedup_id, item))]}

    def _accepted(self, each: Queued) -> int:
        return list(self.messages).index(each.message.dedup_id)

    def _compare(self, batch: Sequence[Queued]) -> dict[tuple[str, int], str]:
        """Compare with the model; return the writes that wait, and why."""
        ledger, rejections, waits, shown = self.look()
        before = {d for d, each in self.messages.items() if each.is_claimed}
        assert before <= set(ledger) <= before | {each.message.dedup_id for each in batch}
        assert {*rejections, *(dedup_id for dedup_id, _ in waits)} <= set(ledger)
        effects: list[Poured] = []
        for dedup_id, each in self.messages.items():
            if dedup_id not in ledger:
                continue
            each.is_claimed = True
            rejected = rejections.get(dedup_id, {})
            assert ledger[dedup_id] == len(each.writes)
            assert set(rejected) <= set(each.writes)
            members = {item: part.members for part in each.message.sets for item in part.items}
            is_mismatch = any(own.is_mismatch for own in each.writes.values())
            for item, own in sorted(each.writes.items()):
                if item in each.settled:
                    assert rejected.get(item) == each.settled[item]
                    assert (dedup_id, item) not in waits
                elif (dedup_id, item) not in waits:
                    each.settled[item] = rejected.get(item)
                    if is_mismatch:
                        assert rejected[item] == "schema-mismatch"
                    else:
                        effects.append(Poured(own, members[item], rejected.get(item)))
        for same in self.keys.values():
            are_settled = [item in queued.settled for queued, item in same]
            assert are_settled == sorted(are_settled, reverse=True), "a write was overtaken"
        self.tables = explain(self.plan.schema, self.tables, effects, shown)
        return waits

    def _may_wait(
        self, own: Write, before: Tables, tried: Collection[tuple[str, int]] | None
    ) -> bool:
        """Whether the row may lack a parent before, during or after the batch.

        tried: the writes that the batch may have poured. None: whatever was poured since this one
        was tried.
        """
        touched = {
            (w.resource, w.key)
            for dedup_id, other in self.messages.items()
            for item, w in other.writes.items()
            if tried is None or (dedup_id, item) in tried
        }
        for reference in self.plan.schema.rows(own.resource).references:
            for tables in (before, self.tables):
                row = {**tables[own.resource].get(own.key, {}), **own.values}
                parent = tuple(row.get(name) for name in reference.columns)
                if None not in parent and (
                    parent not in tables[reference.parent] or (reference.parent, parent) in touched
                ):
                    return True
        return False

    def finish(self) -> None:
        """Check that all writes are settled in the end, that receipts agree, and that delivering
        everything once more has no effect."""
        self.plan = replace(self.plan, is_patient=False)
        with without_patience():
            while left := self._next_messages(range(10)):
                self.pour(left)
            for _ in range(3 * len(self.messages) + 3):
                if all(each.is_done for each in self.messages.values()):
                    break
                self.query("UPDATE decanter.waiting SET tried_at = tried_at - interval '20 s'")
                self.pour([])
        assert all(each.is_done for each in self.messages.values())

        for receipt, ids in self.receipts:
            parts = [self.messages[dedup_id] for dedup_id in ids]
            status = self.world.status(receipt)
            rejected = {item: kind for each in parts for item, kind in each.rejected.items()}
            assert {each["item"]: each["type"] for each in status["rejections"]} == rejected
            written = sum(len(each.writes) for each in parts)
            assert (status["applied"], status["rejected"]) == (
                written - len(rejected),
                len(rejected),
            )
            assert status["state"] == (
                "applied" if not rejected else "rejected" if len(rejected) == written else "partial"
            )

        before = self.look()
        everything = list(self.messages.values())
        for start in range(0, len(everything), 10):
            self.pour(everything[start : start + 10])
        assert self.look() == before

    # The database

    def look(
        self,
    ) -> tuple[
        dict[str, int],
        dict[str, dict[int, str]],
        dict[tuple[str, int], str],
        dict[str, list[Any]],
    ]:
        """Return the writes of each message in the ledger, the types of rejections, the waiting
        writes with their reason, and the rows of each table."""
        parts = [
            "(SELECT coalesce(json_object_agg(dedup_id, writes), '{}') FROM decanter.ledger)",
            "(SELECT coalesce(json_agg(json_build_array(dedup_id, item, type, resource, op, row)),"
            " '[]') FROM decanter.rejection)",
            "(SELECT coalesce(json_agg(json_build_array(dedup_id, item, reason)), '[]')"
            " FROM decanter.waiting)",
            *[
                f"(SELECT coalesce(json_agg(shown ORDER BY shown::text), '[]')"
                f" FROM {rows.name} AS shown)"
                for rows in self.plan.schema.tables
            ],
        ]
        ((text,),) = self.query(f"SELECT json_build_array({', '.join(parts)})::text")
        ledger, rejected, waits, *tables = json.loads(text, parse_float=Decimal)
        claimed = {d for d in ledger if d.endswith("ffff")}  # of requests with an Idempotency-Key
        rejections: dict[str, dict[int, str]] = defaultdict(dict)
        for dedup_id, item, kind, resource, op, row in rejected:
            own = self.messages[dedup_id].writes[item]
            assert (resource, op) == (own.resource, own.op)
            if kind != "schema-mismatch":
                assert {name: _plain(value) for name, value in row.items()} == {
                    name: _plain(json.loads(text, parse_float=Decimal))
                    for name, text in own.texts.items()
                }
            rejections[dedup_id][item] = kind
        names = [rows.resource for rows in self.plan.schema.tables]
        return (
            {d: n for d, n in ledger.items() if d not in claimed},
            dict(rejections),
            {(dedup_id, item): reason for dedup_id, item, reason in waits},
            dict(zip(names, tables, strict=True)),
        )

    def query(self, sql: str) -> list[Any]:
        with self.own.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def cut(self) -> None:
        held = connection._held.get("drain")
        if held is not None and not held.closed:
            self.query(f"SELECT pg_terminate_backend({held.info.backend_pid}, 5000)")


class cutting:
    """In the block, the connection is lost before or after one statement of the drain."""

    def __init__(self, course: Course, cut: Cut | None) -> None:
        self._course = course
        self._cut = cut
        self._execute = Transaction.execute
        self._left = cut.statement if cut else 0

    def __enter__(self) -> None:
        if self._cut is not None:
            Transaction.execute = self._counting_execute()  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        Transaction.execute = self._execute  # type: ignore[method-assign]

    def _counting_execute(self) -> Callable[..., list[Any]]:
        def execute(
            transaction: Transaction, sql: str, values: Any = None, **limits: Any
        ) -> list[Any]:
            self._left -= 1
            if self._left:
                return self._execute(transaction, sql, values, **limits)
            assert self._cut is not None
            if self._cut.after:
                self._execute(transaction, sql, values, **limits)
            self._course.cut()
            if self._cut.after:
                raise DatabaseUnavailable("the connection was cut", sqlstate="57P01")
            return self._execute(transaction, sql, values, **limits)

        return execute


def _segment(text: str) -> str:
    value = json.loads(text)
    return value if isinstance(value, str) else text


def _object(row: Mapping[str, str], without: set[str]) -> str:
    members = [f"{json.dumps(name)}: {text}" for name, text in row.items() if name not in without]
    return f"{{{', '.join(members)}}}"


def _plain(value: Any) -> Any:
    """Return a value that distinguishes 1 from 1.0 and tolerates half of a surrogate pair."""
    return json.dumps(value, sort_keys=True, default=str)
