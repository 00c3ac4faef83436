"""What operators find of writes: by receipt, key or time, and the life of each."""

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Date, ForeignKey, Integer, MetaData, Table, Text, func

from chalicelib.messages.receipt import Receipt, front_id, issue, new_id, read
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import connection, transaction
from chalicelib.postgres.ops import writes
from tests.kit.api import body_of, problem, station
from tests.kit.operators import connect, next_page, ops
from tests.kit.world import RECEIPT_KEY, World

ACT = str(UUID(int=5))


@pytest.fixture(autouse=True)
def reader(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(world, monkeypatch)


def found(address: str) -> list[str]:
    """The dedup IDs of all pages."""
    ids: list[str] = []
    following: str | None = f"/ops/writes?{address}"
    while following:
        answer = ops(following)
        assert answer.status_code == 200, answer.body
        ids += [each["id"] for each in body_of(answer)["writes"]]
        following = next_page(answer)
    assert len(ids) == len(set(ids))
    return ids


def of(**key: Any) -> str:
    return quote(json.dumps(key))


def timeline(id_: str) -> dict[str, Any]:
    answer = ops(f"/ops/writes/{id_}")
    assert answer.status_code == 200, answer.body
    body: dict[str, Any] = body_of(answer)
    times = [each["at"] or "9" for each in body["events"]]
    assert times == sorted(times)
    return body


def events(body: dict[str, Any], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(each[name] for name in ("what", *names)) for each in body["events"]]


def unknown(body: dict[str, Any]) -> list[str]:
    return [each["what"] for each in body["unknown"]]


def first_of(receipt: str) -> str:
    known = read(receipt)
    assert known is not None
    return known.dedup_id(0)


def act(world: World) -> None:
    world.execute(
        "INSERT INTO decanter.act (id, kind, who, note, target)"
        " VALUES (%s, 'resend', 'olga', 'fixed', '{}')",
        ACT,
    )


def correct(world: World, id_: str, kind: str, resent_as: str | None, *items: int) -> None:
    world.execute(
        "INSERT INTO decanter.correction (dedup_id, item, act, kind, resent_as, resent_item)"
        " SELECT %s, item, %s, %s, %s, item FROM unnest(%s) AS item",
        id_, ACT, kind, resent_as, [*items],
    )  # fmt: skip


def test_the_life_of_a_request_from_its_acceptance_to_its_corrections(
    make_world: Callable[[MetaData], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = MetaData()
    Table("pets", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("owner", ForeignKey("pets.id")))  # fmt: skip
    world = make_world(metadata)
    connect(world, monkeypatch)
    rows = [{"id": 1}, {"id": 1}, {"id": 1}, {"id": 1}, {"id": 2, "owner": 99}]
    receipt = world.post("pets", rows)
    again = world.post("pets", [{"id": 5}, {"id": 6}, {"id": 1}])
    before = timeline(receipt)
    assert events(before, "writes") == [("accepted", 5)]
    assert unknown(before) == ["deliveries", "poured"]
    world.drain()
    act(world)
    ((old,),) = world.execute("SELECT DISTINCT dedup_id::text FROM decanter.rejection"
                              " WHERE item = 1")  # fmt: skip
    new = found(f"receipt={again}")[0]
    correct(world, old, "resend", new, 1, 2)
    correct(world, old, "discard", None, 3)

    after = timeline(receipt)

    assert after["id"] == first_of(receipt)
    assert after["resource"] == "pets"
    assert unknown(after) == ["deliveries"]
    assert events(after, "writes", "item", "act", "other") == [
        ("accepted", 5, None, None, None),
        ("poured", 5, None, None, None),
        ("rejected", 3, 1, None, None),
        ("waiting", 1, 4, None, None),
        ("resent", 2, 1, ACT, new),
        ("discarded", 1, 3, ACT, None),
    ]
    details = {each["what"]: each["detail"] for each in after["events"]}
    assert details["rejected"].startswith("conflict (pets_pkey): duplicate key")
    assert "refers to" in details["waiting"]
    assert details["resent"] == "by olga: fixed"
    own = timeline(old)
    assert [
        each for each in own["events"] if each["what"] not in ("accepted", "poured", "waiting")
    ] == [each for each in after["events"] if each["what"] not in ("accepted", "poured", "waiting")]
    assert events(timeline(new), "writes", "item", "act", "other")[-1] == (
        "resent-from", 2, 1, ACT, old,
    )  # fmt: skip
    # A resend that is still in its buffer is known by where it comes from.
    world.execute(
        "UPDATE decanter.correction SET resent_as = %s WHERE kind = 'resend'", str(UUID(int=9))
    )
    queued = timeline(str(UUID(int=9)))
    assert events(queued, "other") == [("resent-from", old)]
    assert unknown(queued) == ["deliveries", "poured"]


def test_the_key_of_a_row_finds_its_messages_in_a_span_of_time(
    make_world: Callable[[MetaData], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = MetaData()
    Table("pets", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("name", Text))  # fmt: skip
    Table("events", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          info={"ordered": False})  # fmt: skip
    Table("days", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("day", Date, primary_key=True, server_default=func.current_date()))  # fmt: skip
    world = make_world(metadata)
    connect(world, monkeypatch)
    one = world.post("pets", [{"id": id_} for id_ in range(300)])
    two = world.put("pets", 7, {"name": "a"})
    other = world.put("pets", 8, {"name": "a"})
    twice = world.post("events", [{"id": 7}, {"id": 7}])
    world.post("events", [{"id": 10}, {"id": 9}, {"id": 9}])
    day = world.post("days", {"id": 1, "day": "2026-01-31"})
    world.drain()
    # The digest is in these bytes, but is none of the two that they are.
    digest = world.value("SELECT keys FROM decanter.ledger WHERE dedup_id = %s", first_of(two))
    world.execute("UPDATE decanter.ledger SET keys = %s || %s || %s WHERE dedup_id = %s",
                  b"1", bytes(digest), b"2345678", first_of(other))  # fmt: skip

    key = f"resource=pets&key={of(id=7)}"
    messages = found(key)

    assert len(messages) == 2
    assert first_of(two) in messages
    assert set(messages) <= {*found(f"receipt={one}"), first_of(two)}
    world.execute("UPDATE decanter.ledger SET poured_at = now() - interval '25 hours'"
                  " WHERE dedup_id = %s", first_of(two))  # fmt: skip
    assert first_of(two) not in found(key)
    for more in ("since=2026-01-01T00:00:00Z", f"until={_hours_ago(24)}"):
        assert first_of(two) in found(f"{key}&{more}")
    assert found(f"{key}&until=2026-01-01T00:00:00Z") == []
    body = body_of(ops(f"/ops/writes?{key}"))
    assert unknown(body) == ["writes"]
    # Of a resource without an order, only where the key was rejected.
    assert found(f"resource=events&key={of(id=7)}&limit=1") == [first_of(twice)]
    body = body_of(ops(f"/ops/writes?resource=events&key={of(id=9)}"))
    assert unknown(body) == ["writes", "writes"]
    named = of(id=1, day="2026-02-28")
    body = body_of(ops(f"/ops/writes?resource=days&key={named}"))
    assert [each["id"] for each in body["writes"]] == [first_of(day)]
    assert "differ only" in body["unknown"][1]["why"]


def _hours_ago(hours: float) -> str:
    at = time.gmtime(time.time() - hours * 3_600)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", at)


def test_messages_are_listed_by_the_time_of_their_pour(world: World) -> None:
    kept = [
        (
            str(UUID(int=1 << 96 | number // 3))
            if number % 3 == 0
            else str(UUID(int=number << 64)),
            number,
        )
        for number in range(1, 60)
    ]

    def keep(*entries: tuple[str, int]) -> None:
        world.execute(
            "INSERT INTO decanter.ledger"
            " (dedup_id, fingerprint, writes, resource_name, accepted_at, poured_at)"
            " SELECT id, 'f', 1, CASE number %% 2 WHEN 0 THEN 'pets' END, now(),"
            " date_trunc('hour', now()) - number / 4 * interval '1 hour'"
            " FROM unnest(%s::uuid[], %s) AS kept (id, number)",
            [id_ for id_, _ in entries], [number for _, number in entries],
        )  # fmt: skip

    keep(*kept)
    world.execute("INSERT INTO decanter.ledger (dedup_id, fingerprint, writes)"
                  " VALUES (%s, 'f', 0)", str(UUID(int=7)))  # fmt: skip

    newest_first = sorted(kept, key=lambda each: each[0], reverse=True)
    newest_first.sort(key=lambda each: each[1] // 4)
    assert found("limit=7") == [id_ for id_, _ in newest_first]
    assert found("limit=7&resource=pets") == [id_ for id_, n in newest_first if n % 2 == 0]
    last = body_of(ops("/ops/writes?limit=1"))["writes"][0]["poured_at"]
    before = [id_ for id_, number in newest_first if number // 4]
    assert found(f"until={quote(last)}&since=2000-01-01T00:00:00Z") == before
    assert found(f"since={quote(last)}") == [id_ for id_, n in newest_first if not n // 4]
    assert found("resource=") == [id_ for id_, n in newest_first if n % 2]
    page = ops("/ops/writes?limit=5")
    keep((str(UUID(int=8)), 0))
    following = next_page(page)
    assert following is not None
    rest = [each["id"] for each in body_of(ops(following))["writes"]]
    assert rest == [id_ for id_, _ in newest_first][5:10]


def test_a_message_that_could_not_be_read_has_a_life_too(world: World) -> None:
    world.drain(["no message"])
    ((id_,),) = world.execute("SELECT dedup_id::text FROM decanter.rejection")

    assert found("") == [id_]
    assert events(timeline(id_), "item")[0] == ("poured", None)
    assert "foreign-message" in timeline(id_)["events"][1]["detail"]


def test_a_request_that_reused_a_key_has_the_life_of_its_own(world: World) -> None:
    first = world.post("stations", [station(), station()], Idempotency_Key="k")
    second = world.post("stations", [station(icao="LSZH")], Idempotency_Key="k")
    world.drain()

    (rejected,) = timeline(second)["events"]
    assert (rejected["what"], rejected["writes"]) == ("rejected", 1)
    assert "Idempotency-Key" in rejected["detail"]
    assert [what for what, *_ in events(timeline(first))] == ["accepted", "poured", "rejected"]


def test_writes_in_front_that_were_overtaken_are_rejected_in_their_life(world: World) -> None:
    at = time.time_ns() // 1_000_000 - 3_600_000
    receipt = Receipt(front_id(at, 3), at, 6, 5, "0" * 32)
    deadline = time.monotonic() + 60
    with transaction(connection(world.url, "drain", deadline), deadline) as running:
        ledger.keep_reconciled(running, at + 1)

    body = timeline(issue(receipt, b"any", "anybody"))

    assert events(body, "writes", "at")[1] == ("rejected", 5, None)
    assert unknown(body) == ["deliveries"]


def test_what_nobody_knows_is_not_there(world: World) -> None:
    for id_ in (str(UUID(int=1)), "x", "é", str(UUID(int=1)).replace("-", ""), "1.1"):
        answer = ops(f"/ops/writes/{quote(id_)}")
        assert (answer.status_code, problem(answer)) == (404, "no-such-entry")
    assert body_of(ops("/ops/writes"))["writes"] == []
    for query in ("state=all", "type=check", "cursor=x", "key={}", "until=0001-01-01T00:00:00Z"):
        answer = ops(f"/ops/writes?{query}")
        assert (answer.status_code, problem(answer)) == (400, "invalid-query"), query


@pytest.mark.needs("settings")
def test_a_search_that_takes_too_long_says_how_to_shorten_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.post("stations", station())
    world.drain()
    monkeypatch.setattr(writes, "_IS_MESSAGE", "pg_sleep(60) IS NULL")
    monkeypatch.setattr("chalicelib.reader.ops.writes.SECONDS", 0.01)

    answer = ops("/ops/writes")

    assert (answer.status_code, problem(answer)) == (400, "invalid-query")
    assert "since" in body_of(answer)["detail"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.builds(
        Receipt,
        st.uuids() | st.integers(0, 2**48 - 1).map(new_id),
        st.sampled_from([0, 7, 2**47 - 1, 2**47, 2**48 - 1]),
        st.sampled_from([1, 2, 1 << 16]),
        st.sampled_from([1, 2, (1 << 24) - 1]),
        st.just("0" * 32),
    )
)
def test_no_receipt_that_somebody_makes_up_breaks_the_search(
    world: World, receipt: Receipt
) -> None:
    token = issue(receipt, RECEIPT_KEY, "x")

    assert ops(f"/ops/writes/{token}").status_code in (200, 404)
    assert ops(f"/ops/writes?receipt={token}").status_code in (200, 400)
    assert ops(f"/ops/rejections?receipt={token}").status_code in (200, 400)
