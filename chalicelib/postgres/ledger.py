"""The ledger of poured messages. All its SQL is here, but for its partitions and the sweep."""

import struct
import time
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from chalicelib.errors import LockNotAvailable
from chalicelib.messages.message import Message
from chalicelib.messages.receipt import SPLIT_DIGITS
from chalicelib.postgres.connecting.connection import Transaction

_VERSION = 14  # the place of the version in a UUID's text,
_KEYED = "8"  # which is this one if the ID was made of an Idempotency-Key

CLOCK_MILLISECONDS = 2_000
"""Clocks of containers differ: writes accepted within this time count as simultaneous."""

_TIME_LENGTH = 13  # of the text of a dedup ID that begins with the time
_NUMBER_DIGITS = 4  # at the end of a dedup ID: the message's number within its split
_ALL_ITEMS = range(1 << 31)
_64_BITS = (1 << 64) - 1
_pack_one = struct.Struct(">Q").pack

_CLAIM = """
    INSERT INTO decanter.ledger
        (dedup_id, fingerprint, writes, accepted_at, items, keys, resource_name)
    SELECT dedup_id, fingerprint, writes, timestamptz 'epoch' + accepted_at * interval '1 ms',
        decode(items, 'hex'), decode(keys, 'hex'), resource
    FROM unnest(%s::uuid[], %s::text[], %s::integer[], %s::bigint[], %s::text[], %s::text[],
        %s::text[]) AS claim(dedup_id, fingerprint, writes, accepted_at, items, keys, resource)
"""

# A number is never NULL.
_CLAIM_ALONE = _CLAIM.replace(
    "fingerprint, writes, timestamptz",
    "fingerprint, CASE WHEN NOT EXISTS (SELECT FROM decanter.waiting) THEN writes END, timestamptz",
)

_CLAIM_FRESH = f"""{_CLAIM}
    ON CONFLICT (dedup_id) DO NOTHING
    RETURNING dedup_id::text
"""

_CLAIM_REQUEST = f"""{_CLAIM}
    ON CONFLICT (dedup_id) DO NOTHING
"""

# Without advisory locks, of two transactions that pour messages of one request the later one is
# refused, as both write the row that claims it. It keeps what it has.
_CLAIM_REQUEST_AGAIN = f"""{_CLAIM}
    ON CONFLICT (dedup_id) DO UPDATE SET fingerprint = ledger.fingerprint
"""

# Of the ledger's partitions, a statement is planned for those that its constants leave. With all
# leaves, planning would take longer than the pour of ten messages; but of a thousand random IDs
# none is in their years, or nearly.
_DAY_MS = 86_400_000
_NEAR_DAYS = -90, 366  # of leaves with rows, as seen from now
_IN_PLACE = "(ledger.dedup_id < %s::uuid OR ledger.dedup_id >= %s::uuid)"

_REUSED = f"""
    SELECT dedup_id::text, claim.fingerprint
    FROM unnest(%s::uuid[], %s::text[]) AS claim(dedup_id, fingerprint)
    JOIN decanter.ledger USING (dedup_id) WHERE ledger.fingerprint <> claim.fingerprint
        AND {_IN_PLACE}
"""

# A fingerprint is never NULL: with a row to insert, the transaction is refused.
_REFUSE_REUSED = f"""
    INSERT INTO decanter.ledger (dedup_id, fingerprint, writes)
    SELECT dedup_id, NULL, 0
    FROM unnest(%s::uuid[], %s::text[]) AS claim(dedup_id, fingerprint)
    JOIN decanter.ledger USING (dedup_id) WHERE ledger.fingerprint <> claim.fingerprint
        AND {_IN_PLACE}
"""

_SPLITS = """
    unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[])
        AS split(request, first, last, claim)
"""

# A message of the same request in another split. LIMIT in the order of the primary key makes
# Postgres use that index, however many rows it may expect in an unknown range.
_OTHER_SPLIT = f"""
    coalesce(
        (SELECT dedup_id FROM decanter.ledger
            WHERE dedup_id >= split.request AND dedup_id < split.first AND {_IN_PLACE}
            ORDER BY dedup_id LIMIT 1),
        (SELECT dedup_id FROM decanter.ledger
            WHERE dedup_id > split.last AND dedup_id < split.claim AND {_IN_PLACE}
            ORDER BY dedup_id LIMIT 1))
"""

_SPLIT_DIFFERENTLY = f"SELECT split.request::text FROM {_SPLITS} WHERE {_OTHER_SPLIT} IS NOT NULL"

_REFUSE_OTHER_SPLIT = f"""
    INSERT INTO decanter.ledger (dedup_id, fingerprint, writes)
    SELECT split.first, NULL, 0 FROM {_SPLITS} WHERE {_OTHER_SPLIT} IS NOT NULL
"""

_POURED_ITEMS = """
    SELECT dedup_id::text, items FROM decanter.ledger
    WHERE dedup_id >= %s::uuid AND dedup_id < %s::uuid ORDER BY dedup_id LIMIT 65536
"""

# Drains that pour messages of one split share a lock; one that finds another split takes it alone.
_LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared(slot) FROM unnest(%s::bigint[]) AS slot"
_LOCK = """
    SELECT CASE WHEN alone THEN pg_advisory_xact_lock(slot)::text
        ELSE pg_advisory_xact_lock_shared(slot)::text END
    FROM unnest(%s::bigint[], %s::boolean[]) AS lock(slot, alone)
"""
_SLOTS = 256  # locks for all requests together: Postgres has room for some thousands
_FIRST_SLOT = 0x6465_6361_6E74_0000  # "decant" in ASCII

IS_WHOLE = """
    NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname = 'ledger_held'
        AND relnamespace = 'decanter'::regnamespace)
"""
"""Whether no rows of the ledger are held elsewhere, as some are while leaves are added: then one
that is not found may be in it. Read in the same statement: nothing can come in between."""

# The concatenation fetches a value that is stored out of line once for each row, not for each key.
_LATER = f"""
    SELECT encode(found.key, 'hex'), (extract(epoch FROM max(found.accepted_at)) * 1000)::bigint
    FROM (
        SELECT message.dedup_id, message.accepted_at, written.key, count(*) AS writes
        FROM (
            SELECT dedup_id, accepted_at, keys || ''::bytea AS keys FROM decanter.ledger
            WHERE poured_at >= timestamptz 'epoch' + %(since)s * interval '1 ms'
                AND accepted_at > timestamptz 'epoch' + %(since)s * interval '1 ms'
                AND dedup_id <> ALL (%(own)s::uuid[])
            OFFSET 0) AS message,
            generate_series(0, octet_length(message.keys) / 8 - 1) AS place,
            substr(message.keys, place * 8 + 1, 8) AS written(key)
        WHERE written.key = ANY (
            SELECT decode(hex, 'hex') FROM unnest(%(keys)s::text[]) AS hex)
        GROUP BY message.dedup_id, message.accepted_at, written.key) AS found
    WHERE found.writes > (
        SELECT count(*) FROM decanter.rejection
        WHERE rejection.dedup_id = found.dedup_id AND rejection.key = found.key
    ) + (
        SELECT count(*) FROM decanter.waiting
        WHERE waiting.dedup_id = found.dedup_id
            AND waiting.digest = ('x' || encode(found.key, 'hex'))::bit(64)::bigint)
    GROUP BY found.key
    UNION ALL SELECT NULL, NULL WHERE NOT {IS_WHOLE}
"""


_KNOWN = "SELECT dedup_id::text FROM decanter.ledger WHERE dedup_id = ANY (%s::uuid[])"

IS_KEYED = "get_byte(uuid_send(dedup_id), 6) BETWEEN 128 AND 143"
"""Whether a row is of a request with an Idempotency-Key: its ID has the version 8. Leaves have an
index of these rows, with this very condition."""

# Before the dedup IDs of all messages, of which none has the version 0. The sweep deletes it when
# receipts of that time are too old to be answered.
_KEEP_RECONCILED = """
    INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, accepted_at)
    VALUES (%s::uuid, 'reconciled', 0, timestamptz 'epoch' + %s * interval '1 ms')
    ON CONFLICT (dedup_id) DO NOTHING
"""
_RECONCILED = """
    SELECT (extract(epoch FROM accepted_at) * 1000)::bigint FROM decanter.ledger
    WHERE dedup_id < '00000000-0000-1000-0000-000000000000' ORDER BY dedup_id DESC LIMIT 1
"""


class LedgerEntry(NamedTuple):
    """A message in the ledger.

    accepted_at: milliseconds since the epoch. items: for a message with an Idempotency-Key, the
    places of its writes in the request. keys: packed digests of the keys that an ordered message
    writes to. resource: empty where none is known.
    """

    dedup_id: str
    fingerprint: str
    writes: int
    accepted_at: int
    items: tuple[int, ...] = ()
    keys: str = ""
    resource: str = ""


_entry_of = partial(tuple.__new__, LedgerEntry)  # takes half as long as its constructor


def entry(message: Message) -> LedgerEntry:
    """The ledger's entry for a message."""
    dedup_id, fingerprint, accepted_at, resource, _, sets, *_ = message
    if len(sets) == 1:
        [(_, items, digests, *_)] = sets
    else:
        items = tuple([item for rows in sets for item in rows.items])
        digests = tuple([digest for rows in sets for digest in rows.digests])
    has_split = dedup_id[_VERSION] == _KEYED and dedup_id[-SPLIT_DIGITS:].strip("0")
    kept = items if has_split else ()
    keys = packed(digests)
    return _entry_of((dedup_id, fingerprint, len(items), accepted_at, kept, keys, resource))


def packed(digests: Sequence[int]) -> str:
    """8 bytes for each digest, in hexadecimal digits."""
    if len(digests) == 1:
        return _pack_one(digests[0] & _64_BITS).hex()
    return struct.pack(f">{len(digests)}Q", *[digest & _64_BITS for digest in digests]).hex()


def claim(
    transaction: Transaction, entries: Sequence[LedgerEntry], unless_any_waits: bool = False
) -> None:
    """Enter messages; the transaction is refused if one of them was poured before, if another
    request has claimed its Idempotency-Key, or if a message of another split of its request was
    poured.

    unless_any_waits: the transaction is also refused if any write waits, see `waiting.is_refusal`.
    """
    requests = _requests(entries)
    if requests:
        transaction.ahead(_claim_request(transaction), _columns(_first(requests)))
        if transaction.engine.advisory_locks:
            transaction.ahead(_LOCK_SHARED, (_slots(requests),))
        for values in _reused(requests):
            transaction.ahead(_REFUSE_REUSED, values)
    transaction.ahead(_CLAIM_ALONE if unless_any_waits else _CLAIM, _columns(entries))
    if requests:
        for values in _splits(entries):
            transaction.ahead(_REFUSE_OTHER_SPLIT, values)


def claim_requests(transaction: Transaction, entries: Iterable[LedgerEntry]) -> set[LedgerEntry]:
    """Claim each request with an Idempotency-Key; returns messages of requests whose key another
    one, with different content, has claimed.

    Of two unclaimed requests the one that was accepted first claims the key; so entries should be
    all that are known. Without a claim, a message that only the second request has would slip in
    beside those of the first.
    """
    entries = list(entries)
    requests = _requests(entries)
    if not requests:
        return set()
    transaction.execute(_claim_request(transaction), _columns(_first(requests)))
    reused = {
        tuple(row) for values in _reused(requests) for row in transaction.execute(_REUSED, values)
    }
    return {entry for entry in entries if (claim_id(entry.dedup_id), entry.fingerprint) in reused}


def poured_in_another_split(
    transaction: Transaction, entries: Sequence[LedgerEntry]
) -> dict[str, list[Container[int]]]:
    """Items of messages, by dedup ID, that messages of another split have poured, or pour earlier
    among these entries; only for messages where there may be some.

    A retry after a deployment that splits differently has other messages, and both splits may be on
    their way, whole or in part: each item counts once, from the message that comes first. Until the
    transaction ends, nobody else pours another split of these requests. To be called between
    `claim_requests` and `claim_fresh`.
    """
    keyed = [each for each in entries if _is_keyed(each)]
    if not keyed:
        return {}
    mixed = _mixed(transaction, keyed)
    if transaction.engine.advisory_locks:
        transaction.execute(_LOCK, _locks(keyed, mixed))
        # Another split may have been poured while this waited.
        while more := _mixed(transaction, keyed) - mixed:
            mixed |= more
            transaction.execute(_LOCK, _locks(keyed, mixed))
    poured = {request: _poured(transaction, request) for request in mixed}
    found: dict[str, list[Container[int]]] = {}
    for each in keyed:
        if (others := poured.get(_start(each.dedup_id))) is not None:
            own = each.dedup_id[:-_NUMBER_DIGITS]
            found[each.dedup_id] = [items for split, items in others if split != own]
            others.append((own, _items(each.dedup_id, each.items)))
    return found


def _mixed(transaction: Transaction, entries: Sequence[LedgerEntry]) -> set[str]:
    """Requests of these messages that have messages of several splits, here or in the ledger."""
    splits: dict[str, set[str]] = defaultdict(set)
    for each in entries:
        splits[_start(each.dedup_id)].add(each.dedup_id[:-_NUMBER_DIGITS])
    found = [
        request
        for values in _splits(entries)
        for (request,) in transaction.execute(_SPLIT_DIFFERENTLY, values)
    ]
    return {*found} | {request for request, different in splits.items() if len(different) > 1}


def _poured(transaction: Transaction, request: str) -> list[tuple[str, Container[int]]]:
    """Splits and items of a request's messages in the ledger."""
    found = transaction.execute(_POURED_ITEMS, (request, claim_id(request)))
    return [
        (dedup_id[:-_NUMBER_DIGITS], _items(dedup_id, _unpacked(items)))
        for dedup_id, items in found
    ]


def _unpacked(items: memoryview | None) -> tuple[int, ...]:
    return struct.unpack(f">{len(items) // 4}I", items) if items else ()


def _items(dedup_id: str, items: Sequence[int]) -> Container[int]:
    """All items, for a message that is the only one of its request."""
    return _ALL_ITEMS if dedup_id == _start(dedup_id) else frozenset(items)


def claim_fresh(transaction: Transaction, entries: Iterable[LedgerEntry]) -> set[str]:
    """Enter messages; returns the dedup IDs of those that nobody has poured before. Waits for a
    concurrent transaction that claims the same message."""
    return {dedup_id for (dedup_id,) in transaction.execute(_CLAIM_FRESH, _columns(entries))}


def _claim_request(transaction: Transaction) -> str:
    return _CLAIM_REQUEST if transaction.engine.advisory_locks else _CLAIM_REQUEST_AGAIN


def _requests(entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    """Entries that claim the requests of messages, with a number that no message has."""
    return [
        LedgerEntry(claim_id(each.dedup_id), each.fingerprint, 0, each.accepted_at)
        for each in entries
        if _is_keyed(each)
    ]


def _is_keyed(entry: LedgerEntry) -> bool:
    return entry.dedup_id[_VERSION] == _KEYED


def claim_id(dedup_id: str) -> str:
    """The ID under which the request of a message is claimed, which no message has."""
    return dedup_id[:-SPLIT_DIGITS] + "f" * SPLIT_DIGITS


def _start(dedup_id: str) -> str:
    return dedup_id[:-SPLIT_DIGITS] + "0" * SPLIT_DIGITS


def _first(requests: Iterable[LedgerEntry]) -> Iterable[LedgerEntry]:
    """For each Idempotency-Key the request that was accepted first; of those accepted in the same
    millisecond, the first here."""
    later_first = sorted(requests, key=lambda each: each.accepted_at)[::-1]
    return {request.dedup_id: request for request in later_first}.values()


def _reused(requests: Sequence[LedgerEntry]) -> Iterator[list[str]]:
    """Values of the statements that look for other requests with the same Idempotency-Keys."""
    for place, ids in _in_place({each.dedup_id for each in requests}):
        own = [each for each in requests if each.dedup_id in ids]
        yield [*_columns(own)[:2], *place]


def _splits(entries: Iterable[LedgerEntry]) -> Iterator[list[Any]]:
    """Values of the statements that look for other splits. Of each split: the request, first and
    last dedup ID, and the ID that claims the request."""
    splits = {each.dedup_id[:-_NUMBER_DIGITS] for each in entries if _is_keyed(each)}
    for place, ids in _in_place(splits):
        bounds = [(f"{each}0000", f"{each}ffff") for each in sorted(ids)]
        columns = zip(*[(_start(a), a, b, claim_id(a)) for a, b in bounds], strict=True)
        yield [*map(list, columns), *place, *place]


def _in_place(ids: Collection[str]) -> Iterator[tuple[tuple[str, str], Collection[str]]]:
    """IDs, or beginnings of some, that are in the years of leaves and others apart, and for each of
    these what to bind to `_IN_PLACE`."""
    now_ms = time.time_ns() // 1_000_000
    since, until = (first_id(now_ms + days * _DAY_MS) for days in _NEAR_DAYS)
    near = {each for each in ids if since[:_TIME_LENGTH] <= each[:_TIME_LENGTH] <= until}
    if far := {*ids} - near:
        yield (since, until), far
    if near:
        yield (until, until), near


def first_id(ms: int) -> str:
    """The least dedup ID that begins with a time, in milliseconds since the epoch."""
    return str(UUID(int=ms << 80))


def _slots(entries: Iterable[LedgerEntry]) -> list[int]:
    return sorted({_slot(each.dedup_id) for each in entries})


def _slot(dedup_id: str) -> int:
    return _FIRST_SLOT + int(dedup_id[:8], 16) % _SLOTS


def _locks(entries: Iterable[LedgerEntry], mixed: Iterable[str]) -> tuple[list[int], list[bool]]:
    """Always in the same order, so that two drains wait for each other only one way."""
    alone = {*map(_slot, mixed)}
    slots = _slots(entries)
    return slots, [slot in alone for slot in slots]


def _columns(entries: Iterable[LedgerEntry]) -> list[str]:
    # Sorted, so that two drains with the same messages wait for each other only one way. Array
    # literals made here cost a tenth of the driver's; only a resource has characters to quote.
    *columns, items, keys, resources = zip(*sorted(entries), strict=True)
    texts = [f"{{{','.join(map(str, column))}}}" for column in columns]
    if any(items):
        items = tuple([struct.pack(f">{len(each)}I", *each).hex() for each in items])
    quoted = {each: _quoted(each) for each in set(resources)}
    named = _or_null([quoted[each] for each in resources])
    return [*texts, _or_null(items), _or_null(keys), named]


def _or_null(column: Sequence[str]) -> str:
    """An array with NULL for empty elements; empty if they all are, as `unnest` fills it up."""
    return f"{{{','.join([each or 'NULL' for each in column])}}}" if any(column) else "{}"


def _quoted(text: str) -> str:
    """An element of an array literal; empty for an empty text."""
    return '"{}"'.format(text.replace("\\", r"\\").replace('"', r"\"")) if text else ""


def known(transaction: Transaction, dedup_ids: Sequence[str]) -> set[str]:
    """Those of these messages that are in the ledger."""
    return {dedup_id for (dedup_id,) in transaction.execute(_KNOWN, (list(dedup_ids),))}


def later_writes(
    transaction: Transaction, digests: Iterable[int], since: int, own: Sequence[str], seconds: float
) -> dict[int, int]:
    """For keys with applied writes that were accepted after a time, in ms since the epoch: by
    digest, when the last of these writes was accepted.

    Not counted are rejected and waiting writes, those of one's own messages, and those poured
    before the ledger kept keys. The query reads all of the ledger since then, for at most so many
    seconds: raises StatementTimedOut. Raises LockNotAvailable while rows of it are held elsewhere.
    """
    keys = {packed([digest]): digest for digest in digests}
    bound = {"since": since, "own": [*own], "keys": [*keys]}
    found = dict(transaction.execute(_LATER, bound, seconds=seconds))
    if None in found:
        raise LockNotAvailable("leaves are being added to the ledger, and it cannot be searched")
    return {keys[key]: at for key, at in found.items()}


def keep_reconciled(transaction: Transaction, before: int) -> None:
    """Remember that nothing accepted before that time, in milliseconds since the epoch, is still on
    its way from the front table."""
    transaction.execute(_KEEP_RECONCILED, (str(UUID(int=before)), before))


def reconciled(transaction: Transaction) -> int:
    """The latest such time; 0 if there is none."""
    found = transaction.execute(_RECONCILED)
    return int(found[0][0]) if found else 0
