"""Acts of operators: rejections are resent or discarded once, whoever does what twice."""

import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Numeric, Table, Text

from chalicelib.api.ops import resend
from chalicelib.buffer.sqs import put
from chalicelib.errors import DatabaseUnavailable, Problem
from chalicelib.messages.message import decode
from chalicelib.postgres.connecting import connection
from chalicelib.sweep.handler import sweep
from tests.kit.api import Answered, assert_problem, body_of
from tests.kit.operators import break_next_record, ops, post
from tests.kit.world import Context, World


@cache
def tables() -> MetaData:
    metadata = MetaData()
    positive = CheckConstraint("n >= 0", name="positive")
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    Table("items", metadata, key, Column("n", Integer), Column("amount", Numeric),
          Column("note", Text), positive)  # fmt: skip
    Table("logs", metadata, Column("n", Integer), Column("note", Text),
          CheckConstraint("n >= 0", name="positive_log"), info={"ordered": False})  # fmt: skip
    Table("numbered", metadata, Column("id", Integer, primary_key=True), Column("n", Integer),
          CheckConstraint("n >= 0", name="positive_number"))  # fmt: skip
    return metadata


@pytest.fixture
def world(make_operated: Callable[[MetaData], World]) -> World:
    return make_operated(tables())


def mend(world: World) -> None:
    """Lift the constraints that the writes of these tests violate."""
    for table, name in (("items", ""), ("logs", "_log"), ("numbered", "_number")):
        world.execute(f"ALTER TABLE {table} DROP CONSTRAINT positive{name}")


def bad(world: World, resource: str = "items", count: int = 3, **more: Any) -> list[str]:
    """Send rows that are rejected; returns the ids of the rejections, in the rows' order."""
    ids = [{"id": n} if resource == "items" else {} for n in range(count)]
    world.post(resource, [{"n": -1 - n, **each, **more} for n, each in enumerate(ids)])
    world.drain()
    return ids_of(world)[-count:]


def ids_of(world: World) -> list[str]:
    """The ids of all rejections, in the order in which they were made."""
    found = world.execute(
        "SELECT dedup_id || '.' || item FROM decanter.rejection ORDER BY rejected_at, item"
    )
    return [id_ for (id_,) in found]


def begin(kind: str = "resend", **members: Any) -> str:
    answer = post("acts", {"kind": kind, **members})
    assert answer.status_code == 201, answer.body
    act = body_of(answer)
    assert (act["state"], act["done"], act["who"]) == ("begun", 0, "olga")
    assert answer.headers["Location"] == f"/ops/acts/{act['id']}"
    return str(act["id"])


def step(act: str, who: str = "olga") -> Any:
    answer = post(f"acts/{act}/steps", who=who)
    assert answer.status_code == 200, answer.body
    return body_of(answer)


def do(kind: str = "resend", **members: Any) -> Any:
    """Begin an act, and do all of it."""
    act = begin(kind, **members)
    while (found := step(act))["state"] not in ("done", "stopped"):
        pass
    return found


def reasons(act: str) -> dict[str, str]:
    """Reasons of what has failed, by id."""
    steps = body_of(ops(f"/ops/acts/{act}"))["steps"]
    return {each["id"]: each["reason"] for one in steps for each in one["detail"].get("failed", ())}


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Have something done once, after the next messages are sent and before that is recorded."""
    send = put.send
    once = [act]

    def sent(*given: Any) -> None:
        send(*given)
        if once:
            once.pop()()

    monkeypatch.setattr(put, "send", sent)


def test_all_that_match_a_filter_are_resent_once_the_cause_is_removed(world: World) -> None:
    receipt = world.post("items", [{"id": 1, "n": -1}, {"id": 2, "n": -2}, {"id": 3, "n": 3}])
    world.drain()
    before = world.status(receipt)
    mend(world)

    act = do(filter={"type": "check", "resource": "items"}, expect=2, note="constraint dropped")
    world.drain()

    assert (act["writes"], act["done"], act["failed"], act["state"]) == (2, 2, 0, "done")
    assert world.execute("SELECT id, n FROM items ORDER BY id") == [(1, -1), (2, -2), (3, 3)]
    assert world.status(receipt) == before  # of the request as it was sent
    assert body_of(ops("/ops/rejections")) == {"rejections": [], "next": None}
    (found,) = body_of(ops("/ops/acts?kind=resend&who=olga"))["acts"]
    assert found == act
    assert found["target"] == {
        "filter": {"type": "check", "resource": "items"},
        "expect": 2,
    }
    assert found["note"] == "constraint dropped"
    resent = body_of(ops("/ops/rejections?state=resent"))["rejections"]
    assert {each["correction"]["act"] for each in resent} == {act["id"]}


@pytest.mark.parametrize("resource", ["items", "logs", "numbered"])
def test_a_step_that_was_sent_and_not_recorded_is_repeated_and_counts_once(
    world: World, monkeypatch: pytest.MonkeyPatch, resource: str
) -> None:
    bad(world, resource)
    mend(world)
    act = begin(filter={}, expect=3)
    break_next_record(monkeypatch)

    assert_problem(post(f"acts/{act}/steps"), 503, "reader-busy")
    first, world.queued[:] = [*world.queued], []
    assert first
    found = step(act, who="otto")

    assert (found["done"], found["state"], found["who"]) == (3, "done", "olga")
    assert {each.dedup_id for each in world.queued} == {each.dedup_id for each in first}
    world.drain(first)
    world.drain()
    assert sorted(world.execute(f"SELECT n FROM {resource}")) == [(-3,), (-2,), (-1,)]
    (only,) = body_of(ops(f"/ops/acts/{act}"))["steps"]
    assert (only["who"], only["done"]) == ("otto", 3)


def test_two_operators_who_do_the_same_step_at_once_do_it_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad(world, "logs")
    mend(world)
    act = begin(filter={}, expect=3)
    meanwhile(monkeypatch, lambda: step(act, who="otto"))

    found = step(act)

    assert (found["done"], found["failed"], found["state"]) == (3, 0, "done")
    world.drain()
    assert world.value("SELECT count(*) FROM logs") == 3
    (only,) = body_of(ops(f"/ops/acts/{act}"))["steps"]
    assert (only["who"], only["done"]) == ("otto", 3)


def test_overlapping_acts_at_once_resend_each_write_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = bad(world, "logs", 5)
    mend(world)
    first, second = begin(ids=ids[:3]), begin(ids=ids[1:])
    meanwhile(monkeypatch, lambda: step(second, who="otto"))

    found = step(first)

    assert (found["done"], found["failed"], found["state"]) == (1, 2, "done")
    why = f"act {second} has corrected it meanwhile"
    assert reasons(first) == {ids[1]: why, ids[2]: why}
    world.drain()
    assert sorted(world.execute("SELECT n FROM logs")) == [(-n,) for n in range(5, 0, -1)]


def test_of_an_edited_row_and_the_unedited_one_the_first_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = bad(world, "logs")
    mend(world)
    edited = begin(ids=ids[:1], rows={ids[0]: {"n": 7, "note": "edited"}})
    unedited = begin(filter={}, expect=3)
    meanwhile(monkeypatch, lambda: step(unedited, who="otto"))

    assert step(edited)["failed"] == 1

    first, *rest = world.queued
    assert rest
    world.drain(rest)
    world.drain([first])
    assert sorted(world.execute("SELECT n FROM logs")) == [(-3,), (-2,), (-1,)]


def test_an_edited_row_is_sent_in_place_of_the_old_one_with_all_its_digits(world: World) -> None:
    ids = bad(world, count=2, amount=1)
    digits = "12345678901234567890.123456789012345678901234567890"
    body = f'{{"kind": "resend", "ids": {json.dumps(ids)}, "rows": {{"{ids[0]}": ROW}}}}'
    row = f'{{"id": 0, "n": 5, "amount": {digits}, "note": "caf\\u00e9 \\u0027"}}'
    answer = post("acts", body.replace("ROW", row).encode())
    act = body_of(answer)["id"]

    step(act)
    world.drain()

    found = world.execute("SELECT id, n, amount::text, note FROM items")
    assert found == [(0, 5, digits, "café '")]
    # The other one was rejected as before: a new rejection, of what was sent.
    assert len(ids_of(world)) == 3
    (again,) = body_of(ops("/ops/rejections"))["rejections"]
    assert (again["item"], again["row"]["n"], again["caller"]) == (1, -2, "olga")
    old = body_of(ops(f"/ops/rejections/{ids[1]}"))
    assert old["correction"]["resent_as"] == again["dedup_id"]
    life = body_of(ops(f"/ops/writes/{old['dedup_id']}"))["events"]
    assert [(each["what"], each["act"]) for each in life if each.get("act")] == [("resent", act)]
    life = body_of(ops(f"/ops/writes/{again['dedup_id']}"))["events"]
    assert {each["what"] for each in life} == {"resent-from", "accepted", "poured", "rejected"}
    assert digits in ops(f"/ops/acts/{act}").body.decode()


def test_what_was_rejected_again_can_be_resent_again(world: World) -> None:
    bad(world, count=1)
    for _ in range(2):
        do(filter={}, expect=1)
        world.drain()
    mend(world)
    do(filter={}, expect=1)
    world.drain()

    assert len(ids_of(world)) == 3
    assert world.execute("SELECT id, n FROM items") == [(0, -1)]


def test_a_message_may_be_resent_in_any_portions(world: World) -> None:
    ids = bad(world, "logs", 6)
    mend(world)

    do(ids=ids[1:3])
    first, world.queued[:] = [*world.queued], []
    do(ids=ids[:1])
    do(filter={}, expect=3)
    world.drain()
    world.drain(first)

    assert sorted(world.execute("SELECT n FROM logs")) == [(-n,) for n in range(6, 0, -1)]


def test_portions_that_overlap_after_a_crash_count_each_write_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = bad(world, "logs", 4)
    mend(world)
    lost = begin(ids=ids[:3])
    break_next_record(monkeypatch)
    assert_problem(post(f"acts/{lost}/steps"), 503, "reader-busy")
    post(f"acts/{lost}/stop")

    do(ids=ids[1:])
    world.drain(world.queued[::-1])

    assert sorted(world.execute("SELECT n FROM logs")) == [(-4,), (-3,), (-2,), (-1,)]


def test_what_cannot_be_sent_fails_by_itself_with_the_reason(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad(world, count=2)
    monkeypatch.setenv("DECANTER_MESSAGE_BYTES", "10000")
    odd = {
        "gone": ("gone", "create", "check", '{"id": 1}', None),
        "not": ("items", "create", "check", '{"id": 1, "n": "text"}', None),
        "foreign": (None, None, "foreign-message", None, "what is this"),
        "unstorable": ("items", "create", "value", None, None),
        "old": ("items", "replace", "superseded", '{"id": 0, "n": 1}', None),
        "met": ("items", "merge", "precondition-failed", '{"id": 0, "n": 1}', None),
        "op": ("logs", "merge", "missing", '{"n": 1}', None),
        "keyless": ("items", "merge", "missing", '{"n": 1}', None),
        "empty": ("items", "merge", "missing", '{"id": 1}', None),
        "more": ("items", "delete", "missing", '{"id": 1, "n": 1}', None),
        "large": ("items", "create", "check", f'{{"id": 9, "note": "{"x" * 20_000}"}}', None),
    }
    ids = {name: f"{uuid4()}.0" for name in odd}
    for name, (resource, op, type_, row, body) in odd.items():
        world.execute(
            "INSERT INTO decanter.rejection (dedup_id, item, resource, op, type, reason, row, body)"
            " VALUES (%s, 0, %s, %s, %s, 'why', %s, %s)",
            *(ids[name].partition(".")[0], resource, op, type_, row, body),
        )
    mend(world)

    act = do(filter={}, expect=13)
    world.drain()

    assert (act["done"], act["failed"], act["state"]) == (2, 11, "done")
    assert world.value("SELECT count(*) FROM items") == 2
    told = reasons(act["id"])
    assert len(told) == 11
    said = {name: told[id_] for name, id_ in ids.items()}
    assert "there is no resource 'gone'" in said["gone"]
    assert said["not"].startswith("not a row of items: /n: ")
    assert "could not be read" in said["foreign"]
    assert "Postgres cannot store" in said["unstorable"]
    assert "a newer write" in said["old"]
    assert "its condition is not kept" in said["met"]
    assert "unordered" in said["op"]
    assert "/id: it is missing" in said["keyless"]
    assert "at least one member" in said["empty"]
    assert "a delete names the key alone" in said["more"]
    assert "a message holds at most 10000" in said["large"]
    assert len(body_of(ops("/ops/rejections"))["rejections"]) == 11  # they are still open


def test_what_fails_at_the_end_of_a_page_does_not_end_the_act(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resend, "_AT_ONCE", 4)
    bad(world, "logs", 11)  # in one transaction, so that a page ends among them
    world.execute("UPDATE decanter.rejection SET type = 'superseded'")
    bad(world, "logs", 5)

    act = do(filter={}, expect=16)

    assert (act["done"], act["failed"], act["state"]) == (5, 11, "done")


def test_of_many_failures_some_are_listed_and_all_are_counted(world: World) -> None:
    bad(world, "logs", 30)
    world.execute("UPDATE decanter.rejection SET type = 'superseded'")

    act = do(filter={}, expect=30)

    assert (act["done"], act["failed"], act["state"]) == (0, 30, "done")
    (only,) = body_of(ops(f"/ops/acts/{act['id']}"))["steps"]
    listed = len(only["detail"]["failed"])
    assert 0 < listed < 30
    assert only["detail"]["failed_unlisted"] == 30 - listed


def test_writes_of_one_key_are_resent_in_the_order_in_which_they_were_accepted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resend, "_AT_ONCE", 5)  # fewer than a transaction has rejected
    notes = [f"note {number}" for number in range(12)]
    for note in notes:  # keys, so that the order of the ids is none
        world.patch("items", 7, {"note": note}, Idempotency_Key=f'"{note}"')
        time.sleep(0.002)  # times of acceptance have milliseconds
    world.drain(world.queued[:6])
    world.drain(world.queued[6:])
    world.queued.clear()
    world.execute("INSERT INTO items (id) VALUES (7)")

    do(filter={"type": "missing"}, expect=12)

    sent = [json.loads(each.body.split("\n")[1])[0]["note"] for each in world.queued]
    assert sent == notes
    world.drain()
    assert world.value("SELECT note FROM items") == notes[-1]


def test_calls_to_sqs_have_messages_of_many_lanes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call takes one message of each lane; as many calls as there are messages take too long."""
    for number in range(40):
        world.post("items", {"id": number // 10, "n": -number - 1})
        time.sleep(0.002)
    world.drain()
    batches: list[list[Any]] = []
    sent = put.in_batches
    monkeypatch.setattr(put, "send", lambda _, entries, *__: batches.extend(sent(entries)))

    do(filter={}, expect=40)

    assert len({each.lane for batch in batches for each in batch}) == 4
    assert len(batches) <= 10
    for lane in {each.lane for batch in batches for each in batch}:
        sent = [decode(each.body) for batch in batches for each in batch if each.lane == lane]
        numbers = [json.loads(f"[{each.sets[0].rows}]")[0]["n"] for each in sent]
        assert numbers == sorted(numbers, reverse=True)


def test_pages_end_where_lambda_or_the_time_does(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad(world, count=10)
    mend(world)
    monkeypatch.setattr(resend, "_AT_ONCE", 4)
    send = put.send

    def slow(url: str, entries: list[Any], deadline: float) -> None:
        if sum(entry.body.count('"n"') for entry in entries) > 4:
            raise Problem("body-too-large", "none was sent")
        send(url, entries, deadline)

    monkeypatch.setattr(put, "send", slow)

    act = do(filter={}, expect=10)
    world.drain()

    assert (act["done"], act["state"]) == (10, "done")
    assert world.value("SELECT count(*) FROM items") == 10
    assert len(body_of(ops(f"/ops/acts/{act['id']}"))["steps"]) >= 3


def test_an_act_is_about_no_rejection_made_after_it_was_begun(world: World) -> None:
    ids = bad(world, "logs", 3)
    act = begin(filter={}, expect=3)
    do("discard", ids=ids[:1])
    bad(world, "logs", 2)
    mend(world)

    found = step(act)
    world.drain()

    assert (found["writes"], found["done"], found["state"]) == (3, 2, "done")
    assert world.value("SELECT count(*) FROM logs") == 2
    assert len(body_of(ops("/ops/rejections"))["rejections"]) == 2


def test_an_act_is_done_to_no_more_writes_than_were_shown(world: World) -> None:
    """A transaction that began before the act may commit its rejections after it."""
    bad(world, "logs", 3)
    act = begin(filter={}, expect=3)
    bad(world, "logs", 2)
    world.execute("UPDATE decanter.rejection SET rejected_at = rejected_at - interval '1 min'")

    found = step(act)

    assert (found["done"], found["state"]) == (3, "done")
    assert len(body_of(ops("/ops/rejections"))["rejections"]) == 2


def test_a_number_that_was_not_shown_begins_nothing(world: World) -> None:
    bad(world, count=3)

    problem = assert_problem(
        post("acts", {"kind": "resend", "filter": {}, "expect": 2}), 409, "conflict"
    )

    assert "3 open rejections match now, and you were shown 2" in problem["detail"]
    assert body_of(ops("/ops/acts"))["acts"] == []


def test_a_stopped_act_does_no_further_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bad(world, "logs", 6)
    mend(world)
    monkeypatch.setattr(resend, "_AT_ONCE", 2)
    act = begin(filter={}, expect=6)
    stopped: list[Answered] = []
    meanwhile(monkeypatch, lambda: stopped.append(post(f"acts/{act}/stop", who="otto")))

    found = step(act)

    assert body_of(stopped[0])["state"] == "stopped"
    assert (found["done"], found["state"]) == (2, "stopped")  # what was sent is recorded
    assert step(act) == found
    assert body_of(post(f"acts/{act}/stop")) == found
    world.drain()
    assert world.value("SELECT count(*) FROM logs") == 2


def test_an_act_that_is_done_cannot_be_stopped(world: World) -> None:
    bad(world, count=1)
    act = do("discard", filter={}, expect=1)["id"]

    assert_problem(post(f"acts/{act}/stop"), 409, "conflict")


def test_the_same_request_with_a_key_is_the_same_act(world: World) -> None:
    ids = bad(world, count=2)
    mend(world)
    body = {"kind": "resend", "ids": ids, "note": "once"}
    first = body_of(post("acts", body, Idempotency_Key='"a"'))
    step(first["id"])

    again = post("acts", body, Idempotency_Key='"a"')
    other = post("acts", {**body, "note": "twice"}, Idempotency_Key='"a"')

    assert (again.status_code, body_of(again)["id"]) == (201, first["id"])
    assert body_of(again)["done"] == 2
    assert_problem(other, 422, "key-reused")
    assert_problem(post("acts", body, who="otto", Idempotency_Key='"a"'), 409, "conflict")
    assert len(body_of(ops("/ops/acts"))["acts"]) == 1


def test_what_is_discarded_is_kept_and_not_resent(world: World) -> None:
    ids = bad(world, count=3)

    act = do("discard", ids=ids[:2], note="test data")

    assert (act["done"], act["target"]) == (2, {"ids": ids[:2]})
    assert world.queued == []
    assert len(ids_of(world)) == 3
    discarded = body_of(ops("/ops/rejections?state=discarded"))["rejections"]
    assert {each["id"] for each in discarded} == {*ids[:2]}
    problem = assert_problem(post("acts", {"kind": "resend", "ids": ids}), 409, "conflict")
    assert problem["detail"].startswith("2 of these rejections were corrected before: ")
    assert f"{ids[0]} (by act {act['id']})" in problem["detail"]
    assert do(filter={}, expect=1)["done"] == 1


def test_a_correction_is_kept_for_as_long_as_its_rejection(world: World) -> None:
    ids = bad(world, "logs", 2)
    do("discard", filter={}, expect=2)
    world.execute("UPDATE decanter.correction SET corrected_at = corrected_at - interval '99 days'")
    world.execute("DELETE FROM decanter.rejection WHERE item = 0")

    assert sweep(Context(30)) == {"deleted": 1, "emptied": 0}
    connection.forget("sweep")

    left = world.execute("SELECT dedup_id || '.' || item FROM decanter.correction")
    assert left == [(ids[1],)]
    assert len(body_of(ops("/ops/acts"))["acts"]) == 1  # acts are kept for ever


def test_ids_that_no_rejection_has_begin_nothing(world: World) -> None:
    (known,) = bad(world, count=1)
    missing = f"{uuid4()}.0"

    answer = post("acts", {"kind": "discard", "ids": [known, missing]})

    assert missing in assert_problem(answer, 404, "no-such-entry")["detail"]
    assert_problem(ops(f"/ops/acts/{uuid4()}"), 404, "no-such-entry")
    assert_problem(ops("/ops/acts/what"), 404, "no-such-entry")
    assert_problem(post(f"acts/{uuid4()}/steps"), 404, "no-such-entry")
    assert_problem(post("acts/what/stop"), 404, "no-such-entry")
    assert body_of(ops("/ops/acts"))["acts"] == []


def test_an_edited_row_that_the_contract_refuses_begins_nothing(world: World) -> None:
    ids = bad(world, count=2)

    answer = post("acts", {"kind": "resend", "ids": ids, "rows": {ids[0]: {"id": 1, "n": "x"}}})

    (error,) = assert_problem(answer, 422, "invalid-row")["errors"]
    assert (error["pointer"], error["rule"]) == (f"/rows/{ids[0]}/n", "type")
    assert body_of(ops("/ops/acts"))["acts"] == []


def test_acts_are_listed_page_by_page_the_latest_first(world: World) -> None:
    ids = bad(world, count=5)
    made = [do("discard", ids=[id_])["id"] for id_ in ids]

    first = ops("/ops/acts?limit=3")
    second = ops(first.headers["Link"].split(">")[0].removeprefix("<"))

    listed = [*body_of(first)["acts"], *body_of(second)["acts"]]
    assert [each["id"] for each in listed] == made[::-1]
    assert body_of(first)["next"]
    assert body_of(second)["next"] is None
    assert "ids" not in listed[0]["target"]  # there may be a thousand
    at = listed[2]["begun_at"].replace("+", "%2B")
    assert len(body_of(ops(f"/ops/acts?since={at}"))["acts"]) >= 3
    assert body_of(ops(f"/ops/acts?until={at}&kind=discard"))["acts"] == listed[3:]
    assert body_of(ops("/ops/acts?kind=resend"))["acts"] == []
    assert body_of(ops("/ops/acts?who=nobody"))["acts"] == []


def test_of_an_act_of_many_steps_the_last_ones_are_shown(world: World) -> None:
    act = begin(filter={}, expect=0)
    world.execute(
        "INSERT INTO decanter.act_step (act, step, who, done, state, detail)"
        " SELECT %s, step, 'olga', 1, 'running', '{}' FROM generate_series(0, 149) AS step",
        act,
    )

    shown = body_of(ops(f"/ops/acts/{act}"))

    assert (shown["done"], shown["state"]) == (150, "running")
    assert [each["step"] for each in shown["steps"]] == [*range(50, 150)]


def test_an_act_of_another_version_is_left_to_it(world: World) -> None:
    act = begin(filter={}, expect=0)
    world.execute("UPDATE decanter.act SET kind = 'repaint'")

    assert_problem(post(f"acts/{act}/steps"), 409, "conflict")
    assert_problem(post(f"acts/{act}/stop"), 409, "conflict")


def test_a_database_that_is_away_is_said_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bad(world, count=1)
    act = begin(filter={}, expect=1)
    monkeypatch.setattr(connection, "connection", lost)

    assert_problem(post(f"acts/{act}/steps"), 503, "reader-busy")


def lost(*_: Any) -> Any:
    raise DatabaseUnavailable("away")
