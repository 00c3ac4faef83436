"""What the API function makes of the reader's answers."""

import json
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.intake import waiting
from tests.unit.reader_stub import FIELDS, TOKEN, Reader

ROW = {"body": '{"icao":"EDDF"}', "etag": "5f8a"}
PENDING = {"body": '{"state":"pending"}', "state": "pending", "pending": True}
APPLIED = {"body": '{"state":"applied"}', "state": "applied", "pending": False}
BUSY = ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")


@pytest.fixture
def reader(monkeypatch):
    return partial(Reader, monkeypatch)


@pytest.fixture
def waits(monkeypatch):
    """Waits without waiting: asks three times. Returns what each wait was given."""
    found: list[tuple[float, str]] = []

    def until(question: Any, seconds: float, queue_url: str) -> Any:
        found.append((seconds, queue_url))
        answers = (question() for _ in range(3))
        return next((answer for answer in answers if answer is not None), None)

    monkeypatch.setattr(waiting, "until", until)
    return found


def problem(answer: Any) -> str:
    assert answer.headers["Content-Type"] == "application/problem+json"
    return json.loads(answer.body)["type"].removeprefix("urn:decanter:problem:")


def test_a_row_is_passed_on_as_postgres_wrote_it_with_its_etag(api, reader):
    text = '{"icao":"EDDF","elevation_ft":364.00000000000000000001}'
    asked = reader({"body": text, "etag": "5f8a"}).asked

    answer = api("GET", "/stations/EDDF")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["ETag"] == '"5f8a"'
    assert answer.body == text.encode()
    assert asked == [{"ask": "row", "resource": "stations", "key": '{"icao":"EDDF"}'}]


def test_an_unordered_row_can_be_read(api, reader):
    asked = reader({"body": '{"id":7}', "etag": "5f8a"}).asked

    assert api("GET", "/observations/7").status_code == 200
    assert asked[0]["key"] == '{"id":7}'


def test_a_row_that_is_not_there_is_a_404(api, reader):
    reader({"body": None, "etag": None})

    answer = api("GET", "/stations/EDDF", If_None_Match="*")

    assert answer.status_code == 404
    assert problem(answer) == "no-such-row"


@pytest.mark.parametrize("sent", ['"5f8a"', 'W/"5f8a"', '"a", W/"b" ,"5f8a"', "*", ' "5f8a" '])
def test_a_row_that_the_client_has_is_a_304_without_a_body(api, reader, sent):
    reader(ROW)

    answer = api("GET", "/stations/EDDF", If_None_Match=sent)

    assert (answer.status_code, answer.body) == (304, b"")
    assert answer.headers["ETag"] == '"5f8a"'


@pytest.mark.parametrize("sent", ['"5f8b"', 'W/"5f8"', '"a", "5F8A"', '"*"', '""'])
def test_a_row_that_the_client_has_not_is_sent(api, reader, sent):
    reader(ROW)

    answer = api("GET", "/stations/EDDF", If_None_Match=sent)

    assert (answer.status_code, answer.body) == (200, b'{"icao":"EDDF"}')


@pytest.mark.parametrize("sent", ["5f8a", '"a" "b"', '"a", *', '"a'])
def test_what_is_no_list_of_etags_is_told(api, reader, sent):
    asked = reader(ROW).asked

    answer = api("GET", "/stations/EDDF", If_None_Match=sent)

    assert (answer.status_code, problem(answer)) == (400, "invalid-precondition")
    assert asked == []


def test_a_row_is_read_after_a_write_that_is_applied_without_a_wait(api, reader, waits):
    asked = reader(ROW).asked

    answer = api("GET", f"/stations/EDDF?after={TOKEN}")

    assert (answer.status_code, answer.headers["ETag"]) == (200, '"5f8a"')
    assert [question["after"] for question in asked] == [FIELDS]
    assert waits == []


@pytest.mark.parametrize(
    ("path", "queue_url"),
    [
        ("/stations/EDDF", "https://queues.test/ordered.fifo"),
        ("/observations/7", "https://queues.test/unordered"),
    ],
)
@pytest.mark.parametrize(("query", "seconds"), [("", 10), ("&wait=20", 20), ("&wait=001", 1)])
def test_a_read_waits_for_the_write_that_it_is_to_come_after(
    api, reader, waits, path, queue_url, query, seconds
):
    reader({"pending": True}, {"pending": True}, ROW)

    answer = api("GET", f"{path}?after={TOKEN}{query}")

    assert (answer.status_code, answer.body) == (200, b'{"icao":"EDDF"}')
    assert waits == [(seconds, queue_url)]


@pytest.mark.parametrize(("query", "questions"), [("", 4), ("&wait=0", 1)])
def test_a_write_that_is_not_applied_in_time_is_told(api, reader, waits, query, questions):
    asked = reader({"pending": True}).asked

    answer = api("GET", f"/stations/EDDF?after={TOKEN}{query}")

    assert (answer.status_code, problem(answer)) == (503, "not-yet-applied")
    assert int(answer.headers["Retry-After"]) > 0
    assert len(asked) == questions


def test_a_write_that_was_rejected_is_told_with_its_reason(api, reader, waits):
    reader({"pending": True}, {"rejected": "there is a row with that key"})

    answer = api("GET", f"/stations/EDDF?after={TOKEN}")

    assert (answer.status_code, problem(answer)) == (404, "write-rejected")
    assert b"there is a row with that key" in answer.body


def test_a_row_that_is_not_there_after_the_write_is_a_404(api, reader):
    reader({"body": None, "etag": None})

    answer = api("GET", f"/stations/EDDF?after={TOKEN}")

    assert problem(answer) == "no-such-row"
    assert b"pending" not in answer.body


@pytest.mark.parametrize("path", ["/stations/EDDF?after={}", "/writes/{}", "/writes/{}?wait=5"])
@pytest.mark.parametrize("token", [TOKEN[:-1], TOKEN[:-2] + "AA", "x", "%00", "%C3%BC"])
def test_a_receipt_that_was_not_issued_is_a_404_without_a_question(api, reader, path, token):
    asked = reader(ROW).asked

    answer = api("GET", path.format(token))

    assert (answer.status_code, problem(answer)) == (404, "unknown-receipt")
    assert asked == []


@pytest.mark.parametrize("path", [f"/stations/EDDF?after={TOKEN}", f"/writes/{TOKEN}"])
def test_a_receipt_of_somebody_else_is_a_404_without_a_question(api, reader, path):
    asked = reader(ROW).asked

    assert problem(api("GET", path, caller="you")) == "unknown-receipt"
    assert asked == []


@pytest.mark.parametrize("path", ["/stations/EDDF", "/stations/EDDF?wait=x"])
def test_a_row_is_not_read_without_the_scope(api, reader, path):
    asked = reader(ROW).asked

    for scopes in ("stations:write observations:read", ""):
        answer = api("GET", path, scopes=scopes)
        assert (answer.status_code, problem(answer)) == (403, "missing-scope")
    assert asked == []
    assert api("GET", "/stations/EDDF", scopes="stations:read").status_code == 200


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/stations/EDDF?wait=5", "wait"),
        (f"/stations/EDDF?after={TOKEN}&wait=21", "wait"),
        (f"/stations/EDDF?after={TOKEN}&wait=-1", "wait"),
        (f"/stations/EDDF?after={TOKEN}&wait=", "wait"),
        (f"/stations/EDDF?after={TOKEN}&wait=1.5", "wait"),
        (f"/stations/EDDF?after={TOKEN}&wait=%D9%A3", "wait"),
        (f"/stations/EDDF?after={TOKEN}&wait={'9' * 5000}", "wait"),
        (f"/stations/EDDF?after={TOKEN}&wait=1&wait=1", "wait"),
        (f"/stations/EDDF?after={TOKEN}&after={TOKEN}", "after"),
        ("/stations/EDDF?select=icao", "select"),
        (f"/writes/{TOKEN}?wait=21", "wait"),
        (f"/writes/{TOKEN}?after={TOKEN}", "after"),
    ],
)
def test_a_query_that_does_not_fit_is_told_with_the_parameter(api, reader, path, parameter):
    asked = reader(ROW).asked

    answer = api("GET", path)

    assert (answer.status_code, problem(answer)) == (400, "invalid-query")
    assert json.loads(answer.body)["errors"][0]["pointer"] == f"?{parameter}"
    assert asked == []


@pytest.mark.parametrize("pending", [True, False])
def test_a_state_is_passed_on_with_retry_after_while_it_is_pending(api, reader, waits, pending):
    body = '{"state":"x","writes":5}'
    asked = reader({"body": body, "state": "x", "pending": pending}).asked

    answer = api("GET", f"/writes/{TOKEN}")

    assert answer.status_code == 200
    assert answer.body == body.encode()
    assert ("Retry-After" in answer.headers) is pending
    assert asked == [{"ask": "status", **FIELDS}]
    assert waits == []


def test_a_state_is_waited_for(api, reader, waits):
    asked = reader(PENDING, PENDING, APPLIED).asked

    answer = api("GET", f"/writes/{TOKEN}?wait=20")

    assert answer.body == b'{"state":"applied"}'
    assert "Retry-After" not in answer.headers
    assert len(asked) == 3
    assert [seconds for seconds, _ in waits] == [20]


def test_a_state_that_is_still_pending_after_the_wait_is_passed_on(api, reader, waits):
    reader(PENDING)

    answer = api("GET", f"/writes/{TOKEN}?wait=2")

    assert (answer.status_code, answer.body) == (200, b'{"state":"pending"}')
    assert "Retry-After" in answer.headers


def test_a_wait_outlives_a_reader_that_is_busy_for_a_moment(api, reader, waits):
    reader(BUSY, {"unwell": True}, APPLIED)

    assert api("GET", f"/writes/{TOKEN}?wait=2").body == b'{"state":"applied"}'


def test_a_reader_that_is_busy_to_the_end_of_a_wait_is_told(api, reader, waits):
    asked = reader(PENDING, BUSY).asked

    answer = api("GET", f"/stations/EDDF?after={TOKEN}&wait=2")

    assert (answer.status_code, problem(answer)) == (503, "reader-busy")
    assert len(asked) == 4


def test_nobody_waits_for_a_reader_that_fails(api, reader, waits):
    asked = reader({"errorMessage": "secret"}, FunctionError="Unhandled").asked

    assert api("GET", f"/writes/{TOKEN}?wait=20").status_code == 503
    assert len(asked) == 1


CANNOT = {
    "busy": (BUSY, {}, 1, "under way"),
    "unwell": ({"unwell": True}, {}, 5, "the database does not answer"),
    "failed": ({"errorMessage": "no column x"}, {"FunctionError": "Unhandled"}, 30, "failed"),
    "gone": (
        ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "Invoke"),
        {},
        5,
        "did not take the call",
    ),
    "silent": (ReadTimeoutError(endpoint_url="https://lambda.test"), {}, 5, "did not answer"),
}


@pytest.mark.parametrize("name", CANNOT)
@pytest.mark.parametrize("path", ["/stations/EDDF", "/stations", f"/writes/{TOKEN}"])
def test_a_reader_that_cannot_answer_is_a_503_that_says_why(api, reader, caplog, path, name):
    answer, more, seconds, words = CANNOT[name]
    reader(answer, **more)

    answered = api("GET", path)

    assert (answered.status_code, problem(answered)) == (503, "reader-busy")
    assert answered.headers["Retry-After"] == str(seconds)
    assert words in json.loads(answered.body)["detail"]
    assert b"no column x" not in answered.body
    assert ("no column x" in caplog.text) is (name == "failed")


def test_a_row_that_no_answer_holds_is_told(api, reader):
    reader({"too_large": True})

    answer = api("GET", "/stations/EDDF")

    assert (answer.status_code, problem(answer)) == (422, "row-too-large-to-read")
