"""The answer to an event source mapping, which is the same for a queue and a stream."""

from collections.abc import Sequence
from typing import Any

from chalicelib.buffer.delivery import Delivery
from chalicelib.errors import Unfinished
from chalicelib.settings import partial_responses


def answer(batch: Sequence[Delivery], unfinished: Sequence[Delivery]) -> dict[str, Any]:
    """A partial batch response. Raises Unfinished, so that the whole batch comes again, unless the
    mapping is known to understand partial responses."""
    if unfinished and not partial_responses():
        raise Unfinished(f"{len(unfinished)} of {len(batch)} messages wait or follow one that does")
    return {"batchItemFailures": [{"itemIdentifier": each.place} for each in unfinished]}
