"""What the reader finds out for the overview, the lanes and estimates."""

import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table

from chalicelib.messages import pace
from chalicelib.messages.message import decode
from chalicelib.messages.pace import Pace
from chalicelib.messages.questions import OpsQuestion, to_event
from chalicelib.messages.receipt import verify
from chalicelib.postgres.ops import overview
from chalicelib.postgres.ops import pace as pace_sql
from chalicelib.reader import paces
from tests.kit.world import RECEIPT_KEY, World

Json = dict[str, Any]


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("people", metadata, *columns())
    Table("pets", metadata, *columns(), Column("owner", ForeignKey("people.id")))
    Table("rows", metadata, *columns(), info={"ordered": False})
    return metadata


@pytest.fixture
def world(make_world: Callable[[MetaData], World]) -> World:
    return make_world(tables())


def columns() -> list[Column[Any]]:
    key: Column[int] = Column("id", Integer, primary_key=True, autoincrement=False)
    return [key, Column("a", Integer)]


def ask(world: World, what: str) -> Any:
    question = OpsQuestion(what, {})
    answer = world.read(json.loads(to_event(question, 10)))
    return json.loads(question.read_answer(answer).body)


def poured(
    world: World, resource: str | None, writes: int, accepted: float, at: float, messages: int = 1
) -> None:
    """Enter messages as if they had been accepted and poured so many seconds ago."""
    world.execute(
        "INSERT INTO decanter.ledger"
        " (dedup_id, fingerprint, writes, resource_name, accepted_at, poured_at)"
        " SELECT gen_random_uuid(), '', %s, %s, now() - %s * interval '1 s',"
        " now() - %s * interval '1 s' FROM generate_series(1, %s)",
        writes, resource, accepted, at, messages,
    )  # fmt: skip


def of(found: Json, resource: str) -> Json:
    [shown] = [each for each in found["resources"] if each["name"] == resource]
    return shown


def test_lag_is_that_of_writes_not_of_messages(world: World) -> None:
    poured(world, "people", 1, accepted=30.5, at=30, messages=90)
    poured(world, "people", 90, accepted=32, at=30, messages=9)
    poured(world, "people", 100, accepted=100, at=90)

    found = of(ask(world, "overview"), "people")

    assert found["lag"] == {"p50": 2.0, "p95": 10.0, "p99": 10.0}
    assert found["writes_per_minute"] == 90 + 9 * 90


def test_what_was_poured_long_ago_and_what_has_no_time_is_in_no_lag(world: World) -> None:
    poured(world, "people", 50, accepted=3_000, at=301)
    world.execute(
        "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, resource_name)"
        " VALUES (gen_random_uuid(), '', 7, 'people')"
    )
    poured(world, "rows", 3, accepted=1, at=0.75)

    found = ask(world, "overview")

    assert of(found, "people")["lag"] is None
    assert of(found, "people")["writes_per_minute"] == 7
    assert of(found, "rows")["lag"] == {"p50": 0.25, "p95": 0.25, "p99": 0.25}
    assert of(found, "pets") == {
        "name": "pets", "front": "sqs", "ordered": True, "writes_per_minute": 0, "lag": None,
        "rejected_last_hour": 0, "waiting": 0,
    }  # fmt: skip


def test_history_has_sixty_whole_minutes(world: World) -> None:
    now = world.value("SELECT extract(epoch FROM now())::float8")
    in_minute = float(now) % 60
    poured(world, "people", 5, accepted=in_minute + 65, at=in_minute + 62)
    poured(world, "rows", 2, accepted=in_minute + 3_599 + 1, at=in_minute + 3_599)
    poured(world, "rows", 9, accepted=in_minute + 3_700, at=in_minute + 3_661)
    world.execute(
        "INSERT INTO decanter.rejection (dedup_id, item, resource, type, reason, rejected_at)"
        " VALUES (gen_random_uuid(), 0, 'people', 'check', '', now() - %s * interval '1 s')",
        in_minute + 62,
    )

    found = ask(world, "overview")
    history = found["history"]

    assert [len(values) for values in history.values()] == [60] * 5
    assert (history["written"][0], history["written"][-2], sum(history["written"])) == (2, 5, 7)
    assert (history["lag_p50"][-2], history["lag_p95"][-2], history["lag_p50"][-1]) == (3, 3, None)
    assert (history["rejected"][-2], sum(history["rejected"])) == (1, 1)
    assert history["minutes"][-1].endswith(":00.000+00:00")
    assert of(found, "people")["rejected_last_hour"] == 1


def test_rejections_are_grouped_by_cause_most_frequent_first(world: World) -> None:
    world.post("people", [{"id": id, "a": 1} for id in range(3)])
    world.drain()
    world.post("people", [{"id": id, "a": 2} for id in range(2)])
    world.patch("people", 9, {"a": 2})
    world.drain()
    world.execute(
        "UPDATE decanter.rejection SET rejected_at = now() - interval '25 hours' WHERE item = 1"
    )

    found = ask(world, "overview")["rejections"]

    assert sorted(each["type"] for each in found) == ["conflict", "missing"]
    conflict = next(each for each in found if each["type"] == "conflict")
    assert conflict == {"resource": "people", "type": "conflict",
                        "constraint": "people_pkey", "writes": 1}  # fmt: skip


def test_writes_that_wait_are_counted_by_resource_and_reason_and_block_their_lane(
    world: World,
) -> None:
    world.post("pets", [{"id": 1, "owner": 7}])
    world.put("pets", 1, {"owner": 7})
    first = json.loads(world.queued[0].body.split("\n")[0])["id"]
    lanes = {entry.lane for entry in world.queued}
    world.drain()

    found = ask(world, "overview")
    [lane] = ask(world, "lanes")

    assert of(found, "pets")["waiting"] == 2
    assert {each["reason"]: each["writes"] for each in found["waiting"]} == {"parent": 1, "key": 1}
    assert {str(lane["lane"])} == lanes
    assert lane["waiting"] == 2
    since = lane["blocking"].pop("since")
    assert lane["blocking"] == {"id": first, "resource": "pets", "reason": "parent"}
    assert since in {each["since"] for each in found["waiting"]}


def test_a_write_from_before_the_ledger_kept_resources_is_known_by_its_message(
    world: World,
) -> None:
    world.post("pets", [{"id": 1, "owner": 7}])
    world.drain()
    world.execute("UPDATE decanter.ledger SET resource_name = NULL")

    assert of(ask(world, "overview"), "pets")["waiting"] == 1
    assert ask(world, "lanes")[0]["blocking"]["resource"] == "pets"


@pytest.mark.parametrize("digest", [0, 5, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_lane_is_that_of_the_queue_whatever_the_digest(world: World, digest: int) -> None:
    signed = digest - 2**64 if digest >= 2**63 else digest
    world.execute(
        "INSERT INTO decanter.waiting (dedup_id, item, digest, reason, message)"
        " VALUES (gen_random_uuid(), 0, %s, 'lock', '')",
        signed,
    )

    [lane] = ask(world, "lanes")

    assert lane["lane"] == digest % 16


def test_what_waits_behind_another_write_blocks_no_lane(world: World) -> None:
    for reason, digest in (("key", 3), ("lock", 3), ("key", 4)):
        world.execute(
            "INSERT INTO decanter.waiting (dedup_id, item, digest, reason, message)"
            " VALUES (gen_random_uuid(), 0, %s, %s, '')",
            digest,
            reason,
        )

    found = {each["lane"]: each for each in ask(world, "lanes")}

    assert (found[3]["waiting"], found[3]["blocking"]["reason"]) == (2, "lock")
    assert (found[4]["waiting"], found[4]["blocking"]) == (1, None)


def test_connections_are_counted_by_their_names(world: World) -> None:
    names = ("decanter-drain", "decanter-drain", "decanter-operate", "psql")
    opened = [psycopg2.connect(world.url, application_name=name) for name in names]

    found = ask(world, "overview")["connections"]
    for each in opened:
        each.close()

    assert found["decanter-drain"] == 2
    assert (found["decanter-operate"], found["decanter-reader"]) == (1, 1)
    assert "psql" not in found


def now(world: World) -> dict[str, Pace]:
    return {each.buffer: each for each in pace.read(ask(world, "overview")["paces"])}


def test_the_pace_counts_the_time_in_which_something_waited(world: World) -> None:
    poured(world, "people", 10, accepted=40, at=35)
    poured(world, "pets", 20, accepted=37, at=31, messages=2)
    poured(world, "people", 5, accepted=20, at=19.5)
    poured(world, "people", 500, accepted=90, at=80)
    poured(world, "rows", 7, accepted=300, at=5)

    ordered, unordered = now(world)["ordered"], now(world)["unordered"]

    assert (ordered.writes, ordered.messages) == (55, 4)
    assert 9 <= ordered.busy <= 13  # 9.5 s, and the rest of each second that was begun
    assert 18 <= ordered.idle <= 21
    assert (unordered.writes, unordered.waiting) == (7, 0)
    assert 53 <= unordered.busy <= 56


def test_past_moments_know_what_waited_and_when_it_was_poured(world: World) -> None:
    in_minute = float(world.value("SELECT extract(epoch FROM now())::float8")) % 60
    poured(world, "people", 40, accepted=in_minute + 610, at=in_minute + 605)
    poured(world, "people", 30, accepted=in_minute + 610, at=in_minute + 590)
    poured(world, "people", 3, accepted=in_minute + 599, at=in_minute + 580)

    found = [each for each in pace.read(ask(world, "overview")["past"]) if each.waiting]

    [moment] = found
    assert moment.buffer == "ordered"
    assert (moment.writes, moment.waiting) == (40, 30)
    assert moment.last is not None
    assert moment.last - moment.at == pytest.approx(10, abs=1)
    assert moment.busy == pytest.approx(10, abs=1.5)


def test_an_hour_is_read_once_in_a_minute(
    world: World, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    minute = [1_800_000_000.0]
    monkeypatch.setattr(overview, "now", lambda _transaction: minute[0] + 7)

    def asked() -> int:
        statements.clear()
        ask(world, "overview")
        return sum("date_trunc('minute', poured_at)" in each for each in statements)

    assert [asked(), asked()] == [1, 0]
    minute[0] += 60
    assert [asked(), asked()] == [1, 0]


def test_a_status_tells_the_pace_while_writes_are_queued(world: World) -> None:
    poured(world, "people", 10, accepted=4, at=2)
    receipt = world.post("people", [{"id": id} for id in range(9)])
    first = world.queued.pop(0)

    answer = status(world, receipt)
    assert answer["queued"] == 9
    assert {each.buffer: each.writes for each in answer["paces"]} == {"ordered": 10, "unordered": 0}
    world.drain()
    left = status(world, receipt)["queued"]
    assert 0 < left == sum(len(rows.items) for rows in decode(first.body).sets) < 9
    world.drain([first])
    assert (status(world, receipt)["queued"], status(world, receipt)["paces"]) == (0, ())


def test_the_pace_is_remembered_for_some_seconds(
    world: World, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = world.post("people", [{"id": 1}])

    def asked() -> int:
        statements.clear()
        status(world, receipt)
        return sum("moment" in each for each in statements)

    assert [asked(), asked()] == [1, 0]
    later = time.monotonic() + 6
    monkeypatch.setattr(paces.time, "monotonic", lambda: later)
    assert asked() == 1


@pytest.mark.needs("settings")
def test_a_ledger_that_is_too_busy_leaves_the_status_as_it_is(
    world: World, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = world.post("people", [{"id": 1}])
    slow = f"SELECT pg_sleep(600) FROM ({pace_sql._PACE}) AS own"
    monkeypatch.setattr(pace_sql, "_PACE", slow)
    monkeypatch.setattr(paces, "_QUERY_SECONDS", 0.05)

    answer = status(world, receipt)

    assert (answer["state"], answer["queued"], answer["paces"]) == ("pending", 1, ())
    assert sum("poured.differs" in each for each in statements) == 1  # in one transaction


def status(world: World, receipt: str) -> Json:
    known = verify(receipt, RECEIPT_KEY, "me")
    assert known is not None
    members = {**known._asdict(), "id": str(known.id)}
    return world.read({"ask": "status", **members})
