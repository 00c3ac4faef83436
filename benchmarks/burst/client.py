"""Clients that send one write each at the same moment, and again while that may help.

Each has a thread and an HTTP connection. Before the burst, it sends its whole request but for the
last byte; the last bytes follow all at once, so that all requests are open before one is answered.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks import child
from benchmarks.harness import Json

PROCESSES = 4
ATTEMPTS = 5
"""Of each write."""

TIMEOUT_SECONDS = 30
"""A little more than the 29 s after which API Gateway answers 504."""

BACKOFF_SECONDS = 0.25
"""The longest wait before the first retry; doubled for each other. The wait is random."""

LONGEST_WAIT_SECONDS = 5.0

ACCEPTED = "accepted"
PASSING = frozenset({429, 500, 502, 503, 504})
"""Statuses after which a client sends again."""

_STACK_BYTES = 512 * 1024


class Attempt(NamedTuple):
    """One request. Times are of the monotonic clock. outcome: ACCEPTED, or what went wrong."""

    started: float
    ended: float
    outcome: str


class Target(NamedTuple):
    """Where clients send writes. urls: they take turns among clients."""

    urls: Sequence[str]
    headers: Json


Attempts = dict[int, list[Attempt]]
"""By the number of the write."""


class Burst:
    """Clients that are ready."""

    def __init__(self, processes: Sequence[child.Child]) -> None:
        self._processes = processes

    def send(self) -> Attempts:
        """Let all clients send, and wait until each was accepted or has given up."""
        for process in self._processes:
            process.tell({})
        told = [process.hear() for process in self._processes]
        return {
            int(number): [Attempt(*each) for each in attempts]
            for some in told
            for number, attempts in some.items()
        }


@contextmanager
def ready(target: Target, body: Json, clients: int) -> Iterator[Burst]:
    """Provide clients whose requests are open but for their last byte.

    body: of each request; `report` gets the number of the write.
    """
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                child.started(
                    "benchmarks.burst.client",
                    {"target": target, "body": body, "numbers": range_of(part, clients)},
                )
            )
            for part in range(PROCESSES)
        ]
        for process in processes:
            process.hear()
        yield Burst(processes)


def range_of(part: int, clients: int) -> list[int]:
    """Return the numbers of the clients of one process."""
    return list(range(part, clients, PROCESSES))


def send(target: Target, body: bytes, number: int, wait: Callable[[], None]) -> list[Attempt]:
    """Send a write until it is accepted. wait: returns at the moment of the burst."""
    backoff = random.Random(number)  # noqa: S311
    url = target.urls[number % len(target.urls)]
    attempts: list[Attempt] = []
    while len(attempts) < ATTEMPTS:
        started = time.monotonic()
        request = _Request(url, target.headers, body)
        if not attempts:
            wait()
            started = time.monotonic()
        outcome, may_pass, asked = request.finish()
        attempts.append(Attempt(started, time.monotonic(), outcome))
        if not may_pass:
            break
        longest = BACKOFF_SECONDS * 2 ** (len(attempts) - 1)
        time.sleep(min(max(asked, backoff.uniform(0, longest)), LONGEST_WAIT_SECONDS))
    return attempts


class _Request:
    """A request that was sent but for its last byte."""

    def __init__(self, url: str, headers: Json, body: bytes) -> None:
        split = urlsplit(url)
        self._last = body[-1:]
        self._error: Exception | None = None
        self._connection = HTTPConnection(split.netloc, timeout=TIMEOUT_SECONDS)
        try:
            self._connection.putrequest("POST", split.path)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self._connection.putheader(name, value)
            self._connection.endheaders(body[:-1])
        except (OSError, HTTPException) as error:
            self._error = error

    def finish(self) -> tuple[str, bool, float]:
        """Return the outcome, whether another attempt may have another, and the seconds that the
        server asks to wait."""
        try:
            if self._error:
                raise self._error
            self._connection.send(self._last)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            return type(error).__name__, True, 0.0
        finally:
            self._connection.close()
        if answer.status in (201, 202):
            return ACCEPTED, False, 0.0
        asked = answer.headers.get("Retry-After", "")
        seconds = float(asked) if asked.isdigit() else 0.0
        return f"{answer.status} {_title(text)}".strip(), answer.status in PASSING, seconds


def _title(text: bytes) -> str:
    try:
        problem = json.loads(text)
    except ValueError:
        return ""
    return str(problem.get("title") or problem.get("message") or "")


def _work(settings: Json, hear: Callable[[], Json]) -> None:
    target, numbers = Target(*settings["target"]), settings["numbers"]
    arrived, moment = threading.Semaphore(0), threading.Event()
    found: dict[int, list[Attempt]] = {}

    def wait() -> None:
        arrived.release()
        moment.wait()

    def one(number: int) -> None:
        report = {**settings["body"]["report"], "write": number}
        body = json.dumps({**settings["body"], "report": report}).encode()
        key = f'"{report["run"]}-{number}"'
        own = target._replace(headers={**target.headers, "Idempotency-Key": key})
        found[number] = send(own, body, number, wait)

    threading.stack_size(_STACK_BYTES)
    threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in numbers]
    for thread in threads:
        thread.start()
    for _ in threads:
        arrived.acquire()
    child.say("ready")
    hear()
    moment.set()
    for thread in threads:
        thread.join()
    child.say(found)


if __name__ == "__main__":
    child.serve(_work)
