"""Deliveries: the messages that any buffer hands over to a drain."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid5

from chalicelib.errors import ForeignMessage, NewerMessage
from chalicelib.messages.message import Message, decode

_FOREIGN = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562's namespace for OIDs


class Delivery(NamedTuple):
    """One message of a batch.

    place: identifies it in the answer to the buffer.
    lane: messages of one lane are in order; None if it has no order.
    attempt: the number of times it has been handed over; 1 if nobody counts.
    buffered_at: when the buffer took it, milliseconds since the epoch; None if unknown.
    message: None if Decanter did not write it, or only a newer version can read it; then `fault`
        says why.
    """

    place: str
    lane: str | None
    attempt: int
    dedup_id: str
    body: str
    message: Message | None
    fault: str = ""
    is_newer: bool = False
    buffered_at: int | None = None


_delivery_of = partial(tuple.__new__, Delivery)  # takes half as long as its constructor


class Buffer(Protocol):
    """The take side of a buffer, a module."""

    def deliveries(self, event: Mapping[str, Any]) -> list[Delivery]:
        """The deliveries of an event, in the buffer's order; none for a schedule's event."""

    def answer(self, batch: Sequence[Delivery], unfinished: Sequence[Delivery]) -> dict[str, Any]:
        """The answer that has the unfinished deliveries of a batch handed over again. Raises
        Unfinished if only that does."""


def delivery(
    place: str, lane: str | None, body: str, attempt: int = 1, buffered_at: int | None = None
) -> Delivery:
    """The delivery of a message body."""
    message, fault, is_newer = None, "", False
    try:
        message = decode(body)
    except (ForeignMessage, NewerMessage) as error:
        fault = str(error)
        is_newer = isinstance(error, NewerMessage)
    # A message that cannot be read has only the identity that the buffer gave it.
    dedup_id = message.dedup_id if message else str(uuid5(_FOREIGN, place))
    given = (place, lane, attempt, dedup_id, body, message, fault, is_newer, buffered_at)
    return _delivery_of(given)
