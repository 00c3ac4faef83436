"""What became of accepted requests and of dead letters, as operators ask."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, Column, Date, Integer, MetaData, Table, Text, text

from chalicelib.messages.message import Message, decode
from chalicelib.messages.questions import OpsQuestion, to_event
from chalicelib.messages.receipt import verify
from chalicelib.postgres import ledger
from chalicelib.reader.ops import dead_letters
from tests.kit.stream import drain, record, write
from tests.kit.world import RECEIPT_KEY, World, changed

HOUR_MS = 3_600_000


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("name", Text), CheckConstraint("id > 0"))  # fmt: skip
    Table("days", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("day", Date, primary_key=True, server_default=text("CURRENT_DATE")),
          Column("name", Text))  # fmt: skip
    Table("events", metadata, Column("id", Integer), info={"ordered": False})
    Table("pets", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("owner", Integer), info={"front": "dynamodb"})  # fmt: skip
    return metadata


@pytest.fixture
def world(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    return make_world(tables())


def ask(world: World, what: str, **given: Any) -> Any:
    question = OpsQuestion(what, given)
    answer = world.read(json.loads(to_event(question, 10)))
    return json.loads(question.read_answer(answer).body)


def accounts(world: World, *requests: list[Any]) -> Any:
    return ask(world, "accounts", requests=requests)["accounts"]


def logged(token: str) -> list[Any]:
    """What the log has of the request of a receipt."""
    receipt = verify(token, RECEIPT_KEY, "me")
    assert receipt is not None
    return [str(receipt.id), receipt.messages, receipt.fingerprint]


def test_each_request_has_its_own_account(world: World) -> None:
    many = logged(world.post("things", [{"id": n} for n in range(1, 41)]))
    assert many[1] > 1
    bad = logged(world.post("events", [{"id": 1}, {"id": 2}]))
    partial = logged(world.post("things", [{"id": -1}, {"id": 41}], Prefer="handling=lenient"))
    world.drain()
    unknown = logged(world.post("things", {"id": 50}))

    assert accounts(world, unknown, many, partial, bad) == [
        [0, 0, 0, False],
        [40, 0, 0, False],
        [2, 1, 0, False],
        [2, 0, 0, False],
    ]
    assert accounts(world) == []


def test_what_waits_is_counted(world: World) -> None:
    token = logged(world.post("things", {"id": 1}))
    world.drain()
    (dedup_id,) = world.execute("SELECT dedup_id FROM decanter.ledger")[0]
    world.execute(
        "INSERT INTO decanter.waiting (dedup_id, item, reason, message) VALUES (%s, 0, 'lock', '')",
        dedup_id,
    )

    assert accounts(world, token) == [[1, 0, 1, False]]


def test_a_retry_in_another_split_counts_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": n, "name": "x" * 2_000} for n in range(1, 200)]
    first = logged(world.post("things", rows, Idempotency_Key="k"))
    monkeypatch.setenv("DECANTER_MESSAGE_BYTES", "10000")
    second = logged(world.post("things", rows, Idempotency_Key="k"))
    assert first[1] < second[1]
    entries, world.queued = world.queued, []
    for entry in (entries[0], *entries[first[1] :], *entries[1 : first[1]]):
        world.drain([entry])

    assert accounts(world, first, second) == [[199, 0, 0, False]] * 2


def test_a_key_that_was_used_for_another_request_is_told(world: World) -> None:
    first = logged(world.post("things", {"id": 1}, Idempotency_Key="k"))
    world.drain()
    other = logged(world.post("things", [{"id": 2}, {"id": 3}], Idempotency_Key="k"))
    world.drain()

    assert accounts(world, first, other)[0] == [1, 0, 0, False]
    assert accounts(world, other)[0][3] is True


def test_a_key_that_is_claimed_before_anything_is_poured_is_told(world: World) -> None:
    request = logged(world.post("things", {"id": 1}, Idempotency_Key="k"))
    world.execute(
        "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes) VALUES (%s, 'other', 0)",
        ledger.claim_id(request[0]),
    )

    assert accounts(world, request) == [[0, 0, 0, True]]


def test_rows_of_the_front_table_have_accounts_and_reconciled_is_told(world: World) -> None:
    messages = [write("create", "pets", {"id": n}) for n in range(2)]
    drain(world, [record(messages[0])])
    world.execute(
        "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, accepted_at) VALUES"
        " ('00000000-0000-0000-0000-000000001000', 'reconciled', 0,"
        " timestamptz 'epoch' + 4096 * interval '1 ms')"
    )

    found = ask(world, "accounts", requests=[[m.dedup_id, 1, m.fingerprint] for m in messages])

    assert found == {"accounts": [[1, 0, 0, False], [0, 0, 0, False]], "reconciled": 4096}


# Dead letters


def letter(message: Message) -> list[Any]:
    digests = [digest for rows in message.sets for digest in rows.digests]
    return [message.dedup_id, message.accepted_at, message.resource, digests]


def sent(world: World, milliseconds: int = 0) -> list[Message]:
    """Take what is queued, as accepted so much earlier."""
    entries, world.queued = world.queued, []
    moved = [
        changed(each, lambda m: m._replace(accepted_at=m.accepted_at - milliseconds))
        for each in entries
    ]
    return [decode(each.body) for each in moved]


def test_a_dead_letter_is_poured_or_overtaken_or_neither(world: World) -> None:
    for number in (1, 2, 3):
        world.put("things", number, {"name": "old"})
    world.post("events", {"id": 1})
    overtaken, fresh, rejected, unordered = sent(world, HOUR_MS)
    world.put("things", 1, {"name": "new"})
    world.patch("things", 3, {"name": "of a row that is not there"})
    newer = decode(world.queued[0].body)
    world.drain()

    found = ask(
        world,
        "dead-letters",
        letters=[letter(each) for each in (overtaken, fresh, rejected, unordered, newer)],
    )

    assert found["unknown"] == []
    assert [*found["outcomes"].values()] == [
        {"poured": False, "newer": True},
        {"poured": False, "newer": False},
        {"poured": False, "newer": False},  # what was rejected has overtaken nothing
        {"poured": False, "newer": None},
        {"poured": True, "newer": False},
    ]


def test_keys_that_cannot_be_told_apart_have_no_order(world: World) -> None:
    world.post("days", {"id": 1, "name": "old"})
    (old,) = sent(world, HOUR_MS)
    world.post("days", {"id": 1, "day": "2026-01-01", "name": "new"})
    world.drain()

    assert ask(world, "dead-letters", letters=[letter(old)])["outcomes"] == {
        old.dedup_id: {"poured": False, "newer": None}
    }


@pytest.mark.needs("settings")
def test_a_ledger_that_is_too_long_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put("things", 1, {"name": "old"})
    (old,) = sent(world, HOUR_MS)
    monkeypatch.setattr(ledger, "_LATER", "SELECT pg_sleep(5), %(since)s, %(own)s, %(keys)s")
    monkeypatch.setattr(dead_letters, "_SECONDS", 0.1)

    found = ask(world, "dead-letters", letters=[letter(old)])

    assert found["outcomes"] == {old.dedup_id: {"poured": False, "newer": None}}
    assert [each["what"] for each in found["unknown"]] == ["messages.newer"]


def test_a_ledger_of_which_rows_are_held_elsewhere_is_told(world: World) -> None:
    world.put("things", 1, {"name": "old"})
    (old,) = sent(world, HOUR_MS)
    world.execute("CREATE TABLE decanter.ledger_held ()")

    found = ask(world, "dead-letters", letters=[letter(old)])

    assert found["outcomes"] == {old.dedup_id: {"poured": False, "newer": None}}
    assert [each["what"] for each in found["unknown"]] == ["messages.newer"]
