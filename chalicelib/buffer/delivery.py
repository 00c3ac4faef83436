"""What Lambda hands over → deliveries, in the order in which the queue gave them."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from chalicelib.errors import ForeignMessage, NewerMessage
from chalicelib.messages.message import Message, decode

_FOREIGN = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562's namespace for OIDs


class Delivery(NamedTuple):
    """One record of the event.

    record_id: what a partial response calls it. lane: its message group, None where unordered.
    receives: how often SQS has handed it out, this time included.
    sent_at: when SQS took it, milliseconds since the epoch; None where that is not told.
    message: None for one that Decanter did not write, or that only a newer version of it can read;
        then `fault` says why.
    """

    record_id: str
    lane: str | None
    receives: int
    dedup_id: str
    body: str
    message: Message | None
    fault: str = ""
    is_newer: bool = False
    sent_at: int | None = None


def deliveries(event: Mapping[str, Any]) -> list[Delivery]:
    """The records of an SQS event; a schedule's event has none."""
    return [_delivery(record) for record in event.get("Records", ())]


def _delivery(record: Mapping[str, Any]) -> Delivery:
    attributes = record.get("attributes", {})
    message, fault, is_newer = None, "", False
    try:
        message = decode(record["body"])
    except (ForeignMessage, NewerMessage) as error:
        fault = str(error)
        is_newer = isinstance(error, NewerMessage)
    return Delivery(
        record_id=record["messageId"],
        lane=attributes.get("MessageGroupId"),
        receives=int(attributes.get("ApproximateReceiveCount", 1)),
        # A message that cannot be read has no identity of its own but the one that SQS gave it.
        dedup_id=message.dedup_id if message else str(uuid5(_FOREIGN, record["messageId"])),
        body=record["body"],
        message=message,
        fault=fault,
        is_newer=is_newer,
        sent_at=int(attributes["SentTimestamp"]) if "SentTimestamp" in attributes else None,
    )
