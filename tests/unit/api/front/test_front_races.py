"""Writers that meet at one row, and answers of DynamoDB that are lost."""

from uuid import UUID

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.buffer.dynamodb import table
from tests.kit import fronted
from tests.kit.api import assert_problem, body_of
from tests.kit.fronted import all_entries, messages, rows_of

PLACE = "/places/ZRH"
ALERT = f"/alerts/{UUID(int=1)}"


def test_two_creates_of_one_key_are_one_row(api, front, meddler):
    won = []
    meddler.before["put_item"] = lambda: won.append(
        api("POST", "/places", {"code": "ZRH", "name": "first"})
    )

    lost = api("POST", "/places", {"code": "ZRH", "name": "second"})

    assert won[0].status_code == 201
    assert_problem(lost, 409, "conflict")
    assert body_of(api("GET", PLACE))["name"] == "first"
    assert len(messages(front)) == 1


def test_two_creates_of_one_unique_value_are_one_row(api, front, meddler):
    won = []
    meddler.before["transact_write_items"] = lambda: won.append(
        api("POST", "/alerts", {"name": "frost"})
    )

    lost = api("POST", "/alerts", {"name": "frost"})

    assert won[0].status_code == 201
    assert_problem(lost, 409, "conflict")
    assert len(messages(front)) == 1


def test_two_patches_of_one_row_lose_nothing(api, front, meddler):
    api("PUT", PLACE, {"detail": {}})
    meddler.before["put_item"] = lambda: api("PATCH", PLACE, {"detail": {"first": 1}})

    answer = api("PATCH", PLACE, {"detail": {"second": 2}})

    assert answer.status_code == 200
    assert body_of(answer)["detail"] == {"first": 1, "second": 2}


def test_a_patch_of_a_row_that_is_deleted_meanwhile_finds_none(api, front, meddler):
    api("PUT", PLACE, {})
    meddler.before["put_item"] = lambda: api("DELETE", PLACE)

    assert_problem(api("PATCH", PLACE, {"size": 1}), 404, "no-such-row")


def test_a_row_that_is_gone_is_told_before_a_value_that_is_taken(api, front, meddler):
    api("PUT", ALERT, {"name": "frost"})

    def meddle() -> None:
        api("DELETE", ALERT)
        api("POST", "/alerts", {"name": "storm"})

    meddler.before["transact_write_items"] = meddle

    assert_problem(api("PATCH", ALERT, {"name": "storm"}), 404, "no-such-row")


def test_a_condition_is_judged_on_the_row_as_it_is_written(api, front, meddler):
    first = api("PUT", PLACE, {})
    meddler.before["put_item"] = lambda: api("PATCH", PLACE, {"size": 1})

    answer = api("PATCH", PLACE, {"size": 2}, If_Match=first.headers["ETag"])

    assert_problem(answer, 412, "precondition-failed")
    assert body_of(api("GET", PLACE))["size"] == 1


def test_a_row_that_always_changes_is_given_up(api, front, meddler):
    api("PUT", PLACE, {})

    def change() -> None:
        front.update_item(
            TableName=fronted.NAME,
            Key={"pk": {"S": 'row/places/["ZRH"]'}},
            UpdateExpression="SET etag = :e",
            ExpressionAttributeValues={":e": {"S": UUID(int=len(meddler.calls)).hex}},
        )
        meddler.before["put_item"] = change

    meddler.before["put_item"] = change

    answer = api("PATCH", PLACE, {"size": 1})

    assert_problem(answer, 503, "front-unavailable")
    assert answer.headers["Retry-After"]


# Lost answers

WRITES = {
    "create": lambda api: api("POST", "/places", {"code": "ZRH", "size": 2}),
    "transaction": lambda api: api("POST", "/alerts", {"name": "frost"}),
    "keyed": lambda api: api("PUT", PLACE, {"size": 2}, Idempotency_Key="k"),
    "replace": lambda api: api("PUT", PLACE, {"size": 2}),
    "merge": lambda api: api("PATCH", PLACE, {"size": 2}),
    "delete": lambda api: api("DELETE", PLACE),
    "many": lambda api: api("POST", "/places", [{"code": "ZRH"}, {"code": "B"}]),
}
STATUSES = {"replace": 200, "merge": 200, "delete": 204}


@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("name", WRITES)
def test_a_write_whose_answer_is_lost_is_done_once(api, front, meddler, name, lost):
    if name in STATUSES:
        api("PUT", PLACE, {"size": 1})
    meddler.lost = lost

    answer = WRITES[name](api)

    assert answer.status_code == STATUSES.get(name, 201), answer.body
    if name != "many":
        (message,) = messages(front)
        assert answer.headers.get("ETag", f'"{message.dedup_id.replace("-", "")}"') == (
            f'"{message.dedup_id.replace("-", "")}"'
        )


def test_a_put_is_not_repeated_behind_another_writer(api, front, meddler):
    """The stream would carry its message twice, and only the first would count."""
    meddler.lost = 1
    meddler.before["get_item"] = lambda: api("PUT", PLACE, {"size": 2})

    answer = api("PUT", PLACE, {"size": 1})

    assert_problem(answer, 503, "front-unavailable")
    assert body_of(api("GET", PLACE))["size"] == 2
    assert rows_of(messages(front)[0])[0]["size"] == 2


def test_a_write_whose_answer_is_lost_is_new_only_if_that_is_known(api, front, meddler):
    def status(*asked, **headers):
        meddler.lost = 1
        return api(*asked, **headers).status_code

    assert status("POST", "/places", {"code": "GVA"}) == 201
    assert status("PUT", PLACE, {}, If_None_Match="*") == 201
    assert status("PUT", PLACE, {"size": 1}) == 200
    assert status("PUT", "/places/new", {}) == 200  # DynamoDB told once what was there before
    assert status("PUT", "/places/kept", {}, Idempotency_Key="k") == 201  # it was read


def test_a_write_that_did_not_arrive_is_sent_again(api, front, meddler):
    meddler.errors = [
        EndpointConnectionError(endpoint_url="x"),
        fronted.error("InternalServerError", 500),
    ]

    assert api("PUT", PLACE, {"size": 1}).status_code == 201
    assert meddler.calls.count("put_item") == 3


def test_a_conflict_of_transactions_passes(api, front, meddler):
    reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
    canceled = fronted.error("TransactionCanceledException", CancellationReasons=reasons)
    meddler.errors = [canceled] * (table._TRIES - 1)

    assert WRITES["transaction"](api).status_code == 201


# What does not work

UNWELL = [
    (fronted.error("ProvisionedThroughputExceededException"), 503, "front-unavailable"),
    (fronted.error("ThrottlingException"), 503, "front-unavailable"),
    (EndpointConnectionError(endpoint_url="x"), 503, "front-unavailable"),
    (fronted.error("ResourceNotFoundException"), 500, "front-refuses"),
    (fronted.error("AccessDeniedException"), 500, "front-refuses"),
    (fronted.error("KMSDisabledException"), 500, "front-refuses"),
    (fronted.error("ValidationException"), 500, "front-refuses"),
]


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize(("error", "status", "type_"), UNWELL)
def test_a_table_that_does_not_serve_is_told(
    api, front, meddler, name, error, status, type_, caplog
):
    if name in STATUSES:
        api("PUT", PLACE, {})
    before = all_entries(front)
    meddler.errors = [error] * 100

    answer = WRITES[name](api)

    problem = assert_problem(answer, status, type_)
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert "so it is" not in problem["detail"]
    assert all_entries(front) == before
    if status == 500:
        assert "DECANTER_FRONT_TABLE" in caplog.text or "allow" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_throttled_transaction_is_told(api, front, meddler):
    reasons = [{"Code": "ThrottlingError"}, {"Code": "None"}]
    meddler.errors = [
        fronted.error("TransactionCanceledException", CancellationReasons=reasons)
    ] * 100

    assert_problem(WRITES["transaction"](api), 503, "front-unavailable")


def test_a_stage_without_the_table_is_told(api, front, monkeypatch):
    monkeypatch.delenv("DECANTER_FRONT_TABLE")

    for answer in (api("GET", PLACE), api("PUT", PLACE, {}), api("POST", "/alerts", {"name": "x"})):
        problem = assert_problem(answer, 503, "not-configured")
        assert "DECANTER_FRONT_TABLE" in problem["detail"]


def test_reads_of_a_table_that_does_not_serve_are_told(api, front, meddler):
    meddler.errors = [fronted.error("ThrottlingException")] * 100
    assert_problem(api("GET", PLACE), 503, "front-unavailable")
    meddler.errors = [fronted.error("ResourceNotFoundException")] * 100
    assert_problem(api("GET", PLACE), 500, "front-refuses")


def test_names_that_dynamodb_did_not_read_at_once_are_asked_again(api, front, meddler):
    api("POST", "/places", [{"code": "A"}, {"code": "B"}])
    answers = []

    class _Slow:
        def __getattr__(self, operation):
            def call(**parameters):
                answer = getattr(front, operation)(**parameters)
                if operation == "batch_get_item" and not answers:
                    answers.append(answer)
                    wanted = parameters["RequestItems"][fronted.NAME]
                    rest = {**wanted, "Keys": wanted["Keys"][1:]}
                    found = answer["Responses"][fronted.NAME]
                    first = [each for each in found if each["pk"] == wanted["Keys"][0]["pk"]]
                    return {
                        "Responses": {fronted.NAME: first},
                        "UnprocessedKeys": {fronted.NAME: rest},
                    }
                return answer

            return call

    meddler.client = _Slow()

    answer = api(
        "POST", "/places", [{"code": "A"}, {"code": "B"}], Prefer="resolution=ignore-duplicates"
    )

    assert answers
    assert answer.status_code == 200, answer.body
