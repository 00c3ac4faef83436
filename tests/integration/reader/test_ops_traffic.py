"""What the reader finds out of the traffic of the last days."""

import json
import struct
import time
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from chalicelib.messages.questions import InvalidList, OpsQuestion, to_event
from chalicelib.postgres.ledger import first_id
from chalicelib.postgres.ops import traffic
from chalicelib.reader.ops import shown
from tests.kit.databases import execute
from tests.kit.described_answers import check
from tests.kit.world import World

Json = dict[str, Any]
HOUR = 3_600


@cache
def tables() -> MetaData:
    metadata = MetaData()
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    Table("people", metadata, key, Column("name", Text))
    Table("rows", metadata, Column("a", Integer), info={"ordered": False})
    return metadata


@pytest.fixture
def world(make_world: Callable[[MetaData], World]) -> World:
    return make_world(tables())


def ask(world: World, days: int = 7) -> Any:
    question = OpsQuestion("traffic", {"days": days})
    answer = question.read_answer(world.read(json.loads(to_event(question, 10))))
    if isinstance(answer, InvalidList):
        return answer
    check("GET", "/ops/traffic", 200, "application/json", answer.body)
    return json.loads(answer.body)


def accepted(
    world: World, resource: str, ago: float, requests: int, messages: int = 1, writes: int = 1
) -> None:
    """Enter requests of so many messages that were accepted so many seconds ago, and poured later.
    Ids are as those of receipts: a message has its number at the end."""
    world.execute(
        "INSERT INTO decanter.ledger"
        " (dedup_id, fingerprint, writes, resource_name, accepted_at, poured_at)"
        " SELECT (left(id::text, 32) || lpad(to_hex(number), 4, '0'))::uuid, '', %s, %s,"
        " now() - %s * interval '1 s', now() - %s * interval '1 s'"
        " FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)) AS ids,"
        " generate_series(0, %s - 1) AS number",
        writes, resource, ago, ago - 1, requests, messages,
    )  # fmt: skip


def poured_keys(world: World, resource: str, digests: list[int]) -> None:
    """Enter a message with a write to each of these keys."""
    world.execute(
        "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, resource_name, keys)"
        " VALUES (gen_random_uuid(), '', %s, %s, %s)",
        len(digests), resource, struct.pack(f">{len(digests)}Q", *digests),
    )  # fmt: skip


def of(found: Json, resource: str) -> Json:
    [one] = [each for each in found["resources"] if each["name"] == resource]
    return one


def test_messages_requests_and_writes_are_counted_by_their_hour(world: World) -> None:
    accepted(world, "people", 30 * HOUR, requests=7, messages=3, writes=2)
    accepted(world, "rows", 30 * HOUR, requests=5, writes=10)
    accepted(world, "rows", 31 * HOUR, requests=2)

    found = ask(world)

    assert len(found["hours"]) == 7 * 24
    begins = [datetime.fromisoformat(each) for each in found["hours"]]
    now = datetime.fromisoformat(found["now"])
    assert begins[-1] <= now
    [hour] = [
        n for n, each in enumerate(begins) if 0 <= (now - each).total_seconds() - 30 * HOUR < HOUR
    ]
    people, rows = of(found, "people"), of(found, "rows")
    assert (people["buffer"], rows["buffer"]) == ("ordered", "unordered")
    counts = [people[name][hour] for name in ("messages", "requests", "writes", "busiest_minute")]
    assert counts == [21, 7, 42, 7]
    assert [rows[name][hour] for name in ("messages", "requests", "writes")] == [5, 5, 50]
    assert rows["requests"][hour - 1] == 2
    assert sum(rows["requests"]) == 7
    assert found["sampled_share"] == 1


@pytest.mark.parametrize("minute", [0.1, 29.9, 30.1, 45, 59.9])
def test_each_minute_of_an_hour_counts_to_it(world: World, minute: float) -> None:
    [(begin,)] = world.execute("SELECT date_part('epoch', now() - date_trunc('hour', now()))")
    accepted(world, "rows", float(begin) + 2 * HOUR - 60 * minute, requests=3)

    assert of(ask(world), "rows")["requests"][-3:] == [3, 0, 0]


def test_what_is_older_and_claims_without_writes_do_not_count(world: World) -> None:
    accepted(world, "rows", 40 * HOUR, requests=3)
    accepted(world, "rows", 1, requests=4)
    accepted(world, "rows", 1, requests=4, writes=0)

    assert sum(of(ask(world, days=1), "rows")["messages"]) == 4


def test_the_spread_of_keys_is_counted(world: World) -> None:
    poured_keys(world, "people", [5, 5, 5, 21, 7])
    poured_keys(world, "people", [5, 7, 2**64 - 1])

    found = of(ask(world), "people")["keys"]

    assert found == {"writes": 8, "keys": 4, "once": 2, "twice": 1, "top": [4, 2, 1, 1]}


def test_keys_are_those_of_all_partitions_of_the_ledger(world: World) -> None:
    """A leaf has more messages than are looked at."""
    key = "substr(decode(md5(n::text), 'hex'), 1, 8) FROM generate_series(1, 25000) AS n"
    enter = "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, resource_name, keys)"
    timed = f"'{first_id(time.time_ns() // 1_000_000)[:24]}' || lpad(to_hex(n), 12, '0')"
    world.execute(f"{enter} SELECT ({timed})::uuid, '', 1, 'things', {key}")
    world.execute(f"{enter} SELECT gen_random_uuid(), '', 1, 'people', {key}")

    found = of(ask(world), "people")["keys"]

    # Half of 20,000: ten standard deviations are 700.
    assert found["writes"] == pytest.approx(10_000, rel=0.1)


def test_keys_are_those_of_messages_of_all_the_time(world: World) -> None:
    for digest, ago in (5, 50), (7, 2):
        world.execute(
            "INSERT INTO decanter.ledger"
            " (dedup_id, fingerprint, writes, resource_name, keys, poured_at)"
            " SELECT gen_random_uuid(), '', 1, 'people', %s, now() - %s * interval '1 h'"
            " FROM generate_series(1, 20000)",
            struct.pack(">Q", digest), ago,
        )  # fmt: skip

    found = of(ask(world), "people")["keys"]

    assert found["writes"] == 20_000
    assert found["top"] == pytest.approx([10_000, 10_000], abs=1_000)


def test_ops_and_bytes_are_those_of_the_tables_statistics(world: World) -> None:
    accepted(world, "people", 1, requests=1)
    # Each in a session that ends, and so reports its statistics.
    for statement in (
        "INSERT INTO people SELECT n, repeat('x', 20) FROM generate_series(0, 7) AS n",
        "UPDATE people SET name = 'y' WHERE id < 2",
        "DELETE FROM people WHERE id = 3",
        "ANALYZE people",
    ):
        execute(world.url, statement)

    found = ask(world)
    people = of(found, "people")

    assert people["keys"] is None  # those of this message are not kept
    assert [people["ops"][name] for name in ("inserted", "updated", "deleted")] == [8, 2, 1]
    assert 4 + 2 + 5 + 10 < people["row_bytes"]["mean"] < 4 + 2 + 5 + 30 + 5
    assert "pg_stats" in people["row_bytes"]["basis"]
    assert [each["what"] for each in found["unknown"]] == ["people.keys"]


def test_what_cannot_be_known_is_said(world: World) -> None:
    accepted(world, "rows", 1, requests=1)
    accepted(world, "former", 1, requests=1)

    found = ask(world)

    assert (of(found, "rows")["keys"], of(found, "rows")["row_bytes"]) == (None, None)
    unknown = {each["what"]: each["why"] for each in found["unknown"]}
    assert unknown.keys() == {"rows.keys", "rows.ops", "rows.row_bytes", "former"}
    assert "no resource" in unknown["former"]


def test_a_large_ledger_is_read_in_part_and_counts_are_scaled_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted(world, "rows", 5, requests=200_000)
    monkeypatch.setattr(traffic, "READ_BYTES", 4 << 20)

    found = ask(world)

    assert 0 < found["sampled_share"] < 0.5
    # Some 1,000 of 2,600 pages or fewer: ten standard deviations are less than half.
    assert sum(of(found, "rows")["messages"]) == pytest.approx(200_000, rel=0.5)


@pytest.mark.needs("settings")
def test_a_query_that_takes_too_long_is_given_up_with_the_cure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted(world, "rows", 5, requests=1)
    monkeypatch.setattr(traffic, "_BY_HOUR", f"SELECT pg_sleep(9); {traffic._BY_HOUR}")
    monkeypatch.setattr("chalicelib.reader.ops.traffic.SECONDS", 0.1)

    found = ask(world)

    assert isinstance(found, InvalidList)
    assert "?days=" in found.unfit
    assert str(shown.SECONDS) in found.unfit or "8 s" in found.unfit


@pytest.mark.needs("settings")
def test_all_queries_together_have_so_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted(world, "rows", 5, requests=1)
    for name in ("_BY_HOUR", "_KEYS"):
        slow = f"SELECT pg_sleep(0.7); {getattr(traffic, name)}"
        monkeypatch.setattr(traffic, name, slow)
    monkeypatch.setattr("chalicelib.reader.ops.traffic.SECONDS", 1.0)

    assert isinstance(ask(world), InvalidList)
