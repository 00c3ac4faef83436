"""The Idempotency-Key in front: the first answer is repeated, on any container, for 30 days."""

import pytest

from chalicelib.buffer.dynamodb import table
from tests.kit import fronted
from tests.kit.api import assert_problem, body_of
from tests.kit.fronted import all_entries, messages

PLACE = "/places/ZRH"


def record(front):
    (found,) = all_entries(front, "key/").values()
    return found


CALLS = {
    "POST": lambda api, key: api("POST", "/alerts", {"name": "frost"}, Idempotency_Key=key),
    "PUT": lambda api, key: api("PUT", PLACE, {"size": 1}, Idempotency_Key=key),
    "PATCH": lambda api, key: api("PATCH", PLACE, {"size": 2}, Idempotency_Key=key),
    "DELETE": lambda api, key: api("DELETE", PLACE, Idempotency_Key=key),
    "many": lambda api, key: api(
        "POST", "/places", [{"code": f"P{n}"} for n in range(25)], Idempotency_Key=key
    ),
}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(table, "MAX_ACTIONS", 11)


@pytest.mark.parametrize("name", CALLS)
def test_the_same_request_repeats_the_first_answer(api, front, name):
    if name in ("PATCH", "DELETE"):
        api("PUT", PLACE, {})
    call = CALLS[name]

    first = call(api, "k")
    before = all_entries(front)
    second = call(api, "k")

    assert first.status_code in (200, 201, 204), first.body
    assert second == first
    assert all_entries(front) == before


def test_another_request_with_the_key_is_refused_at_once(api, front):
    CALLS["PUT"](api, "k")
    before = all_entries(front)

    for answer in (
        api("PUT", PLACE, {"size": 2}, Idempotency_Key="k"),
        api("POST", "/places", {"code": "GVA"}, Idempotency_Key="k"),
        api("DELETE", PLACE, Idempotency_Key="k"),
        api("POST", "/queued", {"id": 1}, Idempotency_Key="k"),
        CALLS["many"](api, "k"),
    ):
        assert_problem(answer, 422, "key-reused")
    assert all_entries(front) == before
    assert CALLS["PUT"](api, "other").status_code == 200
    assert api("POST", "/places", {"code": "B"}, Idempotency_Key="k", caller="x").status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PATCH", PLACE, 404), ("DELETE", PLACE, 404), ("POST", "/places", 409)],
)
def test_an_answer_that_the_row_has_decided_is_repeated_too(api, front, method, path, status):
    body = {"code": "ZRH"} if method == "POST" else {"size": 3}
    if method == "POST":
        api("PUT", PLACE, {})

    first = api(method, path, body, Idempotency_Key="k")
    api(*(("DELETE", PLACE) if method == "POST" else ("PUT", PLACE, {})))
    second = api(method, path, body, Idempotency_Key="k")

    assert first.status_code == status
    assert second == first


def test_an_answer_is_repeated_whatever_has_become_of_the_row(api, front):
    api("PUT", PLACE, {})
    first = CALLS["PATCH"](api, "k")
    (item,) = all_entries(front, "row/").values()
    front.put_item(TableName=fronted.NAME, Item={**item, "row": {"S": "damaged"}})

    assert CALLS["PATCH"](api, "k") == first


def test_invalid_requests_take_no_key(api, front):
    assert_problem(api("PUT", PLACE, {"size": "x"}, Idempotency_Key="k"), 422, "invalid-row")

    assert api("PUT", PLACE, {"size": 1}, Idempotency_Key="k").status_code == 201


def test_a_key_is_forgotten_after_its_time(api, front, monkeypatch):
    CALLS["PUT"](api, "k")
    expired = {**record(front), "ttl": {"N": "1000"}}
    front.put_item(TableName=fronted.NAME, Item=expired)  # DynamoDB has not removed it yet

    assert api("PUT", PLACE, {"size": 2}, Idempotency_Key="k").status_code == 200


def test_of_two_requests_at_once_the_second_repeats_the_first(api, front, meddler):
    first = []
    meddler.before["transact_write_items"] = lambda: first.append(CALLS["POST"](api, "k"))

    second = CALLS["POST"](api, "k")

    assert second == first[0]
    assert len(messages(front)) == 1


def test_of_two_deletes_at_once_the_second_repeats_the_first(api, front, meddler):
    api("PUT", PLACE, {})
    first = []
    meddler.before["transact_write_items"] = lambda: first.append(CALLS["DELETE"](api, "k"))

    second = CALLS["DELETE"](api, "k")

    assert second.status_code == first[0].status_code == 204
    assert second == first[0]


def test_a_repeat_goes_on_with_the_chunks_that_are_missing(api, front, meddler):
    def fail() -> None:
        meddler.errors += [fronted.error("ThrottlingException")] * table._TRIES

    meddler.before["transact_write_items"] = lambda: meddler.before.update(
        transact_write_items=fail
    )
    first = CALLS["many"](api, "k")
    second = CALLS["many"](api, "k")

    chunks = assert_problem(first, 503, "front-unavailable")["chunks"]
    assert first.headers["Retry-After"]
    assert [chunk["status"] for chunk in chunks] == [201, 503, 503]
    assert body_of(second)["chunks"][0] == chunks[0]
    assert [chunk["status"] for chunk in body_of(second)["chunks"]] == [201, 201, 201]
    assert len(messages(front)) == 25


def test_a_record_changed_by_other_hands_is_told(api, front):
    CALLS["PUT"](api, "k")
    front.put_item(TableName=fronted.NAME, Item={**record(front), "answer": {"S": "{"}})

    assert_problem(CALLS["PUT"](api, "k"), 409, "item-damaged")


# Resources behind SQS


def test_a_key_reused_behind_sqs_is_told_on_any_container(api, front, recorder):
    from chalicelib.api.http import idempotency

    first = api("POST", "/queued", {"id": 1}, Idempotency_Key="k")
    idempotency._accepted.clear()  # another container
    second = api("POST", "/queued", {"id": 1}, Idempotency_Key="k")
    other = api("POST", "/queued", {"id": 2}, Idempotency_Key="k")

    assert (first.status_code, second.body) == (202, first.body)
    assert_problem(other, 422, "key-reused")
    assert len(recorder.sent) == 2
    assert "answer" not in record(front)


def test_without_a_front_table_sqs_needs_none(api, front, recorder, monkeypatch):
    monkeypatch.delenv("DECANTER_FRONT_TABLE")

    assert api("POST", "/queued", {"id": 1}, Idempotency_Key="k").status_code == 202
    assert all_entries(front) == {}


def test_a_request_without_a_key_takes_none(api, front, recorder, meddler):
    assert api("POST", "/queued", {"id": 1}).status_code == 202
    assert meddler.calls == []
