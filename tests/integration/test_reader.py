"""What the reader says of a request and of a row; it reads only."""

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import (
    Boolean,
    Column,
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
from sqlalchemy.dialects.postgresql import INET, INTERVAL

from chalicelib.reader import handler
from decanter.cloud.network import free_port
from tests.integration.drain_fixtures import Context, World


@pytest.fixture
def world(make_world) -> World:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("n", Numeric))
    return make_world(metadata)


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


def test_a_long_list_of_rejections_is_cut_and_counted(world):
    world.execute("INSERT INTO things SELECT generate_series(1, 1500)")
    receipt = world.post("things", [{"id": n} for n in range(1, 1_501)])
    world.drain()

    status = world.status(receipt)
    assert status["rejected"] == 1_500
    assert [each["item"] for each in status["rejections"]] == list(range(1_000))


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


def test_a_value_that_the_key_does_not_have_names_no_row(make_world):
    metadata = MetaData()
    Table("hosts", metadata, Column("ip", INET, primary_key=True))
    world = make_world(metadata)

    assert world.row("hosts", ip="nowhere") is None
    assert world.row("hosts", ip="::1") is None


def test_the_reader_cannot_write(world, monkeypatch):
    def write(transaction, event):
        return {"body": transaction.execute("INSERT INTO things VALUES (1)")}

    monkeypatch.setitem(handler._ANSWERS, "row", write)

    assert world.read({"ask": "row"}, seconds=3) == {"unwell": True}
    assert world.value("SELECT count(*) FROM things") == 0


def test_a_database_that_is_away_is_told_and_not_raised(world, monkeypatch):
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
