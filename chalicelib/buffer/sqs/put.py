"""Messages → SQS. Returns only when SQS has confirmed every one of them."""

import hashlib
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
"""In codes of errors that may pass. Other errors of the sender stay."""

_TOO_LONG = re.compile("TooLong|must be shorter than|cannot be longer than")
_CURES: Mapping[str, str] = {
    "NonExistentQueue|QueueDoesNotExist|InvalidAddress": (
        "The queue does not exist: it was deleted, or the API function has another URL. Deploy"
        " the stage again, or correct DECANTER_ORDERED_QUEUE_URL and DECANTER_UNORDERED_QUEUE_URL"
    ),
    "(?i)kms": (
        "The queue's key cannot be used: enable it and allow the role of the API function to use it"
        " (kms:GenerateDataKey, kms:Decrypt), or encrypt the queue with SqsManagedSseEnabled"
    ),
    "Denied|Forbidden|Unauthorized|NotAuthorized|InvalidSecurity": (
        "The role of the API function may not send there: allow sqs:SendMessage on this queue, and"
        " see whether a policy of the queue or the organization denies it"
    ),
    "": "It will refuse this again: see the reason that SQS gives",
}
"""By a pattern in the code of SQS' error."""


class QueueEntry(NamedTuple):
    """One message for SQS. lane: message group of the ordered queue, None for the other.

    fingerprint: of the request's content. SQS drops duplicates within 5 minutes, and these have to
    be what they are to the ledger: messages with the same dedup ID and the same content.
    group: message group on the unordered queue, see `caller_group`; empty for none.
    """

    dedup_id: str
    lane: str | None
    body: str
    fingerprint: str = ""
    group: str = ""


def caller_group(name: str) -> str:
    """The message group of a caller on the unordered queue, which SQS shares fairly among groups.
    A digest, as a name may be longer than an id of SQS, and have other characters."""
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


@cache
def _client(tries: int = 2) -> Any:
    return aws.client(
        "sqs",
        tries=tries,
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=1,
    )


def latest(deadline: float) -> float:
    """The latest time.monotonic() to begin to send."""
    return deadline - _TRY_SECONDS


def send(queue_url: str, entries: Sequence[QueueEntry], deadline: float = math.inf) -> None:
    """Put all entries on the queue, in order within each lane. Raises Problem: 503 for an error
    that may pass, others for what SQS will refuse again; and 413, before any is sent, if there are
    too many to be sent in time.

    A lane's next message is sent only after the one before is confirmed. deadline: a
    time.monotonic() by which this ends: no call begins that may take longer. Nor is a late call
    abandoned: a message that was not accepted would arrive long after those behind it.
    """
    if len(entries) == 1:  # most requests; SendMessage costs less than a batch of one
        _call("send_message", queue_url, deadline, **_parameters(entries[0]))
        return
    batches = in_batches(entries)
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
            raise _unavailable(f"SQS did not accept {len(pending)} of {len(entries)} messages")


def _send_batch(queue_url: str, batch: Sequence[QueueEntry], deadline: float) -> list[QueueEntry]:
    """Send a batch; returns the entries that SQS did not accept."""
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
        group = {"MessageGroupId": entry.group} if entry.group else {}
        return {"MessageBody": entry.body, **group}
    return {
        "MessageBody": entry.body,
        "MessageGroupId": entry.lane,
        "MessageDeduplicationId": "-".join(filter(None, (entry.dedup_id, entry.fingerprint))),
    }


def _call(operation: str, queue_url: str, deadline: float, **parameters: Any) -> Any:
    """The answer of SQS. Raises Problem 503 if there is none, or may be none in time."""
    left = deadline - time.monotonic()
    if left < _TRY_SECONDS:
        logger.error("no call to SQS fits into the %.1f s left for this request", left)
        raise _unavailable("the time for this request was over before SQS had all messages")
    try:
        client = _client() if left > _CALL_SECONDS else _client(tries=1)
        reply = getattr(client, operation)(QueueUrl=queue_url, **parameters)
    except aws.failures() as error:
        reply = getattr(error, "response", None) or {}  # None if there was no answer
        status = reply.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if _CLIENT_ERRORS[0] <= status < _CLIENT_ERRORS[1] and "Error" in reply:
            _refuse(queue_url, reply["Error"].get("Code", ""), reply["Error"].get("Message", ""))
        logger.error("SQS did not accept a message: %s", error)
        raise _unavailable(f"SQS did not answer properly ({type(error).__name__})") from error
    if reply.keys().isdisjoint(_CONFIRMED):  # the SDK makes such a reply of any text
        logger.error("SQS did not confirm the messages: %s", reply)
        raise _unavailable("SQS did not confirm the messages")
    return reply


def _refuse(queue_url: str, code: str, text: str) -> None:
    """Raises Problem for a refusal that will not pass, and logs what to do."""
    if _PASSING.search(code):
        return
    if code == "InvalidMessageContents":
        logger.error("SQS refused characters of a message to %s: %s", queue_url, text)
        raise Problem("bad-request", "a text of this request has a character that SQS refuses")
    if _TOO_LONG.search(f"{code} {text}"):
        logger.error(
            "%s accepts no messages as long as those of this stage: %s %s. Set its"
            " MaximumMessageSize to %d, or DECANTER_MESSAGE_BYTES of the stage to its maximum less"
            " 5 %%",
            queue_url,
            code,
            text,
            queue_bytes(message_bytes()),
        )
        raise Problem(
            "body-too-large",
            "a message of this request is too long for the queue; others may have been accepted."
            " Send fewer or smaller rows in a request; the operator can raise the limit",
        )
    cure = next(cure for kind, cure in _CURES.items() if re.search(kind, code))
    logger.error("SQS refuses messages to %s: %s: %s. %s", queue_url, code, text, cure)
    raise Problem(
        "queue-refuses",
        "the queue refused this and will do so again until an operator has fixed it; the log says"
        " how. Nothing is done twice if the request is sent again after that with the same"
        " Idempotency-Key",
    )


def attributes(queue_url: str, *names: str) -> dict[str, str]:
    """Attributes of a queue. Raises one of `aws.failures()`."""
    found = _client().get_queue_attributes(QueueUrl=queue_url, AttributeNames=[*names])
    attributes: dict[str, str] = found["Attributes"]
    return attributes


def lies_still(queue_url: str) -> bool:
    """Whether the queue has messages and no drain has any of them. SQS' counts are approximate;
    False if they are unavailable."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    try:
        found = attributes(queue_url, *names)
        queued, in_flight = (int(found[name]) for name in names)
        return queued > 0 and in_flight == 0
    except _NO_COUNTS + aws.failures() as error:
        logger.warning("cannot read the counts of the queue: %r", error)
        return False


def in_batches(entries: Sequence[QueueEntry]) -> list[list[QueueEntry]]:
    """The entries of each call that sends them, in which no lane appears twice."""
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


def _unavailable(detail: str) -> Problem:
    return Problem(
        "queue-unavailable",
        f"{detail}. Send the request again with the same Idempotency-Key: nothing is done twice",
        headers={"Retry-After": "5"},
    )
