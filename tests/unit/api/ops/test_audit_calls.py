"""GET /ops/audit."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from chalicelib.audit import accounts
from chalicelib.audit.accounts import Audit
from chalicelib.audit.log import UnknownCursor
from chalicelib.errors import Problem
from chalicelib.messages.accepted import LoggedRequest
from tests.kit.api import assert_problem, body_of

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
MILLISECONDS = int(HOUR.timestamp()) * 1000


def at(hour):
    return quote(hour.isoformat())


@pytest.fixture(name="found")
def fixture_found(monkeypatch):
    """What the audit finds; `asked` are its parameters."""
    made = Audit()
    made.asked = []
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "api")

    def audit(since, until, cursor, deadline):
        made.asked.append((since, until, cursor))
        return made

    monkeypatch.setattr(accounts, "audit", audit)
    return made


def test_the_sums_of_an_hour(ops, found):
    found.requests = 3
    found.sums["stations"].update(accepted=9, applied=5, rejected=1, waiting=1, missing=2)
    found.sums["alerts"].update(accepted=1, applied=1)
    request = LoggedRequest("id-1", MILLISECONDS + 5, "stations", 4, 1, "f" * 32)
    found.missing = [(request, 2)]

    answer = ops("GET", f"/ops/audit?hour={at(HOUR)}")

    assert answer.status_code == 200, answer.body
    assert body_of(answer) == {
        "hour": HOUR.isoformat(timespec="milliseconds"),
        "resources": [
            {"resource": "alerts", "accepted": 1, "applied": 1, "rejected": 0, "waiting": 0,
             "missing": 0},
            {"resource": "stations", "accepted": 9, "applied": 5, "rejected": 1, "waiting": 1,
             "missing": 2},
        ],
        "missing": [
            {"id": "id-1", "resource": "stations", "writes": 2,
             "accepted_at": (HOUR + timedelta(milliseconds=5)).isoformat(timespec="milliseconds")},
        ],
        "is_complete": True,
        "next": None,
        "unknown": [],
    }  # fmt: skip
    assert found.asked == [(MILLISECONDS, MILLISECONDS + 3_600_000, None)]
    assert "Link" not in answer.headers


def test_an_hour_that_takes_several_calls(ops, found):
    found.next = "a/b+c="

    answer = ops("GET", f"/ops/audit?hour={at(HOUR)}")
    body = body_of(answer)

    assert (body["is_complete"], body["next"]) == (False, "a/b+c=")
    link = answer.headers["Link"].partition(">")[0].lstrip("<")
    assert link.endswith("&cursor=a%2Fb%2Bc%3D")
    ops("GET", link)
    assert found.asked[1] == (MILLISECONDS, MILLISECONDS + 3_600_000, "a/b+c=")


def test_only_the_first_hundred_are_named(ops, found):
    found.missing = [(LoggedRequest(str(n), 1, "r", 1, 1, "f"), 1) for n in range(150)]

    assert len(body_of(ops("GET", f"/ops/audit?hour={at(HOUR)}"))["missing"]) == 100


def test_what_may_be_missing_is_said(ops, found):
    found.unknown = {"ordered": "7 dead letters wait"}

    (unknown,) = body_of(ops("GET", f"/ops/audit?hour={at(HOUR)}"))["unknown"]

    assert unknown["what"] == "waiting.ordered"
    assert unknown["why"].endswith("7 dead letters wait")


def test_a_server_outside_of_lambda_has_no_log(ops, found, monkeypatch):
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME")

    (unknown,) = body_of(ops("GET", f"/ops/audit?hour={at(HOUR)}"))["unknown"]

    assert unknown["what"] == "resources.accepted"


def test_an_hour_must_be_in_the_log(ops, found, monkeypatch):
    path = f"/ops/audit?hour={at(HOUR - timedelta(days=2))}"
    assert ops("GET", path).status_code == 200
    monkeypatch.setenv("DECANTER_LOG_DAYS", "1")

    problem = assert_problem(ops("GET", path), 400, "invalid-query")

    assert "within the last 1 days" in problem["errors"][0]["detail"]


@pytest.mark.parametrize(
    "hour",
    [
        HOUR.strftime("%Y-%m-%dT%H:00Z"),
        HOUR.strftime("%Y-%m-%dT%H:00:00.000Z"),
        HOUR.astimezone(tz=datetime.now().astimezone().tzinfo).isoformat(),
        (datetime.now(UTC).replace(minute=0, second=0, microsecond=0)).isoformat(),
    ],
)
def test_hours_that_are_understood(ops, found, hour):
    assert ops("GET", f"/ops/audit?hour={quote(hour)}").status_code == 200


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "?hour"),
        ("hour=", "?hour"),
        ("hour=yesterday", "?hour"),
        ("hour=2026-01-31", "?hour"),
        (f"hour={HOUR.strftime('%Y-%m-%dT%H:00:00')}", "?hour"),
        (f"hour={at(HOUR + timedelta(minutes=1))}", "?hour"),
        (f"hour={at(HOUR + timedelta(hours=9))}", "?hour"),
        (f"hour={at(HOUR - timedelta(days=40))}", "?hour"),
        ("hour=0001-01-01T00:00:00%2B14:00", "?hour"),
        (f"hour={at(HOUR)}&cursor=", "?cursor"),
        (f"hour={at(HOUR)}&cursor={'x' * 9_000}", "?cursor"),
        (f"hour={at(HOUR)}&limit=1", "?limit"),
        (f"hour={at(HOUR)}&hour={at(HOUR)}", "?hour"),
    ],
)
def test_bad_queries_name_the_parameter(ops, found, query, parameter):
    problem = assert_problem(ops("GET", f"/ops/audit?{query}"), 400, "invalid-query")

    assert [each["pointer"] for each in problem["errors"]] == [parameter]
    assert found.asked == []


def test_a_cursor_that_is_not_from_there(ops, monkeypatch):
    def audit(*_):
        raise UnknownCursor

    monkeypatch.setattr(accounts, "audit", audit)

    problem = assert_problem(
        ops("GET", f"/ops/audit?hour={at(HOUR)}&cursor=x"), 400, "invalid-query"
    )

    assert problem["errors"][0]["pointer"] == "?cursor"


def test_a_log_out_of_reach_is_a_503(ops, monkeypatch):
    def audit(*_):
        raise Problem("unavailable", "CloudWatch does not show the log")

    monkeypatch.setattr(accounts, "audit", audit)

    assert_problem(ops("GET", f"/ops/audit?hour={at(HOUR)}"), 503, "unavailable")


def test_only_operators_audit(ops, found):
    assert_problem(ops("GET", f"/ops/audit?hour={at(HOUR)}", scopes="*:read"), 403, "missing-scope")
