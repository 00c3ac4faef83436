"""Stands where SQS is, in a process of its own: takes messages at once and keeps none.

What it answers is what SQS answers (AWS JSON protocol, over plain HTTP), so that an SDK does all of
its work. `python -m decanter.bench.sqs_stub` prints its port and serves until its input ends.
"""

import hashlib
import json
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, ClassVar

from decanter.local.network import LOOPBACK

_SEQUENCE = 18_888_000_000_000_000_000


class Queues(ThreadingHTTPServer):
    """taken: messages so far."""

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
            self._answer(self._taken(asked))
        else:
            entries = [{"Id": each["Id"], **self._taken(each)} for each in asked["Entries"]]
            self._answer({"Successful": entries})

    def do_GET(self) -> None:
        self._answer({"taken": self.server.taken})

    def _taken(self, message: dict[str, Any]) -> dict[str, str]:
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
        """A line a request would be noise."""


def main() -> None:
    with Queues() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
