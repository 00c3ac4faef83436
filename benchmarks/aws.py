"""A replacement of SQS, DynamoDB and the reader function that answers at once and keeps nothing.

It answers like AWS (JSON protocol, over plain HTTP), so that an SDK does all of its work. For the
measured process MiniStack would be no closer to AWS, and it would grow with every message.
`python -m benchmarks.aws` takes the row that every read shall find as a line of JSON, prints its
port, and serves until its input ends.
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
from typing import Any, NamedTuple
from zlib import crc32

from decanter.local.network import LOOPBACK

_SEQUENCE = 18_888_000_000_000_000_000


class StoredRow(NamedTuple):
    """The row that reads find. item: as an entry of DynamoDB, for its name only. answer: of the
    reader function, whatever it is asked."""

    item: Mapping[str, Any] = {}
    answer: Mapping[str, Any] = {}


NO_ROW = StoredRow()


@contextmanager
def served(stored: StoredRow = NO_ROW) -> Iterator[int]:
    """Run the server in another process for the block; provide its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.aws"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(json.dumps(stored).encode() + b"\n")
        process.stdin.flush()
        yield int(process.stdout.readline())
    finally:
        process.communicate()


class Counts(NamedTuple):
    """What the server has done so far. taken: messages and entries that it has accepted. given:
    rows that it was asked for. bytes_: of all entries, as JSON."""

    taken: int
    given: int
    bytes_: int


def counts(port: int) -> Counts:
    """Return what the server has done so far."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/") as answer:
        return Counts(*json.load(answer))


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


class Services(ThreadingHTTPServer):
    """The server. Attributes are the counts of what it has done, and what reads find."""

    daemon_threads = True

    def __init__(self, stored: StoredRow) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.stored = stored
        self.taken = self.given = self.bytes_ = 0
        self.numbers = count(_SEQUENCE)

    def reply(self, action: str, asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the answer of an action; None for one that it does not have. action: its name, or
        the path of a function that is invoked."""
        if action.endswith("/invocations"):
            self.given += 1
            return self.stored.answer
        match action:
            case "SendMessage":
                return self._message(asked)
            case "SendMessageBatch":
                sent = [{"Id": each["Id"], **self._message(each)} for each in asked["Entries"]]
                return {"Successful": sent}
            case "GetQueueAttributes":
                counted = (each for each in asked["AttributeNames"] if "Number" in each)
                return {"Attributes": dict.fromkeys(counted, "0")}
            case "PutItem":
                old = self._put(asked)
                return {"Attributes": old} if old and "ReturnValues" in asked else {}
            case "TransactWriteItems":
                for each in asked["TransactItems"]:
                    self._put(each.get("Put", {}))
                return {}
            case "GetItem":
                found = self._get(asked["Key"])
                return {"Item": found} if found else {}
            case "BatchGetItem":
                ((name, wanted),) = asked["RequestItems"].items()
                rows = filter(None, map(self._get, wanted["Keys"]))
                return {"Responses": {name: [*rows]}, "UnprocessedKeys": {}}
        return None

    def _message(self, message: Mapping[str, Any]) -> dict[str, str]:
        self.taken += 1
        number = next(self.numbers)
        body = message["MessageBody"].encode()
        answer = {
            "MessageId": f"11111111-2222-4333-8444-{number % 10**12:012d}",
            "MD5OfMessageBody": hashlib.md5(body, usedforsecurity=False).hexdigest(),
        }
        is_fifo = "MessageDeduplicationId" in message
        return answer | ({"SequenceNumber": str(number)} if is_fifo else {})

    def _put(self, put: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if "Item" not in put:
            return None
        self.taken += 1
        self.bytes_ += len(json.dumps(put["Item"]))
        return self._stored(put["Item"])

    def _get(self, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
        self.given += 1
        return self._stored(key)

    def _stored(self, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
        item = self.stored.item
        return item if item and item["pk"] == key["pk"] else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Services

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_signed = "Signature=" in self.headers["Authorization"]
        service, _, action = self.headers.get("X-Amz-Target", "").rpartition(".")
        answer = self.server.reply(action or self.path, asked) if is_signed else None
        if answer is None:
            self.send_error(400)
        else:
            self._answer(answer, has_checksum=service.startswith("DynamoDB"))

    def do_GET(self) -> None:
        server = self.server
        self._answer([server.taken, server.given, server.bytes_])

    def _answer(self, answer: Any, has_checksum: bool = False) -> None:
        content = json.dumps(answer, separators=(",", ":")).encode()
        self.send_response(200)
        self.send_header("x-amzn-RequestId", "11111111-2222-5333-8444-555555555555")
        if has_checksum:
            self.send_header("x-amz-crc32", str(crc32(content)))
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("connection", "keep-alive")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""


def main() -> None:
    stored = StoredRow(*json.loads(sys.stdin.readline()))
    with Services(stored) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
