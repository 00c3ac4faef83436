"""The cost of a cold start of the API function, beside what others would write.

Each sample is a fresh interpreter: from its first line to the answer to its first write, whatever
that write loads lazily included.

Two kinds of samples: with bytecode, as our packages have it, and from source alone, as in the
archives of `chalice package`, next to which Lambda cannot write any.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.coldstart.peers import STARTS
from benchmarks.harness import OURS, Result, interleaved
from benchmarks.intake.cases import cases, event
from benchmarks.intake.sqs import environment

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
    """Milliseconds of each kind of sample, by the processor's clock and the wall's."""
    for kind, rounds in (QUICK if quick else FULL).items():
        with _bytecode(kind) as settings:
            turns = {peer: partial(_start, peer, environment(1) | settings) for peer in STARTS}
            found = interleaved(turns, rounds)  # the first round writes the bytecode
        for clock in ("processor", "wall"):
            samples = {peer: [each[clock] for each in times] for peer, times in found.items()}
            yield Result({"bytecode": kind, "clock": clock}, "ms", samples)


@contextmanager
def _bytecode(kind: str) -> Iterator[dict[str, str]]:
    """Settings of an interpreter that has bytecode of all it needs after its first run, or none."""
    with tempfile.TemporaryDirectory(prefix="decanter-bench-") as folder:
        # Empty is as good as not set.
        without = "1" if kind == "source" else ""
        yield {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": without}


def _start(peer: str, environment: Mapping[str, str]) -> dict[str, float]:
    """One cold start, by clock. Raises CalledProcessError unless its first write was accepted."""
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
    found: dict[str, float] = json.loads(done.stdout)
    return found
