"""The processor time of a row in a bulk body, in the API function: CSV, NDJSON and a JSON array.

Everything from the request to its answer is measured, including the calls to SQS, which a small
server replaces. `bare` is the standard library's reader with a dict and json.dumps for each row;
it checks and sends nothing.
"""

import csv
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import boto3

from benchmarks import aws, contract
from benchmarks.harness import OURS, Result, interleave, timed
from benchmarks.intake import flights
from chalicelib.api.http.caller import Caller
from chalicelib.api.http.request import Request
from chalicelib.api.writes import calls
from chalicelib.buffer.sqs import put

FULL, QUICK = (51_000, 15_000, 9), (3_000, 1_000, 3)
"""Rows of CSV, rows of JSON, and rounds. FULL has about as many rows as a body may have."""


def run(quick: bool) -> Iterator[Result]:
    """Yield the microseconds a row of each kind of body."""
    of_csv, of_json, rounds = QUICK if quick else FULL
    # The default session has the settings of the shell.
    own_session = patch.object(boto3, "DEFAULT_SESSION", None)
    with (
        aws.served() as port,
        patch.dict(os.environ, aws.environment(port)),
        own_session,
        _own_client(),
        contract.served(flights.tables()),
    ):
        for kind, body, count, bare in _bodies(of_csv, of_json):
            turns = {
                OURS: partial(_row_us, count, partial(_post, kind, body, count)),
                "bare": partial(_row_us, count, partial(bare, body)),
            }
            case = {"case": kind, "rows": count, "bytes": len(body)}
            yield Result(case, "µs/row", interleave(turns, rounds))


@contextmanager
def _own_client() -> Iterator[None]:
    """Have the API make its client of SQS anew, before and after the block."""
    put._client.cache_clear()
    yield
    put._client.cache_clear()


def _bodies(of_csv: int, of_json: int) -> list[tuple[str, bytes, int, Callable[[bytes], object]]]:
    many = flights.rows(of_csv)
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


def _post(kind: str, body: bytes, count: int) -> None:
    received = time.monotonic() + 600  # so that no busy machine exceeds the request's deadline
    headers = {"content-type": kind}
    request = Request("POST", "/flights", headers, body, Caller("me", None), received=received)
    answer = calls.create(request, "flights")
    if answer.status != 202 or answer.body["writes"] != count:
        raise AssertionError(f"{kind}: {answer}")


def _bare_csv(body: bytes) -> list[str]:
    return [json.dumps(row) for row in csv.DictReader(io.StringIO(body.decode(), newline=""))]


def _bare_lines(body: bytes) -> list[str]:
    return [json.dumps(json.loads(line)) for line in body.decode().split("\n")]


def _bare_json(body: bytes) -> list[str]:
    return [json.dumps(row) for row in json.loads(body)]


def _row_us(count: int, work: Callable[[], object]) -> float:
    return timed(work)[0] / count * 1e6
