"""A model client of the API: it retries what may be retried, and loses nothing."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import urllib3

PASSING = frozenset({429, 503, 504})  # temporary, retried without limit
FAULTS = frozenset({500, 502})  # retried a few times
FAULT_RETRIES = 5
LONGEST_WAIT_SECONDS = 5.0
_FAULTS_SHOWN = 3


class RefusedError(Exception):
    """The API refused a request permanently."""


class StoppedError(Exception):
    """The caller gave up while the API was unavailable."""


@dataclass(frozen=True)
class Status:
    """The answer of `GET /writes/{receipt}`; times are None while they are unknown."""

    state: str
    writes: int
    applied: int
    rejected: int
    accepted_at: datetime | None
    poured_at: datetime | None
    rejections: tuple[dict[str, Any], ...]

    @property
    def is_final(self) -> bool:
        return self.state != "pending"


class Client:
    """Sends writes and asks for their outcome; may be shared by threads.

    stopped: once it is set, waiting ends with StoppedError.
    """

    def __init__(self, api_url: str, token: str, stopped: threading.Event) -> None:
        self._api = api_url
        self._authorization = {"Authorization": f"Bearer {token}"}
        self._stopped = stopped
        self._pool = urllib3.PoolManager(
            maxsize=8, retries=False, timeout=urllib3.Timeout(connect=5, read=40)
        )

    def create(self, resource: str, body: bytes, idempotency_key: str) -> str:
        """Send rows (a JSON array) until they are accepted; return the receipt.

        The key makes repetition harmless, so the rows are sent again whenever in doubt. Raise
        RefusedError with the API's problem, and StoppedError.
        """
        answer = self.answered("POST", f"/{resource}", body, idempotency_key)
        if answer.status == 202:
            return answer.headers["Location"].rsplit("/", 1)[-1]
        raise RefusedError(f"POST /{resource}: {problem(answer)}")

    def answered(
        self, method: str, path: str, body: bytes | None, idempotency_key: str | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Send a request until there is an answer that stays. Raise StoppedError."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = f'"{idempotency_key}"'  # a structured-field string
        faults = 0
        while True:
            answer = self._request(method, path, body, headers)
            if answer is not None:
                faults += answer.status in FAULTS
                if answer.status not in PASSING | FAULTS or faults > FAULT_RETRIES:
                    return answer
            self._wait(answer)

    def status(self, receipt: str) -> Status | None:
        """Return the state of a request, or None if it is unavailable. Raise RefusedError."""
        answer = self._request("GET", f"/writes/{receipt}", None, {})
        if answer is None or answer.status in PASSING | FAULTS:
            return None
        if answer.status != 200:
            raise RefusedError(f"GET /writes/…: {problem(answer)}")
        body = json.loads(answer.data)
        return Status(
            state=body["state"],
            writes=body["writes"],
            applied=body.get("applied") or 0,
            rejected=body.get("rejected") or 0,
            accepted_at=_time(body.get("accepted_at")),
            poured_at=_time(body.get("poured_at")),
            rejections=tuple(body.get("rejections") or ()),
        )

    def count(self, resource: str) -> int:
        """Return the number of rows, once it is available. Raise RefusedError, StoppedError."""
        while True:
            answer = self._request("GET", f"/{resource}?limit=1", None, {"Prefer": "count=exact"})
            if answer is not None and answer.status == 200:
                return int(answer.headers["Content-Range"].rsplit("/", 1)[-1])
            if answer is not None and answer.status not in PASSING | FAULTS:
                raise RefusedError(f"GET /{resource}: {problem(answer)}")
            self._wait(answer)

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse | None:
        if self._stopped.is_set():
            raise StoppedError
        try:
            return self._pool.request(
                method, self._api + path, body=body, headers={**headers, **self._authorization}
            )
        except urllib3.exceptions.HTTPError:
            return None

    def _wait(self, answer: urllib3.BaseHTTPResponse | None) -> None:
        asked = answer.headers.get("Retry-After", "") if answer is not None else ""
        seconds = float(asked) if asked.isdigit() else 1.0
        if self._stopped.wait(min(max(seconds, 0.1), LONGEST_WAIT_SECONDS)):
            raise StoppedError


def problem(answer: urllib3.BaseHTTPResponse) -> str:
    """Status, title, detail of an answer that is a problem, and the first faults that the detail
    does not name."""
    try:
        body = json.loads(answer.data)
        detail = str(body.get("detail") or "")
        faults = [
            f"{fault['pointer']}: {fault['detail']}"
            for fault in body.get("errors", [])
            if fault["detail"] not in detail
        ]
        shown = ": ".join(filter(None, [body.get("title"), detail]))
        shown = "; ".join([shown, *faults[:_FAULTS_SHOWN]])
    except (ValueError, AttributeError, TypeError, KeyError):
        shown = answer.data[:300].decode(errors="replace")
    return f"{answer.status} {shown}"


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
