"""A ledger with ten million messages beside an empty one: what a create costs, a look-up of a
request's status, and a run of the sweep; how large a message in the ledger is; and how long a leaf
with a week's share of them takes to be emptied, beside one with a million.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from unittest.mock import patch

from benchmarks.growth import tables
from benchmarks.growth.load import LAST, Load, Numbers, loads
from benchmarks.growth.sample import CHECKPOINT, EMPTY, Sample, execute, pour, results, use
from benchmarks.harness import OURS, Context, Json, Result, interleave, timed
from chalicelib.postgres.ledger import IS_KEYED
from chalicelib.reader import handler as reader
from chalicelib.sweep import handler as sweep

DAYS = 30
"""Over which the messages of the large ledger are spread, evenly. None of them is old."""

ASKED, QUICK_ASKED = 500, 50
"""Requests a sample whose status is looked up."""

SWEPT, QUICK_SWEPT = 1_000_000, 1_000
"""Messages of the smaller leaf that the sweep empties."""

PART = 10_000_000
"""Messages that are entered at once. A checkpoint after each keeps Postgres' log short."""

_KEPT = 100_000  # one message in so many has an Idempotency-Key, and stays

# As the drain enters messages of one write to an ordered resource, with IDs as of `new_id`.
_FILL = """
    INSERT INTO decanter.ledger
        (dedup_id, fingerprint, writes, accepted_at, poured_at, keys, resource_name)
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
            || version || left(hash, 3) || '8' || substr(hash, 4, 11) || '0000')::uuid,
        hash, 1, at, at + interval '1 s', decode(left(hash, 16), 'hex'), '{table}'
    FROM (
        SELECT md5(n::text) AS hash, CASE WHEN n % {kept} = 0 THEN 8 ELSE 7 END AS version,
            now() - interval '1 day' * ({age} + {days} * (1 - n / {rows}::float8)) AS at
        FROM generate_series({first}::bigint, {last}) AS n) AS message
"""
_SOME = """
    SELECT dedup_id::text, fingerprint, (extract(epoch FROM accepted_at) * 1000)::bigint
    FROM decanter.ledger WHERE random() < {share} AND NOT {is_keyed} ORDER BY random() LIMIT {count}
"""
_ENTER = """
    INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, accepted_at)
    SELECT dedup_id, fingerprint, 1, timestamptz 'epoch' + accepted_at * interval '1 ms'
    FROM unnest(ARRAY{ids}::uuid[], ARRAY{fingerprints}::text[], ARRAY{times}::bigint[])
        AS message (dedup_id, fingerprint, accepted_at)
"""
_BYTES = """
    SELECT sum(pg_table_size(relid))::bigint, sum(pg_indexes_size(relid))::bigint
    FROM pg_partition_tree('decanter.ledger') WHERE isleaf
"""
# The last moment of each leaf that is over and has messages, in days before now.
_ENDED = """
    SELECT date_part('epoch', now() - ended)::float8 / 86400 FROM (
        SELECT to_date(substr(relname, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC'
            + interval '7 days' AS ended
        FROM pg_partition_tree('decanter.ledger') JOIN pg_class ON oid = relid
        WHERE isleaf AND relname ~ '^ledger_[0-9]{8}$' AND pg_relation_size(oid) > 0) AS leaf
    WHERE ended < now() - interval '1 min' ORDER BY ended
"""
# The first leaf is an emptied one, with all of its indexes and what it keeps.
_LEFT = """
    SELECT sum(n_dead_tup)::bigint,
        (array_agg(pg_total_relation_size(relid) ORDER BY relname))[1]
    FROM pg_stat_user_tables WHERE schemaname = 'decanter' AND relname ~ '^ledger_[0-9]{8}$'
"""
_TRUNCATE = "TRUNCATE decanter.ledger"
_VACUUM = "VACUUM ANALYZE decanter.ledger"


def run(large: str, empty: str, rows: int, rounds: int, quick: bool) -> Iterator[Result]:
    """Yield the figures of the ledgers of two databases. rows: messages in the large one."""
    execute(large, _TRUNCATE, *_filled(rows), _VACUUM)
    (sizes,) = execute(large, _BYTES)
    for part, bytes_ in zip(("table", "indexes"), sizes, strict=True):
        size = {"ledger": rows, "measure": f"size of the {part}"}
        yield Result(size, "bytes/message", {OURS: [bytes_ / rows]})

    numbers = Numbers(rows)
    for load in loads(tables.TIMED, "create", LAST, quick):
        pours: dict[str, Callable[[], Sample]] = {
            OURS: partial(_create, large, numbers, load),
            EMPTY: partial(_create, empty, numbers, load, _TRUNCATE),
        }
        yield from results({"ledger": rows, **load.case}, interleave(pours, rounds))

    questions = _questions(large, rows, QUICK_ASKED if quick else ASKED)
    execute(empty, _TRUNCATE, _entered(questions), _VACUUM)
    looks = {OURS: partial(_look_up, large, questions), EMPTY: partial(_look_up, empty, questions)}
    yield Result({"ledger": rows, "measure": "status"}, "ms", interleave(looks, rounds))

    execute(empty, _TRUNCATE)
    idle = {OURS: partial(_sweep_nothing, large), EMPTY: partial(_sweep_nothing, empty)}
    nothing = {"ledger": rows, "measure": "sweep, nothing is old"}
    yield Result(nothing, "ms", interleave(idle, rounds))

    count = QUICK_SWEPT if quick else SWEPT
    ended = [days for (days,) in execute(large, _ENDED)]
    ages = iter(ended)  # the first leaf has part of its week, and is not measured
    swept: dict[str, Callable[[], float]] = {
        OURS: lambda: _sweep(large, next(ages)),
        EMPTY: partial(_sweep_all, empty, ended[1], count),
    }
    measure = {"ledger": rows, "measure": "sweep of a leaf", "small": count}
    yield Result(measure, "ms", interleave(swept, min(rounds, len(ended) - 1)))
    ((dead, size),) = execute(large, _LEFT)
    if dead:
        raise AssertionError(f"the sweep has left {dead} dead rows")
    left = {"ledger": rows, "measure": "size of an emptied leaf"}
    yield Result(left, "bytes", {OURS: [float(size)]})
    took, _ = timed(lambda: execute(large, "VACUUM decanter.ledger"), time.perf_counter)
    yield Result({"ledger": rows, "measure": "vacuum"}, "ms", {OURS: [took * 1000]})


def _filled(rows: int, age: float = 0, days: float = DAYS) -> list[str]:
    """The statements that enter so many messages. age: of the last one, in days; days: between it
    and the first."""
    given = {"table": tables.TIMED, "days": days, "rows": rows, "age": age, "kept": _KEPT}
    parts = [(first, min(first + PART - 1, rows)) for first in range(1, rows + 1, PART)]
    filled = [_FILL.format(first=first, last=last, **given) for first, last in parts]
    return [each for one in filled for each in (one, CHECKPOINT)]


def _create(url: str, numbers: Numbers, load: Load, *before: str) -> Sample:
    """Into an empty table."""
    execute(url, f"TRUNCATE {load.table}", *before)
    return pour(url, load.events(load.take(numbers)), load.rows)


def _questions(url: str, rows: int, count: int) -> list[Json]:
    """The questions for the status of any requests in the ledger, as the API function asks them."""
    some = _SOME.format(share=min(1.0, 2 * count / rows), count=count, is_keyed=IS_KEYED)
    names = ("id", "fingerprint", "accepted_at")
    known = {"ask": "status", "messages": 1, "writes": 1}
    return [{**known, **dict(zip(names, each, strict=True))} for each in execute(url, some)]


def _entered(questions: Sequence[Json]) -> str:
    """The statement that enters the messages of these requests alone."""
    names = {"ids": "id", "fingerprints": "fingerprint", "times": "accepted_at"}
    return _ENTER.format(**{name: [q[member] for q in questions] for name, member in names.items()})


def _look_up(url: str, questions: Sequence[Json]) -> float:
    """Return the milliseconds of a look-up. Raise AssertionError unless all are applied."""
    use(url)
    reader.read(questions[0], Context())  # the connection is new
    took, answers = timed(
        lambda: [reader.read(each, Context()) for each in questions], time.perf_counter
    )
    if (states := {each["state"] for each in answers}) != {"applied"}:
        raise AssertionError(f"the states are {states}")
    return took * 1000 / len(questions)


def _sweep_nothing(url: str) -> float:
    """Return the milliseconds of a run. Raise AssertionError if it finds anything."""
    use(url)
    sweep.sweep(Context())  # the connection is new
    took, found = timed(lambda: sweep.sweep(Context()), time.perf_counter)
    if found["deleted"]:
        raise AssertionError(f"{found['deleted']} messages are old")
    return took * 1000


def _sweep(url: str, days: float) -> float:
    """Return the milliseconds of a run in which one leaf is older than so many days. Raise
    AssertionError unless it is emptied."""
    execute(url, CHECKPOINT)
    use(url)
    with patch.object(sweep, "_DAYS", days - 1 / 86400):  # they are poured a second later
        took, found = timed(lambda: sweep.sweep(Context()), time.perf_counter)
    if found != {"deleted": 0, "emptied": 1}:
        raise AssertionError(f"the sweep found {found}")
    return took * 1000


def _sweep_all(url: str, days: float, count: int) -> float:
    """The same in a ledger that has nothing but so many messages, of that week."""
    execute(url, _TRUNCATE, *_filled(count, age=days + 1, days=5), _VACUUM)
    return _sweep(url, days)
