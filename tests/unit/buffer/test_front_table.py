"""The front table: one call where it is enough, reads of the last write, tries that are bounded."""

import time
from typing import Any

import pytest

from chalicelib.buffer.dynamodb import table
from chalicelib.buffer.dynamodb.table import Action, TableOutcome
from chalicelib.errors import Problem
from tests.kit import fronted


class _Table:
    """Records calls; answers with what a test gives, an error or a reply."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[Any] = []

    def __getattr__(self, operation: str) -> Any:
        def call(**parameters: Any) -> Any:
            self.calls.append((operation, parameters))
            answer = self.answers.pop(0) if self.answers else {}
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> _Table:
    found = _Table()
    monkeypatch.setattr(table, "_client", lambda: found)
    monkeypatch.setattr(table, "_PAUSE_SECONDS", 0)
    monkeypatch.setenv("DECANTER_FRONT_TABLE", fronted.NAME)
    return found


def soon() -> float:
    return time.monotonic() + 20


def put(pk: str = "row/r/[]", requirement: table.Requirement | None = None) -> Action:
    return Action("Put", {"pk": {"S": pk}, "etag": {"S": "e"}}, requirement)


def canceled(*codes: str, **item: Any) -> Exception:
    reasons = [{"Code": code, **(item if "Check" in code else {})} for code in codes]
    return fronted.error("TransactionCanceledException", CancellationReasons=reasons)


def test_one_put_is_one_put_item(fake):
    assert table.write([put(requirement=table.HAS_NO_ROW)], soon()) == TableOutcome()

    ((operation, parameters),) = fake.calls
    assert operation == "put_item"
    assert parameters == {
        "TableName": fronted.NAME,
        "Item": {"pk": {"S": "row/r/[]"}, "etag": {"S": "e"}},
        "ConditionExpression": "attribute_not_exists(#row)",
        "ExpressionAttributeNames": {"#row": "row"},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def test_several_actions_are_one_transaction_that_keeps_its_token(fake):
    fake.answers = [canceled("None", "TransactionConflict"), {}]
    check = Action("ConditionCheck", {"pk": {"S": "p"}}, table.HAS_ROW)

    assert table.write([put(), check], soon()) == TableOutcome()

    first, second = fake.calls
    assert first == second
    operation, parameters = first
    assert operation == "transact_write_items"
    assert len(parameters["ClientRequestToken"]) == 36
    assert [*parameters["TransactItems"][1]["ConditionCheck"]["Key"]] == ["pk"]


def test_reads_are_consistent(fake):
    table.get("a", soon())
    fake.answers = [{"Responses": {}}]
    table.get_many(["a", "b"], soon())

    (_, one), (_, many) = fake.calls
    assert one["ConsistentRead"] is True
    assert many["RequestItems"][fronted.NAME]["ConsistentRead"] is True


def test_each_refused_action_comes_with_its_entry(fake):
    entry = {"pk": {"S": "a"}}
    fake.answers = [canceled("ConditionalCheckFailed", "TransactionConflict", Item=entry)]

    assert table.write([put("a"), put("b")], soon()).refused == {0: entry}


def test_a_refusal_after_a_lost_answer_is_the_own_write_only_if_the_etag_says_so(fake):
    from botocore.exceptions import ReadTimeoutError

    lost = ReadTimeoutError(endpoint_url="x")
    own = {"pk": {"S": "a"}, "etag": {"S": "e"}}
    fake.answers = [lost, canceled("ConditionalCheckFailed", "None", Item=own)]
    assert table.write([put("a"), put("b")], soon()) == TableOutcome(is_late=True)

    other = {**own, "etag": {"S": "f"}}
    fake.answers = [lost, canceled("ConditionalCheckFailed", "None", Item=other)]
    assert table.write([put("a"), put("b")], soon()).refused == {0: other}

    fake.answers = [canceled("ConditionalCheckFailed", "None", Item=own)]
    assert table.write([put("a"), put("b")], soon()).refused == {0: own}


def test_no_call_begins_that_may_end_too_late(fake):
    with pytest.raises(Problem) as caught:
        table.write([put()], time.monotonic() + 1)

    assert caught.value.type == "front-unavailable"
    assert fake.calls == []


@pytest.mark.parametrize("actions", [[put("a")], [put("a"), put("b")]])
def test_tries_are_bounded(fake, actions):
    fake.answers = [fronted.error("ThrottlingException")] * 100

    with pytest.raises(Problem) as caught:
        table.write(actions, soon())

    assert caught.value.headers["Retry-After"]
    assert len(fake.calls) == table._TRIES


def test_reads_that_stay_incomplete_are_given_up(fake):
    fake.answers = [
        {"Responses": {}, "UnprocessedKeys": {fronted.NAME: {"Keys": []}}} for _ in range(100)
    ]

    with pytest.raises(Problem) as caught:
        table.get_many(["a", "b"], soon())

    assert caught.value.type == "front-unavailable"
    assert len(fake.calls) == table._TRIES


def test_an_entry_that_dynamodb_finds_too_large_is_told(fake):
    too_large = fronted.error("ValidationException")
    too_large.response["Error"]["Message"] = "Item size has exceeded the maximum allowed size"
    fake.answers = [too_large]

    with pytest.raises(Problem) as caught:
        table.write([put()], soon())

    assert caught.value.type == "row-too-large"


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        ("ResourceNotFoundException", "DECANTER_FRONT_TABLE"),
        ("AccessDeniedException", "ConditionCheckItem"),
        ("KMSAccessDeniedException", "kms:Decrypt"),
        ("ValidationException", "partition key pk"),
        ("Strange", "see the reason"),
    ],
)
def test_a_refusal_that_stays_logs_its_cure(fake, caplog, code, cure):
    fake.answers = [fronted.error(code)]

    with pytest.raises(Problem) as caught:
        table.write([put()], soon())

    assert caught.value.type == "front-refuses"
    assert cure in caplog.text
    assert len(fake.calls) == 1
