"""How far the tables of resources in front are behind it, as far as Postgres can know.

Nothing in Postgres tells of a write that has not come yet. It knows for how long those on the way
were that came, and those that it has and cannot pour yet.
"""

import time
from typing import NamedTuple

from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ledger import first_id

_MOST = 1_000
"""Entries of the ledger, and waiting writes, that are looked at."""

_DAY_MS = 86_400_000
_CLOCKS_MS = 60_000  # clocks of containers differ
_HEADER = 300  # characters; more than the header has up to the resource

# A dedup ID begins with the time of acceptance, so that the primary key leads to the last ones. The
# bit is that of `receipt.FRONT_ITEMS`. Messages of requests with an Idempotency-Key of resources
# behind SQS are anywhere.
_LAST = """
    SELECT extract(epoch FROM poured_at - accepted_at)::float8,
        extract(epoch FROM now() - poured_at)::float8
    FROM (
        SELECT dedup_id, accepted_at, poured_at FROM decanter.ledger
        WHERE dedup_id BETWEEN %(first)s::uuid AND %(last)s::uuid
        ORDER BY dedup_id DESC LIMIT %(most)s) AS last
    WHERE substr(dedup_id::text, 15, 1) = '7' AND get_byte(uuid_send(dedup_id), 14) >= 128
    ORDER BY dedup_id DESC LIMIT 1
"""

# The header of a message begins with its time of acceptance and its resource. Looking at the first
# characters alone saves fetching large rows; a name has no character to escape.
_WAITING = """
    SELECT (extract(epoch FROM now()) - min(substring(header FROM '"at":([0-9]{1,15})')::bigint)
        / 1000.0)::float8, 0::float8
    FROM (
        SELECT left(message, %(header)s) AS header FROM decanter.waiting
        ORDER BY place LIMIT %(most)s) AS first
    WHERE header LIKE %(pattern)s
"""

_LAG = f"({_LAST}) UNION ALL ({_WAITING})"


class FrontLag(NamedTuple):
    """seconds: from acceptance to the pour, or until now where a write waits. age: seconds since
    that was so."""

    seconds: float
    age: float


def front_lag(transaction: Transaction, resource: str) -> FrontLag | None:
    """Of the writes to all resources in front that were poured, the lag of the one accepted last;
    or that of the oldest waiting write of this resource, if that is larger.

    None if no write of the last 24 hours is known, or too many others have come since.
    """
    now_ms = time.time_ns() // 1_000_000
    name = resource.replace("_", r"\_")
    bound = {
        "first": first_id(now_ms - _DAY_MS),
        "last": first_id(now_ms + _CLOCKS_MS),
        "most": _MOST,
        "header": _HEADER,
        "pattern": f'%,"resource":"{name}",%',
    }
    found = transaction.execute(_LAG, bound)
    return max(
        (FrontLag(max(0.0, lag), age) for lag, age in found if lag is not None), default=None
    )
