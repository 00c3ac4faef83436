"""Messages in the ledger as operators look for them, and what has become of one request."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.messages.place import Place
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ops import rejections

# Without those that only claim a request. A message that could not be read has no number of writes.
_IS_MESSAGE = "(ledger.writes > 0 OR ledger.fingerprint = '')"

_TIMES = {
    "since": "ledger.poured_at >= %(since)s::timestamptz",
    "until": "ledger.poured_at < %(until)s::timestamptz",
}

_RESOURCE = "ledger.resource_name IS NOT DISTINCT FROM nullif(%(resource)s, '')"

_MESSAGES = "ledger.dedup_id BETWEEN %(first_message)s::uuid AND %(last_message)s::uuid"

# Where the digest begins at any byte of the packed ones, it may still be none of them.
_DIGEST = """
    position(decode(%(digest)s, 'hex') IN ledger.keys) > 0 AND EXISTS (
        SELECT FROM generate_series(0, octet_length(ledger.keys) / 8 - 1) AS place
        WHERE substr(ledger.keys, place * 8 + 1, 8) = decode(%(digest)s, 'hex'))
"""

_REJECTED = """
    ledger.dedup_id IN (SELECT rejection.dedup_id FROM decanter.rejection WHERE {condition})
"""

# The index of poured_at knows no pairs.
_BEFORE = """
    ledger.poured_at <= timestamptz 'epoch' + %(at)s * interval '1 us'
    AND (ledger.poured_at, ledger.dedup_id) < (
        timestamptz 'epoch' + %(at)s * interval '1 us', %(dedup_id)s::uuid)
"""

# Counted only for those that are shown.
_PAGE = """
    SELECT dedup_id::text, resource_name, writes,
        (extract(epoch FROM accepted_at) * 1000000)::bigint,
        (extract(epoch FROM poured_at) * 1000000)::bigint,
        (SELECT count(*) FROM decanter.rejection WHERE rejection.dedup_id = found.dedup_id),
        (SELECT count(*) FROM decanter.waiting WHERE waiting.dedup_id = found.dedup_id)
    FROM (
        SELECT * FROM decanter.ledger WHERE {condition}
        ORDER BY poured_at DESC, dedup_id DESC LIMIT %(limit)s) AS found
    ORDER BY poured_at DESC, dedup_id DESC
"""

_OF_REQUEST = "dedup_id BETWEEN %(first_message)s::uuid AND %(last_message)s::uuid"

# Each of these is: a time, how many writes, the first item, and what is known of them.
_POURED = f"""
    SELECT (extract(epoch FROM poured_at) * 1000000)::bigint, sum(writes)::bigint, NULL,
        min(resource_name), (extract(epoch FROM min(accepted_at)) * 1000000)::bigint, count(*)
    FROM decanter.ledger WHERE {_OF_REQUEST} AND {_IS_MESSAGE}
    GROUP BY poured_at ORDER BY poured_at LIMIT %(limit)s
"""

_REJECTIONS = f"""
    SELECT (extract(epoch FROM rejected_at) * 1000000)::bigint, count(*), min(item),
        min(resource), type, "constraint", (array_agg(reason ORDER BY item))[1]
    FROM decanter.rejection WHERE {_OF_REQUEST}
    GROUP BY rejected_at, type, "constraint" ORDER BY rejected_at, min(item) LIMIT %(limit)s
"""

_WAITING = f"""
    SELECT (extract(epoch FROM since) * 1000000)::bigint, count(*), min(item), reason
    FROM decanter.waiting WHERE {_OF_REQUEST}
    GROUP BY since, reason ORDER BY since, min(item) LIMIT %(limit)s
"""

_CORRECTIONS = f"""
    SELECT (extract(epoch FROM corrected_at) * 1000000)::bigint, count(*), min(item),
        correction.kind, act::text, who, note, resent_as::text
    FROM decanter.correction JOIN decanter.act ON act.id = correction.act WHERE {_OF_REQUEST}
    GROUP BY corrected_at, correction.kind, act, who, note, resent_as
    ORDER BY corrected_at, min(item) LIMIT %(limit)s
"""

_RESENT_FROM = """
    SELECT (extract(epoch FROM corrected_at) * 1000000)::bigint, count(*), min(resent_item),
        correction.kind, act::text, who, note, dedup_id::text
    FROM decanter.correction JOIN decanter.act ON act.id = correction.act
    WHERE resent_as BETWEEN %(first_message)s::uuid AND %(last_message)s::uuid
    GROUP BY corrected_at, correction.kind, act, who, note, dedup_id
    ORDER BY corrected_at, min(resent_item) LIMIT %(limit)s
"""


class PouredMessage(NamedTuple):
    """A message in the ledger. accepted, at: of its acceptance and pour, microseconds since the
    epoch. rejected, waiting: how many of its writes are."""

    dedup_id: str
    resource: str | None
    writes: int
    accepted: int | None
    at: int
    rejected: int
    waiting: int

    @property
    def place(self) -> Place:
        return Place(self.at, self.dedup_id, 0)


class PouredWrites(NamedTuple):
    """Messages of one transaction. at, accepted_at: microseconds since the epoch."""

    at: int
    writes: int
    item: None
    resource: str | None
    accepted_at: int | None
    messages: int


class RejectedWrites(NamedTuple):
    """Rejections of one transaction and cause. item, reason: of the first."""

    at: int
    writes: int
    item: int
    resource: str | None
    type: str
    constraint: str | None
    reason: str


class WaitingWrites(NamedTuple):
    """Writes that wait since one time for one reason. item: of the first."""

    at: int
    writes: int
    item: int
    reason: str


class CorrectedWrites(NamedTuple):
    """Corrections of one step of an act. other: the message that they were resent as, or from."""

    at: int
    writes: int
    item: int
    kind: str
    act: str
    who: str
    note: str
    other: str | None


class RequestHistory(NamedTuple):
    """What is known of the messages of a request. resent_from: corrections whose resends they
    are."""

    poured: Sequence[PouredWrites]
    rejected: Sequence[RejectedWrites]
    waiting: Sequence[WaitingWrites]
    corrected: Sequence[CorrectedWrites]
    resent_from: Sequence[CorrectedWrites]


def page(
    transaction: Transaction,
    filter: Mapping[str, Any],
    after: Place | None,
    limit: int,
    seconds: float,
) -> list[PouredMessage]:
    """The next messages that a checked filter means, those poured last first. Raises
    StatementTimedOut after so many seconds."""
    condition, bound = _where(filter)
    if after is not None:
        condition += f" AND {_BEFORE}"
        bound |= after._asdict()
    sql = _PAGE.format(condition=condition)
    found = transaction.execute(sql, {**bound, "limit": limit}, seconds=seconds)
    return [PouredMessage._make(each) for each in found]


def history(transaction: Transaction, first: str, last: str, limit: int) -> RequestHistory:
    """What has become of the messages from the first to the last dedup ID, at most so much of each
    kind."""
    bound = {"first_message": first, "last_message": last, "limit": limit}
    return RequestHistory(
        [PouredWrites._make(each) for each in transaction.execute(_POURED, bound)],
        [RejectedWrites._make(each) for each in transaction.execute(_REJECTIONS, bound)],
        [WaitingWrites._make(each) for each in transaction.execute(_WAITING, bound)],
        [CorrectedWrites._make(each) for each in transaction.execute(_CORRECTIONS, bound)],
        [CorrectedWrites._make(each) for each in transaction.execute(_RESENT_FROM, bound)],
    )


def _where(filter: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The condition on rows of the ledger, and its bound values. A key is found by its digest; of
    a resource without an order, where it was rejected."""
    sql, bound = [_IS_MESSAGE], {name: filter[name] for name in _TIMES if name in filter}
    sql += [_TIMES[name] for name in bound]
    if "messages" in filter:
        sql.append(_MESSAGES)
        bound["first_message"], bound["last_message"] = filter["messages"]
    if "digest" in filter:
        sql.append(_DIGEST)
        bound["digest"] = filter["digest"]
    elif "values" in filter:
        names = ("resource", "values", "since")
        known = {name: filter[name] for name in names if name in filter}
        condition, more = rejections.where({**known, "state": "all"})
        sql.append(_REJECTED.format(condition=condition))
        bound |= more
    elif "resource" in filter:
        sql.append(_RESOURCE)
        bound["resource"] = filter["resource"]
    return " AND ".join(sql), bound
