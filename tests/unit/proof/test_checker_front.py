"""What the checker sees of the front: a right history, and each way to break a promise in it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.buffer.dynamodb import entries
from chalicelib.buffer.dynamodb.entries import FrontItem
from chalicelib.messages.message import Message, RowSet, encode
from chalicelib.ops import Op
from decanter.proof.checker import check
from decanter.proof.checking.front_log import poured
from decanter.proof.front_history import FrontAnswer, FrontHistory, FrontRead, TableWrite
from decanter.proof.history import Attempt, Effect, History, Reading, Write
from decanter.proof.tables import COLUMNS, key_text


def row(token: str, id_: int = 1, **values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(COLUMNS["tags"]), "id": id_, "token": token, **values}


class FrontStory:
    """Requests of tags, each a second after the other. Postgres has a write as soon as the table
    does, unless it is left out."""

    def __init__(self) -> None:
        self.now = 0.0
        self.attempts: list[Attempt] = []
        self.writes: list[TableWrite] = []
        self.answers: dict[int, FrontAnswer] = {}
        self.reads: list[FrontRead] = []
        self.effects: list[Effect] = []
        self.finals: dict[str, Reading] = {}
        self.rows: dict[tuple[str, str], Any] = {}

    def send(self, op: Op, sent: dict[str, Any], made: Any, status: int = 201, **told: Any) -> int:
        """A request whose row becomes `made`, None for a delete, and its answer."""
        number = len(self.attempts)
        key = key_text("tags", sent)
        etag = f"{number:032x}"
        self.table(number, {**self._item(op, made, sent, etag), **self._claim(made)})
        write = Write(0, "tags", op, key, sent)
        receipt = f"r{number}"
        at = self.now
        self.attempts.append(Attempt(
            number, "ann", told.get("key"), (write,), at, at + 0.5, status, receipt,
        ))  # fmt: skip
        self.answers[number] = FrontAnswer("", made, "" if made is None else etag, "")
        self._pour(number, key, made)
        self.finals[receipt] = Reading(receipt, 90, 91, "applied")
        self.now += 1
        return number

    def refuse(self, op: Op, sent: dict[str, Any], status: int, problem: str) -> None:
        """A request that writes nothing."""
        number = len(self.attempts)
        write = Write(0, "tags", op, key_text("tags", sent), sent)
        self.attempts.append(
            Attempt(number, "ann", None, (write,), self.now, self.now + 0.5, status)
        )
        self.answers[number] = FrontAnswer(problem, {"type": f"urn:x:{problem}"}, "", "")
        self.now += 1

    def table(self, attempt: int | None, changes: dict[str, Any]) -> None:
        self.writes.append(TableWrite(len(self.writes) + 1, self.now + 0.2, attempt, changes))

    def _item(self, op: Op, made: Any, sent: dict[str, Any], etag: str) -> dict[str, Any]:
        text = json.dumps(made or sent)
        rows = RowSet(tuple(sorted(made or sent)), (0,), (1,), text)
        dedup_id = entries.dedup_id_of(etag)
        poured: Op = "replace" if op == "merge" else op
        body = encode(Message(dedup_id, "0" * 32, 1, "tags", poured, (rows,)))
        pk = entries.item_pk("tags", [str(sent["id"])])
        return {pk: entries.item_entry(FrontItem(pk, text if made else None, etag, body))}

    def _claim(self, made: Any) -> dict[str, Any]:
        if made is None or made["b"] is None:
            return {}
        pk = entries.claim_pk("tags", "tags_b_key", [str(made["b"])])
        return {pk: entries.claim_entry(pk, entries.item_pk("tags", [str(made["id"])]))}

    def _pour(self, number: int, key: str, made: Any) -> None:
        before = self.rows.pop(("tags", key), None)
        self.effects.append(Effect(number, number, self.now, "tags", key, before, made))
        if made is not None:
            self.rows["tags", key] = made

    def history(self) -> History:
        front = FrontHistory(self.writes, self.answers, self.reads)
        return History(
            self.attempts, [], self.finals, self.effects, self.rows, is_ordered=True, front=front
        )


def kinds(history: History) -> set[str]:
    return {each.kind for each in check(history)}


def story() -> FrontStory:
    """A tag is created, changed, and read."""
    found = FrontStory()
    found.send("create", {"id": 1, "token": "t0", "b": 5}, row("t0", b=5))
    found.send("merge", {"id": 1, "token": "t1", "a": 2}, row("t1", a=2, b=5), 200)
    found.reads.append(FrontRead(("tags", "1"), 1.5, 1.6, 200, row("t1", a=2, b=5)))
    found.refuse("create", {"id": 1, "token": "t2"}, 409, "conflict")
    found.refuse("create", {"id": 2, "token": "t3", "b": 5}, 409, "conflict")
    found.refuse("merge", {"id": 2, "token": "t4"}, 404, "no-such-row")
    return found


def test_a_right_history_keeps_all_promises() -> None:
    assert check(story().history()) == []


def test_postgres_has_to_see_whole_rows_in_the_order_of_the_table() -> None:
    found = poured(story().history())

    (first,), (second,) = (each.writes for each in found.attempts)
    assert (first.op, second.op) == ("create", "replace")
    assert second.values == row("t1", a=2, b=5)
    assert [each.place_of(0) for each in found.attempts] == [1, 2]


def test_what_the_stream_dropped_and_a_later_write_overtook_need_not_end() -> None:
    found = story()
    right = found.history()
    assert right.front is not None
    dropped = replace(right, front=replace(right.front, dropped=frozenset({1, 2})))

    assert poured(dropped).overtaken == {0}


def test_what_was_overtaken_may_read_superseded_and_what_is_last_may_not() -> None:
    found = story()
    found.effects, found.rows = [], {}
    for number in (0, 1):
        superseded = Reading(f"r{number}", 90, 91, "rejected", {0: "superseded"})
        found.finals[f"r{number}"] = superseded
    right = found.history()
    assert right.front is not None

    front = replace(right.front, dropped=frozenset({1, 2}))
    seen = check(replace(right, front=front))
    [wrong] = [each.text for each in seen if each.kind == "wrong-rejection"]
    assert "request 1" in wrong


BROKEN: dict[str, Any] = {}


def broken(kind: str) -> Any:
    def keep(change: Any) -> Any:
        BROKEN[change.__name__] = kind, change
        return change

    return keep


@broken("wrong-item")
def a_create_over_a_row(found: FrontStory) -> None:
    found.send("create", {"id": 1, "token": "t9"}, row("t9"))


@broken("wrong-item")
def a_lost_update(found: FrontStory) -> None:
    found.send("merge", {"id": 1, "token": "t9"}, row("t9", b=5), 200)


@broken("wrong-item")
def a_claim_of_another_row(found: FrontStory) -> None:
    found.send("create", {"id": 2, "token": "t9", "b": 5}, row("t9", 2, b=5))


@broken("wrong-item")
def an_item_without_a_message(found: FrontStory) -> None:
    last = found.writes[-1]
    bare = {pk: {k: v for k, v in e.items() if k != "write"} for pk, e in last.entries.items()}
    found.writes[-1] = last._replace(entries=bare)


@broken("misled")
def a_success_of_nothing(found: FrontStory) -> None:
    number = found.send("create", {"id": 3, "token": "t9"}, row("t9", 3))
    found.writes.pop()
    found.effects.pop()
    del found.finals[f"r{number}"], found.rows["tags", "3"]


@broken("misled")
def a_conflict_without_a_reason(found: FrontStory) -> None:
    found.refuse("create", {"id": 3, "token": "t9"}, 409, "conflict")


@broken("misled")
def a_missing_row_that_is_there(found: FrontStory) -> None:
    found.refuse("merge", {"id": 1, "token": "t9"}, 404, "no-such-row")


@broken("misled")
def a_status_of_another_outcome(found: FrontStory) -> None:
    found.attempts[0] = found.attempts[0]._replace(status=200)


@broken("misled")
def an_error_that_only_an_operator_ends(found: FrontStory) -> None:
    found.refuse("create", {"id": 3, "token": "t9"}, 500, "front-refuses")


@broken("misled")
def a_stale_read(found: FrontStory) -> None:
    found.reads.append(FrontRead(("tags", "1"), 1.5, 1.6, 200, row("t0", b=5)))


@broken("misled")
def another_answer_to_a_repeated_request(found: FrontStory) -> None:
    first = found.attempts[0] = found.attempts[0]._replace(key="ann k")
    found.attempts.append(first._replace(sent_at=8.0, answered_at=9.0))
    found.answers[len(found.attempts) - 1] = found.answers[0]._replace(body=None)


@broken("refused-but-applied")
def a_refusal_of_what_was_written(found: FrontStory) -> None:
    found.attempts[0] = found.attempts[0]._replace(status=409, receipt=None)
    found.answers[0] = FrontAnswer("conflict", {}, "", "")
    del found.finals["r0"]


@broken("doubled")
def a_request_that_is_written_twice(found: FrontStory) -> None:
    last = found.writes[-1]
    found.writes.append(last._replace(number=last.number + 1))


@broken("diverged")
def an_item_that_postgres_does_not_have(found: FrontStory) -> None:
    pk = entries.item_pk("tags", ["4"])
    found.table(None, {pk: entries.item_entry(FrontItem(pk, json.dumps(row("t", 4)), "0" * 32))})


@broken("diverged")
def a_claim_that_nobody_has(found: FrontStory) -> None:
    pk = entries.claim_pk("tags", "tags_b_key", ["7"])
    found.table(None, {pk: entries.claim_entry(pk, entries.item_pk("tags", ["1"]))})


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_of_the_front_is_seen(name: str) -> None:
    kind, change = BROKEN[name]
    found = story()
    change(found)

    assert kind in kinds(found.history())


def test_a_marked_item_may_differ() -> None:
    found = story()
    pk = entries.item_pk("tags", ["4"])
    marked = FrontItem(pk, json.dumps(row("t", 4)), "0" * 32, refused="{}")
    found.table(None, {pk: entries.item_entry(marked)})

    assert check(found.history()) == []
