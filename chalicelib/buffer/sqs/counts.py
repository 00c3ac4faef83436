"""How many messages wait in a queue and in its dead-letter queue, as SQS counts them: nearly."""

import json
import time
from typing import NamedTuple

from chalicelib import aws
from chalicelib.buffer.sqs import put

_CALL_SECONDS = 2.0

_QUEUED = "ApproximateNumberOfMessages"
_DELAYED = "ApproximateNumberOfMessagesDelayed"
_IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"
_REDRIVE = "RedrivePolicy"


class Counts(NamedTuple):
    """Messages of a queue. queued: no drain has them. in_flight: a drain has them, or had them and
    did not finish them, so that they come again. dead_letters_url: of its dead-letter queue, None
    where there is none."""

    queued: int
    in_flight: int
    dead_letters_url: str | None


def counts(queue_url: str) -> Counts:
    """The messages of a queue. Raises one of `aws.failures()`."""
    found = _read(queue_url, _QUEUED, _DELAYED, _IN_FLIGHT, _REDRIVE)
    policy = json.loads(found.get(_REDRIVE, "{}"))
    name = str(policy.get("deadLetterTargetArn", "")).rpartition(":")[2]
    beside = queue_url.rpartition("/")[0]
    return Counts(
        int(found[_QUEUED]) + int(found.get(_DELAYED, 0)),
        int(found[_IN_FLIGHT]),
        f"{beside}/{name}" if name else None,
    )


def dead_letters(found: Counts) -> int:
    """The messages of its dead-letter queue. Raises one of `aws.failures()`, and KeyError if it has
    none."""
    if found.dead_letters_url is None:
        raise KeyError(_REDRIVE)
    return int(_read(found.dead_letters_url, _QUEUED)[_QUEUED])


def _read(queue_url: str, *names: str) -> dict[str, str]:
    deadline = time.monotonic() + _CALL_SECONDS
    return aws.within(deadline, lambda: put.attributes(queue_url, *names))
