"""Messages → SQS. Returns only when SQS has confirmed every one of them."""

import logging
import math
import random
import re
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from chalicelib import aws
from chalicelib.errors import Problem
from chalicelib.settings import message_bytes, queue_bytes

logger = logging.getLogger("decanter.intake")

_BATCH_ENTRIES = 10
_TRIES = 4
_PAUSE_SECONDS = 0.1
_CONNECT_SECONDS = 2
_READ_SECONDS = 5
_NO_COUNTS: tuple[type[Exception], ...] = (KeyError, ValueError)
_CONFIRMED = ("MessageId", "Successful", "Failed")
_TRY_SECONDS = _CONNECT_SECONDS + _READ_SECONDS
_BATCH_SECONDS = 0.25  # of a full batch, on a slow day
_CALL_SECONDS = 2 * _TRY_SECONDS + 1  # with the SDK's pause

_CLIENT_ERRORS = (400, 500)
_PASSING = re.compile(
    "Throttl|TooManyRequests|SlowDown|OverLimit|LimitExceeded|Time[do]*out|Expired|Unavailable"
    "|Internal|DeletedRecently"
)
"""In codes of what SQS refuses now and may take later. Other faults of the sender's stay."""

_TOO_LONG = re.compile("TooLong|must be shorter than|cannot be longer than")
_CURES: Mapping[str, str] = {
    "NonExistentQueue|QueueDoesNotExist|InvalidAddress": (
        "There is no such queue: it was deleted, or the API function is told of another one. Deploy"
        " the stage again, or correct DECANTER_ORDERED_QUEUE_URL and DECANTER_UNORDERED_QUEUE_URL"
    ),
    "(?i)kms": (
        "The key of the queue cannot be used: enable it and let the role of the API function use it"
        " (kms:GenerateDataKey, kms:Decrypt), or encrypt the queue with SqsManagedSseEnabled"
    ),
    "Denied|Forbidden|Unauthorized|NotAuthorized|InvalidSecurity": (
        "The role of the API function may not send there: allow it sqs:SendMessage on this queue,"
        " and see what the queue's own policy and the organization's deny"
    ),
    "": "It will refuse this again: see what SQS says",
}
"""By what is in SQS' code."""


class QueueEntry(NamedTuple):
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


def latest(deadline: float) -> float:
    """The time.monotonic() by which there has to be something to send."""
    return deadline - _TRY_SECONDS


def send(queue_url: str, entries: Sequence[QueueEntry], deadline: float = math.inf) -> None:
    """Put all entries on the queue, in order within each lane. Raises Problem: 503 for what may
    pass, others for what SQS will refuse again; and 413 for so many that they will not be there in
    time, before any of them is sent.

    A lane's next message is sent only after the one before is confirmed. deadline: a
    time.monotonic() by which this ends: no call begins that may take longer. None is left alone
    when it is late either, as what was not accepted would arrive long after what came behind it.
    """
    if len(entries) == 1:  # most requests; SendMessage costs less than a batch of one
        _call("send_message", queue_url, deadline, **_parameters(entries[0]))
        return
    batches = _batches(entries)
    if len(batches) > 1 and time.monotonic() > latest(deadline) - _BATCH_SECONDS * len(batches):
        raise Problem(
            "body-too-large",
            f"its rows make {len(batches)} batches of messages, which cannot all be sent in the"
            " time that is left; none was. Send the body in several requests",
        )
    for batch in batches:
        pending = batch
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
            pending = _send_batch(queue_url, pending, deadline)
            if not pending:
                break
        else:
            raise _out_of_reach(f"SQS did not take {len(pending)} of {len(entries)} messages")


def _send_batch(queue_url: str, batch: Sequence[QueueEntry], deadline: float) -> list[QueueEntry]:
    """Entries that SQS did not take."""
    entries = [{"Id": str(index), **_parameters(entry)} for index, entry in enumerate(batch)]
    failed = _call("send_message_batch", queue_url, deadline, Entries=entries).get("Failed", [])
    for each in failed:
        if each.get("SenderFault"):
            _refuse(queue_url, each["Code"], each.get("Message", ""))
    if failed:
        logger.warning("SQS refused %d of %d messages: %s", len(failed), len(batch), failed[0])
    return [batch[int(each["Id"])] for each in failed]


def _parameters(entry: QueueEntry) -> dict[str, str]:
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
        reply = getattr(error, "response", {})
        status = reply.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if _CLIENT_ERRORS[0] <= status < _CLIENT_ERRORS[1] and "Error" in reply:
            _refuse(queue_url, reply["Error"].get("Code", ""), reply["Error"].get("Message", ""))
        logger.error("SQS did not take a message: %s", error)
        raise _out_of_reach(f"SQS did not answer as it should ({type(error).__name__})") from error
    if reply.keys().isdisjoint(_CONFIRMED):  # the SDK makes that of any text
        logger.error("SQS did not say what it took: %s", reply)
        raise _out_of_reach("SQS did not say what it took")
    return reply


def _refuse(queue_url: str, code: str, text: str) -> None:
    """Raises Problem for a refusal that stays, and tells the operator what to do."""
    if _PASSING.search(code):
        return
    if code == "InvalidMessageContents":
        logger.error("SQS refused characters of a message to %s: %s", queue_url, text)
        raise Problem("bad-request", "a text of this request has a character that SQS refuses")
    if _TOO_LONG.search(f"{code} {text}"):
        logger.error(
            "%s takes no message as long as this stage makes them: %s %s. Set its"
            " MaximumMessageSize to %d, or DECANTER_MESSAGE_BYTES of the stage to what it takes,"
            " less 5 %%",
            queue_url,
            code,
            text,
            queue_bytes(message_bytes()),
        )
        raise Problem(
            "body-too-large",
            "the queue takes no message as long as one of this request, of which some may have been"
            " accepted. Send fewer or smaller rows in a request; the operator can raise the limit",
        )
    cure = next(cure for kind, cure in _CURES.items() if re.search(kind, code))
    logger.error("SQS refuses messages to %s: %s: %s. %s", queue_url, code, text, cure)
    raise Problem(
        "queue-refuses",
        "the queue refused this and will do so again until an operator has looked at it; the log"
        " says what to do. Nothing is done twice where the request is sent again with the same"
        " Idempotency-Key after that",
    )


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


def _batches(entries: Sequence[QueueEntry]) -> list[list[QueueEntry]]:
    batches: list[list[QueueEntry]] = []
    lanes: set[str] = set()
    size, most = 0, queue_bytes(message_bytes())
    for entry in entries:
        bytes_ = len(entry.body.encode())
        full = not batches or len(batches[-1]) == _BATCH_ENTRIES or size + bytes_ > most
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
        "queue-unavailable",
        f"{detail}. Send the request again with the same Idempotency-Key: nothing is done twice",
        headers={"Retry-After": "5"},
    )
