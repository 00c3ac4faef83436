"""An event of SQS → deliveries; unfinished deliveries → the answer to the event source mapping."""

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.buffer.delivery import Delivery, delivery
from chalicelib.errors import Unfinished
from chalicelib.settings import partial_responses


def deliveries(event: Mapping[str, Any]) -> list[Delivery]:
    """The records of an event, in the queue's order."""
    return [
        delivery(
            place=record["messageId"],
            lane=attributes.get("MessageGroupId"),
            body=record["body"],
            attempt=int(attributes.get("ApproximateReceiveCount", 1)),
            buffered_at=int(attributes["SentTimestamp"]) if "SentTimestamp" in attributes else None,
        )
        for record in event.get("Records", ())
        for attributes in [record.get("attributes", {})]
    ]


def answer(batch: Sequence[Delivery], unfinished: Sequence[Delivery]) -> dict[str, Any]:
    """A partial batch response. Raises Unfinished, so that the whole batch comes again, unless the
    mapping is known to understand partial responses."""
    if unfinished and not partial_responses():
        raise Unfinished(f"{len(unfinished)} of {len(batch)} messages wait or follow one that does")
    return {"batchItemFailures": [{"itemIdentifier": each.place} for each in unfinished]}
