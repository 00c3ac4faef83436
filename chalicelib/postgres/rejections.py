"""Rejections: writes that the database can never take, and why. All their SQL is here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from chalicelib.messages.place import Place
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ledger import packed

_REJECT = """
    INSERT INTO decanter.rejection
        (dedup_id, item, resource, op, type, reason, sqlstate, "constraint", "column", row, body,
        key, caller)
    SELECT dedup_id, item, resource, op, type, reason, sqlstate, "constraint", "column",
        row::json, body, decode(key, 'hex'), caller
    FROM json_to_recordset(%s::json) AS rejection(
        dedup_id uuid, item integer, resource text, op text, type text, reason text, sqlstate text,
        "constraint" text, "column" text, row text, body text, key text, caller text)
    ON CONFLICT (dedup_id, item) DO NOTHING
"""

# Sorted without their texts, which may be much longer than what is listed.
_REJECTIONS = """
    SELECT item, type, reason, sqlstate, "constraint", "column", behind FROM (
        SELECT dedup_id, item, count(*) OVER () AS behind, row_number() OVER so_far AS place,
            sum(size) OVER so_far AS bytes
        FROM (
            SELECT dedup_id, item,
                octet_length(concat(type, reason, "constraint", "column")) AS size
            FROM decanter.rejection
            WHERE dedup_id BETWEEN %s::uuid AND %s::uuid AND item > %s
            OFFSET 0) AS own
        WINDOW so_far AS (ORDER BY item ROWS UNBOUNDED PRECEDING)) AS found
    JOIN decanter.rejection USING (dedup_id, item)
    WHERE place = 1 OR bytes <= %s ORDER BY item
"""

_CAUSES = """
    SELECT type, {sqlstate} AS sqlstate, {constraint} AS "constraint", {column} AS "column",
        count(*), range_agg(int8range(item, item, '[]'))::text
    FROM decanter.rejection WHERE dedup_id BETWEEN %s::uuid AND %s::uuid
    GROUP BY 1, 2, 3, 4 ORDER BY min(item) LIMIT %s
"""

_ALIKE = _CAUSES.format(sqlstate="sqlstate", constraint='"constraint"', column='"column"')

_OF_A_TYPE = _CAUSES.format(sqlstate="NULL::text", constraint="NULL::text", column="NULL::text")

# Each resource's from the index, as there may be far more of others. A transaction's rejections
# have the time when it began, so one that still runs may commit some before those that are found;
# no invocation of Lambda takes longer than 15 minutes.
_SINCE = """
    SELECT found.*, rejected_at < now() - interval '16 min' FROM (
        SELECT (extract(epoch FROM rejected_at) * 1000000)::bigint AS at, dedup_id::text, item,
            one.resource, type, reason, row::text, rejected_at
        FROM unnest(%(resources)s::text[]) AS one(resource), LATERAL (
            SELECT * FROM decanter.rejection WHERE rejection.resource = one.resource
                AND (rejected_at, rejection.dedup_id, item) > (
                    timestamptz 'epoch' + %(at)s * interval '1 us', %(dedup_id)s::uuid, %(item)s)
            ORDER BY rejected_at, rejection.dedup_id, item LIMIT %(limit)s) AS rejection
        ORDER BY rejected_at, dedup_id, item LIMIT %(limit)s) AS found
    ORDER BY rejected_at, dedup_id, item
"""

_MOST_CAUSES = 100


@dataclass(frozen=True)
class Rejection:
    """A write, or a whole message, that the database can never take, and the reason.

    item: the write's place in its request, from 0.
    type: stable for clients: conflict, missing, precondition-failed, missing-parent,
        still-referenced, null, check, value, trigger, timeout, schema-mismatch, expired,
        superseded, foreign-message.
    row: JSON text of the write. body: the whole message, if it could not be read.
    digest: of the key, for an ordered write. caller: who has sent the write, if it is known.
    """

    dedup_id: str
    item: int
    resource: str | None
    op: str | None
    type: str
    reason: str
    sqlstate: str | None = None
    constraint: str | None = None
    column: str | None = None
    row: str | None = None
    body: str | None = None
    digest: int | None = None
    caller: str | None = None


class PlacedRejection(NamedTuple):
    """A rejection of a resource. row: JSON text, None where there is none. is_past: whether all
    before it are known, as none of a transaction that still runs can come there."""

    place: Place
    resource: str
    type: str
    reason: str
    row: str | None
    is_past: bool


def insert(transaction: Transaction, rejections: Sequence[Rejection]) -> None:
    """Keep rejections."""
    if rejections:
        kept = [
            vars(each) | {"key": None if each.digest is None else packed([each.digest])}
            for each in rejections
        ]
        transaction.execute(_REJECT, (json.dumps(kept),))


def listed(
    transaction: Transaction, first: UUID, last: UUID, after_item: int, most: int
) -> tuple[list[dict[str, Any]], int]:
    """Rejections of items behind that one, in their order, with at most so many bytes of text, but
    at least one; and how many there are behind that item."""
    found = transaction.execute(_REJECTIONS, (str(first), str(last), after_item, most))
    names = ("item", "type", "reason", "sqlstate", "constraint", "column")
    items = [dict(zip(names, each, strict=False)) for each in found]
    return items, found[0][-1] if found else 0


def since(
    transaction: Transaction, resources: Sequence[str], place: Place, most: int
) -> list[PlacedRejection]:
    """The next rejections of these resources behind that place, at most so many."""
    bound = {"resources": [*resources], **place._asdict(), "limit": most}
    found = transaction.execute(_SINCE, bound)
    return [
        PlacedRejection(Place(at, dedup_id, item), resource, type_, reason, row, is_past)
        for at, dedup_id, item, resource, type_, reason, row, _, is_past in found
    ]


def causes(transaction: Transaction, first: UUID, last: UUID) -> list[dict[str, Any]]:
    """All rejections of a request, grouped by their causes, with ranges of items; if there are too
    many causes, as triggers may give any, grouped by type."""
    bound = (str(first), str(last), _MOST_CAUSES + 1)
    found = transaction.execute(_ALIKE, bound)
    if len(found) > _MOST_CAUSES:
        found = transaction.execute(_OF_A_TYPE, bound)
    names = ("type", "sqlstate", "constraint", "column", "count", "items")
    return [dict(zip(names, (*each[:-1], _ranges(each[-1])), strict=True)) for each in found]


def _ranges(items: str) -> str:
    """`{[3,18),[20,21)}` → `3-17,20`."""
    pairs = [each.split(",") for each in items[2:-2].split("),[")]
    bounds = [(int(first), int(behind) - 1) for first, behind in pairs]
    return ",".join([f"{a}-{b}" if a < b else str(a) for a, b in bounds])
