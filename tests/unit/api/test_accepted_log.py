"""Each accepted request has one line in the log, whatever its buffer; no other request has any."""

import logging

import pytest

from chalicelib.buffer.dynamodb import table
from chalicelib.buffer.sqs import put
from chalicelib.errors import Problem
from chalicelib.messages import accepted
from chalicelib.messages.receipt import verify
from tests.kit import fronted
from tests.kit.api import OBSERVATION, RECEIPT_KEY, STATION, body_of, station, token_of

SEND = put.send


@pytest.fixture(autouse=True)
def _level(caplog):
    caplog.set_level(logging.INFO, "decanter.intake")


@pytest.fixture
def logged(caplog):
    return lambda: [found for line in caplog.messages if (found := accepted.read(line))]


def receipt_of(token):
    return verify(token, RECEIPT_KEY.encode(), "me")


def test_a_request_of_the_queues_is_logged_once(api, recorder, logged):
    rows = [station(icao=f"ED{n:02}") for n in range(40)]

    receipt = receipt_of(token_of(api("POST", "/stations", rows)))

    (found,) = logged()
    assert found == (
        str(receipt.id), receipt.accepted_at, "stations", 40, len(recorder.sent),
        receipt.fingerprint,
    )  # fmt: skip
    assert found.messages > 1


def test_a_retry_is_logged_under_the_same_id(api, recorder, logged):
    calls = [api("POST", "/observations", OBSERVATION, Idempotency_Key="k") for _ in range(2)]

    assert token_of(calls[0]) == token_of(calls[1])
    first, second = logged()
    assert first._replace(accepted_at=0) == second._replace(accepted_at=0)
    assert 0 < first.accepted_at <= second.accepted_at


def test_what_is_refused_is_not_logged(api, recorder, logged, monkeypatch):
    api("POST", "/stations", {"icao": "EDDF"})
    api("GET", "/stations/EDDF")

    def unavailable(*_):
        raise Problem("queue-unavailable", "down")

    monkeypatch.setattr(put, "send", unavailable)
    assert api("POST", "/stations", STATION).status_code == 503
    assert logged() == []


def test_the_log_calls_nothing(api, monkeypatch, logged):
    """The first number of conservation costs no call: SQS is called once, as without the line."""
    calls = []

    class Client:
        def send_message(self, **parameters):
            calls.append(parameters["QueueUrl"])
            return {"MessageId": "1"}

    monkeypatch.setattr(put, "send", SEND)
    monkeypatch.setattr(put, "_client", lambda _tries=2: Client())
    token_of(api("POST", "/stations", STATION))

    assert calls == ["https://queues.test/ordered.fifo"]
    assert len(logged()) == 1


@pytest.fixture(name="front")
def fixture_front(compile_contract, monkeypatch):
    with fronted.dynamodb() as client:
        compile_contract(fronted.models())
        monkeypatch.setenv("AWS_DEFAULT_REGION", fronted.REGION)
        monkeypatch.setenv("DECANTER_FRONT_TABLE", fronted.NAME)
        fronted.make_table(client)
        yield client


def test_a_row_in_front_is_logged_once(api, front, logged):
    answer = api("POST", "/places", {"code": "ZRH"}, Idempotency_Key="k")
    api("POST", "/places", {"code": "ZRH"}, Idempotency_Key="k")  # repeats the answer

    assert answer.status_code == 201
    (found,) = logged()
    (message,) = fronted.messages(front)
    assert (found.id, found.resource) == (message.dedup_id, "places")
    assert (found.writes, found.messages, found.fingerprint) == (1, 1, message.fingerprint)


def test_each_transaction_in_front_is_logged_with_what_it_has_written(
    api, front, logged, monkeypatch
):
    monkeypatch.setattr(table, "MAX_ACTIONS", 10)
    api("PUT", "/places/P3", {"name": "there"})
    rows = [{"code": f"P{n}"} for n in range(25)]

    answer = api("POST", "/places", rows, Prefer="resolution=ignore-duplicates")

    assert answer.status_code == 201, body_of(answer)
    _, *found = logged()
    assert [(each.writes, each.messages) for each in found] == [(9, 10), (10, 10), (5, 5)]


def test_a_row_in_front_that_is_refused_is_not_logged(api, front, logged):
    api("POST", "/places", {"code": "ZRH"})
    assert api("POST", "/places", {"code": "ZRH"}).status_code == 409
    assert api("DELETE", "/places/GVA").status_code == 404

    assert len(logged()) == 1


def test_a_request_in_front_that_changes_nothing_is_not_logged(api, front, logged):
    api("PUT", "/places/ZRH", {"name": "there"})

    api(
        "POST", "/places", {"code": "ZRH"},
        Prefer="resolution=ignore-duplicates", Idempotency_Key="k",
    )  # fmt: skip

    assert fronted.all_entries(front, "key/")
    assert len(logged()) == 1
