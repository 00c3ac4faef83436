"""An event of the front table's stream → deliveries; unfinished ones → the answer to the mapping.

A stream has an order and no visibility timeout: Lambda goes on from the first record that an
answer names, and the shard stands still until that is poured. So it is named only if nothing but
time or a newer version helps: what cannot be read is rejected, and what waits does so in Postgres.
"""

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.buffer.delivery import Delivery, delivery
from chalicelib.buffer.partial_response import answer

__all__ = ["answer", "deliveries"]


def deliveries(event: Mapping[str, Any]) -> list[Delivery]:
    """The writes among the records of an event, in the stream's order.

    Other entries have none: claims, key records, items that no client wrote. Nor has a removal:
    what the time to live removes stays in Postgres.
    """
    found = []
    for record in event.get("Records", ()):
        change = record.get("dynamodb") or {}
        image = change.get("NewImage") or {}
        if "write" in image:
            found.append(
                delivery(
                    place=change.get("SequenceNumber", ""),
                    lane=_text(image.get("pk")),
                    body=_text(image["write"]),
                    buffered_at=_milliseconds(change.get("ApproximateCreationDateTime")),
                )
            )
    return found


def _text(attribute: Any) -> str:
    """The string of an attribute. One of another type, which Decanter does not write, as JSON."""
    if isinstance(attribute, dict) and isinstance(attribute.get("S"), str):
        return str(attribute["S"])
    return json.dumps(attribute)


def _milliseconds(seconds: Any) -> int | None:
    return int(seconds * 1000) if isinstance(seconds, int | float) else None
