"""The line that is logged for each accepted request, and that the audit reads."""

import json
import logging
from typing import NamedTuple
from uuid import UUID

from chalicelib.messages.receipt import Receipt

logger = logging.getLogger("decanter.intake")

WORD = "accepted"
"""The first word of the line, before a JSON object."""

_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode


class LoggedRequest(NamedTuple):
    """A request that was accepted.

    id, messages, fingerprint: as in its receipt. accepted_at: milliseconds since the epoch. writes:
    how many were handed over to the buffer.
    """

    id: str
    accepted_at: int
    resource: str
    writes: int
    messages: int
    fingerprint: str


def log_accepted(receipt: Receipt, accepted_at: int, resource: str) -> None:
    """Log that a request was accepted, once its buffer has all of it."""
    found = LoggedRequest(
        id=str(receipt.id),
        accepted_at=accepted_at,
        resource=resource,
        writes=receipt.writes,
        messages=receipt.messages,
        fingerprint=receipt.fingerprint,
    )
    logger.info("%s %s", WORD, _encode(found._asdict()))


def read(line: str) -> LoggedRequest | None:
    """The request in a line of a log; None if it is another line, or one that was cut off."""
    _, word, rest = line.partition(f"{WORD} {{")
    if not word:
        return None
    try:
        found, _ = _decode(f"{{{rest}")
        request = LoggedRequest(*[found[name] for name in LoggedRequest._fields])
        UUID(request.id)
    except (ValueError, KeyError, AttributeError):
        return None
    numbers = (request.accepted_at, request.writes, request.messages)
    texts = (request.resource, request.fingerprint)
    is_whole = {*map(type, numbers)} == {int} and {*map(type, texts)} == {str}
    return request if is_whole else None
