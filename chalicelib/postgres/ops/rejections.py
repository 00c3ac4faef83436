"""Rejections as operators look for them: filters, pages, causes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from chalicelib.messages.place import Place, moment
from chalicelib.postgres.connecting.connection import Transaction

_TEXTS = ("resource", "type", "constraint", "column", "sqlstate", "caller")

_NAMES = {*_TEXTS, "since", "until", "messages", "digest", "values", "state"}

_TIMES = {
    "since": "rejection.rejected_at >= %(since)s::timestamptz",
    "until": "rejection.rejected_at < %(until)s::timestamptz",
}

_MESSAGES = "rejection.dedup_id BETWEEN %(first_message)s::uuid AND %(last_message)s::uuid"

_KEY = "rejection.key = decode(%(digest)s, 'hex')"

# `->>` raises an error for a row with a text that is none: U+0000, or half of a surrogate pair. A
# row with a text that only looks like that is not found either.
_IS_READABLE = r"""
    rejection.row IS NOT NULL AND rejection.row::text !~ ('\\u0000'
        || '|\\u[dD][89aAbB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])'
        || '|(?<!\\u[dD][89aAbB][0-9a-fA-F]{2})\\u[dD][c-fC-F]')
"""

_VALUE = """
    CASE WHEN {is_readable} THEN rejection.row ->> %({name})s = %({value})s ELSE false END
"""

_CORRECTED = """
    EXISTS (
        SELECT FROM decanter.correction WHERE correction.dedup_id = rejection.dedup_id
            AND correction.item = rejection.item{kind})
"""

_STATES = {
    "open": f"NOT {_CORRECTED.format(kind='')}",
    "resent": _CORRECTED.format(kind=" AND correction.kind = 'resend'"),
    "discarded": _CORRECTED.format(kind=" AND correction.kind = 'discard'"),
    "all": "true",
}

# The newest first, as one index has them, also backwards.
_NEWEST = "rejected_at DESC, dedup_id DESC, item DESC"

_FIRST = """
    SELECT rejection.dedup_id, rejection.item, rejection.rejected_at
    FROM decanter.rejection WHERE {condition} ORDER BY {order} LIMIT %(limit)s
"""

_BEFORE = """
    (rejection.rejected_at, rejection.dedup_id, rejection.item) < (
        timestamptz 'epoch' + %(at)s * interval '1 us', %(dedup_id)s::uuid, %(item)s)
"""

_OF_KNOWN = "rejection.resource = known.resource AND {condition}"

_OF_NONE = "rejection.resource IS NULL AND {condition}"

# Of each resource the first ones, from that index: there is none for all resources together, of
# which there are few, found one after the other.
_OF_ALL = f"""
    WITH RECURSIVE known (resource) AS (
        SELECT min(resource) FROM decanter.rejection
        UNION ALL
        SELECT (SELECT min(rejection.resource) FROM decanter.rejection
            WHERE rejection.resource > known.resource)
        FROM known WHERE known.resource IS NOT NULL)
    SELECT own.* FROM known, LATERAL (
        {_FIRST.format(condition=_OF_KNOWN, order=_NEWEST)}) AS own
    UNION ALL
    ({_FIRST.format(condition=_OF_NONE, order=_NEWEST)})
"""

_SIZE = "coalesce(octet_length(rejection.row::text), 0) + coalesce(octet_length(body), 0)"

# Sorted without their texts, which may be much longer than what is shown. The texts of the first
# one are left out if they alone are too long.
_SHOWN = f"""
    SELECT dedup_id::text, item, resource, op, type, reason, sqlstate, "constraint", "column",
        CASE WHEN bytes <= %(most)s THEN rejection.row::text END,
        CASE WHEN bytes <= %(most)s THEN body END,
        caller, (extract(epoch FROM rejected_at) * 1000000)::bigint,
        correction.kind, correction.act::text, correction.resent_as::text,
        (extract(epoch FROM correction.corrected_at) * 1000000)::bigint, size, found
    FROM (
        SELECT dedup_id, item, size, found, row_number() OVER so_far AS place,
            sum(size) OVER so_far AS bytes
        FROM (
            SELECT dedup_id, item, first.rejected_at, {_SIZE} AS size, count(*) OVER () AS found
            FROM (SELECT * FROM ({{first}}) AS own ORDER BY {{order}} LIMIT %(limit)s) AS first
            JOIN decanter.rejection USING (dedup_id, item)) AS sized
        WINDOW so_far AS (ORDER BY {{order}} ROWS UNBOUNDED PRECEDING)) AS placed
    JOIN decanter.rejection USING (dedup_id, item)
    LEFT JOIN decanter.correction USING (dedup_id, item)
    WHERE place = 1 OR bytes <= %(most)s ORDER BY {{order}}
"""

_AFTER = "rejection.item > %(after_item)s"

_ONE = "rejection.dedup_id = %(dedup_id)s::uuid AND rejection.item = %(item)s"

_CAUSES = """
    SELECT resource, type, "constraint", "column", sqlstate, count(*),
        count(*) FILTER (WHERE {is_open}),
        (extract(epoch FROM min(rejected_at)) * 1000000)::bigint,
        (extract(epoch FROM max(rejected_at)) * 1000000)::bigint,
        substr(max(to_char(rejected_at, 'YYYYMMDDHH24MISSUS') || dedup_id || '.' || item), 21)
    FROM decanter.rejection WHERE {condition}
    GROUP BY 1, 2, 3, 4, 5 ORDER BY max(rejected_at) DESC LIMIT %(limit)s
"""


class KeptCorrection(NamedTuple):
    """What an operator has done about a rejection: kind `resend` or `discard`, by an act."""

    kind: str
    act: str
    resent_as: str | None
    at: str


class KeptRejection(NamedTuple):
    """A rejection as it is kept. row: JSON text. at: microseconds since the epoch. bytes_: of row
    and body, which are None if these are too many to be shown."""

    dedup_id: str
    item: int
    resource: str | None
    op: str | None
    type: str
    reason: str
    sqlstate: str | None
    constraint: str | None
    column: str | None
    row: str | None
    body: str | None
    caller: str | None
    at: int
    correction: KeptCorrection | None
    bytes_: int

    @property
    def id(self) -> str:
        return f"{self.dedup_id}.{self.item}"

    @property
    def rejected_at(self) -> str:
        return moment(self.at)

    @property
    def place(self) -> Place:
        return Place(self.at, self.dedup_id, self.item)


class RejectionCause(NamedTuple):
    """Rejections with one cause. example: the id of the last one."""

    resource: str | None
    type: str
    constraint: str | None
    column: str | None
    sqlstate: str | None
    writes: int
    open: int
    first_at: str
    last_at: str
    example: str


def page(
    transaction: Transaction,
    filter: Mapping[str, Any],
    after: Place | None,
    limit: int,
    most: int,
    seconds: float,
) -> tuple[list[KeptRejection], bool]:
    """The next rejections, the newest first, with at most so many bytes of rows and bodies, but at
    least one; and whether there are more. Raises StatementTimedOut after so many seconds."""
    condition, bound = where(filter)
    if after is not None:
        condition += f" AND {_BEFORE}"
        bound |= after._asdict()
    is_bounded = "resource" in filter or "messages" in filter
    first = (_FIRST if is_bounded else _OF_ALL).format(condition=condition, order=_NEWEST)
    return _shown(transaction, first, _NEWEST, {**bound, "limit": limit, "most": most}, seconds)


def of_request(
    transaction: Transaction, first: UUID, last: UUID, after_item: int, limit: int, most: int
) -> tuple[list[KeptRejection], bool]:
    """The next rejections of a request behind an item, in the order of items, with at most so many
    bytes of rows, but at least one; and whether there are more. first, last: its dedup IDs."""
    bound = {"first_message": str(first), "last_message": str(last), "after_item": after_item}
    chosen = _FIRST.format(condition=f"{_MESSAGES} AND {_AFTER}", order="item")
    return _shown(transaction, chosen, "item", {**bound, "limit": limit, "most": most})


def one(transaction: Transaction, dedup_id: str, item: int, most: int) -> KeptRejection | None:
    """A rejection, without its row and body if these have more bytes."""
    bound = {"dedup_id": dedup_id, "item": item, "limit": 1, "most": most}
    found, _ = _shown(transaction, _FIRST.format(condition=_ONE, order="item"), "item", bound)
    return found[0] if found else None


def causes(
    transaction: Transaction, filter: Mapping[str, Any], limit: int, seconds: float
) -> list[RejectionCause]:
    """Rejections by their causes, those that happened last first, at most so many. Raises
    StatementTimedOut."""
    condition, bound = where(filter)
    sql = _CAUSES.format(condition=condition, is_open=_STATES["open"])
    found = transaction.execute(sql, {**bound, "limit": limit}, seconds=seconds)
    return [
        RejectionCause._make([*cause, moment(first), moment(last), example])
        for *cause, first, last, example in found
    ]


def _shown(
    transaction: Transaction,
    first: str,
    order: str,
    bound: Mapping[str, Any],
    seconds: float | None = None,
) -> tuple[list[KeptRejection], bool]:
    limit = bound["limit"]
    sql = _SHOWN.format(first=first, order=order)
    found = transaction.execute(sql, {**bound, "limit": limit + 1}, seconds=seconds)
    shown = [_kept(row) for row in found[:limit]]
    return shown, bool(found) and found[0][-1] > len(shown)


def _kept(row: Sequence[Any]) -> KeptRejection:
    *kept, kind, act, resent_as, at, size, _ = row
    correction = None if kind is None else KeptCorrection(kind, act, resent_as, moment(at))
    return KeptRejection._make([*kept, correction, size])


def where(filter: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The condition on rows of `decanter.rejection` that a checked filter means, and its bound
    values. An empty text is the filter of those without a value. Raises KeyError for a state or
    member of a later version: without it, more would be found than was asked for."""
    if unknown := filter.keys() - _NAMES:
        raise KeyError(*unknown)
    sql = [_STATES[filter.get("state", "open")]]
    bound: dict[str, Any] = {}
    for name in _TEXTS:
        if name in filter:
            is_empty = filter[name] == ""
            sql.append(f'rejection."{name}" ' + ("IS NULL" if is_empty else f"= %({name})s"))
            bound |= {} if is_empty else {name: filter[name]}
    for name, condition in _TIMES.items():
        if name in filter:
            sql.append(condition)
            bound[name] = filter[name]
    if "messages" in filter:
        sql.append(_MESSAGES)
        bound["first_message"], bound["last_message"] = filter["messages"]
    if "digest" in filter:
        sql.append(_KEY)
        bound["digest"] = filter["digest"]
    for place, (column, text) in enumerate(filter.get("values", {}).items()):
        names = {"name": f"column_{place}", "value": f"value_{place}"}
        sql.append(_VALUE.format(is_readable=_IS_READABLE, **names))
        bound |= {names["name"]: column, names["value"]: text}
    return " AND ".join(sql), bound
