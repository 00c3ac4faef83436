"""What a buffer hands over to a drain, whatever buffer it is."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid5

from chalicelib.errors import ForeignMessage, NewerMessage
from chalicelib.messages.message import Message, decode

_FOREIGN = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562's namespace for OIDs


class Delivery(NamedTuple):
    """One message of a batch.

    place: by which the buffer knows it again in the answer.
    lane: what keeps it in order with others, None where nothing does.
    attempt: how often it has been handed over, this time included; 1 where nobody counts.
    buffered_at: when the buffer took it, milliseconds since the epoch; None where nobody knows.
    message: None for one that Decanter did not write, or that only a newer version of it can read;
        then `fault` says why.
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


class Buffer(Protocol):
    """The take side of a buffer, a module."""

    def deliveries(self, event: Mapping[str, Any]) -> list[Delivery]:
        """What an event brings, in the order of the buffer; of a schedule's event, nothing."""

    def answer(self, batch: Sequence[Delivery], unfinished: Sequence[Delivery]) -> dict[str, Any]:
        """What has the unfinished ones of a batch handed over again. Raises Unfinished where only
        that does."""


def delivery(
    place: str, lane: str | None, body: str, attempt: int = 1, buffered_at: int | None = None
) -> Delivery:
    """A message as it was put into the buffer, read."""
    message, fault, is_newer = None, "", False
    try:
        message = decode(body)
    except (ForeignMessage, NewerMessage) as error:
        fault = str(error)
        is_newer = isinstance(error, NewerMessage)
    # A message that cannot be read has no identity of its own but the one that the buffer gave it.
    dedup_id = message.dedup_id if message else str(uuid5(_FOREIGN, place))
    return Delivery(place, lane, attempt, dedup_id, body, message, fault, is_newer, buffered_at)
