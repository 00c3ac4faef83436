"""The API function's log, which has a line for each accepted request."""

import time
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from chalicelib import aws
from chalicelib.errors import Problem
from chalicelib.messages.accepted import WORD, LoggedRequest, read
from chalicelib.settings import api_logs

_CALL_SECONDS = 10.0

LATE_MILLISECONDS = 120_000
"""A request is accepted before its line is logged: at most as long as an invocation takes, and some
more for the clocks of containers."""


class UnknownCursor(Exception):
    """A cursor that CloudWatch has not given, or not for this time."""


class LogPage(NamedTuple):
    """Some of the requests that were accepted in some time. next: where others follow, None at the
    end."""

    requests: Sequence[LoggedRequest]
    next: str | None


def page(since: int, until: int, cursor: str | None, deadline: float) -> LogPage:
    """Requests that were accepted from a time on and before another, in milliseconds since the
    epoch. cursor: `next` of the page before. Raises UnknownCursor, and Problem 503 if CloudWatch
    does not answer by the deadline, a time.monotonic()."""
    token = {"nextToken": cursor} if cursor else {}
    try:
        client = _client()
        reply = aws.within(
            min(deadline, time.monotonic() + _CALL_SECONDS),
            lambda: client.filter_log_events(
                logGroupName=api_logs(),
                filterPattern=f'"{WORD} {{"',
                startTime=since,
                endTime=until + LATE_MILLISECONDS,
                **token,
            ),
        )
    except aws.failures() as error:
        code = aws.code(error)
        if cursor and code == "InvalidParameterException":
            raise UnknownCursor from error
        raise Problem(
            "unavailable",
            f"CloudWatch does not show the log of accepted requests: {code}. Try again",
            headers={"Retry-After": "5"},
        ) from error
    lines = [read(each["message"]) for each in reply.get("events", [])]
    requests = [each for each in lines if each and since <= each.accepted_at < until]
    return LogPage(requests, reply.get("nextToken"))


@cache
def _client() -> Any:
    # CloudWatch answers only some calls a second of an account.
    return aws.client("logs", tries=5, read_timeout=_CALL_SECONDS)
