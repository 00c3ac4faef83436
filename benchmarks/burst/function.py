"""An API function that writes to Postgres itself, in containers as Lambda has them: a program.

A request gets an idle container, or a new one. A container serves one request at a time, and has a
connection of its own. It is a thread here, because a thousand processes do not fit into a machine;
its connection is a real one. A new container waits for as long as importing SQLAlchemy and psycopg2
took this process.

The function is built at its best: connection and statements are kept for the container's life; a
write and its idempotency key commit in one transaction, so that a client may send again; and a
container that gets no connection ends, so that none stays that can only fail.
"""

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from benchmarks import child
from benchmarks.harness import Json
from decanter.local.network import LOOPBACK

TOO_MANY = ("too many clients", "slots are reserved")
TITLE_TOO_MANY = "Too many connections"
TITLE_LOST = "No connection"


class Answer(NamedTuple):
    """What the function answers. is_usable: whether its container can serve another request."""

    status: int
    title: str = ""
    is_usable: bool = True


Function = Callable[[Json, str], Answer]
"""Writes a row, once for each idempotency key."""


class Containers:
    """The containers of a function. start: makes one, which is slow."""

    def __init__(self, start: Callable[[], Function]) -> None:
        self._start = start
        self._idle: list[Function] = []

    def serve(self, row: Json, key: str) -> Answer:
        try:
            container = self._idle.pop()
        except IndexError:
            container = self._start()
        answer = container(row, key)
        if answer.is_usable:
            self._idle.append(container)
        return answer


def function(url: str, pool: str) -> Function:
    """Return the function as a new container has it."""
    from sqlalchemy import NullPool, QueuePool, create_engine
    from sqlalchemy import exc as errors
    from sqlalchemy.dialects.postgresql import insert

    from benchmarks.burst.direct import KEYS, PER_CONTAINER
    from chalicelib.models import Observation

    kept = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_pre_ping": True}
    engine = create_engine(url, **(kept if pool == PER_CONTAINER else {"poolclass": NullPool}))
    claim, insert_row = insert(KEYS).on_conflict_do_nothing(), insert(Observation)

    def write(row: Json, key: str) -> Answer:
        try:
            with engine.begin() as connection:
                if connection.execute(claim, {"key": key}).rowcount:
                    connection.execute(insert_row, row)
        except errors.OperationalError as error:
            engine.dispose()
            is_full = any(text in str(error) for text in TOO_MANY)
            return Answer(503, TITLE_TOO_MANY if is_full else TITLE_LOST, is_usable=False)
        return Answer(201)

    return write


def _work(settings: Json, _hear: Callable[[], Json]) -> None:
    cold_start = _import_seconds()

    def start() -> Function:
        time.sleep(cold_start)
        return function(settings["url"], settings["pool"])

    function(settings["url"], settings["pool"])  # loads modules that the first ones would wait for
    containers = Containers(start)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            answer = containers.serve(
                json.loads(self.rfile.read(length)), self.headers["Idempotency-Key"]
            )
            body = json.dumps({"title": answer.title}).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/problem+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = Server((LOOPBACK, 0), Handler)
    child.say(server.server_address[1])
    server.serve_forever()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1_024


def _import_seconds() -> float:
    """Import what the function needs, and return the seconds that took."""
    started = time.perf_counter()
    import psycopg2  # noqa: F401
    import sqlalchemy.dialects.postgresql.psycopg2  # noqa: F401

    return time.perf_counter() - started


if __name__ == "__main__":
    child.serve(_work)
