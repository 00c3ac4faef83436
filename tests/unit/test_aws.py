"""Clients of the SDK cost less than they would, and are otherwise what they would be."""

import gc
import threading
import time

import boto3
import botocore
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import UnknownServiceError

from chalicelib import aws


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    yield
    gc.unfreeze()


def test_what_the_sdk_loads_is_out_of_sight_of_the_collector_and_the_rest_is_not():
    gc.unfreeze()

    client = aws.client("sqs")
    mine: list[object] = []

    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    frozen = {id(each) for each in gc.get_objects()}
    assert id(client) not in frozen
    assert id(mine) in frozen


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was_whatever_happens(enabled):
    if not enabled:
        gc.disable()
    try:
        with pytest.raises(UnknownServiceError):
            aws.client("no-such-service")

        assert gc.isenabled() is enabled
    finally:
        gc.enable()


def test_the_user_agent_is_not_put_together_at_each_request():
    client = aws.client("sqs", connect_timeout=1)
    sent: list[AWSPreparedRequest] = []

    def answer(request, **_):
        sent.append(request)
        raise InterruptedError

    client.meta.events.register("before-send.sqs", answer)

    with pytest.raises(InterruptedError):
        client.send_message(QueueUrl="https://queues.test/u", MessageBody="a")

    names = f"decanter Boto3/{boto3.__version__} Botocore/{botocore.__version__}"
    assert sent[0].headers["User-Agent"] == names.encode()
    assert client.meta.config.connect_timeout == 1


@pytest.mark.parametrize("tries", [1, 3])
def test_a_call_is_tried_as_often_as_is_said(tries):
    retries = aws.client("sqs", tries=tries).meta.config.retries

    assert (retries["mode"], retries["total_max_attempts"]) == ("standard", tries)


def test_a_call_in_time_gives_what_it_gives():
    assert aws.within(time.monotonic() + 60, lambda: 7) == 7


@pytest.mark.parametrize("error", [ValueError("x"), aws.Late(), KeyboardInterrupt()])
def test_a_call_in_time_raises_what_it_raises(error):
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        aws.within(time.monotonic() + 60, fail)

    assert caught.value is error


def test_a_call_that_is_late_is_left_alone_and_another_can_be_made():
    end = threading.Event()
    ended = threading.Event()

    def hang() -> None:
        end.wait(60)
        ended.set()

    try:
        with pytest.raises(aws.Late):
            aws.within(time.monotonic() + 0.2, hang)
        assert not ended.is_set()
        assert aws.within(time.monotonic() + 60, lambda: 7) == 7
        assert not ended.is_set()
    finally:
        end.set()
    assert ended.wait(60)


def test_no_call_is_made_when_the_time_is_over():
    called = []

    with pytest.raises(aws.Late):
        aws.within(time.monotonic(), lambda: called.append(1))

    assert called == []
