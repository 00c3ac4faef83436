"""Messages that SQS confirms are accepted; others are sent again, or the client gets an error."""

import re
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from chalicelib.buffer.sqs import put
from chalicelib.buffer.sqs.put import QueueEntry, send
from chalicelib.errors import Problem
from decanter.local.network import free_port
from tests.kit.mocked_aws import mocked_aws

URL = "https://queues.test/ordered.fifo"


class Sqs:
    """Answers as SQS does; `refusals` says how often each body of a batch is not taken."""

    def __init__(self, **refusals: int) -> None:
        self.refusals = dict(refusals)
        self.batches: list[list[dict[str, str]]] = []
        self.single: list[dict[str, str]] = []
        self.taken: list[str] = []

    def send_message(self, QueueUrl: str, **message: str) -> dict[str, Any]:
        assert QueueUrl == URL
        self.single.append(message)
        return {"MessageId": "m"}

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:
        assert QueueUrl == URL
        self.batches.append(Entries)
        failed = []
        for entry in Entries:
            body = entry["MessageBody"]
            if self.refusals.get(body, 0):
                self.refusals[body] -= 1
                failed.append({"Id": entry["Id"], "Code": "InternalError", "SenderFault": False})
            else:
                self.taken.append(body)
        return {"Successful": [], **({"Failed": failed} if failed else {})}


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch):
    def make(**refusals: int) -> Sqs:
        made = Sqs(**refusals)
        monkeypatch.setattr(put, "_client", lambda: made)
        return made

    monkeypatch.setattr(put, "_PAUSE_SECONDS", 0.001)
    return make


def entry(body: str, lane: str | None = None) -> QueueEntry:
    return QueueEntry(dedup_id=f"id-{body}", lane=lane, body=body)


def test_an_entry_that_sqs_did_not_take_is_sent_again_alone(sqs):
    taker = sqs(b=2, d=1)

    send(URL, [entry(body, lane) for body, lane in zip("abcde", "01234", strict=True)])

    assert [[each["MessageBody"] for each in batch] for batch in taker.batches] == [
        ["a", "b", "c", "d", "e"],
        ["b", "d"],
        ["b"],
    ]
    assert sorted(taker.taken) == list("abcde")
    again = [each for batch in taker.batches for each in batch if each["MessageBody"] == "b"]
    assert {each["MessageDeduplicationId"] for each in again} == {"id-b"}
    assert {each["MessageGroupId"] for each in again} == {"1"}


def test_other_content_under_the_same_dedup_id_is_another_message_to_sqs(sqs):
    taker = sqs()
    one, other = entry("a", "0")._replace(fingerprint="f" * 32), entry("a", "0")
    one = one._replace(dedup_id="8" * 36)

    for each in (one, one, one._replace(fingerprint="e" * 32), other):
        send(URL, [each])

    ids = [each["MessageDeduplicationId"] for each in taker.single]
    assert ids[0] == ids[1]
    assert len({*ids}) == 3
    assert max(map(len, ids)) <= 128


def test_an_entry_that_sqs_never_takes_is_a_503_and_nothing_follows_it(sqs):
    taker = sqs(b=100)

    with pytest.raises(Problem) as caught:
        send(URL, [entry("a", "0"), entry("b", "1"), entry("c", "1")])

    assert caught.value.status == 503
    assert caught.value.type == "queue-unavailable"
    assert int(caught.value.headers["Retry-After"]) > 0
    assert "Idempotency-Key" in caught.value.detail
    assert taker.taken == ["a"]


def test_an_entry_of_a_lane_is_sent_only_after_the_one_before_it_was_taken(sqs):
    taker = sqs(x1=1, y2=2)

    send(
        URL,
        [entry("x1", "0"), entry("y1", "1"), entry("x2", "0"), entry("y2", "1"), entry("x3", "0")],
    )

    for batch in taker.batches:
        lanes = [each["MessageGroupId"] for each in batch]
        assert len(lanes) == len(set(lanes))
    assert [body for body in taker.taken if body[0] == "x"] == ["x1", "x2", "x3"]
    assert [body for body in taker.taken if body[0] == "y"] == ["y1", "y2"]


def test_a_batch_has_ten_entries_and_a_mebibyte_at_most(sqs):
    taker = sqs()

    send(URL, [entry(f"{n}") for n in range(25)])
    send(URL, [entry("ü" * 250_000 + str(n)) for n in range(5)])

    counts = [len(batch) for batch in taker.batches]
    assert counts == [10, 10, 5, 2, 2, 1]
    for batch in taker.batches:
        assert sum(len(each["MessageBody"].encode()) for each in batch) <= 1_048_576
        assert len({each["Id"] for each in batch}) == len(batch)


def test_unordered_entries_have_neither_group_nor_deduplication_id(sqs):
    taker = sqs()

    send(URL, [entry("a"), entry("b")])
    send(URL, [entry("c")])

    assert taker.batches == [
        [{"Id": "0", "MessageBody": "a"}, {"Id": "1", "MessageBody": "b"}],
    ]
    assert taker.single == [{"MessageBody": "c"}]


def test_unordered_entries_are_grouped_by_caller_and_not_in_order(sqs):
    taker = sqs()
    group = put.caller_group("me")

    send(URL, [entry(body)._replace(group=group) for body in "ab"])
    send(URL, [entry("c")._replace(group=group)])
    send(URL, [entry("d", "7")._replace(group=group)])

    [[first, second]] = taker.batches  # in one call, where two of a lane would take two
    assert [first["MessageGroupId"], second["MessageGroupId"]] == [group, group]
    assert taker.single[0] == {"MessageBody": "c", "MessageGroupId": group}
    assert taker.single[1]["MessageGroupId"] == "7"


def test_a_group_is_a_digest_of_the_callers_name():
    names = ["me", "Me", "https://issuer.example.com/ 1", "ü😀" * 500, ""]

    groups = [put.caller_group(name) for name in names]

    assert len({*groups}) == len(names)
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in groups)
    assert groups[0] == "556a00e6dfef6a6cf250e9e71f874a0e"  # the same in every deployment


def test_one_entry_goes_by_itself_with_its_lane(sqs):
    taker = sqs()

    send(URL, [entry("a", "7")])

    assert taker.batches == []
    assert taker.single == [
        {"MessageBody": "a", "MessageGroupId": "7", "MessageDeduplicationId": "id-a"}
    ]


@pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError(),
        ReadTimeoutError(endpoint_url=URL),
        ConnectTimeoutError(endpoint_url=URL),
        ConnectionClosedError(endpoint_url=URL),
        EndpointConnectionError(endpoint_url=URL),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_sdk_raises_is_a_503(monkeypatch, error):
    def fail() -> Any:
        raise error

    monkeypatch.setattr(put, "_client", fail)

    with pytest.raises(Problem) as caught:
        send(URL, [entry("a")])

    assert caught.value.status == 503


@pytest.mark.parametrize("count", [1, 3])
def test_what_says_nothing_of_a_message_confirms_none(monkeypatch, count):
    client = boto3.client("sqs", "eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
    client.meta.events.register(
        "before-send.sqs", lambda request, **_: AWSResponse(request.url, 200, {}, Garbage())
    )
    monkeypatch.setattr(put, "_client", lambda: client)

    with pytest.raises(Problem) as caught:
        send(URL, [entry(str(n), str(n)) for n in range(count)])

    assert caught.value.type == "queue-unavailable"


class Garbage:
    """The body of a response that is not SQS' own."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield b"<html>"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    put._client.cache_clear()
    yield
    put._client.cache_clear()


def test_a_real_client_puts_messages_on_a_fifo_queue(aws):
    with mocked_aws():
        made = boto3.client("sqs").create_queue(
            QueueName="ordered.fifo", Attributes={"FifoQueue": "true"}
        )
        body = '{"name":"ü😀\\ufffe"}'

        send(made["QueueUrl"], [entry(body, "3"), entry(body, "3")])
        send(made["QueueUrl"], [entry(body, "3")])

        received = boto3.client("sqs").receive_message(
            QueueUrl=made["QueueUrl"], MaxNumberOfMessages=10, AttributeNames=["All"]
        )["Messages"]
    assert [message["Body"] for message in received] == [body]  # the others are duplicates
    attributes = received[0]["Attributes"]
    assert attributes["MessageGroupId"] == "3"
    assert attributes["MessageDeduplicationId"] == f"id-{body}"


def test_a_standard_queue_takes_the_group_of_a_caller(aws):
    group = put.caller_group("me")
    with mocked_aws():
        url = boto3.client("sqs").create_queue(QueueName="unordered")["QueueUrl"]

        send(url, [entry("a")._replace(group=group), entry("b")._replace(group=group)])
        send(url, [entry("c")._replace(group=group)])

        received = boto3.client("sqs").receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"]
        )["Messages"]
    assert sorted(each["Body"] for each in received) == ["a", "b", "c"]
    assert {each["Attributes"]["MessageGroupId"] for each in received} == {group}


def test_a_queue_that_is_not_there_is_no_reason_to_send_again(aws, caplog):
    with mocked_aws(), pytest.raises(Problem) as caught:
        send("https://sqs.eu-central-1.amazonaws.com/123456789012/nope", [entry("a")])

    assert caught.value.type == "queue-refuses"
    assert "/nope" in caplog.text
    assert "Deploy the stage again" in caplog.text


REFUSALS = {
    "passing": [
        ("ThrottlingException", "Rate exceeded", 400),
        ("RequestThrottled", "", 400),
        ("AWS.SimpleQueueService.QueueDeletedRecently", "", 400),
        ("KMS.ThrottlingException", "", 400),
        ("KmsThrottled", "", 400),
        ("OverLimit", "", 403),
        ("ExpiredTokenException", "", 403),
        ("RequestTimeout", "", 408),
        ("InternalFailure", "", 500),
        ("AccessDenied", "of a proxy that is overloaded", 503),
    ],
    "bad-request": [("InvalidMessageContents", "characters outside the allowed set", 400)],
    "body-too-large": [
        ("InvalidParameterValue", "Reason: Message must be shorter than 262144 bytes.", 400),
        ("AWS.SimpleQueueService.BatchRequestTooLong", "more than 262144", 400),
    ],
    "queue-refuses": [
        ("AWS.SimpleQueueService.NonExistentQueue", "", 400),
        ("QueueDoesNotExist", "", 400),
        ("AccessDenied", "no identity-based policy allows it", 403),
        ("AccessDeniedException", "explicit deny", 400),
        ("KMS.DisabledException", "", 400),
        ("KmsAccessDenied", "", 400),
        ("InvalidParameterValue", "Value x for parameter MessageGroupId is invalid", 400),
        ("UnsupportedOperation", "", 400),
        ("SignatureDoesNotMatch", "", 403),
    ],
}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("kind", "code", "text", "status"),
    [(kind, *refusal) for kind, refusals in REFUSALS.items() for refusal in refusals],
)
def test_only_what_passes_is_a_reason_to_send_again(
    monkeypatch, caplog, kind, code, text, status, count
):
    error = {"Error": {"Code": code, "Message": text},
             "ResponseMetadata": {"HTTPStatusCode": status}}  # fmt: skip

    class Refusing:
        def send_message(self, **_: Any) -> Any:
            raise ClientError(error, "SendMessage")

        send_message_batch = send_message

    monkeypatch.setattr(put, "_client", Refusing)
    with pytest.raises(Problem) as caught:
        send(URL, [entry(str(number)) for number in range(count)])

    assert caught.value.type == ("queue-unavailable" if kind == "passing" else kind)
    assert ("Retry-After" in caught.value.headers) == (kind == "passing")
    assert ("Set its MaximumMessageSize to 1048576" in caplog.text) == (kind == "body-too-large")
    assert URL in caplog.text or kind == "passing"


@pytest.mark.parametrize(("kind", "code"), [
    ("queue-refuses", "KMS.AccessDeniedException"), ("bad-request", "InvalidMessageContents"),
])  # fmt: skip
def test_an_entry_that_is_refused_for_good_is_not_sent_again(sqs, monkeypatch, kind, code):
    taker = sqs(b=9)
    taken = taker.send_message_batch

    def refuse(**given: Any) -> Any:
        answer = taken(**given)
        return {**answer, "Failed": [{**each, "SenderFault": True, "Code": code}
                                     for each in answer["Failed"]]}  # fmt: skip

    monkeypatch.setattr(taker, "send_message_batch", refuse)
    with pytest.raises(Problem) as caught:
        send(URL, [entry("a", "0"), entry("b", "1")])

    assert caught.value.type == kind
    assert len(taker.batches) == 1


def test_a_batch_is_no_longer_than_a_queue_of_smaller_messages_takes(sqs, monkeypatch):
    taker = sqs()
    monkeypatch.setenv("DECANTER_MESSAGE_BYTES", "250000")

    send(URL, [entry("x" * 100_000 + str(n)) for n in range(5)])

    assert [len(batch) for batch in taker.batches] == [2, 2, 1]


def test_a_queue_out_of_reach_is_a_503_after_two_tries_and_a_second(aws, monkeypatch):
    endpoint = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", endpoint)
    tries: list[Any] = []
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    put._client().meta.events.register("before-send.sqs", lambda **sent: tries.append(sent))

    with pytest.raises(Problem) as caught:
        send(f"{endpoint}/123456789012/ordered.fifo", [entry("a", "0")])

    assert caught.value.status == 503
    assert len(tries) == 2
    assert sum(pauses) <= 1


def test_the_client_gives_up_before_api_gateway_does(aws):
    config: Config = put._client().meta.config

    tries = config.retries["total_max_attempts"]
    assert tries * (config.connect_timeout + config.read_timeout) < 29


def test_more_batches_than_there_is_time_for_are_refused_before_the_first(sqs) -> None:
    made = sqs()
    entries = [QueueEntry(str(number), None, "x" * 1_000_000) for number in range(20)]

    with pytest.raises(Problem) as caught:
        send(URL, entries, time.monotonic() + 8)  # 7 s for a call, and 4 of these batches a second

    assert caught.value.type == "body-too-large"
    assert "20 batches" in caught.value.detail
    assert not made.batches
    send(URL, entries, time.monotonic() + 60)
    assert len(made.taken) == 20
