"""What the API function makes of the reader's answers."""

import gc
import http.client
import json
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import urllib3
from botocore.exceptions import (
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError

from chalicelib import asking
from chalicelib.api.reads import waiting
from chalicelib.buffer.sqs import put
from chalicelib.messages.receipt import front_id, issue
from tests.kit.api import RECEIPT_KEY, problem
from tests.kit.reader_stub import FIELDS, NEVER, RECEIPT, TOKEN, Body, Reader, stop_time

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

    clock = stop_time(monkeypatch)

    def until(question: Any, deadline: float, queue_url: str) -> Any:
        found.append((deadline - clock.now, queue_url))
        answers = (question() for _ in range(3))
        return next((answer for answer in answers if answer is not None), None)

    monkeypatch.setattr(waiting, "until", until)
    return found


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
def test_what_is_no_list_of_etags_is_reported(api, reader, sent):
    asked = reader(ROW).asked

    answer = api("GET", "/stations/EDDF", If_None_Match=sent)

    assert (answer.status_code, problem(answer)) == (400, "invalid-precondition")
    assert asked == []


def test_a_row_that_is_too_large_to_have_an_etag_is_shown_in_part_without_one(api, reader):
    reader({"body": '{"icao":"EDDF"}', "etag": None})

    answer = api("GET", "/stations/EDDF?select=icao", If_None_Match='"5f8a"')

    assert (answer.status_code, answer.body) == (200, b'{"icao":"EDDF"}')
    assert "ETag" not in answer.headers


def test_a_part_of_a_row_is_read_after_a_write(api, reader):
    asked = reader(ROW).asked

    assert api("GET", f"/stations/EDDF?select=name&after={TOKEN}").status_code == 200
    assert [(each["ask"], each["select"], each["after"]) for each in asked] == [
        ("part", ["name"], FIELDS)
    ]


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
def test_a_write_that_is_not_applied_in_time_is_reported(api, reader, waits, query, questions):
    asked = reader({"pending": True}).asked

    answer = api("GET", f"/stations/EDDF?after={TOKEN}{query}")

    assert (answer.status_code, problem(answer)) == (503, "not-yet-applied")
    assert int(answer.headers["Retry-After"]) > 0
    assert len(asked) == questions


def test_a_write_that_was_rejected_is_reported_with_its_reason(api, reader, waits):
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
        ("/stations/EDDF?select=nothing", "select"),
        ("/stations/EDDF?select=icao&select=name", "select"),
        ("/stations/EDDF?icao=EDDF", "icao"),
        (f"/writes/{TOKEN}?wait=21", "wait"),
        (f"/writes/{TOKEN}?after={TOKEN}", "after"),
        (f"/writes/{TOKEN}?after_item=-1", "after_item"),
        (f"/writes/{TOKEN}?after_item=", "after_item"),
    ],
)
def test_a_query_that_does_not_fit_is_reported_with_the_parameter(api, reader, path, parameter):
    asked = reader(ROW).asked

    answer = api("GET", path)

    assert (answer.status_code, problem(answer)) == (400, "invalid-query")
    assert json.loads(answer.body)["errors"][0]["pointer"] == f"?{parameter}"
    assert asked == []


@pytest.mark.parametrize("state", ["applied", "partial", "rejected", "expired"])
def test_a_status_leads_to_all_rejections_where_there_may_be_some(api, reader, state):
    reader({"body": f'{{"state": "{state}"}}', "state": state, "pending": False})

    body = json.loads(api("GET", f"/writes/{TOKEN}").body)

    path = {} if state == "applied" else {"all_rejections": f"/writes/{TOKEN}/rejections"}
    assert body == {"state": state, **path}


def test_rejections_are_asked_for_page_by_page_and_by_their_sender_only(api, reader):
    asked = reader({"body": "{}\n", "state": "pending", "pending": True, "next": 41}).asked
    path = f"/writes/{TOKEN}/rejections"

    answer = api("GET", f"{path}?limit=9&after_item=7", Accept="application/x-ndjson")

    assert (answer.status_code, answer.body) == (200, b"{}\n")
    assert answer.headers["Link"] == f'<{path}?limit=9&after_item=41>; rel="next"'
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    question = {"limit": 9, "after_item": 7, "form": "lines"}
    assert asked == [{"ask": "rejections", **FIELDS, **question}]
    assert problem(api("GET", path, caller="you")) == "unknown-receipt"
    assert problem(api("POST", path, {})) == "op-not-allowed"
    assert len(asked) == 1


@pytest.mark.parametrize("pending", [True, False])
def test_a_state_is_passed_on_with_retry_after_while_it_is_pending(api, reader, waits, pending):
    body = '{"state":"x","writes":5}'
    asked = reader({"body": body, "state": "x", "pending": pending}).asked

    answer = api("GET", f"/writes/{TOKEN}")

    assert answer.status_code == 200
    assert answer.body.startswith(body[:-1].encode())
    assert ("estimate" in json.loads(answer.body)) is pending
    assert ("Retry-After" in answer.headers) is pending
    assert asked == [{"ask": "status", **FIELDS}]
    assert waits == []


def test_a_state_with_more_than_it_lists_leads_on(api, reader, waits):
    asked = reader({**APPLIED, "next": 41}).asked

    answer = api("GET", f"/writes/{TOKEN}?after_item=7")

    assert answer.headers["Link"] == f'</writes/{TOKEN}?after_item=41>; rel="next"'
    assert asked == [{"ask": "status", **FIELDS, "after_item": 7}]


def test_a_state_is_waited_for(api, reader, waits):
    asked = reader(PENDING, PENDING, APPLIED).asked

    answer = api("GET", f"/writes/{TOKEN}?wait=20")

    assert answer.body == b'{"state":"applied"}'
    assert "Retry-After" not in answer.headers
    assert len(asked) == 3
    assert [seconds for seconds, _ in waits] == [20]


def test_a_state_of_a_write_in_front_does_not_depend_on_a_queue(api, reader, waits):
    reader(PENDING, APPLIED)
    receipt = RECEIPT._replace(id=front_id(7, 0))

    api("GET", f"/writes/{issue(receipt, RECEIPT_KEY.encode(), 'me')}?wait=20")

    assert waits == [(20, None)]


def test_a_state_that_is_still_pending_after_the_wait_is_passed_on(api, reader, waits):
    reader(PENDING)

    answer = api("GET", f"/writes/{TOKEN}?wait=2")

    assert (answer.status_code, json.loads(answer.body)["state"]) == (200, "pending")
    assert "Retry-After" in answer.headers


def test_a_wait_outlives_a_reader_that_is_busy_for_a_moment(api, reader, waits):
    reader(BUSY, {"unwell": True}, APPLIED)

    assert api("GET", f"/writes/{TOKEN}?wait=2").body == b'{"state":"applied"}'


def test_a_reader_that_is_busy_to_the_end_of_a_wait_is_reported(api, reader, waits):
    asked = reader(PENDING, BUSY).asked

    answer = api("GET", f"/stations/EDDF?after={TOKEN}&wait=2")

    assert (answer.status_code, problem(answer)) == (503, "reader-busy")
    assert len(asked) == 4


def test_nobody_waits_for_a_reader_that_fails(api, reader, waits):
    asked = reader({"errorMessage": "secret"}, FunctionError="Unhandled").asked

    assert api("GET", f"/writes/{TOKEN}?wait=20").status_code == 503
    assert len(asked) == 1


CANNOT = {
    "busy": (BUSY, {}, 1, "as many calls as it may"),
    "unwell": ({"unwell": True}, {}, 5, "the database does not answer"),
    "failed": ({"errorMessage": "no column x"}, {"FunctionError": "Unhandled"}, 30, "failed"),
    "gone": (
        ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "Invoke"),
        {},
        5,
        "could not be called",
    ),
    "silent": (ReadTimeoutError(endpoint_url="https://lambda.test"), {}, 5, "did not answer"),
    **{
        f"broken off with {type(error).__name__}": (Body(b"", error), {}, 5, "did not answer")
        for error in (
            ReadTimeoutError(endpoint_url="https://lambda.test"),
            ResponseStreamingError(error="reset"),
            IncompleteReadError(actual_bytes=1, expected_bytes=9),
            http.client.IncompleteRead(b"{"),
            urllib3.exceptions.ProtocolError("broken"),
            ResponseParserError("no JSON"),
            ConnectionResetError(),
            TimeoutError(),
            ValueError("I/O operation on closed file"),
        )
    },
    **{
        f"senseless: {answer!r:.20}": (answer, {}, 5, "an invalid answer")
        for answer in (
            b"",
            b'{"body":"{',
            b"<html>",
            b"\xff",
            b"[" * 100_000,
            None,
            7,
            [],
            {},
            {"unwell": False},
            {"too_large": True, "next": 7},
            {"body": 7, "etag": "a", "pending": False, "next": None},
            {"body": "[]", "etag": None, "next": 7, "pending": None},
            {"rows": []},
        )
    },
    "failed and cut": (b'{"errorMess', {"FunctionError": "Unhandled"}, 30, "failed"),
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


@pytest.mark.parametrize(
    ("path", "longest"),
    [
        ("/stations/EDDF", 12),
        ("/stations", 12),
        (f"/writes/{TOKEN}", 12),
        (f"/writes/{TOKEN}?wait=1", 1),
        (f"/writes/{TOKEN}?wait=20", 20),
        (f"/stations/EDDF?after={TOKEN}", 10),
        (f"/stations/EDDF?after={TOKEN}&wait=0", 12),
        (f"/stations/EDDF?after={TOKEN}&wait=1", 1),
        (f"/stations/EDDF?after={TOKEN}&wait=20", 20),
    ],
)
@pytest.mark.parametrize("seconds", [NEVER, 5.7, 2])
def test_a_reader_that_is_frozen_is_a_503_in_time(api, reader, monkeypatch, path, longest, seconds):
    clock = stop_time(monkeypatch)
    monkeypatch.setattr(put, "lies_still", lambda _url: clock.sleep(NEVER))
    started = clock.now

    def frozen() -> dict[str, bool]:
        clock.now += seconds
        return {"unwell": True}

    found = reader(frozen)
    answer = api("GET", path)

    assert (answer.status_code, problem(answer)) == (503, "reader-busy")
    assert int(answer.headers["Retry-After"]) > 0
    assert clock.now - started <= longest
    assert all(0 < given < longest for given in found.seconds)


def test_a_receipt_that_the_ledger_forgot_is_reported_as_no_longer_known(api, reader):
    reader({"expired": "whether they were applied is no longer known"})

    answer = api("GET", f"/stations/EDDF?after={TOKEN}")

    assert (answer.status_code, problem(answer)) == (410, "receipt-expired")
    assert b"no longer known" in answer.body


@pytest.mark.parametrize(("accepted_at", "is_said"), [(7, False), (0, True)])
def test_a_receipt_without_a_time_may_be_older_than_the_ledger_knows(
    api, reader, waits, accepted_at, is_said
):
    reader({"pending": True})
    token = issue(RECEIPT._replace(accepted_at=accepted_at), RECEIPT_KEY.encode(), "me")

    answer = api("GET", f"/stations/EDDF?after={token}")

    assert problem(answer) == "not-yet-applied"
    assert (b"30 days" in answer.body) is is_said


# A real client, and a server that does what it likes


class Server(ThreadingHTTPServer):
    """Gives each request the next of these answers: what it writes to the socket, or waits for."""

    daemon_threads = True

    def __init__(self, *answers: Callable[[Any], None]) -> None:
        self.answers = list(answers)
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.answers.pop(0)(self.wfile)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serve(monkeypatch):
    """`serve(answer, …)`: what stands where Lambda is."""
    servers: list[Server] = []

    def serve(*answers: Callable[[Any], None]) -> None:
        server = Server(*answers)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        asking._client.cache_clear()

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
    asking._client.cache_clear()
    gc.unfreeze()


CUT = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = json.dumps(ROW).encode()
GOOD = CUT + b"Content-Length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE)


def gives(content: bytes) -> Callable[[Any], None]:
    """Writes that, and closes the connection."""

    def give(file: Any) -> None:
        file.write(content)
        file.flush()
        raise ConnectionAbortedError

    return give


@pytest.mark.parametrize(
    "content",
    [
        GOOD[:-1],
        GOOD[:20],
        b"",
        CUT + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        CUT + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n",
        CUT + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        CUT + b"Connection: close\r\nContent-Length: 1\r\n\r\n{",
        CUT + b"Connection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 400 Bad\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]",
        b"garbage",
    ],
)
def test_an_answer_that_breaks_off_anywhere_is_a_503_and_spoils_no_other(
    api, serve, monkeypatch, content
):
    monkeypatch.setattr(Server, "handle_error", lambda *_: None)
    serve(gives(content), gives(GOOD))

    answer = api("GET", "/stations/EDDF")

    assert (answer.status_code, problem(answer)) == (503, "reader-busy")
    assert answer.headers["Retry-After"] == "5"
    assert api("GET", "/stations/EDDF").body == b'{"icao":"EDDF"}'


@pytest.mark.parametrize("before", [b"", CUT, GOOD[:-1]])
def test_a_call_that_hangs_is_left_alone_and_its_connection_too(api, serve, monkeypatch, before):
    monkeypatch.setattr(Server, "handle_error", lambda *_: None)
    end = threading.Event()

    def hang(file: Any) -> None:
        file.write(before)
        file.flush()
        end.wait(60)
        raise ConnectionAbortedError

    serve(hang, gives(GOOD))
    monkeypatch.setattr(asking, "_PATIENCE_SECONDS", 1)

    try:
        answer = api("GET", "/stations/EDDF")
        assert not end.is_set()
        assert (answer.status_code, problem(answer)) == (503, "reader-busy")
        monkeypatch.setattr(asking, "_PATIENCE_SECONDS", 60)
        assert api("GET", "/stations/EDDF").body == b'{"icao":"EDDF"}'
    finally:
        end.set()


def test_a_row_that_no_answer_holds_is_reported(api, reader):
    reader({"too_large": True})

    answer = api("GET", "/stations/EDDF")

    assert (answer.status_code, problem(answer)) == (422, "row-too-large-to-read")
