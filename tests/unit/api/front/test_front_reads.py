"""Reads by key of resources in front: the row as the last write left it."""

import pytest

from tests.kit import fronted
from tests.kit.api import assert_problem, body_of
from tests.kit.fronted import all_entries, messages

PLACE = "/places/ZRH"


def damage(front, **attributes):
    (item,) = all_entries(front, "row/").values()
    changed = {**item, **attributes}
    front.put_item(
        TableName=fronted.NAME, Item={name: each for name, each in changed.items() if each}
    )


def test_a_row_shows_at_once_as_it_was_written(api, front):
    sent = b'{"name": null, "size": 12345678901234567890.0000000010, "detail": {"z": 1.0, "a": []}}'
    written = api("PUT", PLACE, sent)

    read = api("GET", PLACE)

    assert read.status_code == 200
    assert read.body == written.body
    assert b"12345678901234567890.0000000010" in read.body
    assert b'{"z":1.0,"a":[]}' in read.body
    assert read.headers["ETag"] == written.headers["ETag"]


def test_a_row_that_the_client_has_is_not_sent_again(api, front):
    etag = api("PUT", PLACE, {}).headers["ETag"]

    for sent in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = api("GET", PLACE, If_None_Match=sent)
        assert (answer.status_code, answer.body, answer.headers["ETag"]) == (304, b"", etag)
    assert api("GET", PLACE, If_None_Match='"x"').status_code == 200


def test_a_row_that_postgres_has_refused_says_so(api, front):
    etag = api("PUT", PLACE, {}).headers["ETag"]
    assert "Decanter-Refused" not in api("GET", PLACE).headers
    damage(front, refused={"S": '{"type":"check","reason":"…"}'}, write=None)

    answers = [
        api("GET", PLACE),
        api("GET", f"{PLACE}?select=code"),
        api("GET", PLACE, If_None_Match=etag),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 304]
    assert {answer.headers["Decanter-Refused"] for answer in answers} == {"check"}
    assert api("POST", "/places", {"code": "ZRH"}).status_code == 409
    assert api("GET", PLACE).headers["Decanter-Refused"] == "check"
    assert api("PATCH", PLACE, {"size": 1}).status_code == 200
    assert "Decanter-Refused" not in api("GET", PLACE).headers


@pytest.mark.parametrize(
    "mark", ["", "[]", "null", '{"type":1}', '{"type":"a\\r\\nb"}', "[" * 100_000]
)
def test_a_mark_that_other_hands_have_changed_still_says_that_there_is_one(api, front, mark):
    api("PUT", PLACE, {})
    damage(front, refused={"S": mark})

    assert api("GET", PLACE).headers["Decanter-Refused"] == "unknown"


def test_columns_are_selected(api, front):
    etag = api("PUT", PLACE, b'{"size": 1.50}').headers["ETag"]

    answer = api("GET", f"{PLACE}?select=size,code")

    assert (answer.body, answer.headers["ETag"]) == (b'{"size":1.50,"code":"ZRH"}', etag)
    assert_problem(api("GET", f"{PLACE}?select=nope"), 400, "invalid-query")


def test_there_is_nothing_to_wait_for(api, front):
    assert_problem(api("GET", f"{PLACE}?after=x"), 400, "invalid-query")


def test_no_row_is_told(api, front):
    assert_problem(api("GET", PLACE), 404, "no-such-row")
    api("PUT", PLACE, {})
    api("DELETE", PLACE)
    assert_problem(api("GET", PLACE), 404, "no-such-row")
    assert_problem(api("GET", f"{PLACE}/1"), 404, "unknown-path")
    assert_problem(api("GET", PLACE, scopes="alerts:read"), 403, "missing-scope")


def test_a_row_from_another_contract_has_the_columns_of_this_one(api, front):
    api("PUT", PLACE, {})
    damage(front, row={"S": '{"code":"ZRH","dropped":1,"size":1.50}'})

    assert api("GET", PLACE).body == b'{"code":"ZRH","name":null,"size":1.50,"detail":{}}'
    assert body_of(api("PATCH", PLACE, {"name": "x"})) == {
        "code": "ZRH", "name": "x", "size": 1.5, "detail": {},
    }  # fmt: skip
    assert messages(front)[0].sets[0].members == ("code", "detail", "name", "size")


DAMAGES = [
    {"row": {"S": "{"}},
    {"row": {"S": "[]"}},
    {"row": {"S": '{"name":"x"}'}},
    {"row": {"M": {}}},
    {"row": {"S": '{"code":"ZRH"}'}, "etag": {"N": "1"}},
    {"etag": None},
    {"ttl": {"S": "x"}},
]


@pytest.mark.parametrize("attributes", DAMAGES)
def test_a_row_changed_by_other_hands_is_told_and_can_be_mended(api, front, attributes):
    for mend, status in (("PUT", 200), ("DELETE", 204)):
        api("PUT", PLACE, {})
        damage(front, **attributes)
        for answer in (api("GET", PLACE), api("PATCH", PLACE, {"size": 1})):
            problem = assert_problem(answer, 409, "item-damaged")
            assert "PUT" in problem["detail"]
        assert_problem(api("POST", "/places", {"code": "ZRH"}), 409, "conflict")
        assert api(mend, PLACE, {} if mend == "PUT" else None).status_code == status
    assert_problem(api("GET", PLACE), 404, "no-such-row")


@pytest.mark.parametrize("attributes", DAMAGES)
def test_a_damaged_row_with_unique_values_can_be_mended(api, front, attributes):
    path = api("POST", "/alerts", {"name": "frost"}).headers["Location"]
    damage(front, **attributes)

    assert api("PUT", path, {"name": "frost"}).status_code == 200
    damage(front, **attributes)
    assert api("DELETE", path, Idempotency_Key="k").status_code == 204
