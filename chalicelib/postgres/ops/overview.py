"""What the database knows of throughput, lag, rejections, waiting writes and connections.

Each query reads some minutes of the ledger or of the rejections, which a BRIN index leads to, or
one of the small tables. A write's lag ends when the transaction that poured it began: the ledger
knows no later time.
"""

from typing import Any, NamedTuple

from chalicelib.postgres.connecting.connection import Transaction

MINUTES = 60
"""How far figures by the minute reach back."""

LAG_MINUTES = 5
"""How far the lags of resources reach back."""

REJECTED_HOURS = 24
"""How far the causes of rejections reach back."""

# Percentiles are discrete and weighted by writes: so many percent of the writes had at most that
# lag. Grouping by hundredths of a second first leaves little to sort.
_LAGS = """
    SELECT part, sum(writes), sum(latest),
        min(lag) FILTER (WHERE upto >= 0.5 * total),
        min(lag) FILTER (WHERE upto >= 0.95 * total),
        min(lag) FILTER (WHERE upto >= 0.99 * total)
    FROM (
        SELECT *, sum(writes) OVER (PARTITION BY part ORDER BY lag) AS upto,
            sum(writes) FILTER (WHERE lag IS NOT NULL) OVER (PARTITION BY part) AS total
        FROM (
            SELECT {part} AS part, sum(writes) AS writes,
                sum(writes) FILTER (WHERE poured_at > now() - interval '1 min') AS latest,
                round(date_part('epoch', greatest(poured_at, accepted_at) - accepted_at) * 100)
                    / 100 AS lag
            FROM decanter.ledger WHERE poured_at >= {since} AND writes > 0
            GROUP BY 1, 4) AS poured) AS summed
    GROUP BY part
"""

_MINUTE = "(date_part('epoch', date_trunc('minute', {time})) * 1000)::bigint"
_FIRST_MINUTE = f"date_trunc('minute', now()) - interval '{MINUTES} min'"

_RESOURCES = _LAGS.format(part="resource_name", since=f"now() - interval '{LAG_MINUTES} min'")
_BY_MINUTE = _LAGS.format(part=_MINUTE.format(time="poured_at"), since=_FIRST_MINUTE)

_REJECTED = f"""
    SELECT {_MINUTE.format(time="rejected_at")}, resource, count(*) FROM decanter.rejection
    WHERE rejected_at >= {_FIRST_MINUTE} GROUP BY 1, 2
"""

_CAUSES = f"""
    SELECT resource, type, "constraint", count(*) FROM decanter.rejection
    WHERE rejected_at >= now() - interval '{REJECTED_HOURS} hours'
    GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3 LIMIT %s
"""

# The ledger has the messages of what waits. For one from before it kept resources, the header
# tells: it begins with the resource, nearly. A name has no character to escape.
_OF_WAITING = """
    coalesce(resource_name, substring(left(message, 300) FROM '"resource":"([^"]+)"'))
"""

_WAITING = f"""
    SELECT {_OF_WAITING}, reason, count(*), (date_part('epoch', min(since)) * 1000)::bigint
    FROM decanter.waiting LEFT JOIN decanter.ledger USING (dedup_id)
    GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""

# Sessions of other roles show their role, their database and their name.
_CONNECTIONS = """
    SELECT application_name, count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'decanter%%' GROUP BY 1
"""

# What waits behind another write to its key blocks nothing itself. A digest is kept with a sign.
_LANES = f"""
    SELECT lane, lanes.writes, first.dedup_id::text, {_OF_WAITING}, first.reason,
        (date_part('epoch', first.since) * 1000)::bigint
    FROM (
        SELECT mod(digest + CASE WHEN digest < 0 THEN 18446744073709551616 ELSE 0 END,
                %(lanes)s)::integer AS lane,
            count(*) AS writes, min(place) FILTER (WHERE reason <> 'key') AS place
        FROM decanter.waiting WHERE digest IS NOT NULL GROUP BY 1) AS lanes
    LEFT JOIN decanter.waiting AS first USING (place)
    LEFT JOIN decanter.ledger USING (dedup_id)
    ORDER BY lane
"""


class Throughput(NamedTuple):
    """Of a resource, or of a minute. writes: poured in the time that was asked for. latest: in the
    last minute. p50, p95, p99: seconds from acceptance to the pour; None where none is known."""

    writes: int
    latest: int
    p50: float | None
    p95: float | None
    p99: float | None


class Waiting(NamedTuple):
    """Writes that wait in the database. since: milliseconds since the epoch."""

    resource: str | None
    reason: str
    writes: int
    since: int


class Lane(NamedTuple):
    """Writes of a lane that wait in the database, and the message of the first of them that waits
    for something else than a write before it. since: milliseconds since the epoch."""

    lane: int
    writes: int
    dedup_id: str | None
    resource: str | None
    reason: str | None
    since: int | None


def now(transaction: Transaction) -> float:
    """When the transaction began by Postgres' clock, seconds since the epoch."""
    ((seconds,),) = transaction.execute("SELECT date_part('epoch', now())")
    return float(seconds)


def resources(transaction: Transaction) -> dict[str | None, Throughput]:
    """Of each resource with writes that were poured in the last minutes."""
    return {part: _throughput(*rest) for part, *rest in transaction.execute(_RESOURCES)}


def by_minute(transaction: Transaction) -> dict[int, Throughput]:
    """Of each of the last minutes in which anything was poured, by its beginning in milliseconds
    since the epoch; the minute that has begun is one of them."""
    return {part: _throughput(*rest) for part, *rest in transaction.execute(_BY_MINUTE)}


def rejected(transaction: Transaction) -> list[tuple[int, str | None, int]]:
    """Rejections of the last minutes: beginning of the minute, as in `by_minute`, resource,
    number."""
    return [tuple(each) for each in transaction.execute(_REJECTED)]


def causes(transaction: Transaction, most: int) -> list[tuple[str | None, str, str | None, int]]:
    """Resource, type, constraint and number of the last day's rejections, most frequent first."""
    return [tuple(each) for each in transaction.execute(_CAUSES, (most,))]


def waiting(transaction: Transaction) -> list[Waiting]:
    """The writes that wait in the database, by resource and reason."""
    return [Waiting(*each) for each in transaction.execute(_WAITING)]


def connections(transaction: Transaction) -> dict[str, int]:
    """Connections to this database by the names that Decanter's functions give them."""
    return dict(transaction.execute(_CONNECTIONS))


def lanes(transaction: Transaction, count: int) -> list[Lane]:
    """The lanes with writes that wait in the database. count: of all lanes."""
    return [Lane(*each) for each in transaction.execute(_LANES, {"lanes": count})]


def _throughput(writes: Any, latest: Any, *lags: float | None) -> Throughput:
    return Throughput(int(writes), int(latest or 0), *lags)
