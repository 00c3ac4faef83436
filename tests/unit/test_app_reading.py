"""What the API function makes of the reader's answers."""

import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.intake import reading
from chalicelib.receipt import Receipt, issue, new_id
from tests.unit.conftest import RECEIPT_KEY


class Lambda:
    """Answers Invoke as Lambda does."""

    def __init__(self, answer: Any, **more: Any) -> None:
        self.answer = answer
        self.more = more
        self.asked: list[dict[str, Any]] = []

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        assert FunctionName == "reader"
        self.asked.append(json.loads(Payload))
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"Payload": io.BytesIO(json.dumps(self.answer).encode()), **self.more}


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch):
    def make(answer: Any, **more: Any) -> Lambda:
        made = Lambda(answer, **more)
        monkeypatch.setattr(reading, "_client", lambda: made)
        return made

    return make


def token(messages: int = 2) -> str:
    receipt = Receipt(new_id(7), 7, messages, 5, "0" * 32)
    return issue(receipt, RECEIPT_KEY.encode(), "anonymous")


def test_a_row_is_passed_on_as_postgres_wrote_it(api, reader):
    asked = reader({"body": '{"icao":"EDDF","elevation_ft":364.00000000000000000001}'}).asked

    answer = api("GET", "/stations/EDDF")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == b'{"icao":"EDDF","elevation_ft":364.00000000000000000001}'
    assert asked == [{"ask": "row", "resource": "stations", "key": '{"icao":"EDDF"}'}]


def test_an_unordered_row_can_be_read(api, reader):
    asked = reader({"body": '{"id":7}'}).asked

    assert api("GET", "/observations/7").status_code == 200
    assert asked[0]["key"] == '{"id":7}'


def test_a_row_that_is_not_there_is_a_404(api, reader):
    reader({"body": None})

    answer = api("GET", "/stations/EDDF")

    assert answer.status_code == 404
    assert json.loads(answer.body)["type"] == "urn:decanter:problem:no-such-row"


@pytest.mark.parametrize("pending", [True, False])
def test_a_state_is_passed_on_with_retry_after_while_it_is_pending(api, reader, pending):
    body = '{"state":"x","writes":5}'
    asked = reader({"body": body, "pending": pending}).asked

    answer = api("GET", f"/writes/{token()}")

    assert answer.status_code == 200
    assert answer.body == body.encode()
    assert ("Retry-After" in answer.headers) is pending
    assert asked[0]["ask"] == "status"
    assert (asked[0]["messages"], asked[0]["writes"]) == (2, 5)


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        ({"unwell": True}, {}),
        ({"errorMessage": "secret"}, {"FunctionError": "Unhandled"}),
        (ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke"), {}),
        (ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "Invoke"), {}),
        (ReadTimeoutError(endpoint_url="https://lambda.test"), {}),
    ],
)
@pytest.mark.parametrize("path", ["/stations/EDDF", f"/writes/{token()}"])
def test_a_reader_that_cannot_answer_is_a_503(api, reader, path, answer, more):
    reader(answer, **more)

    answered = api("GET", path)

    assert answered.status_code == 503
    assert json.loads(answered.body)["type"] == "urn:decanter:problem:reader-busy"
    assert int(answered.headers["Retry-After"]) > 0
    assert b"secret" not in answered.body
