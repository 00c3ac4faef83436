"""Dead letters: looked at, and moved back to their queue by SQS' own task."""

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

from chalicelib import aws
from chalicelib.buffer.sqs import counts
from chalicelib.errors import Problem

_Result = TypeVar("_Result")

MOST_PER_SECOND = 500
"""Fastest move that SQS accepts."""

_AT_ONCE = 10
_HIDDEN_SECONDS = 30
"""How long a message that is looked at is hidden, if this is killed before it shows it again."""

_CALL_SECONDS = 5.0
_LISTED = 10
_INCOMPLETE: tuple[type[Exception], ...] = (KeyError, ValueError)


class DeadLetter(NamedTuple):
    """A message as it lies in a dead-letter queue.

    message_id: SQS' own. sent_at: milliseconds since the epoch. receives: how often it was
    received, looks included. handle: of this look.
    """

    message_id: str
    body: str
    sent_at: int
    receives: int
    handle: str


class MoveTask(NamedTuple):
    """A move of dead letters to their queue.

    started_at: milliseconds since the epoch, which identify it. status: RUNNING, COMPLETED,
    CANCELLING, CANCELLED or FAILED. moved: how many so far. to_move: of how many, None if that is
    not known. handle: only while it runs. why: of one that failed.
    """

    started_at: int
    status: str
    moved: int
    to_move: int | None
    handle: str | None
    why: str

    @property
    def is_running(self) -> bool:
        return self.status == "RUNNING"


class DeadLetterQueue(NamedTuple):
    """messages: how many it has, nearly."""

    url: str
    messages: int


def queue_of(queue_url: str) -> DeadLetterQueue:
    """The dead-letter queue of a queue. Raises Problem 503 if SQS does not tell."""

    def find() -> DeadLetterQueue:
        found = counts.counts(queue_url)
        return DeadLetterQueue(str(found.dead_letters_url), counts.dead_letters(found))

    return _try(find, "tell how many dead letters there are")


def look(url: str, most: int, deadline: float) -> list[DeadLetter]:
    """Messages of a dead-letter queue, as many as SQS shows until the deadline, a
    time.monotonic(). They stay there; what changes is how often they were received.

    Of a FIFO queue, SQS shows only the first messages of each lane. Raises Problem 503.
    """
    found: dict[str, DeadLetter] = {}
    try:
        while len(found) < most and time.monotonic() < deadline:
            more = _receive(url, min(_AT_ONCE, most - len(found)))
            found |= {each.message_id: each for each in more}
            if not more:
                break
    finally:
        _show(url, [*found.values()])
    return [*found.values()]


def start(url: str, per_second: int) -> None:
    """Begin to move all messages back to the queue that they came from, at that pace. Raises
    Problem: 409 if such a move runs already."""
    name = _name(url)
    _try(
        lambda: _client().start_message_move_task(
            SourceArn=name, MaxNumberOfMessagesPerSecond=per_second
        ),
        "start to move the dead letters",
    )


def tasks(url: str) -> list[MoveTask]:
    """The latest moves, the newest first. Raises Problem 503."""
    name = _name(url)
    reply = _try(
        lambda: _client().list_message_move_tasks(SourceArn=name, MaxResults=_LISTED),
        "tell how far the dead letters are moved",
    )
    found = [_task(each) for each in reply.get("Results", [])]
    return sorted(found, key=lambda each: each.started_at, reverse=True)


def cancel(task: MoveTask) -> None:
    """Stop a move; what was moved stays moved. Raises Problem 503."""
    handle = task.handle
    if handle is not None:
        _try(
            lambda: _client().cancel_message_move_task(TaskHandle=handle),
            "stop moving the dead letters",
        )


def _receive(url: str, most: int) -> list[DeadLetter]:
    reply = _try(
        lambda: _client().receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=most,
            VisibilityTimeout=_HIDDEN_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        ),
        "show the dead letters",
    )
    return [
        DeadLetter(
            message_id=each["MessageId"],
            body=each["Body"],
            sent_at=int(each["Attributes"]["SentTimestamp"]),
            receives=int(each["Attributes"]["ApproximateReceiveCount"]),
            handle=each["ReceiptHandle"],
        )
        for each in reply.get("Messages", [])
    ]


def _show(url: str, letters: Sequence[DeadLetter]) -> None:
    """Let others receive these messages at once."""
    for first in range(0, len(letters), _AT_ONCE):
        entries = [
            {"Id": str(number), "ReceiptHandle": each.handle, "VisibilityTimeout": 0}
            for number, each in enumerate(letters[first : first + _AT_ONCE])
        ]
        _try(
            lambda entries=entries: _client().change_message_visibility_batch(  # type: ignore[misc]
                QueueUrl=url, Entries=entries
            ),
            "show the dead letters to others",
        )


def _task(described: Any) -> MoveTask:
    left = described.get("ApproximateNumberOfMessagesToMove")
    return MoveTask(
        started_at=int(described["StartedTimestamp"]),
        status=described["Status"],
        moved=int(described.get("ApproximateNumberOfMessagesMoved") or 0),
        to_move=None if left is None else int(left),
        handle=described.get("TaskHandle"),
        why=described.get("FailureReason") or "",
    )


def _name(url: str) -> str:
    """The ARN of a queue."""
    reply = _try(
        lambda: _client().get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]),
        "name the dead-letter queue",
    )
    return str(reply["Attributes"]["QueueArn"])


def _try(call: Callable[[], _Result], purpose: str) -> _Result:
    """The result of a call to SQS. Raises Problem."""
    try:
        return aws.within(time.monotonic() + _CALL_SECONDS, call)
    except _INCOMPLETE + aws.failures() as error:
        code = aws.code(error)
        if "UnsupportedOperation" in code:
            raise Problem(
                "conflict", "SQS moves these dead letters already: wait until it is done"
            ) from error
        raise Problem(
            "unavailable",
            f"SQS did not {purpose}: {code}. Try again",
            headers={"Retry-After": "5"},
        ) from error


@cache
def _client() -> Any:
    return aws.client("sqs", tries=2, read_timeout=_CALL_SECONDS)
