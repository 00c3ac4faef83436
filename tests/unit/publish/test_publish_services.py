"""What a topic and a bus get of an event, and how they refuse one."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from chalicelib import stage
from chalicelib.publish import bus, event, topic
from chalicelib.publish.event import Event
from chalicelib.publish.refusals import Refusal
from chalicelib.publish.sending import Sender
from tests.kit import outbox_stub
from tests.kit.destinations import BUS, FIFO, TOPIC, destination
from tests.kit.mocked_aws import mocked_aws

REGION = "eu-central-1"


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Moto, and clients that are made for it."""
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"),
                        ("DEFAULT_REGION", REGION)):  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("DECANTER_QUEUES", "shop")
    for module in (topic, bus):
        module._client.cache_clear()
    with mocked_aws():
        yield
    for module in (topic, bus):
        module._client.cache_clear()


def made(place: int, resource: str = "stations", **members: Any) -> Event:
    return event.read(outbox_stub.event(place, resource, **members))


def subscribed(topic_: stage.Destination, **attributes: str) -> tuple[stage.Destination, str]:
    """The topic, in moto's account, and a queue that gets what is published."""
    fifo = {"FifoQueue": "true"} if topic_.is_fifo else {}
    sqs, sns = boto3.client("sqs", REGION), boto3.client("sns", REGION)
    made_ = sns.create_topic(
        Name=topic_.name, Attributes={"FifoTopic": "true"} if topic_.is_fifo else {}
    )
    queue = sqs.create_queue(QueueName=topic_.name, Attributes=fifo)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(
        TopicArn=made_["TopicArn"],
        Protocol="sqs",
        Endpoint=arn["QueueArn"],
        Attributes={"RawMessageDelivery": "true", **attributes},
    )
    return destination(made_["TopicArn"]), queue


def received(queue: str) -> list[dict[str, Any]]:
    answer = boto3.client("sqs", REGION).receive_message(
        QueueUrl=queue,
        MaxNumberOfMessages=10,
        AttributeNames=["All"],
        MessageAttributeNames=["All"],
    )
    found: list[dict[str, Any]] = answer.get("Messages", [])
    return found


def test_a_topic_gets_the_event_and_what_it_may_be_filtered_by() -> None:
    sent_to, queue = subscribed(TOPIC)

    assert topic.send(sent_to, [made(1), made(2, caller=None)]) == {}

    first, second = received(queue)
    assert json.loads(first["Body"]) == {**outbox_stub.event(1), "stage": "shop"}
    shown = {name: each["StringValue"] for name, each in first["MessageAttributes"].items()}
    assert shown == {
        "resource": "stations",
        "state": "applied",
        "caller": "https://issuer.test me",
    }
    assert second["MessageAttributes"].keys() == {"resource", "state"}


def test_subscribers_may_filter() -> None:
    policy = json.dumps({"state": ["partial", "rejected"]})
    sent_to, queue = subscribed(TOPIC, FilterPolicy=policy)

    topic.send(sent_to, [made(1), made(2, state="rejected")])

    assert [json.loads(each["Body"])["sequence"] for each in received(queue)] == [2]


def test_a_fifo_topic_keeps_the_order_of_a_resource_and_drops_repeats() -> None:
    sent_to, queue = subscribed(FIFO)
    events = [made(1), made(2), made(3, "naïve table")]

    assert topic.send(sent_to, events) == topic.send(sent_to, events[:2]) == {}

    found = received(queue)
    groups = [each["Attributes"]["MessageGroupId"] for each in found]
    assert [json.loads(each["Body"])["sequence"] for each in found] == [1, 2, 3]
    assert [each["Attributes"]["MessageDeduplicationId"] for each in found] == [
        each.id for each in events
    ]
    assert groups[:2] == ["stations"] * 2
    assert groups[2].isalnum()  # SNS accepts no other characters, and no white space


def test_attributes_have_no_characters_that_a_queue_refuses() -> None:
    odd = made(1, caller="me\x01")

    assert odd.attributes.keys() == {"resource", "state"}
    assert json.loads(odd.text)["caller"] == "me\x01"
    assert odd.text.isascii()


def test_a_bus_gets_the_event() -> None:
    """Moto delivers nothing from a bus to a queue; tests/e2e does."""
    entry = {
        "EventBusName": BUS.arn,
        "Source": "decanter",
        "DetailType": "Request done",
        "Detail": made(1).text,
    }
    with Stubber(bus._client()) as stubber:
        answer = {"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]}
        stubber.add_response("put_events", answer, {"Entries": [entry]})
        assert bus.send(BUS, [made(1)]) == {}

    assert json.loads(made(1).text) == {**outbox_stub.event(1), "stage": "shop"}


@pytest.mark.parametrize(
    ("code", "sender_fault", "passes", "is_own"),
    [
        ("InvalidParameter", True, False, True),
        ("InternalError", False, True, False),
        ("Throttled", True, True, False),
        ("KMSThrottlingException", True, True, False),
        ("KMSInvalidStateException", True, False, False),
        ("AuthorizationError", True, False, False),
    ],
)
def test_refusals_of_a_topic(code: str, sender_fault: bool, passes: bool, is_own: bool) -> None:
    answer = {
        "Successful": [{"Id": "0", "MessageId": "m"}],
        "Failed": [{"Id": "1", "Code": code, "Message": "so", "SenderFault": sender_fault}],
    }
    with Stubber(topic._client()) as stubber:
        stubber.add_response("publish_batch", answer)
        found = topic.send(TOPIC, [made(1), made(2)])

    assert found == {1: Refusal(code, "so", passes)}
    assert found[1].is_own is is_own


@pytest.mark.parametrize(
    ("code", "passes", "is_own"),
    [
        ("ThrottlingException", True, False),
        ("InternalFailure", True, False),
        ("MalformedDetail", False, True),
        ("InvalidArgument", False, True),
        ("AccessDeniedException", False, False),
    ],
)
def test_refusals_of_a_bus(code: str, passes: bool, is_own: bool) -> None:
    entries = [{"EventId": "e"}, {"ErrorCode": code, "ErrorMessage": "so"}]
    with Stubber(bus._client()) as stubber:
        stubber.add_response("put_events", {"FailedEntryCount": 1, "Entries": entries})
        found = bus.send(BUS, [made(1), made(2)])

    assert found == {1: Refusal(code, "so", passes)}
    assert found[1].is_own is is_own


def test_a_batch_is_never_larger_than_a_service_takes() -> None:
    """Even where each character of a caller takes six in JSON."""
    sizes: list[int] = []

    def send(_destination: stage.Destination, events: Any) -> dict[int, Refusal]:
        sizes.append(
            sum(
                len(each.text.encode())
                + sum(len(f"{name}String{text}".encode()) for name, text in each.attributes.items())
                for each in events
            )
        )
        assert 1 <= len(events) <= 10
        return {}

    events = [made(n, caller="é" * 9_000) for n in range(1, 8)] + [made(n) for n in range(8, 40)]
    sender = Sender(TOPIC, send, float("inf"))

    assert [*sender.finish(events)][-1] == len(events)
    assert max(sizes) < 262_144
    assert len(sizes) > 4
