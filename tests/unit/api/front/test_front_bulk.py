"""Many rows in front: all or nothing up to a transaction, then each chunk with its outcome."""

import json

import pytest

from chalicelib.buffer.dynamodb import table
from chalicelib.messages import receipt
from chalicelib.messages.receipt import front_item
from tests.kit.api import RECEIPT_KEY, assert_problem, body_of
from tests.kit.fronted import all_entries, messages


def places(count: int, start: int = 0):
    return [{"code": f"P{number}"} for number in range(start, start + count)]


def test_many_rows_are_written_together(api, front):
    answer = api("POST", "/places", places(100))

    assert answer.status_code == 201, answer.body
    (chunk,) = body_of(answer)["chunks"]
    assert (chunk["items"], chunk["status"]) == ("0-99", 201)
    assert answer.headers["Link"] == f'</writes/{chunk["receipt"]}>; rel="status"'
    items = all_entries(front)
    assert len(items) == 100
    for number, row in enumerate(chunk["rows"]):
        assert (row["item"], row["status"]) == (number, 201)
        assert row["location"] == f"/places/P{number}"
        assert row["etag"] == items[f'row/places/["P{number}"]']["etag"]["S"]
    assert sorted(message.sets[0].items for message in messages(front)) == [
        (n,) for n in range(100)
    ]
    assert len({message.dedup_id for message in messages(front)}) == 100


def test_a_receipt_and_its_messages_name_the_items_that_were_written(api, front, monkeypatch):
    monkeypatch.setattr(table, "MAX_ACTIONS", 6)
    api("POST", "/places", {"code": "P5"})
    (known,) = messages(front)
    sent = [*places(4), {"code": 7}, *places(3, start=5)]

    answer = api("POST", "/places", sent, Prefer="resolution=ignore-duplicates, handling=lenient")

    assert answer.status_code == 201, answer.body
    receipts = [read(chunk["receipt"]) for chunk in body_of(answer)["chunks"]]
    described = [(front_item(each.id), each.messages, each.writes) for each in receipts]
    assert described == [(0, 7, 5), (7, 1, 1)]
    for message in messages(front):
        if message != known:
            (item,) = message.sets[0].items
            own = receipts[item > 6]
            assert message.dedup_id == own.dedup_id(item - front_item(own.id))


def read(token):
    return receipt.verify(token, RECEIPT_KEY.encode(), "me")


def test_items_beyond_the_numbers_of_messages_are_refused(api, front, monkeypatch):
    monkeypatch.setattr("chalicelib.api.front.write.FRONT_ITEMS", 3)
    few, many = [[*[{"code": 7}] * count, {"code": "P"}] for count in (2, 3)]

    problem = api("POST", "/places", many, Prefer="handling=lenient")
    assert "item 3" in assert_problem(problem, 413, "body-too-large")["detail"]
    assert all_entries(front) == {}
    assert api("POST", "/places", few, Prefer="handling=lenient").status_code == 201


def test_a_conflict_keeps_all_rows_of_a_transaction_out(api, front):
    api("POST", "/places", places(2, start=3))

    problem = assert_problem(api("POST", "/places", places(10)), 409, "conflict")

    assert [each["pointer"] for each in problem["errors"]] == ["/3", "/4"]
    assert len(all_entries(front)) == 2


def test_more_rows_are_written_in_chunks_that_tell_their_outcomes(api, front, monkeypatch):
    monkeypatch.setattr(table, "MAX_ACTIONS", 10)
    api("POST", "/places", {"code": "P15"})

    problem = assert_problem(api("POST", "/places", places(25)), 409, "conflict")

    assert [each["pointer"] for each in problem["errors"]] == ["/15"]
    first, second, third = problem["chunks"]
    assert [chunk["items"] for chunk in (first, second, third)] == ["0-9", "10-19", "20-24"]
    assert [chunk["status"] for chunk in (first, second, third)] == [201, 409, 201]
    assert second["problem"]["type"] == "urn:decanter:problem:conflict"
    assert len(first["rows"]) == 10
    assert first["receipt"] != third["receipt"]
    assert len(all_entries(front)) == 16


def test_chunks_that_all_succeed_are_a_success(api, front, monkeypatch):
    monkeypatch.setattr(table, "MAX_ACTIONS", 10)

    answer = api("POST", "/places", places(11), Prefer="return=minimal")

    assert answer.status_code == 201
    assert [chunk["items"] for chunk in body_of(answer)["chunks"]] == ["0-9", "10"]
    assert "Preference-Applied" not in answer.headers


def test_chunks_have_room_for_claims_parents_and_the_key_record(api, front, monkeypatch):
    monkeypatch.setattr(table, "MAX_ACTIONS", 10)
    rows = [{"name": f"n{number}"} for number in range(5)]

    chunks = body_of(api("POST", "/alerts", rows))["chunks"]
    keyed = api(
        "POST",
        "/nodes",
        [{"tree": str(number), "at": "2026-01-01T00:00:00Z"} for number in range(5)],
        Idempotency_Key="k",
    )

    assert [chunk["items"] for chunk in chunks] == ["0-2", "3-4"]
    assert [chunk["items"] for chunk in body_of(keyed)["chunks"]] == ["0-3", "4"]


def test_large_rows_make_more_chunks(api, front):
    rows = [{"code": f"P{number}", "name": "x" * 190_000} for number in range(25)]

    chunks = body_of(api("POST", "/places", rows))["chunks"]

    assert len(chunks) == 3
    assert len(all_entries(front)) == 25


def test_rows_that_grow_beyond_a_transaction_are_refused(api, front):
    for number in range(12):
        row = {"code": f"P{number}", "name": "x" * 190_000}
        assert api("POST", "/places", row).status_code == 201
    before = all_entries(front)

    answer = api("POST", "/places", places(12), Prefer="resolution=merge-duplicates")

    assert_problem(answer, 413, "body-too-large")
    assert all_entries(front) == before


@pytest.mark.parametrize(
    ("body", "type_"),
    [(b'{"code":"A"}\n{"code":"B"}\n', "application/x-ndjson"), (b"code\nA\nB\n", "text/csv")],
)
def test_other_bodies_have_many_rows_too(api, front, body, type_):
    answer = api("POST", "/places", body, Content_Type=type_)

    assert answer.status_code == 201, answer.body
    assert [*all_entries(front)] == ['row/places/["A"]', 'row/places/["B"]']


def test_rows_are_returned_if_that_is_preferred(api, front):
    answer = api("POST", "/places", places(2), Prefer="return=representation")

    assert [row["code"] for row in body_of(answer)] == ["P0", "P1"]
    assert answer.headers["Preference-Applied"] == "return=representation"


def test_a_key_is_sent_once_in_a_request(api, front):
    rows = [{"code": "A"}, {"code": "B"}, {"code": "A"}]

    problem = assert_problem(api("POST", "/places", rows), 422, "invalid-row")

    assert problem["errors"][0]["pointer"] == "/2"
    assert "item 0" in problem["detail"]
    assert all_entries(front) == {}


def test_two_rows_of_a_request_cannot_have_one_unique_value(api, front):
    rows = [{"name": "frost"}, {"name": "storm"}, {"name": "frost"}]

    problem = assert_problem(api("POST", "/alerts", rows), 409, "conflict")

    assert problem["errors"][0]["pointer"] == "/2/name"
    assert all_entries(front) == {}


def test_invalid_rows_are_left_out_if_that_is_preferred(api, front):
    rows = [{"code": "A"}, {"code": 7}, {"code": "B"}]

    answer = api("POST", "/places", rows, Prefer="handling=lenient")

    document = body_of(answer)
    assert (answer.status_code, document["refused_items"]) == (201, "1")
    assert [row["item"] for row in document["chunks"][0]["rows"]] == [0, 2]
    assert answer.headers["Preference-Applied"] == "handling=lenient"


def test_existing_rows_are_merged_or_ignored_beside_new_ones(api, front):
    api("POST", "/places", {"code": "P0", "name": "old"})

    ignored = api("POST", "/places", places(2), Prefer="resolution=ignore-duplicates")
    again = api("POST", "/places", places(2), Prefer="resolution=ignore-duplicates")

    (chunk,) = body_of(ignored)["chunks"]
    assert [row["status"] for row in chunk["rows"]] == [200, 201]
    (chunk,) = body_of(again)["chunks"]
    assert (chunk["status"], chunk["receipt"]) == (200, None)
    assert json.loads(api("GET", "/places/P0").body)["name"] == "old"


def test_too_many_rows_are_refused_before_any_is_written(api, front):
    assert_problem(api("POST", "/places", places(10_001)), 413, "body-too-large")

    assert all_entries(front) == {}
