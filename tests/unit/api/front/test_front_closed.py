"""A resource on its way from one buffer to the other: closed to writes, read from Postgres."""

from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, UniqueConstraint

from chalicelib.api.reads import client
from chalicelib.contract import resources
from chalicelib.messages.questions import RowAnswer, RowQuestion
from tests.kit.api import assert_problem, token_of
from tests.kit.fronted import all_entries


def models(front: str) -> MetaData:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("n", Integer),
        UniqueConstraint("n", name="things_n_key"),
        info={"front": front},
    )
    return metadata


SQS, CLOSED, DYNAMODB = map(models, ("sqs", "closed", "dynamodb"))

WRITES = {
    "POST": ("POST", "/things", {"id": 1}),
    "many": ("POST", "/things", [{"id": 1}, {"id": 2}]),
    "PUT": ("PUT", "/things/1", {"n": 1}),
    "PATCH": ("PATCH", "/things/1", {"n": 1}),
    "DELETE": ("DELETE", "/things/1", None),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_closed_resource_takes_no_writes(
    api: Any, front: Any, recorder: Any, compile_contract: Any, name: str
) -> None:
    compile_contract(CLOSED)

    answer = api(*WRITES[name], Idempotency_Key="k")

    assert_problem(answer, 503, "resource-closed")
    assert int(answer.headers["Retry-After"]) > 0
    assert (all_entries(front), recorder.sent) == ({}, [])


def test_who_may_not_write_is_told_so_first(api: Any, compile_contract: Any) -> None:
    compile_contract(CLOSED)

    assert_problem(api("POST", "/things", {"id": 1}, scopes="*:read"), 403, "missing-scope")
    assert_problem(api("POST", "/things", {"id": "x"}), 422, "invalid-row")


def test_a_closed_resource_is_read_from_postgres(
    api: Any, compile_contract: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_contract(CLOSED)
    asked: list[Any] = []

    def ask(question: Any, _deadline: float) -> RowAnswer:
        asked.append(question)
        return RowAnswer('{"id":1,"n":2}', "e")

    monkeypatch.setattr(client, "ask", ask)

    answer = api("GET", "/things/1?wait=0&after=x")
    assert_problem(answer, 404, "unknown-receipt")  # a parameter of reads from Postgres
    assert (api("GET", "/things/1").body, asked) == (
        b'{"id":1,"n":2}',
        [RowQuestion("things", '{"id":1}')],
    )


def test_the_claims_of_a_closed_resource_are_known(compile_contract: Any) -> None:
    compile_contract(CLOSED)
    closed = resources.resource("things")
    compile_contract(DYNAMODB)
    opened = resources.resource("things")

    assert closed.front is not None
    assert opened.front is not None
    assert (closed.front.is_closed, opened.front.is_closed) == (True, False)
    assert closed.front.unique == opened.front.unique
    assert (closed.is_fronted, opened.is_fronted) == (False, True)


# A request that is repeated on the other side of a move


def test_what_was_sent_to_the_queue_is_not_done_again_in_front(
    api: Any, front: Any, recorder: Any, compile_contract: Any
) -> None:
    compile_contract(SQS)
    token_of(api("PUT", "/things/1", {"n": 1}, Idempotency_Key="k"))
    compile_contract(DYNAMODB)

    answer = api("PUT", "/things/1", {"n": 1}, Idempotency_Key="k")

    assert "its receipt tells the outcome" in assert_problem(answer, 409, "conflict")["detail"]
    assert not all_entries(front, "row/")


def test_what_was_answered_in_front_is_not_queued_again(
    api: Any, front: Any, recorder: Any, compile_contract: Any
) -> None:
    compile_contract(DYNAMODB)
    first = api("PUT", "/things/1", {"n": 1}, Idempotency_Key="k")
    assert first.status_code == 201
    compile_contract(SQS)

    assert api("PUT", "/things/1", {"n": 1}, Idempotency_Key="k") == first
    assert recorder.sent == []
    assert_problem(api("PUT", "/things/1", {"n": 2}, Idempotency_Key="k"), 422, "key-reused")
