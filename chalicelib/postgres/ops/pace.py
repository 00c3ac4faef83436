"""How fast the buffers were poured, and what waited in them, at moments of the past."""

from chalicelib.messages.pace import PACE_SECONDS, Pace
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.resources import resources

# Moments are numbered back from the last one, PACE_SECONDS apart; all times are seconds since the
# epoch. A buffer is busy from the acceptance of a message to its pour, and the union of these times
# is found by sorting them. At a moment, a message waits that was accepted before it and poured
# after it: most messages wait at none.
_PACE = f"""
    WITH named AS (
        SELECT * FROM unnest(%(resources)s::text[], %(buffers)s::text[])
            AS given (resource_name, buffer)),
    message AS MATERIALIZED (
        SELECT buffer, floor(date_part('epoch', least(accepted_at, poured_at))) AS accepted,
            ceil(date_part('epoch', poured_at)) AS poured,
            sum(writes) AS writes, count(*) AS messages, max(date_part('epoch', poured_at)) AS end
        FROM decanter.ledger JOIN named USING (resource_name)
        WHERE poured_at > timestamptz 'epoch' + %(since)s * interval '1 s' AND writes > 0
        GROUP BY 1, 2, 3),
    begun AS (
        SELECT *, accepted > max(poured) OVER (
            PARTITION BY buffer ORDER BY accepted, poured
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS after_a_pause
        FROM message),
    numbered AS (
        SELECT *, count(*) FILTER (WHERE after_a_pause)
            OVER (PARTITION BY buffer ORDER BY accepted, poured) AS number
        FROM begun),
    stretch AS (
        SELECT buffer, min(accepted) AS since, max(poured) AS until
        FROM numbered GROUP BY buffer, number),
    moment AS (
        SELECT back, %(last)s - {PACE_SECONDS} * back AS at
        FROM generate_series(0, %(count)s - 1) AS back),
    poured AS (
        SELECT buffer, floor((%(last)s - poured) / {PACE_SECONDS}) AS back,
            sum(writes) AS writes, sum(messages) AS messages, max(message.end) AS end
        FROM message WHERE poured <= %(last)s GROUP BY 1, 2),
    busy AS (
        SELECT buffer, back, sum(least(until, at) - greatest(since, at - {PACE_SECONDS})) AS seconds
        FROM stretch JOIN moment ON since < at AND until > at - {PACE_SECONDS} GROUP BY 1, 2),
    waiting AS (
        SELECT buffer, back, sum(writes) AS writes, max(message.end) AS end
        FROM message, generate_series(
            greatest(0, floor((%(last)s - poured) / {PACE_SECONDS}) + 1)::integer,
            least(%(count)s - 1, ceil((%(last)s - accepted) / {PACE_SECONDS}) - 1)::integer) AS back
        GROUP BY 1, 2)
    SELECT buffer, at, coalesce(poured.writes, 0), coalesce(poured.messages, 0),
        coalesce(busy.seconds, 0), at - coalesce(poured.end, at - {PACE_SECONDS}),
        coalesce(waiting.writes, 0), waiting.end
    FROM (SELECT DISTINCT buffer FROM named) AS buffers CROSS JOIN moment
    LEFT JOIN poured USING (buffer, back)
    LEFT JOIN busy USING (buffer, back)
    LEFT JOIN waiting USING (buffer, back)
    ORDER BY buffer, at
"""


def paces(
    transaction: Transaction, last: int, count: int = 1, seconds: float | None = None
) -> list[Pace]:
    """The pace of each buffer with resources at this moment, in seconds since the epoch, and at so
    many in all, each PACE_SECONDS before the next one. A moment's figures are whole once all that
    waited then is poured.

    seconds: a limit for the query; raises StatementTimedOut.
    """
    buffers = {name: buffer(name) for name in resources()}
    bound = {
        "resources": [*buffers],
        "buffers": [*buffers.values()],
        "last": last,
        "count": count,
        "since": last - PACE_SECONDS * count,
    }
    found = transaction.execute(_PACE, bound, seconds=seconds)
    return [
        Pace(buffer, int(at), int(writes), int(messages), float(busy), float(idle), int(n), end)
        for buffer, at, writes, messages, busy, idle, n, end in found
    ]


def buffer(name: str) -> str:
    """The buffer of a resource: ordered, unordered or stream."""
    resource = resources()[name]
    if resource.is_fronted:
        return "stream"
    return "ordered" if resource.ordered else "unordered"
