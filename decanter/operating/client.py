"""A client of the calls under /ops: requests with retries, and pages that follow each other."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode
from uuid import uuid4

import urllib3

from chalicelib.contract.json_text import render
from decanter.local.demo.client import FAULTS, PASSING, problem
from decanter.operating.documents import Json, parsed
from decanter.operating.endpoint import Endpoint, OperatingError

PAGE = 1_000
"""Entries of a page, the most that there may be."""

_TRIES = 5
_LONGEST_PAUSE_SECONDS = 5.0
_WHERE = "Is that the address of the stage's API, and can it be reached from here?"
_NEXT = re.compile(r'<[^>]*[?&]cursor=([^&>]+)[^>]*>; *rel="next"')


class Client:
    """Calls the API of a stage. What is not answered for the moment is asked again, as no call does
    anything twice."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=40))

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """The JSON object at a path below /ops, its numbers exact. Raise OperatingError."""
        return parsed(self._answer("GET", path, query or {}).data)

    def post(self, path: str, body: Mapping[str, Any], key: str = "") -> Json:
        """The answer to a JSON object. key: an Idempotency-Key. Raise OperatingError."""
        headers = {"Idempotency-Key": f'"{key}"'} if key else {}
        content = render(dict(body)).encode()
        return parsed(self._answer("POST", path, {}, content, headers).data)

    def begin(self, act: Mapping[str, Any]) -> Json:
        """Begin an act. Raise OperatingError."""
        return self.post("acts", act, str(uuid4()))

    def listed(
        self, path: str, name: str, query: Mapping[str, str], most: int | None = None
    ) -> list[Any]:
        """The entries of a list, page after page. most: how many are wanted; None: all. Raise
        OperatingError."""
        found: list[Any] = []
        cursor: str | None = ""
        while cursor is not None and (most is None or len(found) < most):
            limit = PAGE if most is None else min(PAGE, most - len(found))
            page = self.get(path, {**query, "limit": str(limit), **_at(cursor)})
            found += page[name]
            cursor = page.get("next")
        return found

    def lines(self, path: str, query: Mapping[str, str], type_: str) -> Iterator[bytes]:
        """The pages of a list as another type of content. Raise OperatingError."""
        cursor: str | None = ""
        while cursor is not None:
            asked = {**query, "limit": str(PAGE), **_at(cursor)}
            answer = self._answer("GET", path, asked, headers={"Accept": type_})
            yield answer.data
            found = _NEXT.search(answer.headers.get("Link", ""))
            cursor = unquote(found[1]) if found else None

    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """The answer to a request that succeeds. Raise OperatingError."""
        asked = f"?{urlencode(query, quote_via=quote)}" if query else ""
        url = f"{self._endpoint.url}/ops/{path}{asked}"
        sent = {**(headers or {}), **({"Content-Type": "application/json"} if body else {})}
        why = ""
        for attempt in range(_TRIES):
            answer = None
            try:
                own = self._endpoint.headers(method, url, body)
                answer = self._pool.request(method, url, body=body, headers={**sent, **own})
            except urllib3.exceptions.HTTPError as error:
                why = f"{self._endpoint.url} does not answer: {_reason(error)}. {_WHERE}"
            if answer is not None and answer.status < 300:
                return answer
            if answer is not None:
                why = problem(answer)
                if answer.status not in PASSING | FAULTS:
                    raise OperatingError(why, _type(answer))
            if attempt < _TRIES - 1:
                time.sleep(_pause(answer, attempt))
        raise OperatingError(why)


def _at(cursor: str) -> dict[str, str]:
    return {"cursor": cursor} if cursor else {}


def _pause(answer: urllib3.BaseHTTPResponse | None, attempt: int) -> float:
    asked = answer.headers.get("Retry-After", "") if answer is not None else ""
    seconds = float(asked) if asked.isdecimal() else 0.5 * 2**attempt
    return min(seconds, _LONGEST_PAUSE_SECONDS)


def _reason(error: Exception) -> str:
    """What is wrong, without the names of the library's objects."""
    text = str(getattr(error, "reason", None) or error)
    return text.rpartition(": ")[2] or type(error).__name__


def _type(answer: urllib3.BaseHTTPResponse) -> str:
    try:
        return str(json.loads(answer.data)["type"]).rpartition(":")[2]
    except (ValueError, TypeError, KeyError):
        return ""
