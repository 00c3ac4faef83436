"""Waiting for an outcome, and the limit on the backlog: what is asked, and what is answered."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from moto import mock_aws

from chalicelib.errors import Problem
from chalicelib.intake import idempotency, pressure, queue, reading, waiting
from tests.unit.test_app import STATION, assert_problem, body_of, station, token_of

DONE = {"writes": 1, "applied": 1, "rejected": 0, "state": "applied", "rejections": []}


class Clock:
    """Stands where time is: sleeping takes none."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(waiting, "time", found)
    return found


class Reader:
    """Stands where the reader is: pending until its answers say otherwise."""

    def __init__(self) -> None:
        self.asked = 0
        self.outcomes = itertools.repeat(None)
        self.found = ['{"icao":"EDDF"}']
        self.keys: list[str] = []

    def outcome(self, _receipt):
        self.asked += 1
        outcome = next(self.outcomes)
        if isinstance(outcome, Problem):
            raise outcome
        return outcome and {"body": json.dumps(outcome), "pending": False}

    def rows(self, _resource, keys):
        self.keys.append(keys)
        return self.found


@pytest.fixture
def reader(monkeypatch, clock):
    found = Reader()
    monkeypatch.setattr(reading, "outcome", found.outcome)
    monkeypatch.setattr(reading, "rows", found.rows)
    monkeypatch.setattr(queue, "lies_still", lambda _url: False)
    return found


# Waiting


def test_waiting_ends_with_the_answer(clock, monkeypatch):
    monkeypatch.setattr(queue, "lies_still", lambda _url: False)
    answers = iter([None, None, "done"])

    assert waiting.until(lambda: next(answers), 10, "q") == "done"
    assert 0.2 < sum(clock.sleeps) < 1


def test_waiting_ends_in_time_and_asks_once_more(clock, monkeypatch):
    monkeypatch.setattr(queue, "lies_still", lambda _url: False)
    asked = []

    assert waiting.until(lambda: asked.append(clock.now), 10, "q") is None
    assert clock.now == pytest.approx(1_010)
    assert asked[-1] == pytest.approx(1_010)
    assert 6 <= len(asked) <= 14


def test_nothing_is_asked_while_nothing_can_have_happened(clock, monkeypatch):
    still = iter([True] * 4 + [False] * 100)
    monkeypatch.setattr(queue, "lies_still", lambda _url: next(still))
    asked = []

    assert waiting.until(lambda: asked.append(clock.now) or "done", 20, "q") == "done"
    assert len(asked) == 1
    assert len(clock.sleeps) == 5


def test_a_queue_that_lies_still_for_all_the_time_costs_one_question(clock, monkeypatch):
    monkeypatch.setattr(queue, "lies_still", lambda _url: True)
    asked = []

    assert waiting.until(lambda: asked.append(1), 20, "q") is None
    assert len(asked) == 1


# What is answered


def test_an_outcome_in_time_is_a_201(api, recorder, reader):
    reader.outcomes = iter([None, DONE])

    answer = api("POST", "/stations", STATION, Prefer="wait=5")

    assert answer.status_code == 201
    told = body_of(answer)
    assert told == {"receipt": told["receipt"], **DONE}
    assert answer.headers["Location"] == f"/writes/{told['receipt']}"
    assert answer.headers["Preference-Applied"] == "wait=5"
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/stations/EDDF", STATION),
        ("PATCH", "/stations/EDDF", {"active": True}),
        ("DELETE", "/stations/EDDF", None),
    ],
)
def test_an_outcome_of_a_change_is_a_200(api, reader, method, path, body):
    reader.outcomes = iter([DONE])

    answer = api(method, path, body, Prefer="wait=5")

    assert answer.status_code == 200
    assert body_of(answer)["state"] == "applied"


@pytest.mark.parametrize("state", ["rejected", "partial", "expired"])
def test_an_outcome_that_is_not_success_is_told_as_it_is(api, reader, state):
    bad = {"item": 0, "type": "conflict", "reason": "there"}
    reader.outcomes = iter([{**DONE, "state": state, "rejections": [bad]}])

    answer = api("POST", "/stations", STATION, Prefer="wait=5, return=minimal")

    assert answer.status_code == 200
    assert body_of(answer)["rejections"] == [bad]
    assert answer.headers["Preference-Applied"] == "wait=5"


def test_no_outcome_in_time_is_a_202(api, reader):
    answer = api("POST", "/stations", STATION, Prefer="wait=2")

    token_of(answer)
    assert answer.headers["Retry-After"] == "1"
    assert reader.asked > 1


@pytest.mark.parametrize("prefer", ["respond-async", "wait=5, respond-async", "wait=0", "x"])
def test_who_does_not_want_to_wait_never_does(api, reader, clock, prefer):
    token_of(api("POST", "/stations", STATION, Prefer=prefer))

    assert reader.asked == 0
    assert clock.sleeps == []


def test_a_reader_that_cannot_answer_does_not_take_back_what_is_accepted(api, reader):
    reader.outcomes = itertools.repeat(Problem("reader-busy", "busy"))

    token_of(api("POST", "/stations", STATION, Prefer="wait=2"))


def test_a_reused_key_that_waiting_finds_out_is_a_422(api, reader):
    used = {"item": None, "type": "key-reused", "reason": "used before"}
    reader.outcomes = iter([{**DONE, "state": "rejected", "rejections": [used]}])

    answer = api("POST", "/stations", STATION, Prefer="wait=5", Idempotency_Key="k")

    assert_problem(answer, 422, "key-reused")


def test_a_representation_is_the_row_that_is_there_now(api, reader):
    reader.outcomes = iter([DONE])

    answer = api("POST", "/stations", STATION, Prefer="wait=5, return=representation")

    assert answer.status_code == 201
    assert body_of(answer) == {"icao": "EDDF"}
    assert answer.headers["Preference-Applied"] == "wait=5, return=representation"
    assert reader.keys == ['[{"icao":"EDDF"}]']


def test_a_representation_of_many_is_an_array_in_their_order(api, reader):
    reader.outcomes = iter([DONE])
    reader.found = ['{"icao":"EDDF"}', '{"icao":"LSZH"}']

    answer = api(
        "POST", "/stations", [STATION, station(icao="LSZH")], Prefer="return=representation,wait=5"
    )

    assert body_of(answer) == [{"icao": "EDDF"}, {"icao": "LSZH"}]


@pytest.mark.parametrize("found", [[None], [None, '{"icao":"LSZH"}']])
def test_a_row_that_is_gone_again_is_not_represented(api, reader, found):
    reader.outcomes = iter([DONE])
    reader.found = found

    answer = api("PUT", "/stations/EDDF", STATION, Prefer="wait=5, return=representation")

    assert body_of(answer)["state"] == "applied"
    assert answer.headers["Preference-Applied"] == "wait=5"


def test_what_has_no_key_yet_or_none_any_more_is_not_represented(api, reader):
    reader.outcomes = itertools.repeat(DONE)
    row = {"station": "EDDF", "observed_at": "2026-01-01T00:00:00Z"}

    for answer in (
        api("POST", "/observations", row, Prefer="wait=5, return=representation"),
        api("DELETE", "/stations/EDDF", Prefer="wait=5, return=representation"),
        api("POST", "/stations", [STATION] * 101, Prefer="wait=5, return=representation"),
    ):
        assert body_of(answer)["state"] == "applied"
        assert answer.headers["Preference-Applied"] == "wait=5"
    assert reader.keys == []


def test_rows_are_not_shown_to_who_may_not_read_them(api, reader):
    reader.outcomes = itertools.repeat(DONE)
    prefer = "wait=5, return=representation"

    for answer in (
        api("POST", "/stations", STATION, Prefer=prefer, scopes="stations:write"),
        api("PUT", "/stations/EDDF", STATION, Prefer=prefer, scopes="*:write observations:read"),
    ):
        assert body_of(answer)["state"] == "applied"
        assert answer.headers["Preference-Applied"] == "wait=5"
    assert reader.keys == []


def test_a_minimal_answer_has_no_body(api, reader):
    reader.outcomes = itertools.repeat(DONE)

    pending = api("POST", "/stations", STATION, Prefer="return=minimal")
    created = api("POST", "/stations", STATION, Prefer="return=minimal, wait=5")
    changed = api("PATCH", "/stations/EDDF", {"active": True}, Prefer="return=minimal, wait=5")

    assert [each.status_code for each in (pending, created, changed)] == [202, 201, 204]
    for answer in (pending, created, changed):
        assert answer.body == b""
        assert answer.headers["Location"].startswith("/writes/")
        assert "return=minimal" in answer.headers["Preference-Applied"]
        assert "Content-Type" not in answer.headers


# The limit on the backlog


@pytest.fixture
def metrics(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    pressure._client.cache_clear()
    pressure._readings.clear()
    with mock_aws():
        yield boto3.client("cloudwatch")
    pressure._client.cache_clear()
    pressure._readings.clear()


def put_age(metrics, queue_name: str, age: float, minutes_ago: int) -> None:
    metrics.put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": queue_name}],
                "Timestamp": datetime.now(UTC) - timedelta(minutes=minutes_ago),
                "Value": age,
                "Unit": "Seconds",
            }
        ],
    )


def test_a_backlog_that_is_too_old_refuses_writes_to_its_queue(api, recorder, metrics, monkeypatch):
    monkeypatch.setenv("DECANTER_BACKLOG_LIMIT_SECONDS", "900")
    put_age(metrics, "ordered.fifo", 901, minutes_ago=1)
    put_age(metrics, "unordered", 12, minutes_ago=1)

    problem = assert_problem(api("POST", "/stations", STATION, Idempotency_Key="k"), 429, "backlog")

    assert "901 s" in problem["detail"]
    assert recorder.sent == []
    assert not idempotency._accepted
    row = {"station": "EDDF", "observed_at": "2026-01-01T00:00:00Z"}
    token_of(api("POST", "/observations", row))


def test_the_latest_age_counts(api, metrics, monkeypatch):
    monkeypatch.setenv("DECANTER_BACKLOG_LIMIT_SECONDS", "900")
    put_age(metrics, "ordered.fifo", 5_000, minutes_ago=4)
    put_age(metrics, "ordered.fifo", 10, minutes_ago=1)

    token_of(api("POST", "/stations", STATION))


def test_an_age_is_read_once_for_many_requests(api, metrics, monkeypatch):
    monkeypatch.setenv("DECANTER_BACKLOG_LIMIT_SECONDS", "900")
    reads = []
    monkeypatch.setattr(pressure, "_read", lambda name: reads.append(name) or 0.0)

    for _ in range(50):
        token_of(api("POST", "/stations", STATION))

    assert reads == ["ordered.fifo"]


def test_without_a_limit_no_age_is_read(api, monkeypatch):
    monkeypatch.setattr(pressure, "_read", lambda name: pytest.fail("read"))

    token_of(api("POST", "/stations", STATION))


def test_an_age_that_cannot_be_read_refuses_nothing(api, monkeypatch, caplog):
    from botocore.exceptions import EndpointConnectionError

    class Away:
        def get_metric_statistics(self, **_):
            raise EndpointConnectionError(endpoint_url="x")

    monkeypatch.setenv("DECANTER_BACKLOG_LIMIT_SECONDS", "900")
    monkeypatch.setattr(pressure, "_client", Away)
    pressure._readings.clear()

    token_of(api("POST", "/stations", STATION))
    assert "cannot read the age" in caplog.text


@pytest.mark.parametrize("value", ["soon", "-5", "0", "1.5"])
def test_a_limit_that_is_no_number_is_told_to_the_operator(api, monkeypatch, value):
    monkeypatch.setenv("DECANTER_BACKLOG_LIMIT_SECONDS", value)

    problem = assert_problem(api("POST", "/stations", STATION), 503, "not-configured")
    assert "DECANTER_BACKLOG_LIMIT_SECONDS" in problem["detail"]


# What the paths take


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/stations", {"POST"}),
        ("DELETE", "/stations", {"POST"}),
        ("POST", "/stations/EDDF", {"GET", "PUT", "PATCH", "DELETE"}),
        ("DELETE", "/openapi.json", {"GET"}),
        ("POST", "/writes/x", {"GET"}),
    ],
)
def test_a_method_that_a_path_has_not_is_a_405(api, method, path, allowed):
    answer = api(method, path, STATION)

    assert_problem(answer, 405, "op-not-allowed")
    assert allowed <= set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/stations"), ("PATCH", "/stations/EDDF"), ("DELETE", "/stations/E")],
)
def test_a_write_takes_no_query(api, recorder, method, path):
    problem = assert_problem(
        api(method, f"{path}?columns=icao", {"active": True}), 400, "invalid-query"
    )
    assert problem["errors"][0]["pointer"] == "?columns"
    assert recorder.sent == []


@pytest.mark.parametrize(
    ("method", "path", "scope", "missing"),
    [
        ("POST", "/stations", "observations:write *:read", "stations:create"),
        ("PUT", "/stations/E", "stations:create", "stations:replace"),
        ("PATCH", "/stations/E", "stations:read", "stations:merge"),
        ("DELETE", "/stations/E", "stations:merge stations:create", "stations:delete"),
    ],
)
def test_each_op_needs_its_scope(api, recorder, method, path, scope, missing):
    problem = assert_problem(api(method, path, STATION, scopes=scope), 403, "missing-scope")

    assert missing in problem["detail"]
    assert recorder.sent == []


def test_merging_duplicates_needs_both_scopes(api):
    wanted = {"Prefer": "resolution=merge-duplicates"}

    problem = assert_problem(
        api("POST", "/stations", STATION, scopes="stations:create", **wanted), 403, "missing-scope"
    )
    assert "stations:merge" in problem["detail"]
    token_of(api("POST", "/stations", STATION, scopes="*:write", **wanted))
