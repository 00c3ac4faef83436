"""What operate answers to the function that publishes events: each, and again after a crash."""

import json
from collections.abc import Callable
from contextlib import closing
from functools import cache
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from psycopg2.extras import execute_values
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table, Text

from chalicelib.messages.receipt import Receipt, issue, keyed_id
from chalicelib.operate import outcomes
from chalicelib.postgres import outbox
from tests.kit.outcomes import ask, expected, publish, told
from tests.kit.stream import Record, drain, streamed
from tests.kit.world import RECEIPT_KEY, World

__all__ = ["streamed"]


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("n", Integer))
    Table("pets", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("n", Integer, CheckConstraint("n >= 0", name="positive")), Column("name", Text),
          info={"front": "dynamodb"})  # fmt: skip
    return metadata


@pytest.fixture
def world(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DECANTER_EVENTS", "arn:aws:sns:eu-central-1:000000000000:done")
    return make_world(tables())


def poured(world: World, count: int) -> list[str]:
    """The receipts of so many requests of one write, in their order."""
    receipts = [world.put("things", n, {"n": n}) for n in range(count)]
    world.drain()
    return receipts


def receipts_of(answer: dict[str, Any]) -> list[str]:
    return [each["receipt"] for each in answer["events"]]


def test_what_is_not_confirmed_comes_again_in_its_order(world: World) -> None:
    receipts = poured(world, 5)
    first = ask(world)

    again = ask(world)

    assert receipts_of(first) == receipts
    assert again["events"] == first["events"]
    assert again["places"] == first["places"] == [each["sequence"] for each in first["events"]]
    assert ask(world, first["places"])["events"] == []


def test_events_may_be_confirmed_one_after_the_other(world: World) -> None:
    world.post("things", [{"id": 100 + n} for n in range(40)])
    receipts = poured(world, 3)
    rest = ask(world)
    told_: list[str] = []
    while rest["events"]:
        told_.append(rest["events"][0]["receipt"])
        end = rest["events"][0]["sequence"]
        rest = ask(world, [place for place in rest["places"] if place <= end])

    assert told_[-3:] == receipts
    assert len(told_) == 4


@pytest.mark.parametrize("limit", [1, 3])
def test_a_request_with_more_rows_than_are_looked_at_has_one_event(
    world: World, limit: int
) -> None:
    """Where its last row is: another one on the same key may be before that."""
    rows = [{"id": n} for n in range(40)]
    reused = {"Idempotency_Key": "k"}
    receipt = world.post("things", rows, **reused)
    entries, world.queued = world.queued, []
    world.drain(entries[:1])
    other = world.post("things", [{"id": n, "n": 1} for n in range(40)], **reused)
    world.drain()
    later = world.put("things", 1, {"n": 2})
    entries, world.queued = [*entries, *world.queued], []
    world.drain(entries[1:])
    last = world.value("SELECT max(place) FROM decanter.outbox")

    found = publish(world, limit)

    assert [each["receipt"] for each in found] == [other, receipt, later]
    assert [each["sequence"] for each in found[1:]] == [last - 1, last]
    assert len({each["id"] for each in found}) == 3


def test_a_request_is_judged_as_it_was_when_its_rows_were_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its event would have an earlier place than other ones on its keys."""
    world.post("things", [{"id": n} for n in range(40)])
    entries, world.queued = world.queued, []
    world.drain(entries[1:])
    count_behind = outbox.count_behind

    def counted_before(*given: Any) -> int:
        count = count_behind(*given)
        world.drain(entries[:1])
        return count

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "count_behind", counted_before)
        answer = ask(world)

    assert answer["events"] == []
    (found,) = publish(world)
    assert found["sequence"] > max(answer["places"])


def test_an_answer_says_what_is_left_and_how_old_it_is(world: World) -> None:
    poured(world, 5)
    world.execute("UPDATE decanter.outbox SET entered_at = entered_at - interval '99 s'")

    answer = ask(world, limit=2)

    assert (len(answer["places"]), answer["left"]) == (2, 3)
    assert answer["oldest_seconds"] > 98
    assert ask(world, answer["places"])["left"] == 0


def test_what_is_no_receipt_makes_no_event_and_holds_up_none(world: World) -> None:
    world.execute(
        "INSERT INTO decanter.outbox (dedup_id, receipt, resource) VALUES"
        " (gen_random_uuid(), 'x', 'things'), (gen_random_uuid(), repeat('A', 80), 'things')"
    )
    receipts = poured(world, 1)

    assert [each["receipt"] for each in publish(world)] == receipts


def have_done(world: World, numbers: range) -> None:
    """Have requests done, each with a long name of its caller."""
    ids = [keyed_id("me", str(n)) for n in numbers]
    rows = [(str(id_), _token(id_), "things", '"' * 200) for id_ in ids]
    poured = [(str(id_), "0" * 32, 1, "now") for id_ in ids]
    into_outbox = "INSERT INTO decanter.outbox (dedup_id, receipt, resource, caller) VALUES %s"
    into_ledger = "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, accepted_at) VALUES"
    with closing(psycopg2.connect(world.url)) as own, own.cursor() as cursor:
        execute_values(cursor, into_outbox, rows, page_size=5_000)
        execute_values(cursor, f"{into_ledger} %s", poured, page_size=5_000)
        own.commit()


def _token(identity: UUID) -> str:
    return issue(Receipt(identity, 0, 1, 1, "0" * 32), RECEIPT_KEY, "me")


def test_many_requests_cost_as_many_statements_as_few(world: World, statements: list[str]) -> None:
    have_done(world, range(10))
    confirmed = ask(world, limit=5)["places"]
    statements.clear()
    ask(world, confirmed, limit=4)
    few = len(statements)
    have_done(world, range(10, 10_010))
    statements.clear()

    answer = ask(world, confirmed, limit=10_000)

    assert len(statements) == few
    assert len(json.dumps({"body": json.dumps(answer)})) < 6 * 1024 * 1024
    assert 0 < len(answer["events"]) == len(answer["places"]) < 10_000  # as many as fit
    sequences = [each["sequence"] for each in publish(world, limit=10_000)]
    assert sequences == sorted({*sequences})
    assert len(sequences) == 10_005


def test_rows_in_front_have_an_event_each(world: World, streamed: list[Record]) -> None:
    single = world.put("pets", 1, {"n": 1})
    world.post("pets", [{"id": 2, "n": 2}, {"id": 3, "n": -3}])

    drain(world, streamed)

    one, two, three = publish(world)
    assert told(one) == expected(world, single)
    assert [each["state"] for each in (one, two, three)] == ["applied", "applied", "rejected"]
    assert told(three) == expected(world, three["receipt"])
    assert {each["writes"] for each in (one, two, three)} == {1}


def test_the_end_of_an_answer_is_at_an_event_that_fits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts = poured(world, 5)
    monkeypatch.setattr(outcomes, "fitting", lambda texts: min(2, len(texts)))

    answer = ask(world)

    assert receipts_of(answer) == receipts[:2]
    assert (len(answer["places"]), answer["left"]) == (2, 3)
    assert [each["receipt"] for each in publish(world)] == receipts
