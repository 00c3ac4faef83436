"""The processor time of an accepted write in the API function, and in its peers.

The whole handler is measured, from the proxy event of API Gateway to its answer, including the call
to SQS: user and system time of the process, which does not depend on waiting or other processes.
Every peer has a process. All processes are restarted after each generation of samples, because
memory layout and hash order make a process faster or slower for its lifetime.

SQS is a small server in another process, whose time does not count.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks import aws
from benchmarks.harness import Json, Result, Samples, interleave
from benchmarks.intake.cases import Case, cases, event
from benchmarks.intake.peers import PEERS

FULL, QUICK = (6, 16), (2, 8)
"""Generations of processes, and rounds of samples in each."""


def run(quick: bool) -> Iterator[Result]:
    """Yield the milliseconds a request of each case."""
    generations, rounds = QUICK if quick else FULL
    asked = cases()
    found: dict[str, Samples] = {case.name: {peer: [] for peer in PEERS} for case in asked}
    with aws.served() as port:
        for generation in range(generations):
            with ExitStack() as processes:
                workers = {peer: processes.enter_context(Worker(peer, port)) for peer in PEERS}
                for case in asked:
                    turns = {p: partial(each.milliseconds, case) for p, each in workers.items()}
                    for peer, samples in interleave(turns, rounds, generation).items():
                        found[case.name][peer] += samples
    for case in asked:
        yield Result({"case": case.name, "rows": case.rows}, "ms", found[case.name])


class Times(NamedTuple):
    """Milliseconds of a request: of the processor, and by the clock on the wall."""

    processor: float
    wall: float


class Worker:
    """The process of a peer. peers: the module that has it. more: of its environment."""

    def __init__(
        self, peer: str, port: int, peers: str = "benchmarks.intake.peers", **more: str
    ) -> None:
        self.peer, self.port = peer, port
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.intake.worker", peers, peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=aws.environment(port) | more,
            cwd=Path(__file__).parents[2],  # to serve the project's contract
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def milliseconds(self, case: Case) -> float:
        """Return the processor time of a request."""
        return self.times(case, event(case, self.peer)).processor

    def times(self, case: Case, event: Json) -> Times:
        """Return what a request takes. Raise AssertionError unless every request was accepted and
        its message is on the queue, its entry in the table, or its row asked for."""
        assert self.process.stdin is not None  # noqa: S101
        assert self.process.stdout is not None  # noqa: S101
        before = aws.counts(self.port)
        asked = json.dumps({"event": event, "count": case.calls})
        self.process.stdin.write(asked + "\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline() or '{"wrong": ["the process ended"]}')
        after = aws.counts(self.port)
        taken, given = after.taken - before.taken, after.given - before.given
        if found["wrong"] or (given if case.method == "GET" else taken) < case.calls:
            done = f"{taken} messages or entries, {given} rows"
            raise AssertionError(f"{self.peer}, {case.name}: {done}, {found['wrong']}")
        return Times(*(each / case.calls * 1_000 for each in found["seconds"]))
