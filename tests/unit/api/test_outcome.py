"""Waiting for an outcome, and the limit on the backlog: what is asked, and what is answered."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, IncompleteReadError

from chalicelib.api.http import idempotency
from chalicelib.api.http.caller import Caller
from chalicelib.api.http.request import ANSWER_SECONDS, Request, seconds_to_answer
from chalicelib.api.reads import client, waiting
from chalicelib.api.writes import calls as writes
from chalicelib.api.writes import outcome
from chalicelib.buffer.sqs import backlog, put
from chalicelib.errors import Problem
from tests.kit.api import STATION, assert_problem, body_of, station, token_of
from tests.kit.mocked_aws import mocked_aws
from tests.kit.project import PROJECT
from tests.kit.reader_stub import NEVER, Body, stop_time
from tests.kit.reader_stub import Reader as LambdaReader

DONE = {"writes": 1, "applied": 1, "rejected": 0, "state": "applied", "rejections": []}


@pytest.fixture
def clock(monkeypatch):
    return stop_time(monkeypatch)


class Reader:
    """Stands where the reader is: pending until its answers say otherwise."""

    def __init__(self) -> None:
        self.asked = 0
        self.outcomes = itertools.repeat(None)
        self.found = ['{"icao":"EDDF"}']
        self.keys: list[str] = []

    def outcome(self, _receipt, _deadline):
        self.asked += 1
        outcome = next(self.outcomes)
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    def rows(self, _resource, keys, _deadline):
        self.keys.append(keys)
        return self.found


@pytest.fixture
def reader(monkeypatch, clock):
    found = Reader()
    monkeypatch.setattr(client, "outcome", found.outcome)
    monkeypatch.setattr(client, "rows", found.rows)
    monkeypatch.setattr(put, "lies_still", lambda _url: False)
    return found


# Waiting


def test_waiting_ends_with_the_answer(clock, monkeypatch):
    monkeypatch.setattr(put, "lies_still", lambda _url: False)
    answers = iter([None, None, "done"])

    assert waiting.until(lambda: next(answers), clock.now + 10, "q") == "done"
    assert 0.2 < sum(clock.sleeps) < 1


def test_waiting_asks_to_the_last_and_leaves_the_last_question_time(clock, monkeypatch):
    monkeypatch.setattr(put, "lies_still", lambda _url: False)
    asked = []

    assert waiting.until(lambda: asked.append(clock.now), 1_010, "q") is None
    assert clock.now == asked[-1]
    assert 1_009.5 <= asked[-1] < 1_010
    assert 6 <= len(asked) <= 14


def test_nothing_is_asked_while_nothing_can_have_happened(clock, monkeypatch):
    still = iter([True] * 4 + [False] * 100)
    monkeypatch.setattr(put, "lies_still", lambda _url: next(still))
    asked = []

    assert waiting.until(lambda: asked.append(clock.now) or "done", 1_020, "q") == "done"
    assert len(asked) == 1
    assert len(clock.sleeps) == 5


def test_a_queue_that_lies_still_for_all_the_time_costs_one_question(clock, monkeypatch):
    monkeypatch.setattr(put, "lies_still", lambda _url: True)
    asked = []

    assert waiting.until(lambda: asked.append(1), 1_020, "q") is None
    assert len(asked) == 1


def test_what_is_on_no_queue_is_asked_for_at_once(clock, monkeypatch):
    monkeypatch.setattr(put, "lies_still", None)
    answers = iter([None, "done"])

    assert waiting.until(lambda: next(answers), 1_020, None) == "done"


def test_counts_that_hang_cost_a_wait_little_and_only_once(clock, monkeypatch):
    calls = []

    def hang(_url):
        calls.append(clock.now)
        clock.now += NEVER

    monkeypatch.setattr(put, "lies_still", hang)
    asked = []

    assert waiting.until(lambda: asked.append(clock.now), 1_010, "q") is None
    assert len(calls) == 1
    assert len(asked) > 5
    assert clock.now < 1_010


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


REPORT = {"station": "EDDF", "observed_at": "2026-01-31T12:00:00Z"}


def test_a_key_that_the_database_has_made_is_reported_and_is_the_location_of_a_201(api, reader):
    reader.outcomes = itertools.repeat({**DONE, "location": "/observations/7"})
    reader.found = ['{"id":7}']

    plain = api("POST", "/observations", REPORT, Prefer="wait=5")
    empty = api("POST", "/observations", REPORT, Prefer="wait=5, return=minimal")
    row = api("POST", "/observations", REPORT, Prefer="wait=5, return=representation")

    assert body_of(plain)["location"] == "/observations/7"
    assert (empty.body, row.body) == (b"", b'{"id":7}')
    for answer in (plain, empty, row):
        assert (answer.status_code, answer.headers["Location"]) == (201, "/observations/7")
    assert reader.keys == ['[{"id":7}]']


def test_rows_whose_keys_the_database_has_made_are_shown(api, reader):
    locations = [
        {"item": 0, "location": "/observations/7", "last_item": 1,
         "last_location": "/observations/8"},
        {"item": 2, "location": "/observations/11"},
    ]  # fmt: skip
    reader.outcomes = itertools.repeat({**DONE, "writes": 3, "locations": locations})
    reader.found = ['{"id":7}', '{"id":8}', '{"id":11}']
    prefer = "wait=5, return=representation"

    answer = api("POST", "/observations", [REPORT] * 3, Prefer=prefer)
    assert answer.body == b'[{"id":7},{"id":8},{"id":11}]'
    assert reader.keys == ['[{"id":7},{"id":8},{"id":11}]']

    del locations[1]  # one is not known
    assert "receipt" in body_of(api("POST", "/observations", [REPORT] * 3, Prefer=prefer))


def test_an_outcome_with_more_than_it_lists_leads_on(api, reader):
    left = {"rejections": 1, "locations": 2, "after_item": 41}
    reader.outcomes = iter([{**DONE, "state": "partial", "rejected": 2, "unlisted": left}])

    answer = api("POST", "/stations", STATION, Prefer="wait=5")

    link = f'</writes/{body_of(answer)["receipt"]}?after_item=41>; rel="next"'
    assert (answer.status_code, answer.headers["Link"]) == (200, link)


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
def test_an_outcome_that_is_not_success_is_reported_as_it_is(api, reader, state):
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


WITH_ROWS = "wait=5, return=representation"
BEYOND = [
    ("merge-duplicates", "POST", "/stations", STATION, "resolution=merge-duplicates"),
    ("representation", "POST", "/stations", STATION, WITH_ROWS),
    ("representation", "PUT", "/stations/EDDF", STATION, WITH_ROWS),
    ("representation", "PATCH", "/stations/EDDF", {"active": True}, WITH_ROWS),
    ("representation", "DELETE", "/stations/EDDF", None, "return=representation"),
]


@pytest.mark.parametrize(("allowed", "method", "path", "body", "prefer"), BEYOND)
def test_what_iam_was_not_asked_about_is_refused_unless_the_stage_allows_it(
    api, reader, recorder, monkeypatch, allowed, method, path, body, prefer
):
    reader.outcomes = itertools.repeat(DONE)
    for chosen in ("", *({"merge-duplicates", "representation"} - {allowed})):
        monkeypatch.setenv("DECANTER_IAM_PREFERENCES", chosen)
        refused = assert_problem(
            api(method, path, body, scopes=None, Prefer=prefer), 403, "forbidden"
        )
        assert "DECANTER_IAM_PREFERENCES" in refused["detail"]
    assert (recorder.sent, reader.keys) == ([], [])
    for other in ("wait=5, return=minimal", "resolution=ignore-duplicates", ""):
        assert api(method, path, body, scopes=None, Prefer=other).status_code < 300

    monkeypatch.setenv("DECANTER_IAM_PREFERENCES", allowed)

    assert api(method, path, body, scopes=None, Prefer=prefer).status_code < 300


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


# What goes wrong once the writes are on the queue


CLOSED = EndpointConnectionError(endpoint_url="https://lambda.test")
THROTTLED = ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
PENDING = {"body": '{"state":"pending"}', "state": "pending", "pending": True}
APPLIED = {"body": json.dumps(DONE), "state": "applied", "pending": False}


def after(clock, seconds, answer):
    """An answer that takes time, or never comes."""

    def call():
        clock.now += seconds
        return answer

    return call


class Trickling(Body):
    """A body of which another piece comes each time, and never the last."""

    def __init__(self, clock):
        super().__init__(b"")
        self.clock = clock

    def read(self, size=-1):
        self.clock.now += NEVER
        return b""


READERS = {
    "hangs": lambda clock: after(clock, NEVER, APPLIED),
    "is slow": lambda clock: after(clock, 3, PENDING),
    "is slow and unwell": lambda clock: after(clock, 5.7, {"unwell": True}),
    "trickles": Trickling,
    "is throttled": lambda _: THROTTLED,
    "is away": lambda _: CLOSED,
    "breaks off": lambda _: Body(b"", IncompleteReadError(actual_bytes=1, expected_bytes=9)),
    "is cut": lambda _: b'{"body":"{',
    "answers nothing": lambda _: b"",
    "answers garbage": lambda _: b"<html>",
    "answers another thing": lambda _: [1],
    "answers another question": lambda _: {"rows": []},
    "tells no document": lambda _: {"body": "{", "state": "applied", "pending": False},
    "tells another document": lambda _: {"body": "[]", "state": "applied", "pending": False},
    "tells half of it": lambda _: {"body": '{"state":"applied"}', "state": "x", "pending": False},
    "is a bug of ours": lambda _: RuntimeError("secret"),
}
WRITES = {
    "create": ("POST", "/stations", STATION),
    "create many": ("POST", "/stations", [STATION]),
    "replace": ("PUT", "/stations/EDDF", STATION),
    "merge": ("PATCH", "/stations/EDDF", {"active": True}),
    "delete": ("DELETE", "/stations/EDDF", None),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("wait", [1, 5, 20, 99])
@pytest.mark.parametrize("reader_does", READERS)
def test_a_wait_keeps_to_its_time_and_gives_the_receipt_whatever_the_reader_does(
    api, recorder, clock, monkeypatch, reader_does, wait, write
):
    LambdaReader(monkeypatch, READERS[reader_does](clock))
    monkeypatch.setattr(put, "lies_still", lambda _url: False)
    started = clock.now

    answer = api(*WRITES[write], Prefer=f"wait={wait}, return=representation")

    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/writes/{body_of(answer)['receipt']}"
    assert answer.headers["Retry-After"] == "1"
    assert len(recorder.sent) == 1
    assert clock.now - started <= min(wait, 20)


@pytest.mark.parametrize("wait", [1, 20])
def test_a_question_says_how_long_its_client_waits(api, clock, monkeypatch, wait):
    monkeypatch.setattr(put, "lies_still", lambda _url: False)
    left = []
    end = clock.now + wait
    found = LambdaReader(monkeypatch, lambda: (left.append(end - clock.now), PENDING)[1])

    api("POST", "/stations", STATION, Prefer=f"wait={wait}")

    assert len(left) == len(found.seconds) > 1
    for seconds, seconds_left in zip(found.seconds, left, strict=True):
        assert 0 < seconds <= max(0.5, seconds_left)


@pytest.mark.parametrize(
    "rows",
    [
        "hangs", "is slow", "trickles", "is throttled", "is away", "breaks off", "is cut",
        "answers garbage", "answers another question", "is a bug of ours",
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_back_in_time_takes_no_outcome_away(
    api, clock, monkeypatch, rows
):
    LambdaReader(monkeypatch, APPLIED, READERS[rows](clock))
    monkeypatch.setattr(put, "lies_still", lambda _url: False)
    started = clock.now

    answer = api("PUT", "/stations/EDDF", STATION, Prefer="wait=2, return=representation")

    assert (answer.status_code, body_of(answer)["state"]) == (200, "applied")
    assert answer.headers["Location"] == f"/writes/{body_of(answer)['receipt']}"
    assert answer.headers["Preference-Applied"] == "wait=2"
    assert clock.now - started <= 2


@pytest.mark.parametrize("found", [[], [None], [7], ["{}", "{}"], [["{}"]]])
def test_rows_that_are_not_those_that_were_asked_for_are_not_shown(api, clock, monkeypatch, found):
    LambdaReader(monkeypatch, APPLIED, {"rows": found})
    monkeypatch.setattr(put, "lies_still", lambda _url: False)

    answer = api("PUT", "/stations/EDDF", STATION, Prefer="wait=2, return=representation")

    assert (answer.status_code, body_of(answer)["state"]) == (200, "applied")


def fail(*_args, **_named):
    raise RuntimeError("secret")


BUGS = {
    "remembering": (idempotency, "remember", fail),
    "waiting": (waiting, "until", fail),
    "asking": (client, "outcome", fail),
    "counting": (put, "lies_still", fail),
    "a document without types": (
        client, "outcome", lambda *_: {"state": "applied", "rejections": [1]}
    ),
    "rendering": (outcome, "_with_outcome", fail),
    "memory": (client, "rows", lambda *_: (_ for _ in ()).throw(MemoryError())),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_behind_the_queue_takes_no_receipt_away(api, reader, monkeypatch, caplog, bug):
    reader.outcomes = itertools.repeat(DONE)
    monkeypatch.setattr(*BUGS[bug])

    answer = api(
        "POST",
        "/stations",
        STATION,
        Prefer="wait=5, return=representation",
        Idempotency_Key="k",
    )

    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/writes/{body_of(answer)['receipt']}"
    assert body_of(answer)["state"] == "pending"
    assert "secret" not in str(answer)
    assert "cannot answer with the outcome of" in caplog.text


def test_a_setting_that_is_missing_behind_the_queue_takes_no_receipt_away(
    api, clock, recorder, monkeypatch
):
    monkeypatch.setattr(put, "lies_still", lambda _url: False)
    monkeypatch.setattr(put, "send", lambda *_: monkeypatch.delenv("DECANTER_READER_FUNCTION"))

    token_of(api("POST", "/stations", STATION, Prefer="wait=5"))


@pytest.mark.parametrize(
    "broken", [(writes, "issue"), (outcome, "pending"), (writes.rows, "known_key")]
)
def test_what_can_fail_by_itself_does_before_the_queue(api, recorder, monkeypatch, broken):
    monkeypatch.setattr(*broken, fail)

    answer = api("POST", "/stations", STATION, Prefer="return=representation")

    assert_problem(answer, 500, "internal")
    assert recorder.sent == []


# Slow queues


@pytest.mark.parametrize(("wait", "sending"), [(1, 3), (5, 4), (20, 6), (20, 17), (20, 24)])
def test_a_wait_counts_from_when_the_request_came_in(
    api, reader, clock, monkeypatch, wait, sending
):
    monkeypatch.setattr(put, "send", lambda *_: clock.sleep(sending))
    started = clock.now

    token_of(api("POST", "/stations", STATION, Prefer=f"wait={wait}"))

    assert clock.now - started <= max(wait, sending)


class Context:
    """What Lambda tells a function about its time."""

    def __init__(self, seconds):
        self.seconds = seconds

    def get_remaining_time_in_millis(self):
        return self.seconds * 1000


@pytest.mark.parametrize(("seconds", "longest"), [(28, 20), (25, 20), (10, 8), (3, 1), (1, 0)])
def test_a_wait_ends_before_the_function_does(seconds, longest):
    request = Request(
        "POST", "/x", {}, b"", Caller("me", None), {}, seconds_to_answer(Context(seconds))
    )

    assert request.until(20) - request.received <= longest
    assert request.until() - request.received <= 25


def test_the_function_is_given_more_time_than_an_answer_takes_and_the_gateway_more_still():
    config = json.loads((PROJECT / ".chalice/config.json").read_text())
    api_function = config["stages"]["dev"]["lambda_functions"]["api_handler"]

    assert seconds_to_answer(Context(api_function["lambda_timeout"])) == ANSWER_SECONDS
    assert api_function["lambda_timeout"] < 29


def test_sending_ends_in_time_and_begins_no_call_that_may_not(clock, monkeypatch):
    deadline = clock.now + 25
    begun: list[tuple[float, int]] = []

    class Sqs:
        def __init__(self, tries=2):
            self.tries = tries

        def send_message_batch(self, QueueUrl, Entries):
            begun.append((deadline - clock.now, self.tries))
            clock.now += 3.5
            return {"Successful": []}

    monkeypatch.setattr(put, "_client", Sqs)

    with pytest.raises(Problem) as caught:
        put.send("q", [put.QueueEntry(str(n), "lane", "x") for n in range(50)], deadline)

    assert caught.value.type == "queue-unavailable"
    assert "Idempotency-Key" in caught.value.detail
    assert len(begun) > 4
    for left, tries in begun:
        assert left >= tries * 7
    assert clock.now <= deadline


# The limit on the backlog


@pytest.fixture
def metrics(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    backlog._client.cache_clear()
    backlog._readings.clear()
    with mocked_aws():
        yield boto3.client("cloudwatch")
    backlog._client.cache_clear()
    backlog._readings.clear()


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
    monkeypatch.setattr(backlog, "_read", lambda name: reads.append(name) or 0.0)

    for _ in range(50):
        token_of(api("POST", "/stations", STATION))

    assert reads == ["ordered.fifo"]


def test_without_a_limit_no_age_is_read(api, monkeypatch):
    monkeypatch.setattr(backlog, "_read", lambda name: pytest.fail("read"))

    token_of(api("POST", "/stations", STATION))


def test_an_age_that_cannot_be_read_refuses_nothing(api, monkeypatch, caplog):
    from botocore.exceptions import EndpointConnectionError

    class Away:
        def get_metric_statistics(self, **_):
            raise EndpointConnectionError(endpoint_url="x")

    monkeypatch.setenv("DECANTER_BACKLOG_LIMIT_SECONDS", "900")
    monkeypatch.setattr(backlog, "_client", Away)
    backlog._readings.clear()

    token_of(api("POST", "/stations", STATION))
    assert "cannot read the age" in caplog.text


def test_an_age_that_does_not_come_holds_up_one_request_for_a_moment(api, clock, monkeypatch):
    class Frozen:
        def get_metric_statistics(self, **_):
            clock.now += NEVER

    monkeypatch.setenv("DECANTER_BACKLOG_LIMIT_SECONDS", "900")
    monkeypatch.setattr(backlog, "_client", Frozen)
    backlog._readings.clear()
    started = clock.now

    for _ in range(5):
        token_of(api("POST", "/stations", STATION))

    assert clock.now - started <= 2
    backlog._readings.clear()


@pytest.mark.parametrize("value", ["soon", "-5", "0", "1.5"])
def test_a_limit_that_is_no_number_is_reported_to_the_operator(api, monkeypatch, value):
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
