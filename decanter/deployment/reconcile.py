"""The front table → Postgres, for writes that its stream has dropped.

A stream keeps a record for 24 hours. After a longer outage, a write is in the table alone. Each
item has the message of its last write, so the drain of the stream is invoked with it as the stream
would: what the ledger knows is not done twice, and what is older than a write to its row that was
poured meanwhile is superseded. When all items are done, the drain is told so: then whatever was
accepted before, and is not in the ledger, was overtaken in the table, and its receipt can say so.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.buffer.dynamodb.entries import Damaged, FrontItem, read_item
from chalicelib.errors import ForeignMessage, NewerMessage
from chalicelib.messages.message import decode
from chalicelib.settings import LEDGER_DAYS
from decanter.deployment import fronts
from decanter.deployment.aws import Aws
from decanter.deployment.findings import DeploymentError

STREAM_HOURS = 24
"""How long a stream keeps a record. Younger writes are left to it: it may have an older write to
the same row, which would come after."""

_SETTLED_HOURS = STREAM_HOURS + 1
"""Of writes accepted before, none comes from the stream any more: they were written up to half a
minute after that, and the stream drops them a little late."""

_HOUR_MS = 3_600_000
_LEDGER_HOURS = LEDGER_DAYS * 24
_MOST_RECORDS = 1_000
_MOST_BYTES = 4_000_000  # of 6 MB that an invocation takes
_MOST_NAMES = 10
_TRIES = 10
_PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class Reconciled:
    """How far it has come.

    items: that were looked at. sent: whose last write was handed to the drain. recent: left to the
    stream. expired: too old for the ledger to say whether they were poured. damaged: unreadable.
    newer: with a message of a newer version. names: of the first damaged and newer ones.
    settled_before: at the end, whether a write accepted before that time, in milliseconds since the
    epoch, was overtaken is known from now on; None if it is not.
    """

    items: int = 0
    sent: int = 0
    recent: int = 0
    expired: int = 0
    damaged: int = 0
    newer: int = 0
    names: tuple[str, ...] = ()
    settled_before: int | None = None

    def plus(self, **more: int) -> "Reconciled":
        counts = {name: getattr(self, name) + n for name, n in more.items()}
        return replace(self, **counts)

    def naming(self, entry: Mapping[str, Any]) -> "Reconciled":
        """With the name of this entry, unless there are enough."""
        return replace(self, names=(*self.names, entry["pk"]["S"])[:_MOST_NAMES])


def reconcile(aws: Aws, table: str, function: str) -> Iterator[Reconciled]:
    """Hand over each item's last write that the stream may have dropped; yields how far it has come
    after each batch, and at the end.

    table, function: names of the front table, and of the deployed drain of its stream. Run again,
    it does nothing twice, and it may be stopped anywhere. Raises DeploymentError if the drain
    fails.
    """
    now_ms = time.time_ns() // 1_000_000
    done = Reconciled()
    batch: list[FrontItem] = []
    bytes_ = 0
    with_message = fronts.filtered(
        aws,
        table,
        FilterExpression="attribute_exists(#write)",
        ExpressionAttributeNames={"#write": "write"},
    )
    for entry in with_message:
        done = done.plus(items=1)
        fate, item = _judge(entry, now_ms)
        if item is None or item.write is None:
            done = done.plus(**{fate: 1})
            done = done.naming(entry) if fate in ("damaged", "newer") else done
            continue
        size = len(json.dumps(item.write)) + len(json.dumps(item.pk)) + 500
        if batch and (len(batch) == _MOST_RECORDS or bytes_ + size > _MOST_BYTES):
            done = _pour(aws, function, batch, done)
            yield done
            batch, bytes_ = [], 0
        batch.append(item)
        bytes_ += size
    if batch:
        done = _pour(aws, function, batch, done)
    if not done.damaged and not done.newer:
        done = _settle(aws, function, now_ms, done)
    yield done


def _judge(entry: Mapping[str, Any], now_ms: int) -> tuple[str, FrontItem | None]:
    """Why an entry is not handed over, or its item."""
    try:
        item = read_item(entry)
        hours = (now_ms - decode(item.write or "").accepted_at) / _HOUR_MS
    except NewerMessage:
        return "newer", None
    except (Damaged, ForeignMessage):
        return "damaged", None
    if hours < STREAM_HOURS:
        return "recent", None
    return ("expired", None) if hours > _LEDGER_HOURS else ("", item)


def _pour(aws: Aws, function: str, batch: Sequence[FrontItem], done: Reconciled) -> Reconciled:
    """Have the drain pour a batch, and what it could not finish again."""
    left = [_record(number, item) for number, item in enumerate(batch, start=1)]
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        unfinished = _invoke(aws, function, left)
        if not unfinished:
            return done.plus(sent=len(batch))
        left = [each for each in left if each["dynamodb"]["SequenceNumber"] in unfinished]
    raise DeploymentError(
        f"{function} leaves {len(left)} writes of a batch unfinished each time; its log says why."
        " Run this again then: what was poured is not poured twice."
    )


def _invoke(aws: Aws, function: str, records: Sequence[Mapping[str, Any]]) -> set[str]:
    """The numbers of the records that the drain has not finished."""
    payload = _ask(aws, function, {"Records": records})
    if payload is None:
        return {each["dynamodb"]["SequenceNumber"] for each in records}
    return {each["itemIdentifier"] for each in payload["batchItemFailures"]}


def _settle(aws: Aws, function: str, now_ms: int, done: Reconciled) -> Reconciled:
    """Have the drain remember that all is done, if its version can."""
    before = now_ms - _SETTLED_HOURS * _HOUR_MS
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        payload = _ask(aws, function, {"reconciled": before})
        if payload is not None:
            return replace(done, settled_before=payload.get("reconciled"))
    raise DeploymentError(
        f"The stream keeps {function} busy. All is poured; run this again, so that receipts of"
        " overtaken writes say so."
    )


def _ask(aws: Aws, function: str, event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The answer of the drain to an event; None if the stream keeps it busy."""
    from botocore.exceptions import ClientError

    try:
        answer = aws("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    except ClientError as error:
        if error.response["Error"]["Code"] != "TooManyRequestsException":
            raise
        return None
    payload = json.loads(answer["Payload"].read() or b"null")
    if answer.get("FunctionError"):
        raise DeploymentError(
            f"{function} failed: {payload}. Bring the database back, and run this again: what was"
            " poured is not poured twice."
        )
    found: Mapping[str, Any] = payload
    return found


def _record(number: int, item: FrontItem) -> Mapping[str, Any]:
    """The record of the stream for an item's last write, which comes late, as of now."""
    return {
        "eventName": "MODIFY",
        "eventSource": "aws:dynamodb",
        "dynamodb": {
            "SequenceNumber": str(number),
            "ApproximateCreationDateTime": int(time.time()),
            "NewImage": {"pk": {"S": item.pk}, "write": {"S": item.write}},
        },
    }
