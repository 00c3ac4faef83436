"""What SQS is asked about dead letters."""

import time
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.buffer.sqs import counts, dead_letters
from chalicelib.buffer.sqs.counts import Counts
from chalicelib.buffer.sqs.dead_letters import MoveTask
from chalicelib.errors import Problem

URL = "https://sqs.test/1/p-ordered-dlq.fifo"
ARN = "arn:aws:sqs:eu-central-1:1:p-ordered-dlq.fifo"


class Queue:
    """SQS with a dead-letter queue, whose messages are hidden once they are received."""

    def __init__(self, messages: int = 0) -> None:
        self.hidden = dict.fromkeys(range(messages), False)
        self.receives = dict.fromkeys(range(messages), 0)
        self.calls: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.results: list[dict[str, Any]] = []
        self.started: dict[str, Any] = {}
        self.cancelled: list[str] = []

    def __getattr__(self, operation: str) -> Any:
        def call(**parameters: Any) -> Any:
            self.calls.append(operation)
            if error := self.errors.get(operation):
                raise error
            return getattr(self, f"_{operation}")(**parameters)

        return call

    def _receive_message(self, QueueUrl: str, MaxNumberOfMessages: int, **_: Any) -> Any:
        assert QueueUrl == URL
        shown = [n for n, hidden in self.hidden.items() if not hidden][:MaxNumberOfMessages]
        for number in shown:
            self.hidden[number] = True
            self.receives[number] += 1
        messages = [
            {
                "MessageId": f"m{number}",
                "Body": f"body {number}",
                "ReceiptHandle": str(number),
                "Attributes": {
                    "SentTimestamp": "1000",
                    "ApproximateReceiveCount": str(self.receives[number]),
                },
            }
            for number in shown
        ]
        return {"Messages": messages} if messages else {}

    def _change_message_visibility_batch(self, QueueUrl: str, Entries: Any) -> Any:
        assert len(Entries) <= 10
        assert len({each["Id"] for each in Entries}) == len(Entries)
        for each in Entries:
            assert each["VisibilityTimeout"] == 0
            self.hidden[int(each["ReceiptHandle"])] = False
        return {"Successful": []}

    def _get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> Any:
        assert AttributeNames == ["QueueArn"]
        return {"Attributes": {"QueueArn": ARN}}

    def _start_message_move_task(self, **parameters: Any) -> Any:
        self.started = parameters
        return {"TaskHandle": "h"}

    def _list_message_move_tasks(self, SourceArn: str, MaxResults: int) -> Any:
        assert (SourceArn, MaxResults) == (ARN, 10)
        return {"Results": self.results}

    def _cancel_message_move_task(self, TaskHandle: str) -> Any:
        self.cancelled.append(TaskHandle)
        return {}


@pytest.fixture(name="queue")
def fixture_queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    found = Queue(messages=25)
    monkeypatch.setattr(dead_letters, "_client", lambda: found)
    return found


def soon() -> float:
    return time.monotonic() + 5


def test_a_look_shows_each_message_once_and_hides_none(queue: Queue) -> None:
    found = dead_letters.look(URL, 100, soon())

    assert [each.body for each in found] == [f"body {n}" for n in range(25)]
    assert {each.receives for each in found} == {1}
    assert not any(queue.hidden.values())
    assert queue.calls.count("receive_message") == 4  # the last one shows that there are no more
    assert queue.calls.count("change_message_visibility_batch") == 3
    assert {each.receives for each in dead_letters.look(URL, 100, soon())} == {2}


def test_a_look_ends_after_so_many_messages(queue: Queue) -> None:
    assert len(dead_letters.look(URL, 13, soon())) == 13
    assert sum(queue.receives.values()) == 13


def test_a_look_has_no_time(queue: Queue) -> None:
    assert dead_letters.look(URL, 100, time.monotonic()) == []
    assert queue.calls == []


def test_a_look_that_fails_shows_to_others_what_it_has_received(queue: Queue) -> None:
    receive = queue._receive_message

    def once(**parameters: Any) -> Any:
        queue.errors["receive_message"] = ReadTimeoutError(endpoint_url=URL)
        return receive(**parameters)

    queue._receive_message = once  # type: ignore[method-assign]

    with pytest.raises(Problem, match="ReadTimeoutError"):
        dead_letters.look(URL, 100, soon())

    assert sum(queue.receives.values()) == 10
    assert not any(queue.hidden.values())


def test_a_move_is_started_at_a_pace(queue: Queue) -> None:
    dead_letters.start(URL, 7)

    assert queue.started == {"SourceArn": ARN, "MaxNumberOfMessagesPerSecond": 7}


@pytest.mark.parametrize(
    ("code", "type_"),
    [
        ("AWS.SimpleQueueService.UnsupportedOperation", "conflict"),
        ("AccessDenied", "unavailable"),
        ("RequestThrottled", "unavailable"),
    ],
)
def test_a_move_that_sqs_refuses(queue: Queue, code: str, type_: str) -> None:
    error = ClientError({"Error": {"Code": code}}, "StartMessageMoveTask")
    queue.errors["start_message_move_task"] = error

    with pytest.raises(Problem) as problem:
        dead_letters.start(URL, 7)

    assert problem.value.type == type_
    assert type_ == "conflict" or code in problem.value.detail


def test_moves_are_listed_the_newest_first(queue: Queue) -> None:
    queue.results = [
        {"Status": "COMPLETED", "StartedTimestamp": 1, "ApproximateNumberOfMessagesMoved": 4},
        {
            "Status": "RUNNING",
            "StartedTimestamp": 3,
            "TaskHandle": "h",
            "ApproximateNumberOfMessagesMoved": 2,
            "ApproximateNumberOfMessagesToMove": 9,
        },
        {"Status": "FAILED", "StartedTimestamp": 2, "FailureReason": "AccessDenied"},
    ]

    found = dead_letters.tasks(URL)

    assert found == [
        MoveTask(3, "RUNNING", 2, 9, "h", ""),
        MoveTask(2, "FAILED", 0, None, None, "AccessDenied"),
        MoveTask(1, "COMPLETED", 4, None, None, ""),
    ]
    assert all(a.started_at > b.started_at for a, b in pairwise(found))
    dead_letters.cancel(found[0])
    dead_letters.cancel(found[1])  # it does not run
    assert queue.cancelled == ["h"]


def test_the_queue_is_found_by_that_of_the_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "counts", lambda url: Counts(1, 2, f"{url}-dead"))
    monkeypatch.setattr(counts, "dead_letters", lambda found: len(found.dead_letters_url))

    assert dead_letters.queue_of("u") == ("u-dead", 6)


def test_a_queue_without_dead_letters_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "counts", lambda _: Counts(1, 2, None))

    with pytest.raises(Problem, match="did not tell"):
        dead_letters.queue_of("u")
