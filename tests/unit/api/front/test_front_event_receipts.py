"""The receipts in messages of rows in front: each row has one for itself."""

import pytest

from chalicelib.messages.receipt import verify
from tests.kit.api import RECEIPT_KEY
from tests.kit.fronted import messages


@pytest.fixture
def events(monkeypatch):
    monkeypatch.setenv("DECANTER_EVENTS", "arn:aws:sns:eu-central-1:000000000000:done.fifo")


@pytest.mark.usefixtures("events")
def test_a_single_row_has_the_receipt_of_the_answer(api, front):
    answer = api("PUT", "/places/ZRH", {"name": "Zurich"})

    (message,) = messages(front)
    assert answer.headers["Link"] == f'</writes/{message.receipt}>; rel="status"'


@pytest.mark.usefixtures("events")
def test_each_of_many_rows_has_a_receipt_of_its_own(api, front):
    api("POST", "/places", [{"code": f"A{n}"} for n in range(3)])

    found = messages(front)
    receipts = [verify(each.receipt, RECEIPT_KEY.encode(), "me") for each in found]
    assert [str(each.id) for each in receipts] == [each.dedup_id for each in found]
    assert {(each.messages, each.writes) for each in receipts} == {(1, 1)}
    assert {each.fingerprint for each in receipts} == {each.fingerprint for each in found}


def test_without_events_no_row_has_a_receipt(api, front):
    api("PUT", "/places/ZRH", {"name": "Zurich"})

    (message,) = messages(front)
    assert message.receipt == ""
