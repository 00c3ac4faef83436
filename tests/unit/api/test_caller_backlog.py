"""The API refuses who floods the ordered queue, and nobody else."""

from typing import Any

import boto3
import pytest

from chalicelib.buffer.sqs import backlog, counts, put
from tests.kit.api import OBSERVATION, assert_problem, station, token_of
from tests.kit.mocked_aws import mocked_aws

LIMIT = 8
SEND, COUNTS = put.send, counts.counts


@pytest.fixture(autouse=True)
def gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that takes little for much, and counts messages for each request."""
    monkeypatch.setenv("DECANTER_CALLER_BACKLOG", str(LIMIT))
    for name in ("_UNSEEN", "_RENEWED_SECONDS", "_CALM_SECONDS"):
        monkeypatch.setattr(backlog, name, 1)
    monkeypatch.setattr(backlog, "_RENEWED_SECONDS", 0.0)
    monkeypatch.setattr(backlog, "_CALM_SECONDS", 0.0)


def write(api: Any, number: int, caller: str = "flooder", **headers: str) -> Any:
    return api("PUT", f"/stations/S{number:03}", station(icao=...), caller=caller, **headers)


def flood(api: Any) -> int:
    """Write until that is refused; returns the number of writes that were accepted."""
    token_of(write(api, 999, "quiet"))
    for number in range(100):
        if write(api, number).status_code == 429:
            return number
    raise AssertionError("nothing was refused")


def test_the_counts_of_sqs_decide_who_is_refused(api, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setattr(put, "send", SEND)
    monkeypatch.setattr(counts, "counts", COUNTS)
    put._client.cache_clear()
    with mocked_aws():
        sqs = boto3.client("sqs")
        fifo = {"FifoQueue": "true", "VisibilityTimeout": "900"}
        url = sqs.create_queue(QueueName="o.fifo", Attributes=fifo)["QueueUrl"]
        monkeypatch.setenv("DECANTER_ORDERED_QUEUE_URL", url)

        accepted = flood(api)
        taken = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        assert write(api, 998).status_code == 429  # what is being poured waits as well
        for each in taken:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        token_of(write(api, 998))
    put._client.cache_clear()

    assert LIMIT < accepted < 3 * LIMIT


@pytest.fixture
def waiting(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was sent to the ordered queue waits there."""

    def count(queue_url: str) -> int:
        return sum(url == queue_url for url, _ in recorder.sent)

    monkeypatch.setattr(backlog, "_waiting", count)


def test_one_caller_is_refused_and_others_are_not(api, recorder, waiting) -> None:
    flood(api)
    before = len(recorder.sent)

    answer = write(api, 998)
    described = assert_problem(answer, 429, "too-many-waiting")

    assert f"have {LIMIT} there" in described["detail"]
    assert 5 <= int(answer.headers["Retry-After"]) <= 300
    assert len(recorder.sent) == before
    token_of(write(api, 997, "quiet"))
    token_of(api("POST", "/observations", OBSERVATION, caller="flooder"))


def test_each_message_of_a_request_counts(api, recorder, waiting) -> None:
    token_of(write(api, 999, "quiet"))
    stations = [station(icao=f"B{number:03}") for number in range(100)]
    token_of(api("POST", "/stations", stations, caller="bulk"))
    assert len(recorder.sent) > LIMIT

    assert_problem(write(api, 0, "bulk"), 429, "too-many-waiting")


def test_a_refused_request_may_be_sent_again_with_its_key(api, recorder, waiting) -> None:
    first = token_of(write(api, 0, Idempotency_Key="a"))
    flood(api)

    assert_problem(write(api, 1, Idempotency_Key="b"), 429, "too-many-waiting")
    # SQS drops the message of a request that is repeated, so that it adds nothing.
    assert token_of(write(api, 0, Idempotency_Key="a")) == first
    other = api("DELETE", "/stations/S000", caller="flooder", Idempotency_Key="a")
    assert_problem(other, 422, "key-reused")
    recorder.sent.clear()
    token_of(write(api, 1, Idempotency_Key="b"))


def test_a_limit_of_0_is_none(api, monkeypatch) -> None:
    monkeypatch.setenv("DECANTER_CALLER_BACKLOG", "0")
    monkeypatch.setattr(backlog, "_waiting", lambda _url: pytest.fail("counted"))

    for number in range(3 * LIMIT):
        token_of(write(api, number))


def test_messages_have_the_group_of_their_caller(api, recorder) -> None:
    long = "https://issuer.example.com/ " + "ü😀" * 300
    for caller in ("one", long, "one"):
        token_of(api("POST", "/observations", [OBSERVATION, OBSERVATION], caller=caller))

    groups = [entry.group for _, entry in recorder.sent]
    assert groups == [put.caller_group(name) for name in ("one", long, "one")]
