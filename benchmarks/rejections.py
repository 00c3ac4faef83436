"""What operators ask of a large number of rejections, in seconds of the database."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2

from benchmarks.harness import OURS, Result, interleave, timed
from chalicelib.messages.place import place
from chalicelib.migrate.handler import upgrade
from chalicelib.postgres.connecting.connection import Transaction, connection, forget, transaction
from chalicelib.postgres.ops import rejections
from decanter.local.server import scratch_embedded

_ROWS, _QUICK_ROWS = 10_000_000, 1_000_000
_ROUNDS = 3
_LIMIT = 100
_MOST_BYTES = 4_000_000
_LONG_SECONDS = 600.0
_DAYS = 30

# Of three resources, evenly over thirty days, in messages of 100 rows.
_REJECTIONS = f"""
    INSERT INTO decanter.rejection
        (dedup_id, item, resource, op, type, reason, sqlstate, "constraint", row, rejected_at, key)
    SELECT (lpad(to_hex(n / 100), 8, '0') || '-0000-7000-8000-000000000000')::uuid, n %% 100,
        (ARRAY['stations', 'observations', 'reports'])[n %% 3 + 1], 'create',
        CASE WHEN n %% 1000000 = 7 THEN 'trigger'
            ELSE (ARRAY['check', 'conflict', 'null', 'value'])[n / 3 %% 4 + 1] END,
        'new row for relation "stations" violates check constraint "latitude": row ' || n, '23514',
        (ARRAY['latitude', 'longitude', 'name'])[n / 7 %% 3 + 1],
        json_build_object('icao', n, 'latitude', 91, 'name', 'Zurich Airport', 'country', 'CH'),
        now() - interval '{_DAYS} days' * (1 - n / %(rows)s::float),
        decode(lpad(to_hex(n), 16, '0'), 'hex')
    FROM generate_series(1, %(rows)s) AS n
"""
_ACT = "00000000-0000-4000-8000-000000000000"
_CORRECTIONS = f"""
    INSERT INTO decanter.act (id, kind, who, target) VALUES ('{_ACT}', 'discard', '', '{{}}');
    INSERT INTO decanter.correction (dedup_id, item, act, kind)
    SELECT dedup_id, item, '{_ACT}', 'discard' FROM decanter.rejection WHERE item % 10 = 0
"""


def run(quick: bool) -> Iterator[Result]:
    rows = _QUICK_ROWS if quick else _ROWS
    with scratch_embedded("rejections") as server:
        url = server.url()
        upgrade(url, "decanter@head")
        _fill(url, rows)
        held = connection(url, "benchmark", time.monotonic() + _LONG_SECONDS)
        try:
            for name, ask in _questions(rows).items():
                yield _measured(held, name, rows, ask)
        finally:
            forget("benchmark")


def _fill(url: str, rows: int) -> None:
    database = psycopg2.connect(url)
    database.autocommit = True
    with database.cursor() as cursor:
        cursor.execute(_REJECTIONS, {"rows": rows})
        cursor.execute(_CORRECTIONS)
        cursor.execute("VACUUM ANALYZE")
    database.close()


def _questions(rows: int) -> dict[str, Callable[[Transaction], Any]]:
    """By what they ask."""
    day = {"since": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
    middle = int((time.time() - _DAYS * 43_200) * 1_000_000)
    return {
        "page": _page({}),
        "page, resource": _page({"resource": "stations"}),
        "page, in the middle": _page({}, middle),
        "page, key": _page({"resource": "stations", "digest": f"{rows // 6 * 3:016x}"}),
        "page, rare type": _page({"type": "trigger"}),
        "page, corrected": _page({"state": "discarded"}),
        "causes": _causes({}),
        "causes, resource": _causes({"resource": "stations"}),
        "causes, 24 hours": _causes(day),
    }


def _page(filter: dict[str, Any], at: int | None = None) -> Callable[[Transaction], Any]:
    after = None if at is None else place(f"{at}.{_ACT}.0")
    given = (filter, after, _LIMIT, _MOST_BYTES, _LONG_SECONDS)
    return lambda running: rejections.page(running, *given)


def _causes(filter: dict[str, Any]) -> Callable[[Transaction], Any]:
    return lambda running: rejections.causes(running, filter, 1_000, _LONG_SECONDS)


def _measured(held: Any, name: str, rows: int, ask: Callable[[Transaction], Any]) -> Result:
    def sample() -> float:
        with transaction(held, time.monotonic() + _LONG_SECONDS, read_only=True) as running:
            return timed(lambda: ask(running), time.perf_counter)[0]

    samples = interleave({OURS: sample}, _ROUNDS)
    return Result({"question": name, "rejections": rows}, "s", samples)
