"""The cost of a cold start of the API function, and of its peers.

Each sample is a fresh interpreter, from its first line to the answer to its first write, including
all that the write loads lazily.

There are two kinds: with bytecode, as in packages of `decanter package`, and from source alone, as
in those of `chalice package`, for which Lambda cannot write any.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.aws import environment
from benchmarks.coldstart.peers import STARTS
from benchmarks.harness import OURS, Result, interleave
from benchmarks.intake.cases import cases, event

FULL = {"compiled": 40, "source": 10}
QUICK = {"compiled": 5, "source": 2}
"""Rounds of each kind of sample."""

_TIMED = """
import time
wall, processor = time.perf_counter(), time.process_time()
{start}
processor, wall = time.process_time() - processor, time.perf_counter() - wall
import json
print(json.dumps({{"processor": processor * 1000, "wall": wall * 1000}}))
"""


def run(quick: bool) -> Iterator[Result]:
    """Yield the milliseconds of each kind of sample, of processor and of wall-clock time."""
    for kind, rounds in (QUICK if quick else FULL).items():
        with _bytecode(kind) as settings:
            turns = {peer: partial(_start, peer, environment(1) | settings) for peer in STARTS}
            starts = interleave(turns, rounds)  # the first round writes the bytecode
        for clock in ("processor", "wall"):
            samples = {peer: [each[clock] for each in times] for peer, times in starts.items()}
            yield Result({"bytecode": kind, "clock": clock}, "ms", samples)


@contextmanager
def _bytecode(kind: str) -> Iterator[dict[str, str]]:
    """Provide settings of an interpreter that caches bytecode from its first run on, or never."""
    with tempfile.TemporaryDirectory(prefix="decanter-bench-") as folder:
        disabled = "1" if kind == "source" else ""  # empty is like not set
        yield {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": disabled}


def _start(peer: str, environment: Mapping[str, str]) -> dict[str, float]:
    """Time a cold start by each clock. Raise CalledProcessError unless its write was accepted."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _TIMED.format(start=STARTS[peer]),
            json.dumps(event(cases()[0], OURS if peer == OURS else "bare")),
        ],
        env=environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        check=True,
    )
    times: dict[str, float] = json.loads(done.stdout.splitlines()[-1])  # behind its log
    return times
