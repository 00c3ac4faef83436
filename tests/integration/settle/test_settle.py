"""Rows in front that Postgres refuses afterwards: their items become what Postgres has."""

import io
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import psycopg2
import pytest
from botocore.exceptions import ClientError
from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, MetaData, Numeric, Table, Text

from chalicelib import asking
from chalicelib.api.http.caller import Caller
from chalicelib.api.http.request import Request
from chalicelib.api.reads import calls as reads
from chalicelib.api.writes import calls as writes
from chalicelib.buffer.dynamodb import entries, table, take
from chalicelib.buffer.dynamodb.entries import FrontItem
from chalicelib.buffer.dynamodb.naming import claims_of, item_of
from chalicelib.contract import resources
from chalicelib.drain import handler as drain_handler
from chalicelib.errors import Problem
from chalicelib.messages.message import Message, encode
from chalicelib.reader import refused
from chalicelib.settle import handler
from tests.kit.front_table import FrontTable
from tests.kit.fronted import NAME
from tests.kit.stream import drain, record, record_of, write
from tests.kit.world import Context, World, without_patience

DAY = 86_400


@cache
def tables() -> MetaData:
    metadata = MetaData()
    front = {"front": "dynamodb"}
    Table("people", metadata, key(), Column("email", Text, unique=True),
          Column("age", Integer, CheckConstraint("age >= 0", name="alive"), nullable=False),
          Column("height", Numeric), Column("about", Text), info=front)  # fmt: skip
    Table("pets", metadata, key(), Column("owner", ForeignKey("people.id", name="has_owner")),
          info=front)  # fmt: skip
    Table("queued", metadata, key(), Column("n", Integer, CheckConstraint("n >= 0")))
    return metadata


def key() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=False)


@dataclass
class Stage:
    """What clients, the stream and the clock do."""

    world: World
    table: FrontTable
    written: list[Message] = field(default_factory=list)

    def accept(self, message: Message) -> Message:
        """As the API function does: the item and its claims; the stream has it from now on."""
        row = json.loads(message.sets[0].rows)
        resource = resources.resource(message.resource)
        pk = str(item_of(resource, row))
        before = self.table.entry(pk) or {}
        for claim in claims_of(resource, json.loads(before["row"]["S"])) if "row" in before else ():
            self.table.client.delete_item(TableName=NAME, Key={"pk": {"S": claim}})
        etag, body = entries.etag_of(message.dedup_id), encode(message)
        item = FrontItem(pk, message.sets[0].rows, etag, body)
        if message.op == "delete":
            item = entries.tombstone(pk, etag, body, 0)
        else:
            for claim in claims_of(resource, row):
                self.table.put(entries.claim_entry(claim, pk))
        self.table.put(entries.item_entry(item))
        self.written.append(message)
        return message

    def pour(self) -> None:
        records, self.written = [record(each) for each in self.written], []
        with without_patience():
            drain(self.world, records)
            drain_waiting()

    def person(
        self, id: int, email: str | None = None, age: int | None = 1, op: Any = "replace"
    ) -> None:
        row = {"id": id, "email": email, "age": age, "height": None, "about": None}
        self.accept(write(op, "people", row))

    def seed(self, id: int, email: str | None = None) -> None:
        """A row that both have."""
        self.person(id, email)
        self.pour()

    def settle(self, seconds: float = 60) -> dict[str, int]:
        return handler.settle(Context(seconds))

    def cursor(self) -> Any:
        return self.table.entry(entries.CURSOR)

    def pass_time(self) -> None:
        self.world.execute(
            "UPDATE decanter.rejection SET rejected_at = rejected_at - interval '20 min'"
        )


def drain_waiting() -> None:
    drain_handler.drain({}, Context(30), take)


@pytest.fixture
def stage(
    make_world: Callable[[MetaData], World],
    front_table: FrontTable,
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    world = make_world(tables())
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")

    class Reader:
        def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
            answer = json.dumps(world.read(json.loads(Payload)))
            return {"Payload": io.BytesIO(answer.encode())}

    monkeypatch.setattr(asking, "_client", Reader)
    return Stage(world, front_table)


def claim(email: str) -> str:
    return f'unique/people/people_email_key/["{email}"]'


PERSON = 'row/people/["1"]'
OTHER = 'row/people/["2"]'


def test_a_refused_change_is_set_back_to_the_row_of_postgres(stage: Stage) -> None:
    stage.seed(1, "a@x")
    stage.world.execute("UPDATE people SET height = 1.750 WHERE id = 1")
    stage.person(1, "a@x", age=-1)
    stage.pour()

    assert stage.settle() == {"set_back": 1, "marked": 0, "left": 0}

    item = stage.table.item(PERSON)
    assert item.row == '{"id":1,"email":"a@x","age":1,"height":1.750,"about":null}'
    assert item.row == stage.world.row("people", id=1)
    etag = stage.world.read({"ask": "row", "resource": "people", "key": '{"id":1}'})["etag"]
    assert item == FrontItem(PERSON, item.row, etag)
    assert stage.table.owners() == {claim("a@x"): PERSON}


def test_a_refused_create_becomes_a_tombstone(stage: Stage) -> None:
    stage.person(1, "a@x", age=-1, op="create")
    stage.pour()

    assert stage.settle()["set_back"] == 1

    item = stage.table.item(PERSON)
    assert (item.row, item.write, item.refused) == (None, None, None)
    assert item.ttl is not None
    assert stage.table.owners() == {}


def test_a_refused_delete_brings_the_row_and_its_claims_back(stage: Stage) -> None:
    stage.seed(1, "a@x")
    stage.world.execute("INSERT INTO pets VALUES (1, 1)")
    stage.accept(write("delete", "people", {"id": 1}))
    stage.pour()
    assert stage.world.rejections("type") == [("still-referenced",)]

    assert stage.settle()["set_back"] == 1

    item = stage.table.item(PERSON)
    assert (item.row, item.ttl) == (stage.world.row("people", id=1), None)
    assert stage.table.owners() == {claim("a@x"): PERSON}


def test_what_is_set_back_is_not_poured_again(stage: Stage) -> None:
    stage.person(1, age=-1)
    stage.pour()
    stage.settle()

    assert take.deliveries({"Records": [record_of(stage.table.entry(PERSON))]}) == []


KINDS = (
    "check",
    "conflict",
    "expired",
    "null",
    "schema-mismatch",
    "superseded",
    "trigger",
    "value",
)


def refuse(stage: Stage, kind: str, id: int) -> None:
    """Write a person so that Postgres refuses it in this way."""
    match kind:
        case "check":
            stage.person(id, age=-1)
        case "conflict":
            stage.person(id, "taken")
        case "expired":
            stage.accept(write("replace", "people", {"id": id, "age": 2}, ms=-40 * DAY * 1000))
        case "null":
            stage.person(id, age=None)
        case "schema-mismatch":
            stage.accept(write("replace", "people", {"id": id, "gone": 1}))
        case "superseded":  # as with clocks that differ by an hour: the item has the later write
            stage.accept(write("replace", "people", {"id": id, "age": 2}, ms=-3_600_000))
        case "trigger":
            stage.person(id, "no")
        case "value":
            stage.person(id, age=1 << 40)


def test_a_write_that_is_refused_for_any_reason_is_set_back(stage: Stage) -> None:
    stage.world.execute("""
        CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
        CREATE TRIGGER no BEFORE INSERT OR UPDATE ON people
            FOR EACH ROW WHEN (NEW.email = 'no') EXECUTE FUNCTION no();
        INSERT INTO people (id, email, age) VALUES (99, 'taken', 1);
        INSERT INTO people (id, age, height) SELECT id, 1, 2.50 FROM generate_series(1, 8) AS id;
    """)
    there, absent = KINDS.index("superseded") + 1, KINDS.index("superseded") + 11
    stage.person(there)
    stage.accept(write("delete", "people", {"id": absent}))
    stage.pour()
    stage.world.execute("DELETE FROM decanter.rejection")  # of the delete of nothing
    for number, kind in enumerate(KINDS, 1):
        refuse(stage, kind, number)
        refuse(stage, kind, 10 + number)
    stage.pour()
    assert sorted(stage.world.rejections("type")) == [(kind,) for kind in KINDS for _ in range(2)]

    assert stage.settle() == {"set_back": 16, "marked": 0, "left": 0}

    for number in range(1, 9):
        row = stage.world.row("people", id=number)
        assert row is not None
        assert stage.table.item(f'row/people/["{number}"]').row == row
        assert stage.table.item(f'row/people/["{10 + number}"]').row is None


def test_a_write_without_its_parent_is_set_back(stage: Stage) -> None:
    stage.accept(write("create", "pets", {"id": 1, "owner": 7}))
    stage.pour()
    stage.world.execute("UPDATE decanter.waiting SET tried_at = tried_at - interval '1 min'")
    with without_patience():
        drain_waiting()
    assert stage.world.rejections("type") == [("missing-parent",)]

    assert stage.settle()["set_back"] == 1

    assert stage.table.item('row/pets/["1"]').row is None


def test_a_delete_of_what_postgres_never_had_needs_nothing(stage: Stage) -> None:
    stage.accept(write("delete", "people", {"id": 1}))
    stage.pour()
    assert stage.world.rejections("type") == [("missing",)]
    before = stage.table.entry(PERSON)

    assert stage.settle() == {"set_back": 0, "marked": 0, "left": 1}

    assert stage.table.entry(PERSON) == before


def test_a_message_of_nobody_has_no_item(stage: Stage) -> None:
    drain(stage.world, [record_of({"pk": {"S": PERSON}, "write": {"S": "?"}})])
    assert stage.world.rejections("type") == [("foreign-message",)]

    assert stage.settle() == {"set_back": 0, "marked": 0, "left": 0}


def test_writes_through_the_queue_have_no_item(stage: Stage) -> None:
    stage.world.post("queued", {"id": 1, "n": -1})
    stage.world.drain()
    assert stage.world.rejections("type") == [("check",)]

    assert stage.settle() == {"set_back": 0, "marked": 0, "left": 0}


def test_an_item_that_somebody_has_written_since_is_left(stage: Stage) -> None:
    stage.person(1, age=-1)
    stage.pour()
    stage.person(1, "a@x", age=5)
    before = stage.table.entry(PERSON)

    assert stage.settle() == {"set_back": 0, "marked": 0, "left": 1}

    assert stage.table.entry(PERSON) == before
    assert stage.table.owners() == {claim("a@x"): PERSON}


def test_an_item_that_somebody_writes_meanwhile_is_left(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.person(1, "a@x", age=-1)
    stage.pour()
    get_many = table.get_many

    def overtaken(pks: Any, deadline: float) -> Any:
        found = get_many(pks, deadline)
        stage.person(1, "a@x", age=5)
        return found

    monkeypatch.setattr(table, "get_many", overtaken)

    assert stage.settle() == {"set_back": 0, "marked": 0, "left": 1}

    assert json.loads(stage.table.item(PERSON).row or "")["age"] == 5
    assert stage.table.owners() == {claim("a@x"): PERSON}


def test_a_claim_goes_with_the_value_to_the_row_that_has_it(stage: Stage) -> None:
    """One gives a value up and is refused; another takes it meanwhile, and is refused for that."""
    stage.seed(1, "a@x")
    stage.person(1, "b@x", age=-1)
    stage.person(2, "a@x", op="create")
    assert stage.table.owners() == {claim("b@x"): PERSON, claim("a@x"): OTHER}
    stage.pour()
    assert sorted(stage.world.rejections("type")) == [("check",), ("conflict",)]

    assert stage.settle()["set_back"] == 2

    assert stage.table.owners() == {claim("a@x"): PERSON}
    assert stage.table.item(OTHER).row is None


def test_a_claim_that_somebody_else_has_by_now_is_not_given_back(stage: Stage) -> None:
    stage.person(1, "a@x", age=-1)
    stage.pour()
    stage.table.put(entries.claim_entry(claim("a@x"), OTHER))

    assert stage.settle()["set_back"] == 1

    assert stage.table.item(PERSON).row is None
    assert stage.table.owners() == {claim("a@x"): OTHER}


def test_clients_see_the_truth_again(stage: Stage) -> None:
    """By the API itself: what it stored is poured, refused, set back, and read."""
    assert request("PUT", 1, {"email": "a@x", "age": 1}) == 201
    pour_entry(stage, PERSON)
    assert request("PUT", 1, {"email": "b@x", "age": -1}) == 200
    pour_entry(stage, PERSON)
    assert stage.world.rejections("type") == [("check",)]
    assert request("PUT", 2, {"email": "b@x", "age": 1}) == 409

    assert stage.settle()["set_back"] == 1

    assert request("GET", 1) == stage.world.row("people", id=1)
    assert request("PUT", 2, {"email": "a@x", "age": 1}) == 409
    assert request("PUT", 2, {"email": "b@x", "age": 1}) == 201


def request(method: str, id: int, row: Any = None) -> Any:
    """The status of a write, or the row that is read."""
    body = b"" if row is None else json.dumps(row).encode()
    caller = Caller("me", frozenset({"*:read", "*:write"}))
    sent = Request(method, f"/people/{id}", {}, body, caller)
    try:
        if method == "GET":
            return reads.row(sent, "people", [str(id)]).body
        return writes.replace(sent, "people", [str(id)]).status
    except Problem as problem:
        return problem.status


def pour_entry(stage: Stage, pk: str) -> None:
    assert drain(stage.world, [record_of(stage.table.entry(pk))]) == {"batchItemFailures": []}


# Once and again


def test_settling_twice_changes_nothing(stage: Stage) -> None:
    stage.seed(1)
    stage.person(1, age=-1)
    stage.pour()
    stage.settle()
    before = stage.table.entry(PERSON)

    assert stage.settle() == {"set_back": 0, "marked": 0, "left": 1}

    assert stage.table.entry(PERSON) == before


def test_the_cursor_moves_behind_what_is_past(stage: Stage) -> None:
    stage.person(1, age=-1)
    stage.pour()
    stage.settle()
    assert stage.cursor() is None
    stage.pass_time()

    assert stage.settle()["left"] == 1
    assert stage.cursor() is not None
    assert stage.settle() == {"set_back": 0, "marked": 0, "left": 0}


def test_a_rejection_that_is_committed_late_is_settled(stage: Stage) -> None:
    """Its transaction began before the one whose rejection is settled already."""
    stage.person(1, age=-1)
    (slow,) = stage.written
    stage.written = []
    with closing(psycopg2.connect(stage.world.url)) as other, other.cursor() as cursor:
        cursor.execute(
            "INSERT INTO decanter.rejection (dedup_id, item, resource, op, type, reason, row)"
            " VALUES (%s, 0, 'people', 'replace', 'check', 'why', %s)",
            (slow.dedup_id, slow.sets[0].rows),
        )
        stage.person(2, age=-1)
        stage.pour()
        assert stage.settle() == {"set_back": 1, "marked": 0, "left": 0}
        other.commit()

    assert stage.settle() == {"set_back": 1, "marked": 0, "left": 1}

    assert stage.table.item(PERSON).row is None


def test_many_are_settled_in_pages(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "_MOST", 7)
    for n in range(20):
        stage.person(n, age=-1)
    stage.pour()

    assert stage.settle() == {"set_back": 20, "marked": 0, "left": 0}


def test_what_the_time_does_not_suffice_for_is_settled_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refused, "_MOST", 4)
    for n in range(10):
        stage.person(n, age=-1)
    stage.pour()
    stage.pass_time()
    # The clock is read before each of the pages, and before each item: the second page is cut.
    left = iter([True] * 8)
    with pytest.MonkeyPatch.context() as clock:
        clock.setattr(handler, "_has_time", lambda _: next(left, False))
        assert stage.settle() == {"set_back": 6, "marked": 0, "left": 0}
    assert stage.cursor() is not None

    assert stage.settle() == {"set_back": 4, "marked": 0, "left": 2}


def test_a_table_that_does_not_answer_leaves_the_rest(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.person(1, age=-1)
    stage.person(2, age=-1)
    stage.pour()
    stage.pass_time()
    write_ = table.write
    calls: list[Any] = []

    def throttled(actions: Any, deadline: float) -> Any:
        calls.append(actions)
        if len(calls) == 2:
            raise Problem("front-unavailable", "throttled")
        return write_(actions, deadline)

    monkeypatch.setattr(table, "write", throttled)
    with pytest.raises(Problem, match="throttled"):
        stage.settle()
    assert stage.cursor() is None

    assert stage.settle() == {"set_back": 1, "marked": 0, "left": 1}
    assert stage.cursor() is not None


def test_a_reader_that_does_not_answer_moves_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.person(1, age=-1)
    stage.pour()
    before = stage.table.entry(PERSON)

    class Away:
        def invoke(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")

    monkeypatch.setattr(asking, "_client", Away)

    with pytest.raises(Problem) as caught:
        stage.settle()
    assert caught.value.type == "reader-busy"
    assert stage.table.entry(PERSON) == before


# What cannot be set back


def test_a_row_that_no_item_holds_is_marked(stage: Stage) -> None:
    stage.seed(1)
    stage.world.execute("UPDATE people SET about = repeat('x', 500000) WHERE id = 1")
    stage.person(1, age=-1)
    (written,) = stage.written
    stage.pour()

    assert stage.settle() == {"set_back": 0, "marked": 1, "left": 0}

    item = stage.table.item(PERSON)
    assert (item.etag, item.write) == (entries.etag_of(written.dedup_id), None)
    assert json.loads(item.refused or "") == {
        "type": "check",
        "reason": stage.world.rejections("reason")[0][0],
        "id": written.dedup_id,
    }
    assert stage.settle() == {"set_back": 0, "marked": 0, "left": 1}


def test_a_row_that_the_table_refuses_is_marked(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.person(1, age=-1)
    stage.person(2, age=-1)
    stage.pour()
    write_ = table.write

    def refusing(actions: Any, deadline: float) -> Any:
        if actions[0].pk == PERSON and "refused" not in actions[0].entry:
            raise Problem("front-refuses", "no")
        return write_(actions, deadline)

    monkeypatch.setattr(table, "write", refusing)

    assert stage.settle() == {"set_back": 1, "marked": 1, "left": 0}


def test_a_value_too_long_for_a_claim_has_none(stage: Stage) -> None:
    stage.seed(1)
    stage.world.execute("UPDATE people SET email = repeat('x', 2100) WHERE id = 1")
    stage.person(1, age=-1)
    stage.pour()

    assert stage.settle()["set_back"] == 1

    assert stage.table.item(PERSON).row == stage.world.row("people", id=1)
    assert stage.table.owners() == {}


@pytest.mark.parametrize("entry", [{"etag": {"N": "1"}}, {"etag": {"S": "other"}}, {}])
def test_an_item_that_others_have_changed_is_left(stage: Stage, entry: dict[str, Any]) -> None:
    stage.person(1, age=-1)
    stage.pour()
    changed = {"pk": {"S": PERSON}, **entry}
    stage.table.put(changed)

    assert stage.settle() == {"set_back": 0, "marked": 0, "left": 1}

    assert stage.table.entry(PERSON) == changed


def test_a_row_that_others_have_broken_is_set_back(stage: Stage) -> None:
    stage.person(1, age=-1)
    stage.pour()
    stage.table.put({**stage.table.entry(PERSON), "row": {"S": "{"}})

    assert stage.settle()["set_back"] == 1


@pytest.mark.parametrize("after", [{"N": "1"}, {"S": "?"}, {"S": '["x", 1, 2]'}])
def test_a_cursor_that_cannot_be_read_begins_anew(stage: Stage, after: dict[str, str]) -> None:
    stage.table.put({"pk": {"S": entries.CURSOR}, "after": after})
    stage.person(1, age=-1)
    stage.pour()

    assert stage.settle()["set_back"] == 1
