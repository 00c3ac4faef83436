"""The cost of a cold start of the API function, beside what others would write.

Each sample is a fresh interpreter: from its first line to the answer to its first write, whatever
that write loads lazily included. Only the network is left out: the client gets its answer from a
hook right before it would send. `client` is what cannot be done without: Chalice, and a client of
SQS made by boto3, with no request at all.

Two kinds of samples: with bytecode, as our packages have it, and from source alone, as in the
archives of `chalice package`, next to which Lambda cannot write any.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from decanter.bench.intake import cases, environment, event, spread

FULL = {"compiled": 40, "source": 10}
QUICK = {"compiled": 5, "source": 2}
"""Rounds of each kind of sample."""

_HOOK = """
from botocore.awsrequest import AWSResponse
class Raw:
    def stream(self, **_):
        yield BODY
def answer(request, **_):
    return AWSResponse(request.url, 200, {"Content-Type": "application/x-amz-json-1.0"}, Raw())
client.meta.events.register("before-send.sqs", answer)
"""
_SENT = '{"MessageId": "m", "MD5OfMessageBody": "5", "SequenceNumber": "1"}'
_FIRST = f"""
BODY = {_SENT.encode()!r}
{_HOOK}
import json, sys
class Context:
    aws_request_id = "11111111-2222-4333-8444-555555555555"
answer = handler(json.loads(sys.argv[1]), Context())
assert answer["statusCode"] == 202, answer
"""
_PEER = """
from decanter.bench import peers_http
made = peers_http.client()
peers_http.client = lambda: made
client = made
handler = peers_http.{peer}()
"""
STARTS = {
    "client": """
from chalice.app import Chalice
app = Chalice(app_name="bare")
import boto3
from botocore.config import Config
client = boto3.client("sqs", config=Config(connect_timeout=2, read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 2}, max_pool_connections=1))
""",
    "ours": """
import app
from chalicelib.buffer.sqs import put
client = put._client()
handler = app.app
"""
    + _FIRST,
    "bare": _PEER.format(peer="bare") + _FIRST,
    "powertools": _PEER.format(peer="powertools") + _FIRST,
}
_TIMED = """
import time
wall, cpu = time.perf_counter(), time.process_time()
{start}
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
import json
print(json.dumps([cpu * 1000, wall * 1000]))
"""

Samples = dict[str, list[tuple[float, float]]]
"""By peer, processor and wall time of each round in milliseconds."""


def run(quick: bool, as_json: bool) -> int:
    """Print a line for each kind of sample."""
    for kind, rounds in (QUICK if quick else FULL).items():
        with _bytecode(kind) as settings:
            _report(kind, _measure(rounds, settings), as_json)
    return 0


@contextmanager
def _bytecode(kind: str) -> Iterator[dict[str, str]]:
    """Settings of an interpreter that has bytecode of all it needs after its first run, or none."""
    with tempfile.TemporaryDirectory(prefix="decanter-bench-") as folder:
        settings = {"PYTHONPYCACHEPREFIX": folder}
        yield settings | ({"PYTHONDONTWRITEBYTECODE": "1"} if kind == "source" else {})


def _measure(rounds: int, settings: dict[str, str]) -> Samples:
    kept = {n: value for n, value in environment(1).items() if n != "PYTHONDONTWRITEBYTECODE"}
    found: Samples = {peer: [] for peer in STARTS}
    peers = list(STARTS)
    for round_ in range(rounds + 1):
        start = round_ % len(peers)
        for peer in peers[start:] + peers[:start]:
            figures = _start(peer, kept | settings)
            if round_:  # the first one writes the bytecode
                found[peer].append(figures)
    return found


def _start(peer: str, environment: dict[str, str]) -> tuple[float, float]:
    """One cold start. Raises CalledProcessError unless its first write was accepted."""
    request = json.dumps(event(cases()[0], "ours" if peer == "ours" else "bare"))
    code = _TIMED.format(start=STARTS[peer])
    done = subprocess.run(
        [sys.executable, "-c", code, request],
        env=environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        check=True,
    )
    cpu, wall = json.loads(done.stdout)
    return cpu, wall


def _report(kind: str, found: Samples, as_json: bool) -> None:
    cpu = {peer: [sample[0] for sample in samples] for peer, samples in found.items()}
    wall = {peer: [sample[1] for sample in samples] for peer, samples in found.items()}
    figures: dict[str, Any] = {"bench": "coldstart", "bytecode": kind}
    for peer in ("client", "bare", "powertools"):
        name = "" if peer == "client" else f"{peer}_"
        ratios = [a / b for a, b in zip(cpu["ours"], cpu[peer], strict=True)]
        figures[f"{name}ratio"] = round(statistics.median(ratios), 3)
        figures[f"{name}ratio_spread"] = spread(ratios, 3)
    ratios = [a / b for a, b in zip(wall["ours"], wall["client"], strict=True)]
    figures["wall_ratio"] = round(statistics.median(ratios), 3)
    for peer in found:
        figures[f"{peer}_ms"] = round(statistics.median(cpu[peer]), 1)
        figures[f"{peer}_spread"] = spread(cpu[peer], 1)
        figures[f"{peer}_wall_ms"] = round(statistics.median(wall[peer]), 1)
    if as_json:
        print(json.dumps(figures), flush=True)
        return
    times = "  ".join(f"{peer} {figures[f'{peer}_ms']:.0f} ms" for peer in found)
    low, high = figures["ratio_spread"]
    print(
        f"{kind:9} {times}  {figures['ratio']:.2f} × client ({low:.2f}-{high:.2f}; wall"
        f" {figures['wall_ratio']:.2f})  {figures['bare_ratio']:.2f} × bare"
        f"  {figures['powertools_ratio']:.2f} × powertools",
        flush=True,
    )
