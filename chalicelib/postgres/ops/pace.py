"""How fast the buffers were poured, and what waited in them, at moments of the past."""

from collections.abc import Sequence

from chalicelib.messages.pace import PACE_SECONDS, Pace
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.resources import resources

# Times are seconds since the epoch, in which a buffer is busy from the acceptance of a message to
# its pour; the union of these times is found by sorting them. At a moment on a whole second, a
# message waits that was accepted before it and poured after it.
_PACE = f"""
    WITH named AS (
        SELECT * FROM unnest(%(resources)s::text[], %(buffers)s::text[])
            AS given (resource_name, buffer)),
    message AS MATERIALIZED (
        SELECT buffer, floor(date_part('epoch', least(accepted_at, poured_at)))::bigint AS accepted,
            ceil(date_part('epoch', poured_at))::bigint AS poured,
            sum(writes) AS writes, count(*) AS messages, max(date_part('epoch', poured_at)) AS last
        FROM decanter.ledger JOIN named USING (resource)
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
    busy AS (
        SELECT buffer, min(accepted) AS since, max(poured) AS until
        FROM numbered GROUP BY buffer, number),
    moment AS (
        SELECT DISTINCT buffer, at
        FROM named, unnest(%(moments)s::bigint[]) AS moments (at))
    SELECT buffer, at, coalesce(poured.writes, 0), coalesce(poured.messages, 0),
        coalesce(busy.seconds, 0), at - coalesce(poured.last, at - {PACE_SECONDS}),
        coalesce(waiting.writes, 0), waiting.last
    FROM moment,
    LATERAL (
        SELECT sum(writes) AS writes, sum(messages) AS messages, max(last) AS last FROM message
        WHERE message.buffer = moment.buffer AND poured > at - {PACE_SECONDS} AND poured <= at
    ) AS poured,
    LATERAL (
        SELECT sum(least(until, at) - greatest(since, at - {PACE_SECONDS})) AS seconds FROM busy
        WHERE busy.buffer = moment.buffer AND since < at AND until > at - {PACE_SECONDS}
    ) AS busy,
    LATERAL (
        SELECT sum(writes) AS writes, max(last) AS last FROM message
        WHERE message.buffer = moment.buffer AND accepted < at AND poured > at
    ) AS waiting
    ORDER BY buffer, at
"""


def paces(
    transaction: Transaction, moments: Sequence[int], seconds: float | None = None
) -> list[Pace]:
    """The pace of each buffer with resources at each of these moments, seconds since the epoch. A
    moment's figures are whole once all that waited then is poured.

    seconds: a limit for the query; raises StatementTimedOut.
    """
    buffers = {name: buffer(name) for name in resources()}
    bound = {
        "resources": [*buffers],
        "buffers": [*buffers.values()],
        "moments": [*moments],
        "since": min(moments) - PACE_SECONDS,
    }
    found = transaction.execute(_PACE, bound, seconds=seconds)
    return [
        Pace(buffer, at, int(writes), int(messages), float(busy), float(idle), int(behind), last)
        for buffer, at, writes, messages, busy, idle, behind, last in found
    ]


def buffer(name: str) -> str:
    """The buffer of a resource: ordered, unordered or stream."""
    resource = resources()[name]
    if resource.is_fronted:
        return "stream"
    return "ordered" if resource.ordered else "unordered"
