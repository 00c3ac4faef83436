"""A process with one handler, as Lambda runs it: `python -m benchmarks.intake.worker {module}
{peer}`, where the module has PEERS.

It reads lines of JSON, `{"event", "count"}`, and answers each with the seconds of so many calls, of
the processor and by the clock on the wall.
"""

import io
import json
import sys
import time
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.harness import Context, Json, timed
from benchmarks.intake.peers import Handler


def main(module: str, peer: str) -> None:
    answers = sys.stdout
    sys.stdout = io.StringIO()  # the log, which Lambda takes
    handler = import_module(module).PEERS[peer]()
    for line in sys.stdin:
        asked = json.loads(line)
        text = json.dumps(asked["event"])
        events = [json.loads(text) for _ in range(asked["count"])]
        processor, (given, wall) = timed(partial(_call, handler, events))
        wrong = [answer for answer in given if not 200 <= answer["statusCode"] < 300]
        answer = {"seconds": [processor, wall], "wrong": wrong[:1]}
        print(json.dumps(answer), file=answers, flush=True)


def _call(handler: Handler, events: list[Json]) -> tuple[list[Any], float]:
    """Return the answers, and the seconds that they took on the wall."""
    context = Context()
    began = time.perf_counter()
    answers = [handler(event, context) for event in events]
    return answers, time.perf_counter() - began


if __name__ == "__main__":
    main(*sys.argv[1:])
