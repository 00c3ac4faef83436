"""A proxy between the functions and AWS that fails as SQS and Lambda do."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, Literal
from urllib.parse import urlsplit

from decanter.local.network import LOOPBACK

Failing = Literal[
    "", "refused", "cut before", "cut after", "late before", "late after", "throttled", "in part"
]
"""How calls fail: not at all; with 503; without an answer, before or after they were carried out;
with an answer later than anyone waits for, likewise; with an error that may pass; or in part, which
is for batches of messages."""

Service = Literal["sqs", "lambda"]

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
_LATE_SECONDS = 7.0  # longer than the API function waits for SQS
_FORWARD_SECONDS = 60
_SINGLE = "AmazonSQS.SendMessage"
_BATCH = "AmazonSQS.SendMessageBatch"


class AwsProxy:
    """Forwards calls to a local cloud. `failing` says how those to each service fail now, and a
    share of them, from 0 to 1, does. accepted: bodies of all messages that the ordered queue took,
    with their places in its order."""

    def __init__(self, endpoint: str) -> None:
        self.failing: dict[Service, Failing] = {"sqs": "", "lambda": ""}
        self.share = 1.0
        self.accepted: list[tuple[str, int]] = []
        self._random = Random(endpoint)
        self._address = urlsplit(endpoint).netloc
        self._server = _Listener((LOOPBACK, 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="aws-proxy")
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    @property
    def variables(self) -> dict[str, str]:
        """Variables that make the SDK call SQS and Lambda through the proxy."""
        return {"AWS_ENDPOINT_URL_SQS": self.endpoint, "AWS_ENDPOINT_URL_LAMBDA": self.endpoint}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy._serve(self, body)

            def log_message(self, *_: Any) -> None:
                """Say nothing: functions call all the time."""

        return Handler

    def _serve(self, caller: BaseHTTPRequestHandler, body: bytes) -> None:
        service: Service = "lambda" if "/functions/" in caller.path else "sqs"
        failing = self.failing[service] if self._is_struck() else ""
        match failing:
            case "refused":
                return _answer(caller, 503, {}, b"{}")
            case "throttled":
                error = {"__type": "com.amazonaws.sqs#ThrottlingException", "message": "slower"}
                return _answer(caller, 400, {}, json.dumps(error).encode())
            case "cut before":
                return _cut(caller)
            case "late before":
                time.sleep(_LATE_SECONDS)
            case "in part" if caller.headers.get("X-Amz-Target") == _BATCH:
                return self._serve_in_part(caller, body)
        status, headers, answer = self._forward(caller, body)
        if failing == "cut after":
            return _cut(caller)
        if failing == "late after":
            time.sleep(_LATE_SECONDS)
        return _answer(caller, status, headers, answer)

    def _is_struck(self) -> bool:
        """Whether this call fails while a share of them does."""
        return self._random.random() < self.share

    def _serve_in_part(self, caller: BaseHTTPRequestHandler, body: bytes) -> None:
        """Pass on every other message of a batch, and say so."""
        asked = json.loads(body)
        entries = asked["Entries"]
        passed = {**asked, "Entries": entries[::2]}
        status, headers, text = self._forward(caller, json.dumps(passed).encode())
        answer = json.loads(text)
        if status == 200:
            failed = [
                {"Id": each["Id"], "Code": "InternalError", "SenderFault": False, "Message": "no"}
                for each in entries[1::2]
            ]
            answer["Failed"] = [*answer.get("Failed", []), *failed]
        _answer(caller, status, headers, json.dumps(answer).encode())

    def _forward(
        self, caller: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._address, timeout=_FORWARD_SECONDS)
        try:
            connection.request(caller.command, caller.path, body, _passed_on(caller.headers))
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
            if status == 200 and caller.headers.get("X-Amz-Target") in (_SINGLE, _BATCH):
                self.accepted.extend(_places(json.loads(body), json.loads(text)))
            return status, _passed_on(answer.headers), text
        except (OSError, http.client.HTTPException):
            return 503, {}, b"{}"
        finally:
            connection.close()


class _Listener(ThreadingHTTPServer):
    """Callers that hang up are what it is there for."""

    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a broken connection."""


@contextmanager
def aws_proxy(endpoint: str) -> Iterator[AwsProxy]:
    """A proxy to a local cloud, closed at the end."""
    made = AwsProxy(endpoint)
    try:
        yield made
    finally:
        made.close()


def _places(asked: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The bodies of the messages that were accepted, with their places, if the queue is ordered."""
    bodies = {each.get("Id"): each["MessageBody"] for each in asked.get("Entries", [asked])}
    for each in answer.get("Successful", [answer] if "Entries" not in asked else []):
        if "SequenceNumber" in each:
            yield bodies[each.get("Id")], int(each["SequenceNumber"])


def _passed_on(headers: Message) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


def _answer(
    caller: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    caller.send_response_only(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        caller.send_header(name, value)
    caller.end_headers()
    caller.wfile.write(body)


def _cut(caller: BaseHTTPRequestHandler) -> None:
    caller.close_connection = True
    caller.connection.shutdown(socket.SHUT_RDWR)
