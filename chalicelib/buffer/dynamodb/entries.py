"""Entries of the front table: their names and shapes.

An item holds a row, a claim reserves a unique value, a key record remembers a request with an
Idempotency-Key. An entry here is as DynamoDB's API has it: `{"pk": {"S": "row/…"}, …}`.
"""

import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring  # in C, unlike json.dumps
from typing import Any, NamedTuple
from uuid import UUID

from chalicelib.settings import LEDGER_DAYS

MAX_PK_BYTES = 2_048
"""Longest partition key that DynamoDB takes."""

MAX_ENTRY_BYTES = 409_600
"""Largest entry that DynamoDB takes: all names and values."""

ITEM, CLAIM, RECORD = "row/", "unique/", "key/"
"""How the names of items, claims and key records begin."""

HYDRATED = "hydrated/"
"""How the name of the entry begins that says that a resource has an item for each of its rows."""

CURSOR = "cursor/settle"
"""The name of the entry that says up to where refused writes are settled."""

TOMBSTONE_DAYS = LEDGER_DAYS
"""How long a tombstone is kept."""

RECORD_DAYS = LEDGER_DAYS
"""How long an Idempotency-Key is remembered."""

_DAY_SECONDS = 86_400

Entry = Mapping[str, Mapping[str, Any]]


class FrontItem(NamedTuple):
    """An item.

    row: JSON text of the whole row, columns in the order of the contract; None in a tombstone.
    etag: of the row, without quotes; from the dedup ID of its last write, see `etag_of`.
    write: body of the last write's message, which the stream carries to the drain. None where
        Postgres has the row already: nothing is to be poured.
    ttl: when DynamoDB may remove a tombstone, in seconds since the epoch.
    refused: JSON text that says why Postgres refused the row, where it could not be set back.
    """

    pk: str
    row: str | None
    etag: str
    write: str | None = None
    ttl: int | None = None
    refused: str | None = None


class KeyRecord(NamedTuple):
    """What is remembered of a request with an Idempotency-Key.

    fingerprint: of its content. answer: JSON text of `{"status", "headers", "body"}`; None where a
    repeated request makes the same answer again. ttl: when it is forgotten.
    """

    pk: str
    fingerprint: str
    answer: str | None
    ttl: int


class Damaged(ValueError):
    """An entry is not one that Decanter writes; the text says why."""


def item_pk(resource: str, key: Sequence[str]) -> str:
    """The name of the item of a row. key: the canonical texts of its key columns."""
    return f"{ITEM}{resource}/{_array(key)}"


def claim_pk(resource: str, constraint: str, values: Sequence[str]) -> str:
    """The name of the claim on the values of a unique constraint, given as canonical texts."""
    return f"{CLAIM}{resource}/{constraint}/{_array(values)}"


def record_pk(request: UUID, part: int = 0) -> str:
    """The name of the key record of a request's transaction with this number, from 0."""
    return f"{RECORD}{request}/{part}" if part else f"{RECORD}{request}"


def prefixes(resource: str) -> tuple[str, str]:
    """How the names of all items, and of all claims, of a resource begin."""
    return f"{ITEM}{resource}/", f"{CLAIM}{resource}/"


def hydrated_pk(resource: str) -> str:
    """The name of the entry that says that a resource has an item for each of its rows."""
    return f"{HYDRATED}{resource}"


def split_item_pk(pk: str) -> tuple[str, list[str]]:
    """Resource and canonical key texts of an item's name. Raises Damaged."""
    resource, slash, array = pk.removeprefix(ITEM).partition("/")
    try:
        key = json.loads(array)
    except ValueError:
        key = None
    if not (pk.startswith(ITEM) and slash and isinstance(key, list)):
        raise Damaged(f"{pk[:100]!r} is not the name of an item")
    return resource, key


def etag_of(dedup_id: str) -> str:
    """The ETag of the row that the message with this dedup ID writes."""
    return dedup_id.replace("-", "")


def dedup_id_of(etag: str) -> str:
    """The dedup ID of the message that wrote the row with this ETag. Raises Damaged."""
    try:
        return str(UUID(hex=etag))
    except ValueError:
        raise Damaged(f"the etag {etag[:40]!r} is not from a dedup ID") from None


def tombstone(pk: str, etag: str, write: str | None, now_seconds: int) -> FrontItem:
    """The item of a row that is deleted."""
    return FrontItem(pk, None, etag, write, now_seconds + TOMBSTONE_DAYS * _DAY_SECONDS)


def key_record(pk: str, fingerprint: str, answer: str | None, now_seconds: int) -> KeyRecord:
    """The record of a request that is accepted now."""
    return KeyRecord(pk, fingerprint, answer, now_seconds + RECORD_DAYS * _DAY_SECONDS)


def item_entry(item: FrontItem) -> Entry:
    """The entry of an item."""
    texts = {
        "pk": item.pk,
        "row": item.row,
        "etag": item.etag,
        "write": item.write,
        "refused": item.refused,
    }
    return _entry(texts, item.ttl)


def claim_entry(pk: str, owner: str) -> Entry:
    """The entry of a claim. owner: the name of the item whose row has the value."""
    return _entry({"pk": pk, "owner": owner}, None)


def record_entry(record: KeyRecord) -> Entry:
    """The entry of a key record."""
    return _entry({"pk": record.pk, "fp": record.fingerprint, "answer": record.answer}, record.ttl)


def cursor_entry(after: str) -> Entry:
    """The entry that keeps the cursor."""
    return _entry({"pk": CURSOR, "after": after}, None)


def read_item(entry: Entry) -> FrontItem:
    """The item in an entry, or in the new image of a stream's record. Raises Damaged."""
    pk, etag = _text(entry, "pk"), _text(entry, "etag")
    if pk is None or etag is None:
        raise Damaged("the item has no pk or no etag")
    write, refused = _text(entry, "write"), _text(entry, "refused")
    return FrontItem(pk, _text(entry, "row"), etag, write, _number(entry, "ttl"), refused)


def read_record(entry: Entry) -> KeyRecord:
    """The key record in an entry. Raises Damaged."""
    pk, fingerprint, ttl = _text(entry, "pk"), _text(entry, "fp"), _number(entry, "ttl")
    if pk is None or fingerprint is None or ttl is None:
        raise Damaged("the key record has no pk, no fp or no ttl")
    return KeyRecord(pk, fingerprint, _text(entry, "answer"), ttl)


def read_cursor(entry: Entry) -> str:
    """The cursor in an entry. Raises Damaged."""
    return _text(entry, "after") or ""


def size(entry: Entry) -> int:
    """Bytes of an entry as DynamoDB counts them, or some more."""
    found = 0
    for name, value in entry.items():
        for part in value.values():
            text = part if isinstance(part, str) else str(part)
            found += len(name) + (len(text) if text.isascii() else len(text.encode()))
    return found


def _entry(texts: Mapping[str, str | None], ttl: int | None) -> Entry:
    entry = {name: {"S": text} for name, text in texts.items() if text is not None}
    return entry if ttl is None else {**entry, "ttl": {"N": str(ttl)}}


def _text(entry: Entry, name: str) -> str | None:
    if name not in entry:
        return None
    text = entry[name].get("S")
    if not isinstance(text, str):
        raise Damaged(f"{name} is not a string")
    return text


def _number(entry: Entry, name: str) -> int | None:
    if name not in entry:
        return None
    try:
        return int(entry[name]["N"])
    except (KeyError, ValueError):
        raise Damaged(f"{name} is not a whole number") from None


def _array(texts: Sequence[str]) -> str:
    return f"[{','.join([encode_basestring(text) for text in texts])}]"
