"""What a container of the API function and one of a drain use: for a cold start, for a request, and
the most memory with the largest request or batch that there may be."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import aws
from benchmarks.drain.database import fill
from benchmarks.harness import OURS, Json, Result
from benchmarks.intake.cases import BULK_ROWS, cases, event
from benchmarks.intake.measure import Worker
from benchmarks.rows import airports, bodies, weather
from benchmarks.rows import event as batch
from benchmarks.service.container import Used
from benchmarks.service.loads import Load, prepare
from chalicelib.settings import MAX_ROWS

LARGEST_BATCH = (10, 2_200)
"""Messages, and rows of a message: nearly the 6 MB of an event, quotes escaped."""


class Rounds(NamedTuple):
    """How often containers are started, and requests are measured. rows: of the largest request.
    batch: of the largest batch, messages and rows of each."""

    starts: int
    requests: int
    rows: int
    batch: tuple[int, int]


FULL = Rounds(starts=7, requests=7, rows=MAX_ROWS, batch=LARGEST_BATCH)
QUICK = Rounds(starts=3, requests=3, rows=2_000, batch=(10, 50))


class Containers(NamedTuple):
    """Samples of one function. cold_starts: seconds of the processor from the start of a process
    to the end of its first call, without those of a second one. requests, rows: of a request, and
    of each further row in it; the API function's only. peak_bytes: resident. log_bytes: of a
    call."""

    cold_starts: Sequence[float]
    peak_bytes: int
    log_bytes: float
    requests: Sequence[float] = ()
    rows: Sequence[float] = ()

    def document(self) -> Json:
        """For the file of service times."""
        found: Json = {
            "cold_start_seconds": median(self.cold_starts),
            "peak_bytes": self.peak_bytes,
            "log_bytes": self.log_bytes,
        }
        if self.requests:
            found["request_seconds"] = median(self.requests)
            found["row_seconds"] = median(self.rows)
        return found


def measured(url: str, rounds: Rounds) -> dict[str, Containers]:
    """Measure both functions. url: of the database."""
    return {"api": _api(rounds), "drain": _drain(url, rounds)}


def results(found: Mapping[str, Containers]) -> Iterator[Result]:
    """Yield what was measured of each function."""
    for function, each in found.items():
        case = {"function": function}
        times = {"cold start": each.cold_starts, "request": each.requests, "row": each.rows}
        for name, seconds in times.items():
            if seconds:
                samples = {OURS: [every * 1_000 for every in seconds]}
                yield Result({**case, "of": name}, "ms", samples)
        yield Result({**case, "of": "peak"}, "MiB", {OURS: [each.peak_bytes / 2**20]})
        yield Result({**case, "of": "log of a call"}, "bytes", {OURS: [each.log_bytes]})


def _api(rounds: Rounds) -> Containers:
    with aws.served() as port:
        environment = aws.environment(port)
        small = event(cases()[0], OURS)
        starts = [_start("api", environment, [small] * 2) for _ in range(rounds.starts + 1)]
        largest = _start("api", environment, [*_largest_requests(rounds.rows)])
        requests, rows = _requests(port, rounds.requests)
    return _containers(starts, largest)._replace(requests=requests, rows=rows)


def _drain(url: str, rounds: Rounds) -> Containers:
    own = {"DECANTER_AUTH": "jwt", "DECANTER_DATABASE_URL": url, "DECANTER_PARTIAL_RESPONSES": "1"}
    environment = {**os.environ, **own}
    messages, rows = rounds.batch
    starts = []
    for _ in range(rounds.starts + 1):
        events = prepare(url, Load("ordered", ("create",), 1, 1)).events
        starts.append(_start("drain_ordered", environment, events[:2]))
    fill(url, [])
    largest = _start("drain_ordered", environment, [*_largest_batches(messages, rows)])
    return _containers(starts, largest)


def _containers(starts: list[list[Used]], largest: list[Used]) -> Containers:
    """starts: of processes with two calls each; the first one writes the bytecode. largest: of one
    with the largest calls."""
    first, second = zip(*starts[1:], strict=True)
    return Containers(
        [2 * one.processor - two.processor for one, two in zip(first, second, strict=True)],
        max(each.peak_bytes for each in largest),
        median(two.log_bytes - one.log_bytes for one, two in zip(first, second, strict=True)),
    )


def _start(function: str, environment: Mapping[str, str], events: Sequence[Json]) -> list[Used]:
    """Call a function in a new process, and return what it has used after each call. Raises
    CalledProcessError if it fails, AssertionError if a write was not accepted or poured."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.service.container", function],
        input="\n".join(map(json.dumps, events)),
        env=environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = [Used(*json.loads(line)) for line in done.stdout.splitlines()]
    is_api = function == "api"
    member = "statusCode" if is_api else "batchItemFailures"
    expected: object = 202 if is_api else []
    for each in found:
        if not isinstance(each.answer, dict) or each.answer.get(member) != expected:
            raise AssertionError(f"{function}: {str(each.answer)[:500]}")
    return found


def _requests(port: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of the processor of a request, and of each further row."""
    small, *_, large, _ = cases()
    requests, rows = [], []
    for _ in range(rounds):
        with Worker(OURS, port) as worker:
            worker.milliseconds(small)  # a warm-up
            one, many = (worker.milliseconds(case) / 1_000 for case in (small, large))
        requests.append(one)
        rows.append((many - one) / (BULK_ROWS - 1))
    return requests, rows


def _largest_requests(rows: int) -> Iterator[Json]:
    """Yield requests of so many rows, as CSV, and of a third of them, as JSON."""
    reports = weather([row["icao"] for row in airports(100)], rows)
    for each in reports:
        del each["report"]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*reports[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows(reports)
    for kind, body in {
        "text/csv": text.getvalue(),
        "application/json": json.dumps(reports[: rows // 3]),
    }.items():
        asked = event(cases()[0], OURS)
        asked["headers"]["Content-Type"] = kind
        asked["multiValueHeaders"]["Content-Type"] = [kind]
        yield {**asked, "body": body}


def _largest_batches(messages: int, rows: int) -> Iterator[Json]:
    """Yield a batch of so many rows, one of which the database refuses, and the same rows again
    without a fault."""
    for country in ("none", "CH"):
        stations = [{**row} for row in airports(messages * rows)]
        stations[-1]["country"] = country
        yield batch(bodies("stations", "create-or-merge", stations, rows))
