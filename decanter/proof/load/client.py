"""A client that writes as real ones do: it gives up waiting, hangs up, and sends again with the
same Idempotency-Key."""

import http.client
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple
from urllib.parse import urlsplit

from decanter.proof.history import Attempt
from decanter.proof.load.requests import PlannedRequest

_MOST_TRIES = 60
_LONGEST_WAIT_SECONDS = 4.0
_PAUSE_SECONDS = 0.2
_TO_SEND_AGAIN = frozenset({429, 500, 502, 503, 504})


class HttpAnswer(NamedTuple):
    """An answer of the API."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Interrupted(Exception):
    """The run has ended before the client got an answer."""


@dataclass
class Calls:
    """Calls of one client to the API, over one connection at a time."""

    api_url: str
    token: str
    _connection: http.client.HTTPConnection | None = field(default=None, init=False)

    def call(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> HttpAnswer | None:
        """The answer, or None if none came within that time."""
        try:
            connection = self._connected(seconds)
            connection.request(method, self._target(path), body, self._with_token(headers))
            answer = connection.getresponse()
            return HttpAnswer(answer.status, dict(answer.headers), answer.read())
        except (OSError, http.client.HTTPException):
            self.close()
            return None

    def hang_up(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], sent: float
    ) -> None:
        """Send a part of a request, from 0 to 1, and close the connection."""
        self.close()
        with suppress(OSError, http.client.HTTPException):
            connection = self._connected(seconds=5)
            connection.putrequest(method, self._target(path))
            length = {} if body is None else {"Content-Length": str(len(body))}
            for name, value in (self._with_token(headers) | length).items():
                connection.putheader(name, value)
            connection.endheaders()
            if body:
                connection.send(body[: int(len(body) * sent)])
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self, seconds: float) -> http.client.HTTPConnection:
        if self._connection is None:
            address = urlsplit(self.api_url)
            self._connection = http.client.HTTPConnection(address.hostname or "", address.port)
        self._connection.timeout = seconds
        if self._connection.sock is not None:
            self._connection.sock.settimeout(seconds)
        return self._connection

    def _target(self, path: str) -> str:
        return urlsplit(self.api_url).path + path

    def _with_token(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {**headers, "Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class WritingClient:
    """Sends requests one after the other, each until it is answered for good.

    attempts: of all clients. stopped: ends it early.
    """

    name: str
    calls: Calls
    attempts: list[Attempt]
    random: Random
    stopped: threading.Event

    def send_all(self, requests: Iterable[PlannedRequest]) -> None:
        with suppress(Interrupted):
            for each in requests:
                self.send(each)
        self.calls.close()

    def send(self, planned: PlannedRequest) -> None:
        """Send a request until it is accepted or refused; once, if it has no Idempotency-Key.
        Raises Interrupted."""
        for attempt in range(_MOST_TRIES if planned.is_keyed else 1):
            if self.stopped.is_set():
                raise Interrupted
            answer = self._attempt(planned, is_first=not attempt)
            if answer is not None and answer.status not in _TO_SEND_AGAIN:
                return
            if planned.is_keyed:
                self.stopped.wait(self._pause(answer, attempt))

    def _attempt(self, planned: PlannedRequest, *, is_first: bool) -> HttpAnswer | None:
        asked = (planned.method, planned.path, planned.body, planned.headers)
        begun = Attempt(planned.number, self.name, planned.key, planned.writes, sent_at=time.time())
        if is_first and planned.hang_up:
            sent = 1.0 if planned.hang_up == "answer" else self.random.random()
            self.calls.hang_up(*asked, sent)
            answer = None
        else:
            answer = self.calls.call(*asked, planned.patience_seconds)
        self.attempts.append(begun if answer is None else _answered(begun, answer))
        return answer

    def _pause(self, answer: HttpAnswer | None, attempt: int) -> float:
        """Seconds until the next try: what the answer asks for, or longer each time; with jitter,
        so that clients do not come back together."""
        asked = "" if answer is None else answer.headers.get("Retry-After", "")
        seconds = float(asked) if asked.isdigit() else _PAUSE_SECONDS * 2**attempt
        return min(seconds, _LONGEST_WAIT_SECONDS) * self.random.uniform(0.5, 1.5)


def _answered(begun: Attempt, answer: HttpAnswer) -> Attempt:
    location = answer.headers.get("Location", "") if answer.status == 202 else ""
    return begun._replace(
        answered_at=time.time(),
        status=answer.status,
        receipt=location.rsplit("/", 1)[-1] or None,
    )
