"""Events of the front table's stream, and the answers to them."""

from typing import Any

import pytest

from chalicelib.buffer.dynamodb import take
from chalicelib.buffer.dynamodb.entries import FrontItem, claim_entry, item_entry, tombstone
from chalicelib.errors import Unfinished
from chalicelib.messages.message import Message, RowSet, encode
from tests.kit.stream import record_of, removal

MESSAGE = Message(
    "00000000-0000-7000-8000-000000000000", "0" * 32, 7, "alerts", "replace",
    (RowSet(("id",), (0,), (5,), '{"id":1}'),),
)  # fmt: skip
ITEM = FrontItem('row/alerts/["1"]', '{"id":1}', "0" * 32, encode(MESSAGE))


def deliveries(*records: Any) -> list[Any]:
    return take.deliveries({"Records": records})


def test_a_record_of_an_item_is_a_delivery_of_its_write() -> None:
    (found,) = deliveries(
        record_of(item_entry(ITEM), SequenceNumber="700", ApproximateCreationDateTime=1_700_000_001)
    )

    assert found.message == MESSAGE
    assert (found.place, found.lane, found.attempt) == ("700", ITEM.pk, 1)
    assert found.buffered_at == 1_700_000_001_000


def test_a_tombstone_that_a_client_made_is_a_write() -> None:
    entry = item_entry(tombstone(ITEM.pk, ITEM.etag, ITEM.write, 5))

    assert [each.message for each in deliveries(record_of(entry))] == [MESSAGE]


def test_deliveries_are_in_the_order_of_the_stream() -> None:
    records = [record_of(item_entry(ITEM), SequenceNumber=str(n)) for n in (9, 10, 11)]

    assert [each.place for each in deliveries(*records)] == ["9", "10", "11"]


@pytest.mark.parametrize(
    "record",
    [
        record_of(claim_entry("unique/alerts/name/[]", ITEM.pk), "INSERT"),
        record_of({"pk": {"S": "key/1"}, "fp": {"S": "0"}}, "INSERT"),
        record_of(item_entry(ITEM._replace(write=None))),
        record_of(item_entry(tombstone(ITEM.pk, ITEM.etag, None, 5))),
        removal(ITEM.pk),
        {**record_of({}), "dynamodb": None},
        {},
    ],
)
def test_what_has_no_write_is_no_delivery(record: Any) -> None:
    assert deliveries(record) == []


def test_an_event_without_records_has_no_deliveries() -> None:
    assert take.deliveries({}) == []


@pytest.mark.parametrize(
    "entry",
    [
        {"pk": {"S": "row"}, "write": {"S": "no message"}},
        {"pk": {"S": "row"}, "write": {"N": "5"}},
        {"write": {"NULL": True}},
        {"id": {"N": "1"}, "write": {"M": {"S": {"S": "of another table"}}}},
        {"pk": None, "write": None},
    ],
)
def test_what_cannot_be_read_is_a_delivery_with_a_fault(entry: Any) -> None:
    (found,) = deliveries(record_of(entry, ApproximateCreationDateTime="then"))

    assert found.message is None
    assert found.fault
    assert (found.is_newer, found.buffered_at) == (False, None)


def test_a_write_of_a_newer_version_is_not_a_foreign_one() -> None:
    newer = encode(MESSAGE).replace('{"v":1,', '{"v":99,')

    (found,) = deliveries(record_of(item_entry(ITEM._replace(write=newer))))

    assert found.is_newer


def test_an_answer_names_the_unfinished_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    batch = deliveries(*[record_of(item_entry(ITEM), SequenceNumber=str(n)) for n in (9, 10, 11)])

    assert take.answer(batch, batch[1:]) == {
        "batchItemFailures": [{"itemIdentifier": "10"}, {"itemIdentifier": "11"}]
    }
    assert take.answer(batch, []) == {"batchItemFailures": []}


def test_without_partial_responses_the_whole_batch_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DECANTER_PARTIAL_RESPONSES", raising=False)
    batch = deliveries(record_of(item_entry(ITEM)))

    with pytest.raises(Unfinished):
        take.answer(batch, batch)
    assert take.answer(batch, []) == {"batchItemFailures": []}
