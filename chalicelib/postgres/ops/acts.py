"""Acts of operators, their steps, and rejections that they correct. All their SQL is here."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ops import rejections

_TIME = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"+00:00"')"""

_STEPS = f"""
    (SELECT json_agg(json_build_object(
            'step', step, 'who', who, 'done', done, 'failed', failed, 'state', state,
            'detail', detail::jsonb - 'after', 'at', {_TIME.format("at")}) ORDER BY step)
        FROM (
            SELECT * FROM decanter.act_step WHERE act_step.act = act.id
            ORDER BY step DESC LIMIT 100) AS last)
"""

# Acts and steps are only added, so what an act has come to is computed from its steps.
_ACT = f"""
    SELECT json_build_object(
            'id', act.id, 'kind', kind, 'who', act.who, 'note', note,
            'target', target::jsonb - ARRAY['fingerprint', 'checked'{{hidden}}],
            'writes', writes, 'done', coalesce(done, 0), 'failed', coalesce(failed, 0),
            'state', coalesce(state, 'begun'), 'begun_at', {_TIME.format("begun_at")},
            'last_at', {_TIME.format("coalesce(at, begun_at)")}{{more}})::text,
        (extract(epoch FROM begun_at) * 1000000)::bigint, act.id::text,
        target ->> 'fingerprint'
    FROM {{acts}}, LATERAL (
        SELECT sum(done) AS done, sum(failed) AS failed, max(step) + 1 AS steps, max(at) AS at,
            (array_agg(state ORDER BY step DESC))[1] AS state,
            (array_agg(detail ORDER BY step DESC))[1] AS detail
        FROM decanter.act_step WHERE act_step.act = act.id) AS so_far
"""

_ONE = _ACT.format(
    acts="(SELECT * FROM decanter.act WHERE id = %s::uuid) AS act",
    hidden=", 'rows'",
    more=", 'steps', coalesce(steps, 0), 'detail', coalesce(detail, '{}')",
)

_WITH_STEPS = _ACT.format(
    acts="(SELECT * FROM decanter.act WHERE id = %s::uuid) AS act",
    hidden="",
    more=f", 'steps', coalesce({_STEPS}, '[]')",
)

_LISTED = _ACT.format(
    acts="""(
        SELECT * FROM decanter.act WHERE {where}
        ORDER BY begun_at DESC, id DESC LIMIT %(limit)s) AS act
    """,
    hidden=", 'ids', 'rows'",
    more="",
)

_FILTERS = {
    "kind": "kind = %(kind)s",
    "who": "who = %(who)s",
    "since": "begun_at >= %(since)s::timestamptz",
    "until": "begun_at < %(until)s::timestamptz",
    "after": """
        (begun_at, id) < (timestamptz 'epoch' + %(at)s * interval '1 us', %(id)s::uuid)
    """,
}

_BEGIN = """
    INSERT INTO decanter.act (id, kind, who, note, target, writes)
    VALUES (%(id)s::uuid, %(kind)s, %(who)s, %(note)s, %(target)s::json, %(writes)s)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
"""

_COUNT = "SELECT count(*) FROM decanter.rejection WHERE {where}"

_IDS = "SELECT * FROM unnest(%(ids)s::uuid[], %(items)s::integer[])"

# Rejections that are not there, and acts that have corrected others.
_CLOSED = f"""
    SELECT dedup_id || '.' || item, correction.act::text
    FROM ({_IDS}) AS given (dedup_id, item)
        LEFT JOIN decanter.rejection USING (dedup_id, item)
        LEFT JOIN decanter.correction USING (dedup_id, item)
    WHERE type IS NULL OR correction.act IS NOT NULL
"""

_REJECTED = f"""
    SELECT dedup_id || '.' || item, resource, op, type,
        CASE WHEN size <= %(bytes)s THEN row::text END, size
    FROM (
        SELECT *, sum(octet_length(row::text)) OVER () AS size
        FROM decanter.rejection WHERE (dedup_id, item) IN ({_IDS})) AS found
"""

_ORIGINS = f"""
    SELECT dedup_id || '.' || item, rejection.resource, rejection.key,
        (extract(epoch FROM coalesce(accepted_at, rejected_at)) * 1000)::bigint
    FROM decanter.rejection LEFT JOIN decanter.ledger USING (dedup_id)
    WHERE (dedup_id, item) IN ({_IDS}) AND rejection.resource IS NOT NULL
"""

# In the order in which they were rejected; those of one transaction, in which they were accepted.
# A transaction's are found as a whole, before their order is asked for: first what is left of the
# one that the page before has ended in, where what has failed is still open.
_NEXT = """
    WITH target AS (
        SELECT begun_at, target -> 'rows' AS edited FROM decanter.act WHERE id = %(act)s::uuid
    ), near AS (
        (SELECT rejection.dedup_id, rejection.item, rejection.rejected_at
        FROM decanter.rejection
        WHERE {where} AND rejected_at = timestamptz 'epoch' + %(at)s * interval '1 us')
        UNION ALL
        (SELECT rejection.dedup_id, rejection.item, rejection.rejected_at
        FROM decanter.rejection
        WHERE {where} AND rejected_at > timestamptz 'epoch' + %(at)s * interval '1 us'
            AND rejected_at <= (SELECT begun_at FROM target)
        ORDER BY rejected_at FETCH FIRST %(most)s ROWS WITH TIES)
    ), placed AS (
        SELECT dedup_id, item, (extract(epoch FROM rejected_at) * 1000000)::bigint AS at,
            coalesce((
                SELECT (extract(epoch FROM accepted_at) * 1000)::bigint FROM decanter.ledger
                WHERE ledger.dedup_id = near.dedup_id), 0) AS accepted
        FROM near
    ), own AS (
        SELECT * FROM placed
        WHERE (at, accepted, dedup_id, item)
            > (%(at)s, %(accepted)s, %(dedup_id)s::uuid, %(item)s)
        ORDER BY at, accepted, dedup_id, item LIMIT %(most)s
    ), found AS (
        SELECT own.*, resource, op, type, edited -> id AS edit,
            CASE WHEN %(with_rows)s THEN coalesce(edited -> id, row)::text END AS text,
            count(*) OVER () AS behind
        FROM own JOIN decanter.rejection USING (dedup_id, item), target,
            LATERAL (SELECT dedup_id || '.' || item AS id) AS named
    ), sized AS (
        SELECT *, row_number() OVER so_far AS place, sum(octet_length(text)) OVER so_far AS bytes
        FROM found
        WINDOW so_far AS (
            ORDER BY at, accepted, dedup_id, item ROWS UNBOUNDED PRECEDING)
    )
    SELECT dedup_id || '.' || item, resource, op, type, text, edit IS NOT NULL, at, accepted,
        dedup_id::text, item, behind
    FROM sized WHERE place = 1 OR coalesce(bytes, 0) <= %(bytes)s
    ORDER BY at, accepted, dedup_id, item
"""

_LEFT = """
    SELECT target::jsonb - 'rows', writes - coalesce(sum(done + failed), 0)
    FROM decanter.act LEFT JOIN decanter.act_step ON act_step.act = act.id
    WHERE act.id = %s::uuid GROUP BY act.id
"""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('decanter act ' || %s, 0))"

_STEPS_SO_FAR = """
    SELECT step, done + failed, state, detail -> 'after' FROM decanter.act_step
    WHERE act = %s::uuid ORDER BY step
"""

_STEP = """
    INSERT INTO decanter.act_step (act, step, who, done, failed, state, detail)
    VALUES (%(act)s::uuid, %(step)s, %(who)s, %(done)s, %(failed)s, %(state)s, %(detail)s::json)
"""

_CORRECT = """
    INSERT INTO decanter.correction (dedup_id, item, act, kind, resent_as, resent_item)
    SELECT given.dedup_id, given.item, act.id, act.kind, resent_as, resent_item
    FROM json_to_recordset(%(corrections)s::json)
            AS given (dedup_id uuid, item integer, resent_as uuid, resent_item integer),
        (SELECT id, kind FROM decanter.act WHERE id = %(act)s::uuid) AS act
    ORDER BY 1, 2
    ON CONFLICT (dedup_id, item) DO NOTHING
    RETURNING dedup_id || '.' || item
"""

_OF_OTHERS = f"""
    SELECT dedup_id || '.' || item, act::text FROM decanter.correction
    WHERE (dedup_id, item) IN ({_IDS}) AND act <> %(act)s::uuid
"""


class OrderedPlace(NamedTuple):
    """The place of a rejection in the order in which rejections are corrected.

    at: when it was rejected, microseconds since the epoch. accepted: when its message was accepted,
    milliseconds; 0 where that is not known.
    """

    at: int = 0
    accepted: int = 0
    dedup_id: str = "00000000-0000-0000-0000-000000000000"
    item: int = -1


class Origin(NamedTuple):
    """Where a rejection comes from. digest: of its key, None where it has none. accepted_at: when
    the write was accepted, or rejected if that is not known, in milliseconds since the epoch."""

    id: str
    resource: str
    digest: int | None
    accepted_at: int


class RecordedAct(NamedTuple):
    """text: JSON of an act. at, id: its place in the list. fingerprint: of the request that has
    begun it."""

    text: str
    at: int
    id: str
    fingerprint: str


def find(transaction: Transaction, id: str, with_steps: bool = False) -> RecordedAct | None:
    """An act; None if there is none. with_steps: as operators see it, with its last 100 steps and
    edited rows; else as its next step needs it."""
    found = transaction.execute(_WITH_STEPS if with_steps else _ONE, (id,))
    return RecordedAct(*found[0]) if found else None


def listed(
    transaction: Transaction, filter: Mapping[str, str], after: tuple[int, str] | None, limit: int
) -> list[RecordedAct]:
    """Acts, the latest first. filter: with some of kind, who, since, until. after: the place of the
    last one before."""
    bound: dict[str, Any] = {**filter, "limit": limit}
    if after:
        bound["at"], bound["id"] = after
    names = [*filter, *(["after"] if after else [])]
    where = " AND ".join([_FILTERS[name] for name in names]) or "true"
    return [RecordedAct(*row) for row in transaction.execute(_LISTED.format(where=where), bound)]


def begin(transaction: Transaction, act: Mapping[str, Any]) -> bool:
    """Record an act; returns whether there was none with its id. act: id, kind, who, note, target
    (JSON text) and writes."""
    return bool(transaction.execute(_BEGIN, act))


def count(transaction: Transaction, target: Mapping[str, Any]) -> int:
    """How many open rejections a target has, see `_condition`."""
    where, bound = _condition(target)
    ((writes,),) = transaction.execute(_COUNT.format(where=where), bound)
    return int(writes)


def closed(transaction: Transaction, ids: Sequence[str]) -> list[tuple[str, str | None]]:
    """Those of the ids that are no open rejection, and the act that has corrected it; None where
    there is no such rejection."""
    found = transaction.execute(_CLOSED, _split(ids))
    return [(id_, act) for id_, act in found]


def rejected(
    transaction: Transaction, ids: Sequence[str], bytes_: int
) -> tuple[list[tuple[Any, ...]], int]:
    """Rejections, corrected or not, in any order: id, resource, op, type, and the row, if all rows
    have at most so many bytes together; and how many they have."""
    found = transaction.execute(_REJECTED, {**_split(ids), "bytes": bytes_})
    return [row[:-1] for row in found], int(found[0][-1] or 0) if found else 0


def origins(transaction: Transaction, ids: Sequence[str]) -> list[Origin]:
    """The origins of rejections, in any order."""
    found = transaction.execute(_ORIGINS, _split(ids))
    return [
        Origin(id_, resource, None if key is None else int.from_bytes(key, "big"), accepted_at)
        for id_, resource, key, accepted_at in found
    ]


def left(transaction: Transaction, act: str) -> tuple[dict[str, Any], int]:
    """The target of an act, without edited rows, and how many writes it has still to be done
    to."""
    ((target, writes),) = transaction.execute(_LEFT, (act,))
    return target, int(writes)


def next_rejected(
    transaction: Transaction,
    act: str,
    target: Mapping[str, Any],
    after: OrderedPlace,
    most: int,
    bytes_: int,
    with_rows: bool,
) -> tuple[list[tuple[Any, ...]], bool]:
    """The next open rejections of an act, made before it was begun, and whether there were more of
    them than these: id, resource, op, type, row or edited row, whether it is edited, and place.

    most: how many. bytes_: of their rows, unless the first has more. with_rows: whether their rows
    are needed.
    """
    where, bound = _condition(target)
    bound |= {"act": act, **after._asdict(), "most": most, "bytes": bytes_, "with_rows": with_rows}
    found = transaction.execute(_NEXT.format(where=where), bound)
    rows = [(*row[:6], OrderedPlace(*row[6:10])) for row in found]
    return rows, bool(found) and len(found) < found[0][-1]


def lock(transaction: Transaction, act: str) -> None:
    """Have nobody else record a step of the act until the transaction ends."""
    transaction.execute(_LOCK, (act,))


class RecordedStep(NamedTuple):
    """number: from 0. writes: done and failed. after: the place up to which it came, if it has
    one."""

    number: int
    writes: int
    state: str
    after: Sequence[Any] | None


def steps(transaction: Transaction, act: str) -> list[RecordedStep]:
    """The steps of an act, in their order."""
    return [RecordedStep(*row) for row in transaction.execute(_STEPS_SO_FAR, (act,))]


def add_step(transaction: Transaction, step: Mapping[str, Any]) -> None:
    """Record a step: act, step, who, done, failed, state, detail (JSON)."""
    bound = {**step, "detail": json.dumps(step["detail"], ensure_ascii=False)}
    transaction.execute(_STEP, bound)


def correct(
    transaction: Transaction, act: str, corrections: Sequence[tuple[str, str | None, int | None]]
) -> tuple[set[str], dict[str, str]]:
    """Record that rejections are corrected: id, and dedup ID and item of what was sent in their
    place. Returns the ids of those that nobody has corrected before, and the other acts that have,
    by id."""
    if not corrections:
        return set(), {}
    names = ("dedup_id", "item", "resent_as", "resent_item")
    given = [dict(zip(names, (*id_.split("."), *sent), strict=True)) for id_, *sent in corrections]
    bound = {"act": act, "corrections": json.dumps(given)}
    new = {id_ for (id_,) in transaction.execute(_CORRECT, bound)}
    old = [id_ for id_, *_ in corrections if id_ not in new]
    others = transaction.execute(_OF_OTHERS, {**_split(old), "act": act}) if old else []
    return new, dict(others)


def _condition(target: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The condition on open rejections that a target means. target: with `ids`, or `checked`, a
    checked filter."""
    if "ids" not in target:
        return rejections.where({**target["checked"], "state": "open"})
    is_open, bound = rejections.where({"state": "open"})
    own = f"(rejection.dedup_id, rejection.item) IN ({_IDS})"
    return f"{is_open} AND {own}", {**bound, **_split(target["ids"])}


def _split(ids: Sequence[str]) -> dict[str, list[Any]]:
    pairs = [id_.split(".") for id_ in ids]
    return {"ids": [dedup_id for dedup_id, _ in pairs], "items": [int(item) for _, item in pairs]}
