"""Ways that were tried of bringing rows and ledger entries into Postgres, side by side.

Each line is one statement for 10,000 rows of `observations`, or 10,000 entries of the ledger, in a
transaction of its own; what Python has to do to the rows first is part of the time. Last comes
where the time of the drain's own statement goes within Postgres, by EXPLAIN (ANALYZE).
"""

import io
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from chalicelib.messages.receipt import new_id
from chalicelib.postgres.connecting import session
from chalicelib.postgres.resources import resources
from chalicelib.postgres.sql.statements import statement
from decanter.bench.database import own_database
from decanter.bench.peers import copied
from decanter.bench.rows import airports, weather

ROWS = 10_000
_FIELDS = {
    "station": "varchar(4)",
    "observed_at": "timestamptz",
    "temperature_c": "numeric(4,1)",
    "wind_kt": "numeric(5,1)",
    "pressure_hpa": "numeric(6,2)",
    "report": "jsonb",
}
_COLUMNS = ", ".join(_FIELDS)
_TYPES = ", ".join(f"{name} {kind}" for name, kind in _FIELDS.items())
_PATHS = ", ".join(f"{name} {kind} PATH '$.{name}'" for name, kind in _FIELDS.items())
_ARRAYS = ", ".join(f"%s::{kind}[]" for kind in _FIELDS.values())
_INTO = f"INSERT INTO observations ({_COLUMNS})"
_CLAIM = "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes) SELECT * FROM"
_CLAIM_JSON = f"{_CLAIM} json_to_recordset(%s::json) AS c(id uuid, fp text, writes integer)"
_CLAIM_ARRAYS = f"{_CLAIM} unnest(%s::uuid[], %s::text[], %s::integer[])"
_CONFLICT = " ON CONFLICT DO NOTHING"


def run(quick: bool, as_json: bool) -> int:
    """Print a line for each way: milliseconds, and how many times the first of its kind."""
    rounds = 3 if quick else 9
    with own_database() as url:
        connection = session.opened(url, "bench")
        connection.autocommit = True
        with connection.cursor() as cursor:
            stations = airports(1_000)
            present = json.dumps([{**row, "active": True} for row in stations])
            into = "INSERT INTO stations SELECT * FROM json_populate_recordset(NULL::stations, %s)"
            cursor.execute(into, (present,))
            rows = weather([row["icao"] for row in stations], ROWS)
            for kind, ways in (("rows", _row_ways(cursor, rows)), ("ledger", _claim_ways(cursor))):
                _report(kind, _measure(cursor, ways, rounds), as_json)
            _report("parts", _parts(cursor, rows, rounds), as_json)
        connection.close()
    return 0


def _row_ways(cursor: Any, rows: list[dict[str, Any]]) -> dict[str, Callable[[], None]]:
    text = json.dumps(rows)

    def select(source: str) -> Callable[[], None]:
        return lambda: cursor.execute(f"{_INTO} SELECT {_COLUMNS} FROM {source}", (text,))

    def arrays() -> None:
        columns = [list(column) for column in zip(*(row.values() for row in rows), strict=True)]
        columns[-1] = [json.dumps(report) for report in columns[-1]]
        cursor.execute(f"{_INTO} SELECT * FROM unnest({_ARRAYS})", columns)

    def copy() -> None:
        lines = "".join("\t".join(map(copied, row.values())) + "\n" for row in rows)
        cursor.copy_expert(f"COPY observations ({_COLUMNS}) FROM STDIN", io.StringIO(lines))

    return {
        "json_to_recordset": select(f"json_to_recordset(%s::json) AS r({_TYPES})"),
        "jsonb_to_recordset": select(f"jsonb_to_recordset(%s::jsonb) AS r({_TYPES})"),
        "JSON_TABLE": select(f"JSON_TABLE(%s::jsonb, '$[*]' COLUMNS ({_PATHS})) AS r"),
        "unnest of arrays": arrays,
        "COPY": copy,
        "ordered by key": select(f"json_to_recordset(%s::json) AS r({_TYPES}) ORDER BY station"),
    }


def _claim_ways(cursor: Any) -> dict[str, Callable[[], None]]:
    entries = [(str(new_id(1_767_225_600_000 + n)), "0" * 32, 1) for n in range(ROWS)]

    def by_json(end: str) -> Callable[[], None]:
        def claim() -> None:
            named = [{"id": i, "fp": f, "writes": w} for i, f, w in entries]
            cursor.execute(_CLAIM_JSON + end, (json.dumps(named),))

        return claim

    def by_arrays(end: str) -> Callable[[], None]:
        def claim() -> None:
            columns = zip(*entries, strict=True)
            cursor.execute(_CLAIM_ARRAYS + end, [f"{{{','.join(map(str, c))}}}" for c in columns])
            if "RETURNING" in end:
                cursor.fetchall()

        return claim

    def copy() -> None:
        lines = "".join(f"{i}\t{f}\t{w}\n" for i, f, w in entries)
        columns = "dedup_id, fingerprint, writes"
        cursor.copy_expert(f"COPY decanter.ledger ({columns}) FROM STDIN", io.StringIO(lines))

    return {
        "arrays": by_arrays(""),
        "arrays, skip the known": by_arrays(_CONFLICT),
        "arrays, tell the new": by_arrays(f"{_CONFLICT} RETURNING dedup_id::text"),
        "JSON": by_json(""),
        "JSON, skip the known": by_json(_CONFLICT),
        "COPY": copy,
    }


def _measure(
    cursor: Any, ways: dict[str, Callable[[], None]], rounds: int
) -> dict[str, list[float]]:
    """Milliseconds, a figure a round; the ways take turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, way in ways.items():
            cursor.execute("TRUNCATE observations, decanter.ledger")
            cursor.execute("CHECKPOINT")
            started = time.perf_counter()
            cursor.execute("BEGIN")
            way()
            cursor.execute("COMMIT")
            if round_:  # the first one warms up
                found[name].append((time.perf_counter() - started) * 1000)
    return found


def _parts(cursor: Any, rows: list[dict[str, Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of what Postgres does for the drain's statement."""
    create = statement(resources()["observations"], "create", tuple(sorted(rows[0])))
    bound = create.bound(json.dumps(rows), len(rows))
    found: dict[str, list[float]] = {
        name: [] for name in ("all", "rows out of JSON", "table and indexes", "foreign key")
    }
    for round_ in range(rounds + 1):
        cursor.execute("TRUNCATE observations")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {create.sql}", bound)
        (((explained,),),) = cursor.fetchall()
        read = explained["Plan"]["Plans"][0]["Actual Total Time"]
        keys = sum(trigger["Time"] for trigger in explained["Triggers"])
        written = explained["Plan"]["Actual Total Time"] - read
        if round_:
            parts = (explained["Execution Time"], read, written, keys)
            for figures, part in zip(found.values(), parts, strict=True):
                figures.append(part)
    return found


def _report(kind: str, found: dict[str, list[float]], as_json: bool) -> None:
    first = statistics.median(next(iter(found.values())))
    for name, figures in found.items():
        median = statistics.median(figures)
        spread = [round(min(figures), 1), round(max(figures), 1)]
        if as_json:
            line = {"bench": "ways", "of": kind, "way": name, "ms": round(median, 1)}
            print(json.dumps({**line, "spread": spread, "ratio": round(median / first, 2)}))
        else:
            print(
                f"{kind:7} {name:24} {median:7.1f} ms ({spread[0]}-{spread[1]})"
                f"  {median / first:.2f} ×",
                flush=True,
            )
