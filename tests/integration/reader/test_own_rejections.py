"""All rejections of a client's request, with its rows, page by page."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.api.http.caller import Caller
from chalicelib.api.reads import calls
from chalicelib.messages.receipt import Receipt, front_id, issue, new_id
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import connection, transaction
from chalicelib.reader import answer, rejections
from tests.kit.api import Answered, body_of, problem, station
from tests.kit.operators import call, connect, next_page
from tests.kit.world import RECEIPT_KEY, World

NDJSON = {"Accept": "application/x-ndjson"}


@pytest.fixture(autouse=True)
def reader(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(world, monkeypatch)


def get(address: str, caller: str = "me", handler: Any = calls.rejections, **more: str) -> Answered:
    token = address.split("?")[0].split("/")[2]
    return call(lambda request: handler(request, token), address, Caller(caller, None), **more)


def pages(token: str, query: str = "", **headers: str) -> Iterator[Answered]:
    following: str | None = f"/writes/{token}/rejections{query}"
    while following:
        answer = get(following, **headers)
        assert answer.status_code == 200, answer.body
        yield answer
        following = next_page(answer)


def lines(answer: Answered) -> list[Any]:
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.body.splitlines()]


def test_a_program_puts_right_12_000_rejected_rows(world: World, statements: list[str]) -> None:
    receipt = Receipt(
        new_id(time.time_ns() // 1_000_000), time.time_ns() // 1_000_000, 12, 15_000, "0" * 32
    )
    world.execute(
        """
        INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, accepted_at)
        SELECT (left(%s, -4) || lpad(to_hex(n), 4, '0'))::uuid, %s,
            CASE n WHEN 0 THEN 4000 ELSE 1000 END, now() FROM generate_series(0, 11) AS n
        """,
        str(receipt.id), receipt.fingerprint,
    )  # fmt: skip
    world.execute(
        """
        INSERT INTO decanter.rejection (dedup_id, item, resource, op, type, reason, row)
        SELECT (left(%s, -4) || lpad(to_hex(n %% 12), 4, '0'))::uuid, n, 'stations', 'create',
            'check', 'too high', json_build_object('icao', n, 'n', 0.10 + n)
        FROM generate_series(0, 11999) AS n
        """,
        str(receipt.id),
    )  # fmt: skip
    token = issue(receipt, RECEIPT_KEY, "me")
    status = body_of(get(f"/writes/{token}", handler=calls.status))

    items: list[int] = []
    costs = []
    for page in pages(token, "?limit=1000", **NDJSON):
        costs.append(len(statements))
        statements.clear()
        found = lines(page)
        assert len(found) == 1_000
        assert all(each["row"]["icao"] == each["item"] for each in found)
        items += [each["item"] for each in found]

    assert status["rejected"] == 12_000
    assert status["all_rejections"] == f"/writes/{token}/rejections"
    assert len(costs) == 12
    assert len({*costs[1:]}) == 1
    assert items == [*range(12_000)]


def test_rows_come_back_as_they_were_sent_to_be_sent_again(world: World) -> None:
    sent = [station(icao=f"X{number:03}", latitude=50 + 45 * (number % 2)) for number in range(50)]
    text = json.dumps(sent).replace("95", "95.10000").encode()
    token = world.post("stations", text)

    assert body_of(get(f"/writes/{token}/rejections")) == {
        "state": "pending",
        "writes": 50,
        "rejected": 0,
        "rejections": [],
        "next": None,
    }
    world.drain()
    listed = [body_of(page) for page in pages(token, "?limit=7")]

    assert [len(each["rejections"]) for each in listed] == [7, 7, 7, 4]
    assert [each["next"] for each in listed] == [13, 27, 41, None]
    assert {each["state"] for each in listed} == {"partial"}
    found = [each for page in listed for each in page["rejections"]]
    assert [each["item"] for each in found] == [*range(1, 50, 2)]
    assert found[0] == {
        "item": 1,
        "type": "check",
        "reason": found[0]["reason"],
        "sqlstate": "23514",
        "constraint": "ck_stations_latitude",
        "column": None,
        "row": {**sent[1], "latitude": 95.1},
    }
    raw = b"".join(page.body for page in pages(token, **NDJSON))
    assert raw.count(b"95.10000") == 25
    right = [{**each["row"], "latitude": 10} for each in found]
    again = world.post("stations", right)
    world.drain()
    assert world.status(again)["state"] == "applied"
    assert world.value("SELECT count(*) FROM stations") == 50
    assert next(pages(again)).body.count(b"item") == 0


def test_only_their_sender_sees_rejections_and_bad_parameters_are_named(world: World) -> None:
    token = world.post("stations", [station(), station()])
    world.drain()

    assert problem(get(f"/writes/{token}/rejections", caller="you")) == "unknown-receipt"
    assert problem(get(f"/writes/{token[:-4]}/rejections")) == "unknown-receipt"
    for query in ("limit=0", "limit=1001", "after_item=x", "cursor=1", "limit=1&limit=2"):
        answer = get(f"/writes/{token}/rejections?{query}")
        assert problem(answer) == "invalid-query"
        name = query.partition("=")[0]
        assert body_of(answer)["errors"][0]["pointer"] == f"?{name}"
    assert body_of(get(f"/writes/{token}/rejections?after_item=1"))["rejections"] == []


def test_a_reused_key_is_a_rejection_of_the_whole_request(world: World) -> None:
    first = world.post("stations", [station(), station()], Idempotency_Key="k")
    second = world.post("stations", [station(icao="LSZH")], Idempotency_Key="k")
    world.drain()

    (rejection,) = body_of(get(f"/writes/{second}/rejections"))["rejections"]

    assert (rejection["item"], rejection["type"], rejection["row"]) == (None, "key-reused", None)
    (own,) = body_of(get(f"/writes/{first}/rejections"))["rejections"]
    assert (own["item"], own["type"], own["row"]) == (1, "conflict", station())


def test_what_does_not_fit_into_an_answer_is_on_the_next_page(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = world.post("stations", [station()] * 12)
    world.drain()

    monkeypatch.setattr(answer, "ANSWER_BYTES", 2_000)
    listed = [body_of(each)["rejections"] for each in pages(token)]

    assert len(listed) > 2
    assert [each["item"] for page in listed for each in page] == [*range(1, 12)]


@pytest.mark.parametrize("most", [17, 4_000_000])
@pytest.mark.parametrize("written", [6, 5])
def test_writes_in_front_that_were_overtaken_are_among_them(
    world: World, monkeypatch: pytest.MonkeyPatch, written: int, most: int
) -> None:
    """Of items 3 to 8, three are poured, and two of these are rejected. If one of the others was
    not written, it is not known which. most: bytes of rows in an answer."""
    monkeypatch.setattr(rejections, "TEXT_BYTES", most)
    at = time.time_ns() // 1_000_000 - 3_600_000
    receipt = Receipt(front_id(at, 3), at, 6, written, "0" * 32)
    for item in (3, 5, 6):
        world.execute(
            "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes) VALUES (%s, %s, 1)",
            receipt.dedup_id(item - 3), receipt.fingerprint,
        )  # fmt: skip
    for item in (5, 6):
        world.execute(
            "INSERT INTO decanter.rejection (dedup_id, item, type, reason, row)"
            " VALUES (%s, %s, 'check', 'too high', json_build_object('id', %s))",
            receipt.dedup_id(item - 3), item, item,
        )  # fmt: skip
    deadline = time.monotonic() + 60
    with transaction(connection(world.url, "drain", deadline), deadline) as running:
        ledger.keep_reconciled(running, at + 1)
    token = issue(receipt, RECEIPT_KEY, "me")

    listed = [body_of(page) for page in pages(token, "?limit=4")]

    found = [(each["item"], each["type"]) for page in listed for each in page["rejections"]]
    known = [(5, "check"), (6, "check")]
    if written == 6:
        assert found == sorted([*((item, "superseded") for item in (4, 7, 8)), *known])
    else:
        assert found == [(None, "superseded"), *known]
        assert listed[0]["rejections"][0]["writes"] == 2
    assert listed[0]["rejected"] == written - 1
    rows = [each["row"] for page in listed for each in page["rejections"] if each["row"]]
    assert rows == [{"id": 5}, {"id": 6}]
