"""An HTTP request as the API function uses it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chalicelib.api.http.caller import Caller
from chalicelib.errors import Fault, Problem

ANSWER_SECONDS = 25.0
"""Longest time for an answer. API Gateway gives up after 29 s, including the start of a
container."""

_MARGIN_SECONDS = 2.0

Query = Mapping[str, Sequence[str]]
"""Decoded parameters, each with all its values."""


def seconds_to_answer(context: Any) -> float:
    """How long the answer to a request may take. context: Lambda's, which knows the time left; any
    other object outside of Lambda."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if remaining is None:
        return ANSWER_SECONDS
    return min(ANSWER_SECONDS, float(remaining()) / 1000 - _MARGIN_SECONDS)


@dataclass(frozen=True)
class Request:
    """One request.

    path: as sent, percent-encoded. headers: names in lower case; repeated ones are joined by commas
    (RFC 9110). seconds: how long the answer may take. received: time.monotonic() on arrival.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    caller: Caller
    query: Query = field(default_factory=dict)
    seconds: float = ANSWER_SECONDS
    received: float = field(default_factory=lambda: time.monotonic())

    def until(self, wait_seconds: float = ANSWER_SECONDS) -> float:
        """The time.monotonic() by which a client that waits so long must have its answer. The wait
        begins when the request arrives."""
        return self.received + min(wait_seconds, self.seconds)


def only(query: Query, *known: str) -> dict[str, str]:
    """The query's parameters. Raises Problem 400 for unknown and for repeated ones."""
    if not query:
        return {}
    allowed = f"the parameters are: {', '.join(known)}" if known else "there are none here"
    faults = [
        Fault(f"?{name}", "query", f"there is no such parameter; {allowed}")
        for name in query
        if name not in known
    ]
    faults += [
        Fault(f"?{name}", "query", "it appears more than once")
        for name, values in query.items()
        if name in known and len(values) > 1
    ]
    if faults:
        raise invalid_query(*faults)
    return {name: values[-1] for name, values in query.items()}


def invalid_query(*faults: Fault) -> Problem:
    """The problem of invalid query parameters."""
    return Problem("invalid-query", f"{faults[0].pointer}: {faults[0].detail}", faults)
