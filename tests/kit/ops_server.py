"""A server in place of a deployed API, for clients of the calls under /ops."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest

PREFIX = "/api"
"""In front of the paths: a stage's name, as API Gateway has it."""


class Asked(NamedTuple):
    """A request. path: below /ops. body: of JSON, None without."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class Reply(NamedTuple):
    """An answer. body: text, or what becomes JSON."""

    body: Any
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012


Answering = Callable[[Asked], Reply]


@dataclass
class OpsServer:
    """url: of the API. answers: by method and path; the last one of a list is given for ever.
    otherwise: answers all others."""

    url: str = ""
    answers: dict[str, list[Reply | Answering]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    otherwise: Answering | None = None

    def on(self, call: str, *replies: Any) -> None:
        """Answer a call such as `GET overview`. replies: a Reply, a function that makes one, or the
        body of one."""
        self.answers[call] = [
            each if isinstance(each, Reply) or callable(each) else Reply(each) for each in replies
        ]

    def calls(self) -> list[str]:
        return [f"{each.method} {each.path}" for each in self.asked]

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        left = self.answers.get(f"{asked.method} {asked.path}")
        if left is None and self.otherwise:
            return self.otherwise(asked)
        if left is None:
            return problem(404, "unknown-path", f"there is no {asked.method} {asked.path}")
        found = left.pop(0) if len(left) > 1 else left[0]
        return found if isinstance(found, Reply) else found(asked)


def problem(status: int, type_: str, detail: str, **headers: str) -> Reply:
    """A problem as the API answers it."""
    body = {
        "type": f"urn:decanter:problem:{type_}",
        "title": "No luck",
        "status": status,
        "detail": detail,
        "instance": "/ops",
    }
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(body, status, {"Content-Type": "application/problem+json", **named})


@contextmanager
def ops_server() -> Iterator[OpsServer]:
    """Serve on a port of the loopback interface."""
    served = OpsServer()

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            parts = urlsplit(self.path)
            size = int(self.headers.get("Content-Length", 0))
            content = self.rfile.read(size)
            path = parts.path.removeprefix(f"{PREFIX}/ops/")
            reply = served.answer(
                Asked(
                    self.command,
                    path,
                    dict(parse_qsl(parts.query)),
                    {name.lower(): text for name, text in self.headers.items()},
                    json.loads(content) if content else None,
                )
            )
            text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            data = text.encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = handle_one

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}{PREFIX}"
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(name="server")
def fixture_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpsServer]:
    """Serve what the commands of an operator find in the environment; none of them waits."""
    with ops_server() as served:
        monkeypatch.setenv("DECANTER_URL", served.url)
        monkeypatch.setenv("DECANTER_TOKEN", "secret-token")
        monkeypatch.setattr(time, "sleep", lambda _seconds: None)
        yield served
