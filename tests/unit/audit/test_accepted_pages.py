"""The log of accepted requests, page by page."""

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.audit import log
from chalicelib.audit.log import UnknownCursor
from chalicelib.errors import Problem

SINCE, UNTIL = 1_000_000, 2_000_000


def line(number: int, at: int) -> dict[str, str]:
    text = (
        f'accepted {{"id":"00000000-0000-7000-8000-{number:012}","accepted_at":{at},'
        f'"resource":"r","writes":1,"messages":1,"fingerprint":"f"}}'
    )
    return {"message": f"decanter.intake - INFO - {text}\n"}


class Logs:
    """CloudWatch with one page of lines."""

    def __init__(self) -> None:
        self.events: list[dict[str, str]] = []
        self.next: dict[str, str] = {}
        self.error: Exception | None = None
        self.asked: dict[str, Any] = {}

    def filter_log_events(self, **asked: Any) -> Any:
        self.asked = asked
        if self.error:
            raise self.error
        return {"events": self.events, **self.next}


@pytest.fixture(name="logs")
def fixture_logs(monkeypatch: pytest.MonkeyPatch) -> Logs:
    found = Logs()
    monkeypatch.setattr(log, "_client", lambda: found)
    monkeypatch.setenv("DECANTER_API_LOGS", "/decanter/p/api")
    return found


def page(cursor: str | None = None) -> log.LogPage:
    return log.page(SINCE, UNTIL, cursor, time.monotonic() + 5)


def test_requests_are_those_that_were_accepted_in_the_time(logs: Logs) -> None:
    logs.events = [
        line(1, SINCE - 1),  # logged within the time, and accepted before
        line(2, SINCE),
        {"message": "START RequestId: accepted { of another kind"},
        line(3, UNTIL - 1),
        line(4, UNTIL),
    ]

    found = page()

    assert [each.id[-1] for each in found.requests] == ["2", "3"]
    assert found.next is None
    assert logs.asked == {
        "logGroupName": "/decanter/p/api",
        "filterPattern": '"accepted {"',
        "startTime": SINCE,
        "endTime": UNTIL + log.LATE_MILLISECONDS,  # accepted within the time, and logged later
    }


def test_a_page_leads_to_the_next(logs: Logs) -> None:
    logs.next = {"nextToken": "t2"}

    assert page("t1").next == "t2"
    assert logs.asked["nextToken"] == "t1"


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "FilterLogEvents")


def test_a_cursor_that_cloudwatch_does_not_know(logs: Logs) -> None:
    logs.error = error("InvalidParameterException")

    with pytest.raises(UnknownCursor):
        page("t1")
    with pytest.raises(Problem, match="InvalidParameterException"):
        page()


@pytest.mark.parametrize(
    "failure",
    [
        error("ThrottlingException"),
        error("ResourceNotFoundException"),
        ReadTimeoutError(endpoint_url="https://logs.test"),
    ],
)
def test_a_log_that_is_not_shown(logs: Logs, failure: Exception) -> None:
    logs.error = failure

    with pytest.raises(Problem) as problem:
        page("t1")

    assert problem.value.status == 503


def test_nothing_is_asked_without_time(logs: Logs) -> None:
    with pytest.raises(Problem, match="Late"):
        log.page(SINCE, UNTIL, None, time.monotonic())
    assert logs.asked == {}
