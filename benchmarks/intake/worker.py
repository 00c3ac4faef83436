"""One handler in a process of its own, as Lambda runs it: `… intake_worker {peer}`.

Takes lines of JSON, `{"event", "count"}`, and answers each with the processor time of so many
calls.
"""

import gc
import json
import sys
import time
from typing import Any

from decanter.bench.peers_http import PEERS


class Context:
    """As much of a Lambda context as a handler reads."""

    function_name = "api"
    memory_limit_in_mb = 1_024
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:api"
    aws_request_id = "11111111-2222-4333-8444-555555555555"

    def get_remaining_time_in_millis(self) -> int:
        return 28_000


def main(peer: str) -> None:
    handler = PEERS[peer]()
    context = Context()
    for line in sys.stdin:
        asked = json.loads(line)
        text = json.dumps(asked["event"])
        events = [json.loads(text) for _ in range(asked["count"])]
        answers: list[Any] = []
        gc.collect()
        before = time.process_time()
        for event in events:
            answers.append(handler(event, context))
        seconds = time.process_time() - before
        wrong = [answer for answer in answers if answer["statusCode"] != 202]
        print(json.dumps({"seconds": seconds, "wrong": wrong[:1]}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
