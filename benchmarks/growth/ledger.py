"""A ledger with ten million messages beside an empty one: what a create costs, a look-up of a
request's status, and a run of the sweep; and how large a message in the ledger is.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from unittest.mock import patch

from benchmarks.growth import tables
from benchmarks.growth.load import LAST, Load, Numbers, loads
from benchmarks.growth.sample import EMPTY, Sample, execute, pour, results, use
from benchmarks.harness import OURS, Context, Json, Result, interleave, timed
from chalicelib.reader import handler as reader
from chalicelib.sweep import handler as sweep

DAYS = 30
"""Over which the messages of the large ledger are spread, evenly. None of them is old."""

ASKED, QUICK_ASKED = 500, 50
"""Requests a sample whose status is looked up."""

SWEPT, QUICK_SWEPT = 10_000, 1_000
"""Messages a sample that the sweep deletes, or about as many."""

# As the drain enters messages of one write to an ordered resource, with IDs as of `new_id`.
_FILL = """
    INSERT INTO decanter.ledger
        (dedup_id, fingerprint, writes, accepted_at, poured_at, keys, resource_name)
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
            || '7' || left(hash, 3) || '8' || substr(hash, 4, 11) || '0000')::uuid,
        hash, 1, at, at + interval '1 s', decode(left(hash, 16), 'hex'), '{table}'
    FROM (
        SELECT md5(n::text) AS hash,
            now() - interval '1 day' * ({age} + {days} * (1 - n / {rows}::float8)) AS at
        FROM generate_series(1::bigint, {rows}) AS n) AS message
"""
_SOME = """
    SELECT dedup_id::text, fingerprint, (extract(epoch FROM accepted_at) * 1000)::bigint
    FROM decanter.ledger WHERE random() < {share} ORDER BY random() LIMIT {count}
"""
_ENTER = """
    INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, accepted_at)
    SELECT dedup_id, fingerprint, 1, timestamptz 'epoch' + accepted_at * interval '1 ms'
    FROM unnest(ARRAY{ids}::uuid[], ARRAY{fingerprints}::text[], ARRAY{times}::bigint[])
        AS message (dedup_id, fingerprint, accepted_at)
"""
_BYTES = """
    SELECT pg_table_size(id), pg_indexes_size(id)
    FROM (SELECT 'decanter.ledger'::regclass AS id) AS ledger
"""
_TRUNCATE = "TRUNCATE decanter.ledger"
_VACUUM = "VACUUM ANALYZE decanter.ledger"


def run(large: str, empty: str, rows: int, rounds: int, quick: bool) -> Iterator[Result]:
    """Yield the figures of the ledgers of two databases. rows: messages in the large one."""
    execute(large, _TRUNCATE, _filled(rows), _VACUUM, "CHECKPOINT")
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
    ages = iter([DAYS * (1 - count * (1 + turn) / rows) for turn in range(rounds + 1)])
    swept: dict[str, Callable[[], float]] = {
        OURS: lambda: _sweep(large, next(ages)),
        EMPTY: partial(_sweep_all, empty, count),
    }
    yield Result({"ledger": rows, "measure": "sweep"}, "messages/s", interleave(swept, rounds))


def _filled(rows: int, age: int = 0) -> str:
    """The statement that enters so many messages. age: of the last one, in days."""
    return _FILL.format(table=tables.TIMED, days=DAYS, rows=rows, age=age)


def _create(url: str, numbers: Numbers, load: Load, *before: str) -> Sample:
    """Into an empty table."""
    execute(url, f"TRUNCATE {load.table}", *before)
    return pour(url, load.events(load.take(numbers)), load.rows)


def _questions(url: str, rows: int, count: int) -> list[Json]:
    """The questions for the status of any requests in the ledger, as the API function asks them."""
    some = _SOME.format(share=min(1.0, 2 * count / rows), count=count)
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
    """Return how many messages a second are deleted that are older than so many days."""
    use(url)
    with patch.object(sweep, "_DAYS", days):
        took, found = timed(lambda: sweep.sweep(Context()), time.perf_counter)
    return float(found["deleted"]) / took


def _sweep_all(url: str, count: int) -> float:
    """The same in a ledger that has nothing but so many old messages."""
    execute(url, _TRUNCATE, _filled(count, age=DAYS), _VACUUM)
    return _sweep(url, DAYS)
