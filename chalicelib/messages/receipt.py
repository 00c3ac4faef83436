"""Receipts: unforgeable tokens that name a request's writes. Nothing is stored to issue one.

A receipt is `version | id | accepted at | messages | writes | fingerprint | MAC`: 60 bytes in
base64url. The MAC covers the caller too, so that a receipt is useless to anyone but its owner.
"""

import base64
import hashlib
import hmac
import os
import struct
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

_VERSION = 1
_PAYLOAD = struct.Struct(">B16sHIHHB16s")  # see _pack
_MAC_BYTES = 16
_TIMED_VERSION = 7
_KEYED_VERSION = 8
_LAST_MILLISECOND = 1 << 47

SPLIT_DIGITS = 10
"""Hexadecimal digits at the end of an id from an Idempotency-Key that identify the split of the
request and number its messages. Messages of retries differ only in these."""

FRONT_ITEMS = 1 << 15
"""How many items of a request to a resource in front can be written: the message of an item has its
number. This bit of an id says that it is of such a request; others have fewer messages."""

_NUMBER_BITS = 16
_SPLIT_BITS = 24
_LAST_SPLIT = (1 << _SPLIT_BITS) - 1
"""The number of no split; the ledger claims the request under it."""


class Receipt(NamedTuple):
    """Names the writes of one accepted request.

    id: of the request; its low 16 bits are zero, except for `front_id`. Message n has dedup ID
        id + n. With an Idempotency-Key, the 24 bits before these identify the split of the request.
    accepted_at: milliseconds since the epoch; 0 with an Idempotency-Key, because every retry has to
        get the same receipt.
    messages, writes: their numbers. In front, where each message has one item, messages counts the
        items from the first to the last, of which some may not have been written.
    fingerprint: 32 hexadecimal digits.
    """

    id: UUID
    accepted_at: int
    messages: int
    writes: int
    fingerprint: str

    def dedup_id(self, number: int) -> str:
        """The dedup ID of the request's message with this number, from 0."""
        return str(UUID(int=self.id.int + number))


def new_id(now_ms: int) -> UUID:
    """A UUIDv7 (RFC 9562) whose last 16 bits are left for message numbers: 58 random bits a ms."""
    random = int.from_bytes(os.urandom(8), "big")
    return UUID(
        int=(now_ms & (1 << 48) - 1) << 80
        | _TIMED_VERSION << 76
        | (random & 0xFFF) << 64
        | 0x2 << 62
        | (random >> 12 & (1 << 46) - 1) << 16
    )


def front_id(now_ms: int, first_item: int) -> UUID:
    """A UUIDv7 for a receipt of rows in front: that of `new_id`, with a mark and the number of the
    first item. So an id tells of itself that it is of the front, also to a version that does not
    know; and a dedup ID, of which item it is."""
    return UUID(int=new_id(now_ms).int | FRONT_ITEMS | first_item)


def is_of_front(identity: UUID) -> bool:
    """Whether an id, or a dedup ID, is of a request to a resource in front."""
    return identity.version == _TIMED_VERSION and bool(identity.int & FRONT_ITEMS)


def front_item(identity: UUID) -> int:
    """The item of a dedup ID of the front."""
    return identity.int % FRONT_ITEMS


def keyed_id(caller: str, idempotency_key: str) -> UUID:
    """A UUIDv8 (RFC 9562) that depends only on the caller and the Idempotency-Key, not on the key
    that signs receipts, whose replacement must not turn retries into new requests. It is no secret,
    and grants nothing."""
    digest = hashlib.sha256(_join("decanter request", caller, idempotency_key)).digest()
    return UUID(
        int=int.from_bytes(digest[:16], "big") & ~(0xF << 76 | 0x3 << 62 | 0xFF_FFFF_FFFF)
        | _KEYED_VERSION << 76
        | 0x2 << 62
    )


def split_id(request: UUID, messages: Sequence[Sequence[int]]) -> UUID:
    """The id of a request with an Idempotency-Key, once it is split.

    messages: the items of each message. Another deployment may split a retry differently, with
    other lanes or message sizes; then its message n holds other items, and must not be taken for
    message n of the first split. A single message with all items is the same in every split.
    """
    if len(messages) == 1:
        return request
    digest = hashlib.blake2b(digest_size=8)
    for items in messages:
        digest.update(struct.pack(f">{len(items) + 1}I", len(items), *sorted(items)))
    tag = int.from_bytes(digest.digest(), "big") % (_LAST_SPLIT - 1) + 1
    return UUID(int=request.int | tag << _NUMBER_BITS)


def portion_id(request: UUID, content: bytes) -> UUID:
    """The dedup ID of a message of a request with an Idempotency-Key that may be sent in any
    portions, again and again, with any content. Each portion counts as a split of its own, so that
    the ledger looks at its items. content: of the message, which has the same ID each time."""
    number = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
    tag = number // (1 << _NUMBER_BITS) % (_LAST_SPLIT - 1) + 1
    return UUID(int=request.int | tag << _NUMBER_BITS | number % (1 << _NUMBER_BITS))


def span(identity: UUID, messages: int) -> tuple[UUID, UUID]:
    """The first and the last dedup ID that a request's messages may have, in any split.

    identity: the id of its receipt. messages: how many that split has.
    """
    if identity.version == _KEYED_VERSION:
        first = identity.int >> 4 * SPLIT_DIGITS << 4 * SPLIT_DIGITS
        return UUID(int=first), UUID(int=first | (_LAST_SPLIT << _NUMBER_BITS) - 1)
    return identity, UUID(int=identity.int + messages - 1)


def fingerprint(method: str, path: str, body: bytes, meaning: str = "") -> str:
    """Identity of a request's content, 32 hexadecimal digits. meaning: anything else that changes
    its effect, such as preconditions; empty for none."""
    parts = (method, path, meaning) if meaning else (method, path)
    content = hashlib.blake2b(_join(*parts), digest_size=16)
    content.update(body)
    return content.hexdigest()


def issue(receipt: Receipt, key: bytes, caller: str) -> str:
    """The token for the client."""
    payload = _pack(receipt)
    return base64.urlsafe_b64encode(payload + _mac(payload, key, caller)).decode("ascii")


def verify(token: str, key: bytes, caller: str) -> Receipt | None:
    """The receipt, or None for a token that was forged, mistyped or issued to someone else."""
    parts = _parts(token)
    if parts is None or not hmac.compare_digest(parts[1], _mac(parts[0], key, caller)):
        return None
    return _unpack(parts[0])


def read(token: str) -> Receipt | None:
    """The receipt that a token claims to be, for those who may see all requests; None for a text
    that is no token. Nobody has to have issued it."""
    parts = _parts(token)
    found = None if parts is None else _unpack(parts[0])
    if found is None or found.accepted_at >= _LAST_MILLISECOND:
        return None
    return found if found.id.version in (_TIMED_VERSION, _KEYED_VERSION) else None


def _parts(token: str) -> tuple[bytes, bytes] | None:
    """Payload and MAC of a token; None for any other text."""
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except ValueError:
        return None
    payload, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    if len(payload) != _PAYLOAD.size:
        return None
    if base64.urlsafe_b64encode(raw).decode("ascii") != token:  # + and / are decoded like - and _
        return None
    return payload, mac


def _unpack(payload: bytes) -> Receipt | None:
    """The receipt in a payload; None for one of another version."""
    version, identity, high, low, messages, writes, writes_low, mark = _PAYLOAD.unpack(payload)
    if version != _VERSION:
        return None
    return Receipt(
        id=UUID(bytes=identity),
        accepted_at=high << 32 | low,
        messages=messages + 1,
        writes=writes << 8 | writes_low,
        fingerprint=mark.hex(),
    )


def _pack(receipt: Receipt) -> bytes:
    return _PAYLOAD.pack(
        _VERSION,
        receipt.id.bytes,
        receipt.accepted_at >> 32,
        receipt.accepted_at & 0xFFFFFFFF,
        receipt.messages - 1,
        receipt.writes >> 8,
        receipt.writes & 0xFF,
        bytes.fromhex(receipt.fingerprint),
    )


def _mac(payload: bytes, key: bytes, caller: str) -> bytes:
    return hmac.digest(key, _join("receipt", caller) + payload, hashlib.sha256)[:_MAC_BYTES]


def _join(*parts: str) -> bytes:
    """The parts in bytes that no other list of parts gives."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join([len(part).to_bytes(4, "big") + part for part in encoded])
