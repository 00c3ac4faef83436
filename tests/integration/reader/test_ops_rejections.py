"""What operators see of rejections: filters, pages, forms, causes."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Numeric, Table, Text

from chalicelib.messages.message import encode
from chalicelib.messages.receipt import Receipt, issue, new_id
from chalicelib.postgres.ops import rejections
from tests.kit.api import Answered, body_of, problem, station
from tests.kit.operators import connect, next_page, ops
from tests.kit.stream import drain as drain_stream
from tests.kit.stream import record, write
from tests.kit.world import RECEIPT_KEY, World

START = datetime(2026, 1, 31, 12, tzinfo=UTC)

_INSERT = """
    INSERT INTO decanter.rejection (dedup_id, item, resource, op, type, reason, sqlstate,
        "constraint", "column", row, body, caller, rejected_at)
    SELECT * FROM json_to_recordset(%s::json) AS kept(dedup_id uuid, item integer, resource text,
        op text, type text, reason text, sqlstate text, "constraint" text, "column" text, row json,
        body text, caller text, rejected_at timestamptz)
"""


@pytest.fixture(autouse=True)
def reader(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(world, monkeypatch)


def rejected(number: int, **members: Any) -> dict[str, Any]:
    """A rejection; seven of them at a time, in two messages."""
    return {
        "dedup_id": str(UUID(int=1 << 96 | number // 7 % 2 << 64 | number // 14)),
        "item": number % 7,
        "resource": ("stations", "pets", None)[number % 3],
        "op": "create",
        "type": ("conflict", "check")[number % 2],
        "reason": f"reason {number}",
        "constraint": (None, "pk", "ck")[number % 5 % 3],
        "column": (None, "name")[number % 4 // 3],
        "sqlstate": ("23505", "23514")[number % 2],
        "caller": ("ann", "bob", None)[number % 11 % 3],
        "rejected_at": (START + timedelta(seconds=number // 7)).isoformat(),
        **members,
    }


def keep(world: World, *kept: dict[str, Any]) -> None:
    world.execute(_INSERT, json.dumps(kept))


def id_of(each: dict[str, Any]) -> str:
    return f"{each['dedup_id']}.{each['item']}"


def newest_first(kept: list[dict[str, Any]]) -> list[str]:
    places = sorted((each["rejected_at"], each["dedup_id"], each["item"]) for each in kept)
    return [f"{dedup_id}.{item}" for _, dedup_id, item in reversed(places)]


def pages(address: str, **headers: str) -> Iterator[Answered]:
    following: str | None = address
    while following:
        answer = ops(following, **headers)
        assert answer.status_code == 200, answer.body
        yield answer
        following = next_page(answer)


def listed(**filters: Any) -> list[str]:
    """The ids of all rejections that a filter finds, page by page."""
    found = [
        each["id"]
        for answer in pages(f"/ops/rejections?{urlencode(filters)}")
        for each in body_of(answer)["rejections"]
    ]
    assert len(found) == len(set(found))
    return found


def test_pages_have_each_rejection_once_the_newest_first_while_others_come_in(world):
    kept = [rejected(number) for number in range(90)]
    keep(world, *kept)

    found: list[str] = []
    for number, answer in enumerate(pages("/ops/rejections?limit=17")):
        body = body_of(answer)
        assert ("cursor=" + body["next"] in answer.headers["Link"]) if body["next"] else True
        assert len(body["rejections"]) == min(17, len(kept) - len(found))
        found += [each["id"] for each in body["rejections"]]
        keep(world, rejected(1_000 + number))

    assert found == newest_first(kept)


def test_a_filter_finds_what_it_says_and_a_cause_is_a_filter(world):
    kept = [rejected(number) for number in range(70)]
    keep(world, *kept)
    done = {
        id_of(each): kind for each, kind in zip(kept[::9], ["resend", "discard"] * 4, strict=True)
    }
    world.execute("INSERT INTO decanter.act (id, kind, who, target) VALUES (%s, '', '', 'null')",
                  str(UUID(int=5)))  # fmt: skip
    for id_, kind in done.items():
        dedup_id, item = id_.split(".")
        world.execute(
            "INSERT INTO decanter.correction (dedup_id, item, act, kind, resent_as)"
            " VALUES (%s, %s, %s, %s, %s)",
            dedup_id, item, str(UUID(int=5)), kind, str(UUID(int=6)),
        )  # fmt: skip

    def matching(test: Callable[[dict[str, Any]], bool]) -> list[str]:
        return newest_first([each for each in kept if test(each)])

    def is_open(each: dict[str, Any]) -> bool:
        return id_of(each) not in done

    assert listed() == matching(is_open)
    assert listed(state="all") == newest_first(kept)
    for state, kind in (("resent", "resend"), ("discarded", "discard")):
        assert listed(state=state) == matching(
            lambda each, kind=kind: done.get(id_of(each)) == kind
        )
    for name in ("resource", "type", "constraint", "column", "sqlstate", "caller"):
        for value in {each[name] for each in kept}:
            expected = matching(lambda each, n=name, v=value: each[n] == v)
            assert expected
            assert listed(state="all", **{name: value or ""}) == expected
    since, until = kept[14]["rejected_at"], kept[40]["rejected_at"]
    assert listed(state="all", since=since, until=until.replace("+00:00", "Z")) == matching(
        lambda each: since <= each["rejected_at"] < until
    )
    assert listed(state="all", receipt=kept[0]["dedup_id"], limit=2) == matching(
        lambda each: each["dedup_id"] == kept[0]["dedup_id"]
    )
    # With all members at once, and every state.
    causes = body_of(ops("/ops/rejections/causes?state=all"))["causes"]
    assert sum(each["writes"] for each in causes) == len(kept)
    for each in causes:
        members = {name: each[name] or "" for name in rejections._TEXTS[:-1]}
        found = listed(state="all", **members)
        assert len(found) == each["writes"]
        assert sum(id_ not in done for id_ in found) == each["open"]
        assert each["example"] == found[0]
        times = sorted(each["rejected_at"] for each in kept if id_of(each) in found)
        assert datetime.fromisoformat(each["first_at"]) == datetime.fromisoformat(times[0])
        assert datetime.fromisoformat(each["last_at"]) == datetime.fromisoformat(times[-1])
    assert [each["last_at"] for each in causes] == sorted(
        (each["last_at"] for each in causes), reverse=True
    )
    # By default, only what is open.
    open_ = body_of(ops("/ops/rejections/causes"))["causes"]
    assert sum(each["writes"] for each in open_) == len(kept) - len(done)


def test_a_rejection_has_all_that_is_known_of_it_in_each_form(world):
    text = '{"n":0.12345678901234567890,"name":"a\\nb, \\"c\\" é\U0001f600",\n"i":1E+5}'
    first = rejected(0, reason='=1+1\n"quoted", and more', resource="pets", caller="ann")
    keep(world, first, rejected(1, body="no\tJSON\r\n"))
    world.execute("UPDATE decanter.rejection SET row = %s WHERE item = 0", text)
    world.execute("INSERT INTO decanter.act (id, kind, who, target) VALUES (%s, '', '', 'null')",
                  str(UUID(int=5)))  # fmt: skip
    world.execute(
        "INSERT INTO decanter.correction SELECT dedup_id, item, %s, 'resend', %s, 0, rejected_at"
        " FROM decanter.rejection WHERE item = 0",
        str(UUID(int=5)), str(UUID(int=6)),
    )  # fmt: skip

    alone = ops(f"/ops/rejections/{id_of(first)}")
    page = ops("/ops/rejections?state=all")
    lines = ops("/ops/rejections?state=all", Accept="application/x-ndjson")
    table = ops("/ops/rejections?state=all", Accept="text/csv")

    shown = body_of(alone)
    assert shown == {
        **first,
        "id": id_of(first),
        "row": json.loads(text),
        "body": None,
        "rejected_at": "2026-01-31T12:00:00.000+00:00",
        "correction": {
            "kind": "resend",
            "act": str(UUID(int=5)),
            "resent_as": str(UUID(int=6)),
            "at": "2026-01-31T12:00:00.000+00:00",
        },
    }
    assert json.loads(alone.body, parse_float=Decimal)["row"]["n"] == Decimal(
        "0.12345678901234567890"
    )
    assert body_of(page) == {"rejections": body_of(page)["rejections"], "next": None}
    assert body_of(page)["rejections"][1] == shown
    assert lines.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.body.decode().splitlines()] == body_of(page)[
        "rejections"
    ]
    assert table.headers["Content-Type"].startswith("text/csv")
    other, same = csv.DictReader(io.StringIO(table.body.decode(), newline=""))
    assert other["body"] == "no\tJSON\r\n"
    assert (other["row"], other["correction"]) == ("", "")
    assert same["row"] == text
    assert (same["reason"], same["id"], same["caller"]) == (first["reason"], id_of(first), "ann")
    assert (same["correction"], same["resent_as"]) == ("resend", str(UUID(int=6)))


def test_a_page_holds_as_much_as_an_answer_and_a_row_beyond_that_says_so(world):
    quotes = json.dumps({"t": '"' * 450_000})
    wide = json.dumps({"t": "é" * 450_000}, ensure_ascii=False)
    kept = [rejected(number, resource="pets") for number in range(8)]
    keep(world, *kept)
    # The first has too much text, the second as it is sent.
    large = {5: json.dumps({"t": "x" * 7_000_000}), 6: json.dumps({"t": '"' * 1_900_000})}
    for number, each in enumerate(kept):
        row = large.get(number, quotes if number % 2 else wide)
        world.execute(
            "UPDATE decanter.rejection SET row = %s WHERE dedup_id = %s AND item = %s",
            row, each["dedup_id"], each["item"],
        )  # fmt: skip

    for type_ in ("application/json", "text/csv"):
        answers = [*pages("/ops/rejections?resource=pets", Accept=type_)]
        bodies = [each.body.decode() for each in answers]
        ids = [
            [body.find(f"{id_}") >= 0 for body in bodies].count(True) for id_ in newest_first(kept)
        ]
        assert ids == [1] * len(kept), type_
        assert 3 < len(answers) < 8, type_
        for number, size in ((5, "7,000,009 bytes"), (6, "3,800,009 bytes")):
            assert [id_of(kept[number]) in body for body in bodies] == [
                size in body for body in bodies
            ], type_
    alone = body_of(ops(f"/ops/rejections/{id_of(kept[5])}"))
    assert alone["row"] is None
    assert alone["unknown"][0]["what"] == "row"


def test_the_receipt_of_a_request_finds_its_rejections_whoever_has_sent_it(world):
    duplicates = [station(), station(), station(icao="LSZH"), station(icao="LSZH")]
    receipts = [world.post("stations", duplicates, **key) for key in ({}, {"Idempotency_Key": "k"})]
    world.drain()

    for receipt in receipts:
        messages = {id_[:24] for id_ in listed(receipt=receipt)}
        assert len(messages) == 1
    assert len(listed(receipt=receipts[0])) == 2
    assert len(listed(receipt=receipts[1])) == 4
    assert len(listed()) == 6
    other = issue(Receipt(new_id(7), 7, 1, 1, "0" * 32), RECEIPT_KEY, "me")
    assert listed(receipt=other) == []


def test_the_key_of_a_row_finds_its_rejections_however_it_was_spelled(make_world, monkeypatch):
    metadata = MetaData()
    Table("parts", metadata, Column("maker", Text, primary_key=True),
          Column("number", Numeric, primary_key=True))  # fmt: skip
    Table("events", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("note", Text), info={"ordered": False})  # fmt: skip
    world = make_world(metadata)
    connect(world, monkeypatch)
    for number in ("1", "1.0", "1e0", "2"):
        text = f'{{"maker":"Ö, & \\"Co\\"","number":{number}}}'
        world.post("parts", text.encode())
    world.post("events", [{"id": 1}, {"id": 1, "note": "x"}, {"id": 2}, {"id": 2}])
    world.drain()
    # Not even a row that no text can be made of is in the way of others.
    keep(world, *(rejected(number, resource="events") for number in range(3)))
    for item, text in enumerate(('{"id":1,"note":"\\u0000"}', '{"id":"\\ud800"}', '{"id":null}')):
        world.execute("UPDATE decanter.rejection SET row = %s WHERE reason = %s",
                      text, f"reason {item}")  # fmt: skip

    def found(resource: str, key: str) -> int:
        return len(listed(resource=resource, key=key))

    assert found("parts", '{"maker":"Ö, & \\"Co\\"","number":1.00}') == 2
    assert found("parts", '{"maker":"Ö, & \\"Co\\"","number":2}') == 0
    assert found("events", '{"id":1}') == 1
    assert found("events", '{"id":2}') == 1
    assert found("events", '{"id":3}') == 0


def test_who_has_sent_a_write_is_kept_whichever_way_it_was_rejected(make_world, monkeypatch):
    metadata = MetaData()
    info = {"front": "closed"}
    Table("people", metadata, Column("id", Integer, primary_key=True, autoincrement=False))
    Table("pets", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("owner", ForeignKey("people.id")))  # fmt: skip
    Table(
        "notes", metadata, Column("id", Integer, primary_key=True, autoincrement=False), info=info
    )
    world = make_world(metadata)
    connect(world, monkeypatch)
    world.post("people", [{"id": 1}, {"id": 1}])  # refused by a set
    world.delete("people", 7)  # missing
    world.post("pets", {"id": 1, "owner": 3})  # refused after it has waited
    world.drain_to_the_end()
    notes = [write("create", "notes", {"id": 1})._replace(caller="her") for _ in range(2)]
    drain_stream(world, [record(each) for each in notes])
    gone = write("create", "people", {"id": 1})._replace(resource="gone", caller="him")
    world.drain([encode(each) for each in (gone, write("create", "people", {"id": 1}))])

    shown = body_of(ops("/ops/rejections"))["rejections"]

    callers = Counter((each["resource"], each["type"], each["caller"]) for each in shown)
    assert callers == {
        ("people", "conflict", "me"): 1,
        ("people", "missing", "me"): 1,
        ("pets", "missing-parent", "me"): 1,
        ("notes", "conflict", "her"): 1,
        ("gone", "schema-mismatch", "him"): 1,
        ("people", "conflict", None): 1,
    }


@pytest.mark.parametrize("later", [{"op": "create"}, {"state": "reopened"}])
def test_a_filter_of_a_later_version_finds_nothing_rather_than_more(later):
    with pytest.raises(KeyError):
        rejections.where(later)


@pytest.mark.needs("settings")
def test_a_list_that_takes_too_long_says_how_to_shorten_it(world, monkeypatch):
    keep(world, *(rejected(number) for number in range(3)))
    slow = rejections._STATES | {"open": "pg_sleep(60) IS NULL"}
    monkeypatch.setattr(rejections, "_STATES", slow)
    monkeypatch.setattr("chalicelib.reader.ops.rejections.SECONDS", 0.01)

    for address in ("/ops/rejections", "/ops/rejections/causes"):
        answer = ops(address)

        assert (answer.status_code, problem(answer)) == (400, "invalid-query")
        assert "since" in body_of(answer)["detail"]


def test_what_is_not_there_is_no_rejection(world):
    for id_ in (f"{UUID(int=1)}.0", f"{UUID(int=1)}", f"{UUID(int=1)}.99999999999", "1.1", "é"):
        answer = ops(f"/ops/rejections/{quote(id_)}")
        assert (answer.status_code, problem(answer)) == (404, "no-such-entry")
    assert body_of(ops("/ops/rejections")) == {"rejections": [], "next": None}
    assert body_of(ops("/ops/rejections/causes")) == {"causes": []}
    assert ops("/ops/rejections", Accept="application/x-ndjson").body == b""
    assert ops("/ops/rejections", Accept="text/csv").body.count(b"\n") == 1
