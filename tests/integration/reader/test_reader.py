"""What the reader says of a request and of a row; it reads only."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import INET, INTERVAL, JSONB, REGCLASS

from chalicelib.messages.questions import RowQuestion
from chalicelib.messages.receipt import verify
from chalicelib.postgres import rejections
from chalicelib.postgres.connecting import connection as connections
from chalicelib.postgres.connecting import session
from chalicelib.postgres.connecting.connection import connection, transaction
from chalicelib.postgres.engine import CITUS
from chalicelib.postgres.resources import resources_of
from chalicelib.postgres.sql.queries import etag
from chalicelib.reader import handler
from decanter.local.network import free_port
from tests.kit.clocks import Granted
from tests.kit.waiting import LONG
from tests.kit.world import RECEIPT_KEY, Context, World


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("n", Numeric))
    return metadata


@pytest.fixture
def world(make_world) -> World:
    return make_world(tables())


def test_a_request_is_pending_until_its_last_message_is_poured(world):
    receipt = world.post("things", [{"id": n} for n in range(40)])
    entries = list(world.queued)
    assert len(entries) > 2

    before = world.status(receipt)
    world.drain(entries[:-1])
    between = world.status(receipt)
    world.drain(entries[-1:])
    after = world.status(receipt)

    assert (before["state"], before["applied"], before["poured_at"]) == ("pending", 0, None)
    assert between["state"] == "pending"
    assert 0 < between["applied"] < 40
    assert (after["state"], after["applied"], after["rejected"]) == ("applied", 40, 0)
    assert after["writes"] == 40
    now = datetime.now(UTC)
    for name in ("accepted_at", "poured_at"):
        assert abs((now - datetime.fromisoformat(after[name])).total_seconds()) < 60


def test_a_request_may_be_applied_in_part_or_not_at_all(world):
    world.execute("INSERT INTO things VALUES (1), (2)")
    part = world.post("things", [{"id": 3}, {"id": 1}, {"id": 4}, {"id": 2}])
    none = world.post("things", [{"id": 1}, {"id": 2}])
    world.drain()

    status = world.status(part)
    assert (status["state"], status["applied"], status["rejected"]) == ("partial", 2, 2)
    assert [(each["item"], each["type"]) for each in status["rejections"]] == [
        (1, "conflict"), (3, "conflict"),
    ]  # fmt: skip
    assert all(each["reason"] and each["sqlstate"] == "23505" for each in status["rejections"])
    assert world.status(none)["state"] == "rejected"


def test_a_long_list_of_rejections_is_whole_and_their_items_stand_by_cause(world):
    world.execute("INSERT INTO things SELECT generate_series(1, 1500)")
    receipt = world.post("things", [{"id": n} for n in (*range(1, 1_501), 2_000, 1)])
    world.drain()

    status = world.status(receipt)
    items = [*range(1_500), 1_501]
    assert (status["rejected"], status["truncated"]) == (1_501, False)
    assert [each["item"] for each in status["rejections"]] == items
    [cause] = status["causes"]
    assert (cause["type"], cause["constraint"]) == ("conflict", "things_pkey")
    assert (cause["count"], cause["items"]) == (1_501, "0-1499,1501")


def test_rejections_that_differ_too_much_are_summed_up_by_their_types(world, monkeypatch):
    monkeypatch.setattr(rejections, "_MOST_CAUSES", 2)
    world.execute("INSERT INTO things VALUES (1)")
    receipt = world.post("things", [{"id": 1}, {"id": 2}, {"id": 1}, {"id": 3}])
    world.drain()
    update = 'UPDATE decanter.rejection SET type = %s, "constraint" = %s WHERE item = %s'
    world.execute(update, "trigger", "a", 0)
    assert [each["constraint"] for each in world.status(receipt)["causes"]] == ["a", "things_pkey"]

    world.execute(
        'INSERT INTO decanter.rejection (dedup_id, item, type, reason, "constraint")'
        " SELECT dedup_id, 3, 'trigger', '', 'b' FROM decanter.rejection WHERE item = 0"
    )

    told = [(each["type"], each["items"]) for each in world.status(receipt)["causes"]]
    assert told == [("trigger", "0,3"), ("conflict", "2")]


def test_the_time_of_a_request_with_a_key_is_that_of_its_first_acceptance(world):
    receipt = world.post("things", {"id": 1}, Idempotency_Key="k")

    assert world.status(receipt)["accepted_at"] is None
    world.drain()
    accepted = world.status(receipt)["accepted_at"]

    assert abs((datetime.now(UTC) - datetime.fromisoformat(accepted)).total_seconds()) < 60


def test_a_request_that_no_drain_would_take_any_more_is_expired_and_not_pending(world):
    question = {"ask": "status", "id": "01890000-0000-7000-8000-000000000000", "messages": 2,
                "writes": 2, "fingerprint": "0" * 32}  # fmt: skip
    now = datetime.now(UTC).timestamp()

    for days, state in ((29, "pending"), (31, "expired")):
        answer = world.read({**question, "accepted_at": int((now - days * 86_400) * 1000)})

        body = json.loads(answer["body"])
        assert (body["state"], body["applied"], body["poured_at"]) == (state, 0, None)
        assert answer["pending"] == (state == "pending")


def test_one_request_sees_nothing_of_another(world):
    world.execute("INSERT INTO things VALUES (1)")
    bad = world.post("things", {"id": 1})
    good = world.post("things", {"id": 2})
    world.drain()

    assert world.status(good)["rejections"] == []
    assert world.status(good)["state"] == "applied"
    assert len(world.status(bad)["rejections"]) == 1


def test_a_row_that_is_not_there_is_none(world):
    assert world.row("things", id=1) is None


def test_a_row_is_text_with_all_its_digits(world):
    world.execute("INSERT INTO things VALUES (1, 0.12345678901234567890)")

    assert world.row("things", id=1) == '{"id":1,"n":0.12345678901234567890}'


KEYS = {
    "text": (Text, "a/b ü😀%'\"\\"),
    "number": (Numeric(38, 10), 1.5),
    "big": (Integer, 7),
    "uuid": (Uuid, "6ba7b812-9dad-11d1-80b4-00c04fd430c8"),
    "instant": (DateTime(timezone=True), "2026-01-01T01:00:00.5+01:00"),
    "moment": (DateTime, "2026-01-01T00:00:00.000001"),
    "day": (Date, "2026-01-01"),
    "bytes": (LargeBinary, "\\x00ff"),
    "flag": (Boolean, False),
    "colour": (Enum("it's 100%", name="colour"), "it's 100%"),
    "float": (Float, 0.1),
    "ip": (INET, "::1"),
    "span": (INTERVAL, "P1DT2H"),
    "code": (String(4), "EDDF"),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_row_is_found_by_a_key_of_any_kind(make_world, name):
    type_, value = KEYS[name]
    metadata = MetaData()
    Table("keyed", metadata, Column("key", type_, primary_key=True), Column("n", Integer))
    world = make_world(metadata)
    path = str(value).lower() if isinstance(value, bool) else value
    world.put("keyed", path, {"n": 1})
    world.put("keyed", path, {"n": 2})
    world.drain()

    assert world.value("SELECT count(*) FROM keyed") == 1
    found = json.loads(world.row("keyed", key=value))
    assert found["n"] == 2
    assert json.loads(world.row("keyed", key=found["key"])) == found


def test_a_row_is_found_by_a_composite_key_in_another_schema(make_world):
    metadata = MetaData(schema="other")
    Table("pairs", metadata, Column("a", Text, primary_key=True),
          Column("b", Integer, primary_key=True), Column("n", Integer))  # fmt: skip
    world = make_world(metadata)
    world.post("pairs", [{"a": "x", "b": b, "n": b} for b in range(3)])
    world.drain()

    assert world.row("pairs", a="x", b=1) == '{"a":"x","b":1,"n":1}'
    assert world.row("pairs", a="y", b=1) is None


def test_the_reader_cannot_write(world, monkeypatch):
    def write(transaction, event):
        return {"body": transaction.execute("INSERT INTO things VALUES (1)")}

    monkeypatch.setitem(handler._ANSWERS, RowQuestion, write)

    assert world.read({"ask": "row", "resource": "things", "key": "{}"}, seconds=3) == {
        "unwell": True
    }
    assert world.value("SELECT count(*) FROM things") == 0


def test_a_database_that_is_away_is_reported_and_not_raised(world, monkeypatch):
    monkeypatch.setenv(
        "DECANTER_DATABASE_URL", f"postgresql://u:p@127.0.0.1:{free_port()}/x?sslmode=disable"
    )

    assert handler.read({"ask": "row", "resource": "things", "key": '{"id":1}'}, Context(4)) == {
        "unwell": True
    }


def test_a_connection_that_was_cut_while_idle_costs_one_reconnect(world):
    world.execute("INSERT INTO things VALUES (1)")
    assert world.row("things", id=1)
    world.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'decanter-reader' AND datname = current_database()"
    )

    assert world.row("things", id=1) == '{"id":1,"n":null}'


def test_the_state_stands_beside_the_document(world):
    world.execute("INSERT INTO things VALUES (1)")
    receipts = [world.post("things", {"id": n}) for n in (1, 2)]
    assert {answer(world, receipt)["state"] for receipt in receipts} == {"pending"}
    world.drain()

    assert [answer(world, receipt)["state"] for receipt in receipts] == ["rejected", "applied"]


def answer(world: World, receipt: str) -> dict[str, Any]:
    found = world.read({"ask": "status", **fields(receipt)})
    assert json.loads(found["body"])["state"] == found["state"]
    return found


def fields(receipt: str) -> dict[str, Any]:
    known = verify(receipt, RECEIPT_KEY, "me")
    assert known
    return {name: str(getattr(known, name)) if name == "id" else getattr(known, name)
            for name in ("id", "accepted_at", "messages", "writes", "fingerprint")}  # fmt: skip


def read_after(world: World, receipt: str, resource: str = "things", **key: Any) -> dict[str, Any]:
    question = {"ask": "row", "resource": resource, "key": json.dumps(key)}
    return world.read({**question, "after": fields(receipt)})


def test_an_etag_changes_with_the_row_and_with_nothing_else(make_world):
    metadata = MetaData()
    table = Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column('50% "n"', Numeric),
        Column("twice", Numeric, Computed('"50% ""n""" * 2')),
        Column("at", DateTime(timezone=True)),
    )
    world = make_world(metadata)

    def etag_of(id_: int) -> str:
        return world.read({"ask": "row", "resource": "things", "key": f'{{"id":{id_}}}'})["etag"]

    world.execute("INSERT INTO things VALUES (1, 1, DEFAULT, '2026-01-01'), (2, 1, DEFAULT, NULL)")
    first = etag_of(1)
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first == etag_of(1) != etag_of(2)
    world.execute("UPDATE things SET at = at")
    assert etag_of(1) == first
    world.execute('UPDATE things SET "50% ""n""" = 1.0')
    assert etag_of(1) != first
    # The drain compares with the same expression, of a row that is there.
    resource = resources_of(metadata)["things"]
    assert table is resource.table
    deadline = time.monotonic() + LONG
    with transaction(connection(world.url, "drain", deadline), deadline) as running:
        for alias in ("target", "t"):
            found = running.execute(
                f"SELECT id, {etag(resource, alias)} FROM things AS {alias} WHERE id = %(id)s",
                {"id": 1},
            )
            assert found == [(1, etag_of(1))]


def test_rows_come_in_the_order_of_their_keys(world):
    world.execute("INSERT INTO things VALUES (1, 1.50), (2, NULL), (3, 3)")

    found = world.read({"ask": "rows", "resource": "things",
                        "keys": '[{"id":3},{"id":9},{"id":1},{"id":3}]'})  # fmt: skip

    assert found["rows"] == ['{"id":3,"n":3}', None, '{"id":1,"n":1.50}', '{"id":3,"n":3}']
    one = world.read({"ask": "row", "resource": "things", "key": '{"id":3}'})
    assert found["etags"][0] == found["etags"][3] == one["etag"]
    assert found["etags"][1] is None


def test_a_row_is_read_once_the_write_before_it_is_applied(world):
    receipt = world.post("things", [{"id": n} for n in range(40)])
    entries = list(world.queued)
    assert len(entries) > 2

    assert read_after(world, receipt, id=7) == {"pending": True}
    world.drain(entries[:-1])
    assert read_after(world, receipt, id=7) == {"pending": True}
    world.drain(entries[-1:])
    found = read_after(world, receipt, id=7)

    assert found["body"] == '{"id":7,"n":null}'
    assert len(found["etag"]) == 32
    assert read_after(world, receipt, id=99) == {"body": None, "etag": None}


def test_a_row_whose_write_was_rejected_is_reported_with_the_reason(world):
    world.execute("INSERT INTO things VALUES (1)")
    receipt = world.post("things", {"id": 1})
    world.drain()

    (rejected,) = world.rejections("reason")
    assert read_after(world, receipt, id=1) == {"rejected": rejected[0]}
    assert "rejected" in read_after(world, receipt, id=2)


def test_of_a_request_that_is_applied_in_part_each_row_has_its_own_outcome(world):
    world.execute("INSERT INTO things VALUES (1), (2)")
    receipt = world.post("things", [{"id": 3}, {"id": 1}, {"id": 4}, {"id": 2}])
    other = world.post("things", {"id": 3})
    world.drain()

    assert "rejected" in read_after(world, receipt, id=1)
    assert "rejected" in read_after(world, receipt, id=2)
    assert read_after(world, receipt, id=3)["body"] == '{"id":3,"n":null}'
    assert "rejected" in read_after(world, other, id=3)


def test_a_rejection_says_nothing_of_another_resource_with_the_same_key(make_world):
    metadata = MetaData()
    for name in ("things", "others"):
        Table(name, metadata, Column("id", Integer, primary_key=True))
    world = make_world(metadata)
    world.execute("INSERT INTO things VALUES (1)")
    world.execute("INSERT INTO others VALUES (1)")
    receipt = world.post("things", [{"id": 1}, {"id": 2}])
    world.drain()

    assert "rejected" in read_after(world, receipt, id=1)
    assert read_after(world, receipt, "others", id=1)["body"] == '{"id":1}'


def test_a_rejected_row_is_known_by_what_its_key_means(make_world):
    """1.50 is 1.5, and an instant is one in any zone; a value that the type does not take is
    nobody's key."""
    metadata = MetaData()
    Table(
        "keyed",
        metadata,
        Column("n", Numeric, primary_key=True),
        Column("at%", DateTime(timezone=True), primary_key=True),
        Column("ip", INET, primary_key=True),
        Column("tags", ARRAY(Integer), primary_key=True),
        Column("doc", JSONB, primary_key=True),
    )
    world = make_world(metadata)
    row = {"n": 1.5, "at%": "2026-01-01T00:00:00Z", "ip": "::1", "tags": [1, 2], "doc": {"a": 1}}
    again = {**row, "at%": "2026-01-01T01:00:00+01:00", "ip": "0::1"}
    rows = [{**row, "ip": ":::"}, {**row, "ip": "::2"}, again]
    world.post("keyed", row)
    world.drain()
    receipt = world.post("keyed", rows)
    world.drain()
    assert len(world.rejections()) == 2

    assert "rejected" in read_after(world, receipt, "keyed", **row)
    assert "rejected" in read_after(world, receipt, "keyed", **{**again, "doc": {"a": 1.0}})
    assert read_after(world, receipt, "keyed", **rows[1])["body"]
    assert read_after(world, receipt, "keyed", **{**row, "tags": [1]})["body"] is None


def test_a_reused_key_is_a_rejection_and_a_write_that_expired_is_none(world):
    world.execute("INSERT INTO things VALUES (1)")
    first = world.post("things", {"id": 1}, Idempotency_Key="k")
    reused = world.post("things", {"id": 1, "n": 2}, Idempotency_Key="k")
    world.drain()
    old = world.post("things", {"id": 3})
    world.queued.clear()

    assert "Idempotency-Key" in read_after(world, reused, id=1)["rejected"]
    assert "duplicate key" in read_after(world, first, id=1)["rejected"]
    question = {"ask": "row", "resource": "things", "key": '{"id":3}'}
    month_ago = int((time.time() - 31 * 86_400) * 1000)
    expired = world.read({**question, "after": {**fields(old), "accepted_at": month_ago}})
    assert expired.keys() == {"expired"}
    assert "30 days" in expired["expired"]
    assert "no longer known" in expired["expired"]


def test_a_write_that_the_ledger_has_forgotten_is_no_longer_known_whatever_became_of_it(world):
    world.execute("INSERT INTO things VALUES (1)")
    receipts = {n: world.post("things", {"id": n}) for n in (1, 2)}
    world.drain()
    receipts[3] = world.post("things", {"id": 3})
    assert [world.status(each)["state"] for each in receipts.values()] == [
        "rejected", "applied", "pending",
    ]  # fmt: skip
    world.execute("TRUNCATE decanter.ledger, decanter.rejection")
    month_ago = int((time.time() - 31 * 86_400) * 1000)

    found = []
    for n, receipt in receipts.items():
        old = {**fields(receipt), "accepted_at": month_ago}
        question = {"ask": "row", "resource": "things", "key": f'{{"id":{n}}}'}
        found.append(world.read({**question, "after": old}))
        assert world.read({"ask": "status", **old})["state"] == "expired"

    assert found[0] == found[1] == found[2]
    assert found[0].keys() == {"expired"}


def test_a_value_that_no_key_has_names_no_row_and_breaks_nothing(make_world):
    metadata = MetaData()
    # The second type refuses it as if something lacked in the database.
    Table("hosts", metadata, Column("id", INET, primary_key=True))
    Table("kinds", metadata, Column("id", REGCLASS, primary_key=True))
    world = make_world(metadata)

    for name, good in (("hosts", "::1"), ("kinds", "pg_class")):
        assert world.row(name, id=good) is None
        receipt = world.post(name, [{"id": good}, {"id": ":::"}])
        world.drain()
        nowhere = {"resource": name, "key": '{"id":":::"}', "keys": '[{"id":":::"}]'}

        assert world.read({"ask": "row", **nowhere}) == {"body": None, "etag": None}
        assert world.read({"ask": "part", "select": ["id"], **nowhere})["body"] is None
        assert world.read({"ask": "rows", **nowhere}) == {"rows": [None], "etags": [None]}
        assert read_after(world, receipt, name, id=":::") == {"body": None, "etag": None}
        assert world.row(name, id=good) == f'{{"id":"{good}"}}'


@pytest.mark.needs("settings")
def test_rows_are_the_same_where_a_table_has_no_subqueries_of_its_columns(make_world, monkeypatch):
    metadata = MetaData()
    Table("places", metadata, Column("x", Integer, primary_key=True),
          Column("y", Text, primary_key=True), Column("found", JSONB), Column("n", Numeric),
          Column("read", ARRAY(Text)))  # fmt: skip
    world = make_world(metadata)
    world.post("places", [{"x": 1, "y": "é", "found": {"a": [None]}, "read": ["b"]},
                          {"x": 2, "y": "", "found": "c" * 9_000, "n": 1e300}])  # fmt: skip
    world.drain()
    keys = [{"x": 2, "y": ""}, {"x": 3, "y": "é"}, {"x": 1, "y": "é"}]

    def answers() -> list[Any]:
        connections.forget("reader")
        asked = [{"ask": "rows", "keys": json.dumps(keys)}]
        asked += [{"ask": "row", "key": json.dumps(key)} for key in keys]
        asked += [{**each, "ask": "part", "select": ["read", "x"]} for each in asked[1:]]
        return [world.read({"resource": "places", **each}) for each in asked]

    expected = answers()
    monkeypatch.setattr(session, "told", lambda _: CITUS)

    assert answers() == expected
    assert expected[0]["rows"][1] is None
    assert all(expected[0]["rows"][::2])


@pytest.mark.needs("waits_for_locks")
def test_a_database_that_does_not_answer_is_reported_soon_to_a_client_that_has_waited(
    world, monkeypatch
):
    monkeypatch.setattr(handler, "_QUICK_SECONDS", 3)
    world.read({"ask": "row", "resource": "things", "key": '{"id":1}'})  # has it connected
    with closing(psycopg2.connect(world.url)) as own, own.cursor() as cursor:
        cursor.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
        granted = Granted(monkeypatch)
        most = time.monotonic() + LONG / 2

        assert world.read({"ask": "row", "resource": "things", "key": '{"id":1}'}, LONG) == {
            "unwell": True
        }
        assert 0 < granted.until < most


CONNECTION = "chalicelib.postgres.connecting.connection.connection"

QUESTIONS = {
    "status": {"id": "01890000-0000-7000-8000-000000000000", "accepted_at": 0, "messages": 1,
               "writes": 1, "fingerprint": "0" * 32},
    "row": {"resource": "things", "key": '{"id":1}'},
    "rows": {"resource": "things", "keys": '[{"id":1}]'},
    "list": {"resource": "things", "filters": "{}", "order": [["id", "asc"]], "limit": 1,
             "from": None},
}  # fmt: skip


@contextmanager
def frozen(*processes: int) -> Iterator[threading.Timer]:
    """Processes of the server stand still: they take what they are sent, and keep no timeout.
    Yields what would wake them up a long time later, so that a test that waits for them ends."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    awake = threading.Timer(90, lambda: [os.kill(each, signal.SIGCONT) for each in processes])
    awake.start()
    try:
        yield awake
    finally:
        awake.cancel()
        for process in processes:
            os.kill(process, signal.SIGCONT)


@pytest.fixture
def connects(monkeypatch) -> list[float]:
    """When the reader has asked for its connection."""
    found: list[float] = []

    def counted(*given: Any) -> Any:
        found.append(time.monotonic())
        return connection(*given)

    monkeypatch.setattr(CONNECTION, counted)
    return found


@pytest.mark.parametrize("ask", QUESTIONS)
def test_a_frozen_server_holds_up_the_reader_for_no_longer_than_somebody_waits(
    world, connects, ask
):
    question = {"ask": ask, **QUESTIONS[ask]}
    before = world.read(question)
    assert "unwell" not in before
    connects.clear()
    server = world.value(
        "SELECT pid FROM pg_stat_activity"
        " WHERE application_name = 'decanter-reader' AND datname = current_database()"
    )

    with frozen(server) as awake:
        answer = world.read({**question, "seconds": 0.5}, seconds=180)
        assert not awake.finished.is_set()

    assert answer == {"unwell": True}
    assert len(connects) == 1  # its time was over: nobody waits for another try
    assert world.read(question) == before


def test_a_server_that_takes_no_connection_is_tried_once_where_nobody_waits_for_more(
    world, connects
):
    data = Path(world.value("SHOW data_directory"))
    server = int((data / "postmaster.pid").read_text().split()[0])

    with frozen(server) as awake:
        answer = world.read({"ask": "list", **QUESTIONS["list"], "seconds": 0.5}, seconds=180)
        assert not awake.finished.is_set()

    assert answer == {"unwell": True}
    assert len(connects) == 1


@pytest.mark.parametrize(
    ("ask", "remaining", "seconds", "longest"),
    [
        ("row", 10, None, 5),
        ("row", 10, 11.0, 5),
        ("row", 10, 0.5, 0.5),
        ("list", 10, None, 8),
        ("list", 10, 3.25, 3.25),
        ("list", 10, 100, 8),
    ],
)
def test_a_question_takes_as_long_as_its_client_waits_and_the_function_may(
    world, monkeypatch, ask, remaining, seconds, longest
):
    deadlines: list[float] = []

    def noted(url: str, role: str, deadline: float) -> Any:
        deadlines.append(deadline - now)
        return connection(url, role, deadline)

    monkeypatch.setattr(CONNECTION, noted)
    monkeypatch.setattr(handler, "time", SimpleNamespace(monotonic=lambda: now))
    now = time.monotonic()

    world.read(
        {"ask": ask, **QUESTIONS[ask], **({"seconds": seconds} if seconds else {})}, remaining
    )

    assert deadlines[0] == pytest.approx(longest)
