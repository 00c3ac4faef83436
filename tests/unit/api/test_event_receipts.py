"""The receipts in messages, which the drain enters for events: only in a stage that has them."""

from typing import Any

import pytest

from chalicelib.messages.message import encode
from chalicelib.messages.receipt import verify
from tests.kit.api import OBSERVATION, RECEIPT_KEY, STATION, station, token_of


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECANTER_EVENTS", "arn:aws:events:eu-central-1:000000000000:event-bus/all")


MANY = [station(icao=f"ED{a}{b}", iata=None) for a in "ABCDEF" for b in "ABCDEF"]
WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/stations", STATION),
    ("POST", "/stations", MANY),
    ("POST", "/observations", [OBSERVATION] * 3),
    ("PUT", "/stations/EDDF", STATION),
    ("PATCH", "/stations/EDDF", {"name": "Frankfurt"}),
    ("DELETE", "/stations/EDDF", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize("headers", [{}, {"Idempotency_Key": "k"}])
@pytest.mark.usefixtures("events")
def test_every_message_has_the_receipt_that_the_client_gets(
    api: Any, recorder: Any, method: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    token = token_of(api(method, path, body, **headers))

    assert {each.receipt for each in recorder.messages} == {token}
    assert (len(recorder.messages) > 1) == (body is MANY)
    assert verify(token, RECEIPT_KEY.encode(), "me")


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_without_events_a_message_is_as_it_was(
    api: Any, recorder: Any, method: str, path: str, body: Any
) -> None:
    token_of(api(method, path, body))

    for _, entry in recorder.sent:
        assert '"receipt"' not in entry.body
    assert [encode(each) for each in recorder.messages] == [each.body for _, each in recorder.sent]
