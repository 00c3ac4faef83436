"""The processor time of a row in a bulk body, in the API function: CSV, NDJSON and a JSON array.

The table has 19 columns, as that of the flights out of New York has, and its CSV is as pandas
writes it: 517.0 for a whole number in a column with nulls. Measured is all from the request to its
answer, with the calls to SQS, for which a small server stands (`sqs_stub`). Beside it stands
`bare`: the standard library's reader, a dict and json.dumps for each row, with nothing checked,
nothing told apart and nothing sent. They take turns, a sample each.
"""

import csv
import gc
import io
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import boto3
import sqlalchemy as sa

from chalicelib.api.http.caller import Caller
from chalicelib.api.http.request import Request
from chalicelib.api.writes import calls
from chalicelib.buffer.sqs import put
from chalicelib.contract import resources
from decanter.bench.intake import environment, spread, stub
from decanter.contract import RULES, compiled
from decanter.contract.rules import rules

CSV_ROWS, JSON_ROWS = 51_000, 15_000
"""As many as a body may have, about."""

_TIMES = ("dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay")
_KEY = ("year", "month", "day", "carrier", "flight")
_START = datetime(2013, 1, 1, tzinfo=UTC)


def flights() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "flights",
        metadata,
        *[sa.Column(name, sa.SmallInteger, primary_key=True) for name in _KEY[:3]],
        *[sa.Column(name, sa.Integer) for name in _TIMES],
        sa.Column("carrier", sa.String(2), primary_key=True),
        sa.Column("flight", sa.Integer, primary_key=True),
        sa.Column("tailnum", sa.String(6)),
        sa.Column("origin", sa.String(3), nullable=False),
        sa.Column("dest", sa.Text, nullable=False),
        sa.Column("air_time", sa.Integer),
        sa.Column("distance", sa.Numeric(8, 2)),
        sa.Column("hour", sa.SmallInteger),
        sa.Column("minute", sa.SmallInteger),
        sa.Column("time_hour", sa.DateTime(timezone=True)),
    )
    return metadata


def rows(count: int) -> list[dict[str, Any]]:
    numbers = random.Random(1)  # noqa: S311
    found = []
    for number in range(count):
        at = _START + timedelta(minutes=10 * number)
        is_cancelled = numbers.random() < 0.03
        whole = [
            None if is_cancelled and each % 3 else float(numbers.randrange(2_400))
            for each in range(len(_TIMES) + 1)
        ]
        found.append(
            {
                **{"year": at.year, "month": at.month, "day": at.day},
                **dict(zip(_TIMES, whole, strict=False)),
                "carrier": numbers.choice(["UA", "AA", "B6", "DL", "EV"]),
                "flight": number % 8_000,
                "tailnum": None if is_cancelled else f"N{numbers.randrange(10_000, 99_999)}",
                "origin": numbers.choice(["EWR", "LGA", "JFK"]),
                "dest": numbers.choice(["Houston, TX", "IAH", "MIA"]),
                "air_time": whole[-1],
                "distance": float(numbers.randrange(80, 5_000)),
                **{"hour": at.hour, "minute": at.minute},
                "time_hour": at.strftime("%Y-%m-%dT%H:00:00Z"),
            }
        )
    return found


def run(quick: bool, as_json: bool) -> int:
    """Print a line for each kind of body."""
    rounds = 3 if quick else 9
    counts = (3_000, 1_000) if quick else (CSV_ROWS, JSON_ROWS)
    own_session = patch.object(boto3, "DEFAULT_SESSION", None)  # it keeps what the shell had
    with stub() as port, patch.dict(os.environ, environment(port)), own_session, _served(flights()):
        for kind, body, count, bare in _bodies(*counts):
            ask = partial(_ask, kind, body, count)
            found = [(_seconds(ask), _seconds(partial(bare, body))) for _ in range(rounds + 1)][1:]
            _report(kind, body, count, found, as_json)
    return 0


@contextmanager
def _served(metadata: sa.MetaData) -> Iterator[None]:
    """The API serves these tables meanwhile."""
    models = ModuleType("models")
    models.metadata = metadata  # type: ignore[attr-defined]
    document = compiled(models)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "contract.json")
        file.write_text(document, encoding="utf-8")
        file.with_name(RULES).write_text(rules(document), encoding="utf-8")
        with patch.object(resources, "_FILE", file):
            _forget()
            yield
    _forget()


def _forget() -> None:
    for each in (resources._rules, resources.resource, resources._check, put._client):
        each.cache_clear()


def _bodies(of_csv: int, of_json: int) -> list[tuple[str, bytes, int, Callable[[bytes], object]]]:
    many = rows(of_csv)
    few = many[:of_json]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*many[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows(many)
    lines = "\n".join(map(json.dumps, few))
    return [
        ("text/csv", text.getvalue().encode(), of_csv, _bare_csv),
        ("application/x-ndjson", lines.encode(), of_json, _bare_lines),
        ("application/json", json.dumps(few).encode(), of_json, _bare_json),
    ]


def _ask(kind: str, body: bytes, count: int) -> None:
    late = time.monotonic() + 600  # a busy machine must not make it too late to be answered
    headers = {"content-type": kind}
    request = Request("POST", "/flights", headers, body, Caller("me", None), received=late)
    answer = calls.create(request, "flights")
    if answer.status != 202 or answer.body["writes"] != count:
        raise AssertionError(f"{kind}: {answer}")


def _bare_csv(body: bytes) -> list[str]:
    return [json.dumps(row) for row in csv.DictReader(io.StringIO(body.decode(), newline=""))]


def _bare_lines(body: bytes) -> list[str]:
    return [json.dumps(json.loads(line)) for line in body.decode().split("\n")]


def _bare_json(body: bytes) -> list[str]:
    return [json.dumps(row) for row in json.loads(body)]


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


def _report(
    kind: str, body: bytes, count: int, found: list[tuple[float, float]], as_json: bool
) -> None:
    ours = [seconds / count * 1e6 for seconds, _ in found]
    ratios = [one / other for one, other in found]
    figures = {
        "bench": "bulk",
        "case": kind,
        "rows": count,
        "bytes": len(body),
        "seconds": round(statistics.median(ours) * count / 1e6, 3),
        "row_us": round(statistics.median(ours), 2),
        "row_spread": spread(ours, 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_spread": spread(ratios, 3),
    }
    if as_json:
        print(json.dumps(figures), flush=True)
        return
    low, high = spread(ours, 1)
    print(
        f"{kind:21} {count:6,} rows {len(body) / 1e6:.1f} MB  {figures['seconds']:5.2f} s "
        f" {figures['row_us']:5.1f} µs a row ({low}-{high})  {figures['ratio']:.2f} × bare",
        flush=True,
    )
