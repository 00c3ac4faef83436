"""A process with one handler, as Lambda runs it: `python -m benchmarks.intake.worker {peer}`.

It reads lines of JSON, `{"event", "count"}`, and answers each with the processor time of so many
calls.
"""

import json
import sys
from functools import partial
from typing import Any

from benchmarks.harness import Context, Json, timed
from benchmarks.intake.peers import PEERS, Handler


def main(peer: str) -> None:
    handler = PEERS[peer]()
    for line in sys.stdin:
        asked = json.loads(line)
        text = json.dumps(asked["event"])
        events = [json.loads(text) for _ in range(asked["count"])]
        took, answers = timed(partial(_call, handler, events))
        wrong = [answer for answer in answers if answer["statusCode"] != 202]
        print(json.dumps({"seconds": took, "wrong": wrong[:1]}), flush=True)


def _call(handler: Handler, events: list[Json]) -> list[Any]:
    context = Context()
    return [handler(event, context) for event in events]


if __name__ == "__main__":
    main(sys.argv[1])
