"""Writes to resources in front: the answer is the outcome, and the item has what Postgres gets."""

import json
import time
from dataclasses import replace
from uuid import UUID

import pytest

from chalicelib.contract import resources
from tests.kit.api import assert_problem, body_of
from tests.kit.fronted import all_entries, messages, rows_of

PLACE = "/places/ZRH"


def etag(answer):
    return answer.headers["ETag"]


def ops(front):
    return [message.op for message in messages(front)]


def test_a_create_is_answered_with_the_row_as_it_is_stored(api, front):
    answer = api("POST", "/places", b'{"code": "ZRH", "size": 1.50}')

    assert answer.status_code == 201, answer.body
    row = '{"code":"ZRH","name":null,"size":1.50,"detail":{}}'
    assert answer.body.decode() == row
    assert answer.headers["Location"] == PLACE
    assert answer.headers["Link"].startswith("</writes/")
    assert answer.headers["Link"].endswith('>; rel="status"')
    (item,) = all_entries(front).values()
    assert item["row"]["S"] == row
    assert etag(answer) == f'"{item["etag"]["S"]}"'
    (message,) = messages(front)
    assert (message.resource, message.op, message.condition) == ("places", "create", None)
    assert message.dedup_id.replace("-", "") == item["etag"]["S"]
    assert message.sets[0].rows == row
    assert message.sets[0].members == ("code", "detail", "name", "size")


def test_a_message_carries_who_has_sent_it(api, front):
    api("PUT", PLACE, {"name": "Zurich"}, caller="someone")

    assert messages(front)[0].caller == "someone"


def test_a_create_of_an_existing_row_is_a_conflict(api, front):
    api("POST", "/places", {"code": "ZRH", "name": "first"})
    before = all_entries(front)

    problem = assert_problem(api("POST", "/places", {"code": "ZRH"}), 409, "conflict")

    assert '{"code":"ZRH"}' in problem["detail"]
    assert all_entries(front) == before


def test_a_default_makes_the_key(api, front):
    answer = api("POST", "/alerts", {"name": "frost"})

    assert answer.status_code == 201, answer.body
    row = body_of(answer)
    assert UUID(row["id"]).version == 4
    assert (row["level"], row["active"], row["place"]) == (3, True, None)
    assert row["made_at"].endswith("+00:00")
    assert answer.headers["Location"] == f"/alerts/{row['id']}"
    assert rows_of(messages(front)[0]) == [row]


def test_a_put_creates_or_replaces_the_whole_row(api, front):
    created = api("PUT", PLACE, {"name": "Zurich", "detail": {"a": 1}})
    replaced = api("PUT", PLACE, {"size": 7})

    assert (created.status_code, replaced.status_code) == (201, 200)
    assert body_of(replaced) == {"code": "ZRH", "name": None, "size": 7, "detail": {}}
    assert etag(created) != etag(replaced)
    (message,) = messages(front)
    assert message.op == "replace"
    assert rows_of(message) == [body_of(replaced)]


def test_a_patch_merges_documents_and_keeps_digits(api, front):
    api("PUT", PLACE, b'{"size": 1.10, "detail": {"a": {"b": 1.0, "c": 2}, "d": [1]}, "name": "x"}')

    answer = api("PATCH", PLACE, b'{"name": null, "detail": {"a": {"c": null, "e": {"f": null}}}}')

    assert answer.status_code == 200, answer.body
    expected = '{"code":"ZRH","name":null,"size":1.10,"detail":{"a":{"b":1.0,"e":{}},"d":[1]}}'
    assert answer.body.decode() == expected
    (message,) = messages(front)
    assert (message.op, message.sets[0].rows) == ("replace", expected)


def test_a_patch_and_a_delete_of_no_row_are_answered_so(api, front):
    assert_problem(api("PATCH", PLACE, {"name": "x"}), 404, "no-such-row")
    assert_problem(api("DELETE", PLACE), 404, "no-such-row")
    assert all_entries(front) == {}


def test_a_delete_leaves_a_tombstone_that_a_create_replaces(api, front):
    api("PUT", PLACE, {})

    deleted = api("DELETE", PLACE)

    assert (deleted.status_code, deleted.body) == (204, b"")
    assert "ETag" not in deleted.headers
    assert deleted.headers["Link"]
    (item,) = all_entries(front).values()
    assert "row" not in item
    assert int(item["ttl"]["N"]) > time.time() + 29 * 86_400
    (message,) = messages(front)
    assert (message.op, rows_of(message)) == ("delete", [{"code": "ZRH"}])
    assert_problem(api("DELETE", PLACE), 404, "no-such-row")
    assert api("POST", "/places", {"code": "ZRH"}).status_code == 201
    assert "ttl" not in next(iter(all_entries(front).values()))
    api("DELETE", PLACE)
    assert api("PUT", PLACE, {}).status_code == 201


def test_spellings_of_a_key_are_one_row(api, front):
    first = {"tree": "t", "at": "2026-01-01T00:00:00Z"}
    assert api("POST", "/nodes", first).status_code == 201

    other = {"tree": "t", "at": "2026-01-01T01:00:00+01:00"}

    assert_problem(api("POST", "/nodes", other), 409, "conflict")
    assert api("PATCH", "/nodes/t/2026-01-01T00%3A00%3A00.000Z", {"note": "n"}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("resource", ["places", "alerts"])
def test_conditions_are_judged_in_the_same_write(api, front, method, resource):
    path = {"places": PLACE, "alerts": f"/alerts/{UUID(int=1)}"}[resource]
    body = None if method == "DELETE" else {"name": "new"}
    missing = api(method, path, body, If_Match="*")
    first = api("PUT", path, {"name": "old"})
    before = all_entries(front)
    other = api(method, path, body, If_Match='"0123"')
    weak = api(method, path, body, If_Match=f"W/{etag(first)}")
    exists = api(method, path, body, If_None_Match="*")

    for answer in (missing, other, weak, exists):
        assert_problem(answer, 412, "precondition-failed")
    assert all_entries(front) == before
    assert api(method, path, body, If_Match=f'"x", {etag(first)}').status_code in (200, 204)
    if method == "PUT":
        api("DELETE", path)
        assert api("PUT", path, body, If_None_Match="*").status_code == 201


def test_duplicates_are_merged_or_ignored(api, front):
    merge, ignore = "resolution=merge-duplicates", "resolution=ignore-duplicates"
    created = api("POST", "/places", {"code": "ZRH", "detail": {"a": 1}}, Prefer=merge)
    merged = api("POST", "/places", {"code": "ZRH", "detail": {"b": 1}}, Prefer=merge)
    ignored = api("POST", "/places", {"code": "ZRH", "name": "x"}, Prefer=ignore)
    other = api("POST", "/places", {"code": "GVA", "name": "x"}, Prefer=ignore)

    statuses = [each.status_code for each in (created, merged, ignored, other)]
    assert statuses == [201, 200, 200, 201]
    assert body_of(merged)["detail"] == {"b": 1}
    assert ignored.body == merged.body
    assert etag(ignored) == etag(merged)
    assert "Link" not in ignored.headers
    assert merged.headers["Preference-Applied"] == merge
    assert sorted(ops(front)) == ["create", "replace"]


def test_preferences_say_what_is_returned(api, front):
    empty = api("POST", "/places", {"code": "ZRH"}, Prefer="return=minimal, wait=5")
    put = api("PUT", PLACE, {}, Prefer="return=minimal")
    whole = api("PATCH", PLACE, {"name": "x"}, Prefer="return=representation")

    assert (empty.status_code, empty.body) == (201, b"")
    assert empty.headers["Preference-Applied"] == "return=minimal"
    assert empty.headers["ETag"]
    assert (put.status_code, put.body) == (204, b"")
    assert whole.headers["Preference-Applied"] == "return=representation"


@pytest.mark.parametrize("scopes", ["places:write", None])
def test_a_row_is_not_shown_to_those_who_may_not_read_it(api, front, scopes):
    api("PUT", PLACE, {"name": "secret"})

    patched = api("PATCH", PLACE, {"size": 1}, scopes=scopes)
    ignored = api(
        "POST", "/places", {"code": "ZRH"}, scopes=scopes, Prefer="resolution=ignore-duplicates"
    )
    replaced = api("PUT", PLACE, {"size": 2}, scopes=scopes)

    assert (patched.status_code, patched.body) == (204, b"")
    assert (ignored.status_code, ignored.body) == (204, b"")
    assert body_of(replaced)["size"] == 2


# Unique values


def test_a_unique_value_belongs_to_one_row(api, front):
    one, two = f"/alerts/{UUID(int=1)}", f"/alerts/{UUID(int=2)}"
    api("PUT", one, {"name": "frost"})
    before = all_entries(front)

    for answer in (
        api("POST", "/alerts", {"name": "frost"}),
        api("PUT", two, {"name": "frost"}),
    ):
        problem = assert_problem(answer, 409, "conflict")
        assert "alerts_name_key" in problem["detail"]
        assert [each["pointer"] for each in problem["errors"]] == ["/name", "/level"]
    assert all_entries(front) == before
    assert api("PUT", two, {"name": "frost", "level": 4}).status_code == 201
    assert_problem(api("PATCH", two, {"level": 3}), 409, "conflict")


@pytest.mark.parametrize(
    "let_go",
    [
        ("PATCH", {"level": 4}),
        ("PUT", {"name": "storm"}),
        ("PATCH", {"level": None}),
        ("DELETE", None),
    ],
)
def test_a_unique_value_is_free_once_its_row_lets_it_go(api, front, let_go):
    method, body = let_go
    one = f"/alerts/{UUID(int=1)}"
    api("PUT", one, {"name": "frost"})

    assert api(method, one, body).status_code in (200, 204)

    assert api("POST", "/alerts", {"name": "frost"}).status_code == 201


def test_rows_without_a_value_are_not_equal(api, front):
    rows = [{"name": "frost", "level": None}] * 2

    assert api("POST", "/alerts", rows).status_code == 201


def test_rows_of_one_request_swap_their_unique_values(api, front):
    ids = [str(UUID(int=number)) for number in (1, 2)]
    api("POST", "/alerts", [{"id": id_, "name": id_} for id_ in ids])

    swapped = [{"id": id_, "name": name} for id_, name in zip(ids, reversed(ids), strict=True)]
    answer = api("POST", "/alerts", swapped, Prefer="resolution=merge-duplicates")

    assert answer.status_code == 200, answer.body
    assert_problem(api("POST", "/alerts", {"name": ids[0]}), 409, "conflict")
    owners = [each["owner"]["S"] for each in all_entries(front, "unique/").values()]
    assert owners == [f'row/alerts/["{UUID(id_).hex}"]' for id_ in reversed(ids)]


# Parents


def test_a_row_needs_its_parent(api, front):
    missing = api("POST", "/alerts", {"name": "frost", "place": "ZRH"})
    api("PUT", PLACE, {})
    found = api("POST", "/alerts", {"name": "frost", "place": "ZRH"})
    api("DELETE", PLACE)
    gone = api("PUT", f"/alerts/{UUID(int=1)}", {"name": "other", "place": "ZRH"})
    kept = api("PATCH", found.headers["Location"], {"level": 9})
    moved = api("PATCH", found.headers["Location"], {"place": "GVA"})

    for answer in (missing, gone, moved):
        problem = assert_problem(answer, 409, "missing-parent")
        assert "alerts_place_fk" in problem["detail"]
        assert [each["pointer"] for each in problem["errors"]] == ["/place"]
    assert (found.status_code, kept.status_code) == (201, 200)


def test_a_parent_may_come_in_the_same_request(api, front):
    root = {"tree": "t", "at": "2026-01-01T00:00:00Z"}
    self_made = {**root, "parent_tree": "t", "parent_at": "2026-01-01T01:00:00+01:00"}
    leaf = {"tree": "t", "at": "2026-01-02T00:00:00Z", "parent_tree": "t", "parent_at": root["at"]}

    assert api("POST", "/nodes", [leaf, self_made]).status_code == 201
    half = {**leaf, "at": "2026-01-03T00:00:00Z", "parent_at": None, "parent_tree": "nowhere"}
    assert api("POST", "/nodes", half).status_code == 201
    lost = {**half, "at": "2026-01-04T00:00:00Z", "parent_at": root["at"]}
    assert_problem(api("POST", "/nodes", lost), 409, "missing-parent")


def test_children_may_wait_for_parents_that_the_stream_brings_later(api, front):
    api("PUT", PLACE, {}, Prefer="missing-parent=reject")
    api("POST", "/alerts", {"name": "frost", "place": "ZRH"}, Prefer="missing-parent=reject")

    patient = {message.resource: message.is_patient for message in messages(front)}

    assert patient == {"places": False, "alerts": True}


def test_writes_may_wait_for_unique_values_that_the_stream_frees_later(api, front, monkeypatch):
    alerts = resources.resource("alerts")
    unique_only = replace(alerts, front=alerts.front._replace(parents=()))

    with monkeypatch.context() as patch:
        patch.setattr(resources, "resource", lambda _: unique_only)
        api("POST", "/alerts", {"name": "frost"}, Prefer="missing-parent=reject")

    assert [message.is_patient for message in messages(front)] == [True]


# What no item can hold


def test_a_row_that_no_item_can_hold_is_refused_by_name(api, front):
    large = api("POST", "/places", [{"code": "GVA"}, {"code": "ZRH", "name": "x" * 205_000}])
    api("PUT", PLACE, {"detail": {"a": "x" * 150_000}})
    grown = api("PATCH", PLACE, {"detail": {"b": "x" * 150_000}})
    long = api("POST", "/nodes", {"tree": "ü" * 1_100, "at": "2026-01-01T00:00:00Z"})
    claim = api("POST", "/alerts", {"name": "x" * 2_050})
    early = api("POST", "/nodes", {"tree": "t", "at": "0001-01-01T00:00:00Z"})

    problem = assert_problem(large, 413, "row-too-large")
    assert problem["errors"][0]["pointer"] == "/1"
    assert_problem(grown, 413, "row-too-large")
    assert assert_problem(long, 422, "invalid-key")["errors"][0]["pointer"] == "/tree"
    assert assert_problem(claim, 422, "invalid-key")["errors"][0]["pointer"] == "/name"
    assert assert_problem(early, 422, "invalid-key")["errors"][0]["pointer"] == "/at"
    assert [*all_entries(front)] == ['row/places/["ZRH"]']


def test_a_merged_row_that_grows_when_it_is_read_is_refused(api, front):
    api("PUT", PLACE, b'{"detail": {}}')
    for number in range(8):
        answer = api("PATCH", PLACE, f'{{"detail": {{"n{number}": 1e131071}}}}'.encode())

    assert_problem(answer, 413, "row-too-large")
    assert len(json.loads(api("GET", PLACE).body)["detail"]) == 7
