"""An event of SQS → deliveries; unfinished deliveries → the answer to the event source mapping."""

from collections.abc import Mapping
from typing import Any

from chalicelib.buffer.delivery import Delivery, delivery
from chalicelib.buffer.partial_response import answer

__all__ = ["answer", "deliveries"]

_ORDERED = ".fifo"


def deliveries(event: Mapping[str, Any]) -> list[Delivery]:
    """The records of an event, in the queue's order."""
    return [
        delivery(
            record["messageId"],
            # The message group of a standard queue is a caller, and says nothing of an order.
            attributes.get("MessageGroupId") if is_ordered else None,
            record["body"],
            int(attributes.get("ApproximateReceiveCount", 1)),
            int(attributes["SentTimestamp"]) if "SentTimestamp" in attributes else None,
        )
        for record in event.get("Records", ())
        for attributes in [record.get("attributes", {})]
        for is_ordered in [record.get("eventSourceARN", _ORDERED).endswith(_ORDERED)]
    ]
