"""Messages → SQS. Returns only when SQS has confirmed every one of them."""

import logging
import math
import random
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from chalicelib.errors import Problem
from chalicelib.intake import aws

logger = logging.getLogger("decanter.intake")

_BATCH_ENTRIES = 10
_BATCH_BYTES = 1_048_576
_TRIES = 4
_PAUSE_SECONDS = 0.1
_CONNECT_SECONDS = 2
_READ_SECONDS = 5
_NO_COUNTS: tuple[type[Exception], ...] = (KeyError, ValueError)
_CONFIRMED = ("MessageId", "Successful", "Failed")
_TRY_SECONDS = _CONNECT_SECONDS + _READ_SECONDS
_CALL_SECONDS = 2 * _TRY_SECONDS + 1  # with the SDK's pause


class Entry(NamedTuple):
    """One message as SQS takes it. lane: message group of the ordered queue, None for the other.

    fingerprint: of its request's content. SQS drops what it has taken already within 5 minutes, and
    has to mean by that what the ledger means: the same dedup ID and the same content.
    """

    dedup_id: str
    lane: str | None
    body: str
    fingerprint: str = ""


@cache
def _client(tries: int = 2) -> Any:
    return aws.client(
        "sqs",
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": tries},
        max_pool_connections=1,
    )


def send(queue_url: str, entries: Sequence[Entry], deadline: float = math.inf) -> None:
    """Put all entries on the queue, in order within each lane. Raises Problem 503.

    A lane's next message is sent only after the one before is confirmed. deadline: a
    time.monotonic() by which this ends: no call begins that may take longer. None is left alone
    when it is late either, as what was not accepted would arrive long after what came behind it.
    """
    if len(entries) == 1:  # most requests; SendMessage costs less than a batch of one
        _call("send_message", queue_url, deadline, **_parameters(entries[0]))
        return
    for batch in _batches(entries):
        pending = batch
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
            pending = _send_batch(queue_url, pending, deadline)
            if not pending:
                break
        else:
            raise _out_of_reach(f"SQS did not take {len(pending)} of {len(entries)} messages")


def _send_batch(queue_url: str, batch: Sequence[Entry], deadline: float) -> list[Entry]:
    """Entries that SQS did not take."""
    entries = [{"Id": str(index), **_parameters(entry)} for index, entry in enumerate(batch)]
    failed = _call("send_message_batch", queue_url, deadline, Entries=entries).get("Failed", [])
    if failed:
        logger.warning("SQS refused %d of %d messages: %s", len(failed), len(batch), failed[0])
    return [batch[int(each["Id"])] for each in failed]


def _parameters(entry: Entry) -> dict[str, str]:
    if entry.lane is None:
        return {"MessageBody": entry.body}
    return {
        "MessageBody": entry.body,
        "MessageGroupId": entry.lane,
        "MessageDeduplicationId": "-".join(filter(None, (entry.dedup_id, entry.fingerprint))),
    }


def _call(operation: str, queue_url: str, deadline: float, **parameters: Any) -> Any:
    """What SQS answers. Raises Problem 503 where it does not, or may not in time."""
    left = deadline - time.monotonic()
    if left < _TRY_SECONDS:
        logger.error("no call to SQS fits into the %.1f s that this request has left", left)
        raise _out_of_reach("the time for this request was over before SQS had all of it")
    try:
        client = _client() if left > _CALL_SECONDS else _client(tries=1)
        reply = getattr(client, operation)(QueueUrl=queue_url, **parameters)
    except aws.failures() as error:
        logger.error("SQS did not take a message: %s", error)
        raise _out_of_reach(f"SQS did not answer as it should ({type(error).__name__})") from error
    if reply.keys().isdisjoint(_CONFIRMED):  # the SDK makes that of any text
        logger.error("SQS did not say what it took: %s", reply)
        raise _out_of_reach("SQS did not say what it took")
    return reply


def lies_still(queue_url: str) -> bool:
    """Whether the queue has messages and none of them is at a drain. SQS' counts are approximate;
    where they cannot be had, it may be otherwise."""
    try:
        counts = _client().get_queue_attributes(
            QueueUrl=queue_url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
            ],
        )["Attributes"]
        queued = int(counts["ApproximateNumberOfMessages"])
        return queued > 0 and int(counts["ApproximateNumberOfMessagesNotVisible"]) == 0
    except _NO_COUNTS + aws.failures() as error:
        logger.warning("cannot read the counts of the queue: %r", error)
        return False


def _batches(entries: Sequence[Entry]) -> list[list[Entry]]:
    batches: list[list[Entry]] = []
    lanes: set[str] = set()
    size = 0
    for entry in entries:
        bytes_ = len(entry.body.encode())
        full = not batches or len(batches[-1]) == _BATCH_ENTRIES or size + bytes_ > _BATCH_BYTES
        if full or entry.lane in lanes:
            batches.append([])
            lanes, size = set(), 0
        batches[-1].append(entry)
        size += bytes_
        if entry.lane is not None:
            lanes.add(entry.lane)
    return batches


def _out_of_reach(detail: str) -> Problem:
    return Problem(
        "queue-out-of-reach",
        f"{detail}. Send the request again with the same Idempotency-Key: nothing is done twice",
        headers={"Retry-After": "5"},
    )
