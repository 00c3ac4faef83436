"""A replacement of SQS that accepts messages at once and keeps none.

It answers like SQS (AWS JSON protocol, over plain HTTP), so that an SDK does all of its work. For
the measured process MiniStack would be no closer to SQS, and it would grow with every message.
`python -m benchmarks.aws` prints its port and serves until its input ends.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, ClassVar

from decanter.local.network import LOOPBACK

_SEQUENCE = 18_888_000_000_000_000_000


@contextmanager
def served() -> Iterator[int]:
    """Run the server in another process for the block; provide its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.aws"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None  # noqa: S101
        yield int(process.stdout.readline())
    finally:
        process.communicate()


def taken(port: int) -> int:
    """Return the number of messages that the server has accepted so far."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/") as answer:
        return int(json.load(answer)["taken"])


def environment(port: int) -> dict[str, str]:
    """Return the environment of the API function, with the server in place of AWS."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "DECANTER_", "POWERTOOLS_"))
    }
    endpoint = f"http://{LOOPBACK}:{port}"
    return kept | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "ASIALOCALLOCALLOCALX",
        "AWS_SECRET_ACCESS_KEY": "s" * 40,
        "AWS_SESSION_TOKEN": "t" * 800,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_LAMBDA_FUNCTION_NAME": "decanter-api",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
        "DECANTER_AUTH": "jwt",
        "DECANTER_QUEUES": "decanter-dev",
        "DECANTER_ORDERED_QUEUE_URL": f"{endpoint}/123456789012/decanter-dev-ordered.fifo",
        "DECANTER_UNORDERED_QUEUE_URL": f"{endpoint}/123456789012/decanter-dev-unordered",
        "DECANTER_READER_FUNCTION": "decanter-dev-reader",
        "DECANTER_RECEIPT_KEY": "k" * 43,
    }


class Queues(ThreadingHTTPServer):
    """taken: number of messages accepted so far."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.taken = 0
        self.numbers = count(_SEQUENCE)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Queues
    actions: ClassVar = ("SendMessage", "SendMessageBatch")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        action = self.headers["X-Amz-Target"].rpartition(".")[2]
        is_signed = "Signature=" in self.headers["Authorization"]
        if action not in self.actions or not is_signed:
            self.send_error(400)
            return
        if action == "SendMessage":
            self._answer(self._accept(asked))
        else:
            entries = [{"Id": each["Id"], **self._accept(each)} for each in asked["Entries"]]
            self._answer({"Successful": entries})

    def do_GET(self) -> None:
        self._answer({"taken": self.server.taken})

    def _accept(self, message: dict[str, Any]) -> dict[str, str]:
        self.server.taken += 1
        number = next(self.server.numbers)
        body = message["MessageBody"].encode()
        answer = {
            "MessageId": f"11111111-2222-4333-8444-{number % 10**12:012d}",
            "MD5OfMessageBody": hashlib.md5(body, usedforsecurity=False).hexdigest(),
        }
        return answer | ({"SequenceNumber": str(number)} if "MessageGroupId" in message else {})

    def _answer(self, answer: Mapping[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("x-amzn-RequestId", "11111111-2222-5333-8444-555555555555")
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("connection", "keep-alive")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""


def main() -> None:
    with Queues() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
