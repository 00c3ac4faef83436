"""The traffic of the last days: counts by hour, how keys are spread, and what Postgres' statistics
tell of the tables. For `decanter plan`.

A large ledger is read in part: pages are sampled, so that the time has a bound, and counts are
scaled up. Requests are counted by their first message, whose number is 0; a request of which the
ledger has no such message is not counted. The busiest minute of what was read in part is too busy:
pages have many messages of few minutes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.postgres.connecting.connection import Transaction

READ_BYTES = 256 << 20
"""Most bytes of the ledger that are read for counts: some million messages."""

KEYS_READ_BYTES = 16 << 20
"""The same for keys."""

_MOST_MESSAGES = 20_000  # whose keys are looked at,
_KEYS_OF_MESSAGE = 50  # and how many of each

# A partitioned table has the bytes of its partitions.
_SIZE = """
    SELECT coalesce(sum(pg_relation_size(part)), 0) FROM (
        SELECT 'decanter.ledger'::regclass AS part
        UNION SELECT relid FROM pg_partition_tree('decanter.ledger')) AS parts
"""

_SPAN = """
    SELECT date_part('epoch', now()), date_part('epoch', hour - %(days)s * interval '1 day')
    FROM (SELECT date_trunc('hour', now(), 'UTC') + interval '1 hour' AS hour) AS ends
"""

# What is accepted is poured later, so the index of poured_at leads to all that was accepted since.
_SINCE = "poured_at >= timestamptz 'epoch' + %(since)s * interval '1 s'"

_BY_HOUR = f"""
    SELECT resource_name, floor(minute / 60) * 3600, sum(messages), sum(requests), sum(writes),
        max(requests)
    FROM (
        SELECT resource_name, minute, count(*) AS messages, sum(writes) AS writes,
            count(*) FILTER (WHERE right(dedup_id::text, 4) IN ('0000', '8000')) AS requests
        FROM (
            SELECT resource_name, writes, dedup_id, floor(date_part('epoch',
                least(coalesce(accepted_at, poured_at), poured_at)) / 60) AS minute
            FROM decanter.ledger {{sample}}
            WHERE {_SINCE} AND writes > 0 AND resource_name IS NOT NULL) AS accepted
        WHERE minute * 60 >= %(since)s GROUP BY 1, 2) AS minutes
    GROUP BY 1, 2 ORDER BY 1, 2
"""

# A digest is 8 bytes. Without a cast to text, as it is only compared. At random: the first messages
# would be those of one partition.
_KEYS = f"""
    WITH message AS MATERIALIZED (
        SELECT resource_name, substr(keys, 1, 8 * {_KEYS_OF_MESSAGE}) AS keys
        FROM (
            SELECT resource_name, keys FROM decanter.ledger {{sample}}
            WHERE {_SINCE} AND writes > 0 AND resource_name IS NOT NULL AND octet_length(keys) >= 8
            ORDER BY random() LIMIT {_MOST_MESSAGES}) AS looked_at),
    written AS (
        SELECT resource_name, substr(keys, 8 * place + 1, 8) AS digest, count(*) AS writes
        FROM message, generate_series(0, octet_length(keys) / 8 - 1) AS place GROUP BY 1, 2),
    ranked AS (
        SELECT *, row_number() OVER (PARTITION BY resource_name ORDER BY writes DESC) AS rank
        FROM written)
    SELECT resource_name, sum(writes), count(*), count(*) FILTER (WHERE writes = 1),
        count(*) FILTER (WHERE writes = 2),
        array_agg(writes ORDER BY rank) FILTER (WHERE rank <= 10)
    FROM ranked GROUP BY 1
"""

# The mean width of a column is that of its values which are not NULL.
_TABLES = """
    SELECT name, n_tup_ins, n_tup_upd, n_tup_del,
        (SELECT sum((1 - null_frac) * (avg_width + octet_length(attname) + 5)) FROM pg_stats
            WHERE schemaname = stat.schemaname AND tablename = stat.relname AND NOT inherited)
    FROM unnest(%(names)s::text[], %(schemas)s::text[], %(tables)s::text[])
        AS resource(name, schema, relation)
    JOIN pg_stat_user_tables AS stat ON stat.relid = to_regclass(
        CASE WHEN schema = '' THEN quote_ident(relation)
        ELSE format('%%I.%%I', schema, relation) END)
"""


class Span(NamedTuple):
    """now: of Postgres, and since: the beginning of what is counted, whole hours before the end of
    this hour; seconds since the epoch."""

    now: float
    since: int


class Hour(NamedTuple):
    """What was accepted of a resource in an hour, as far as it is poured. begin: seconds since the
    epoch. busiest: requests of the busiest minute."""

    begin: int
    messages: float
    requests: float
    writes: float
    busiest: float


class Keys(NamedTuple):
    """How writes of a sample are spread over keys. keys: how many there are; once, twice: of these,
    those with as many writes. top: writes of the ten most frequent."""

    writes: int
    keys: int
    once: int
    twice: int
    top: Sequence[int]


class TableStatistics(NamedTuple):
    """Of a table, since its statistics were reset; whoever has written. row_bytes: of a row as
    JSON, by the widths of its columns and the length of their names; None if it was never
    analyzed, or may not be seen."""

    inserted: int
    updated: int
    deleted: int
    row_bytes: float | None


def span(transaction: Transaction, days: int) -> Span:
    """The last so many days."""
    ((now, since),) = transaction.execute(_SPAN, {"days": days})
    return Span(float(now), int(since))


def sampled(transaction: Transaction, most: int) -> float:
    """The share of the ledger's pages, up to 1, that have at most so many bytes."""
    ((size,),) = transaction.execute(_SIZE)
    return min(1.0, most / float(size)) if size else 1.0


def by_hour(
    transaction: Transaction, since: int, share: float, seconds: float
) -> dict[str, list[Hour]]:
    """The hours of each resource, in order, scaled up from a share of the ledger. Raises
    StatementTimedOut after so many seconds."""
    sql, bound = _of_sample(_BY_HOUR, share)
    found: dict[str, list[Hour]] = {}
    for name, begin, messages, requests, writes, busiest in transaction.execute(
        sql, {**bound, "since": since}, seconds=seconds
    ):
        counts = (float(each or 0) / share for each in (messages, requests, writes, busiest))
        found.setdefault(name, []).append(Hour(int(begin), *counts))
    return found


def keys(transaction: Transaction, since: int, share: float, seconds: float) -> dict[str, Keys]:
    """How the writes of each resource are spread, by a sample of a share of the ledger. Raises
    StatementTimedOut after so many seconds."""
    sql, bound = _of_sample(_KEYS, share)
    found = transaction.execute(sql, {**bound, "since": since}, seconds=seconds)
    return {
        name: Keys(int(writes), keys, once, twice, top)
        for name, writes, keys, once, twice, top in found
    }


def tables(
    transaction: Transaction, resources: Mapping[str, tuple[str, str]]
) -> dict[str, TableStatistics]:
    """The statistics of each resource that has any. resources: of each the schema, empty for that
    of the connection, and the table."""
    bound = {
        "names": [*resources],
        "schemas": [schema for schema, _ in resources.values()],
        "tables": [table for _, table in resources.values()],
    }
    return {
        name: TableStatistics(inserted, updated, deleted, None if width is None else float(width))
        for name, inserted, updated, deleted, width in transaction.execute(_TABLES, bound)
    }


def _of_sample(sql: str, share: float) -> tuple[str, dict[str, Any]]:
    """A query of a share of the ledger: of all of it by the index of poured_at, of less by pages
    at random."""
    if share >= 1:
        return sql.format(sample=""), {}
    return sql.format(sample="TABLESAMPLE SYSTEM (%(percent)s)"), {"percent": 100 * share}
