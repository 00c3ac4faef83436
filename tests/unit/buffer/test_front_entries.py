"""Entries of the front table are read as they are written, and others are told from them."""

from uuid import UUID

import pytest

from chalicelib.buffer.dynamodb import entries
from chalicelib.buffer.dynamodb.entries import Damaged, FrontItem


def test_items_are_read_as_they_are_written():
    live = FrontItem("row/r/[]", '{"a":1.50}', "e", "body", None, '{"type":"check"}')
    gone = entries.tombstone("row/r/[]", "e", "body", 1_000)

    assert entries.read_item(entries.item_entry(live)) == live
    assert entries.read_item(entries.item_entry(gone)) == gone
    assert "row" not in entries.item_entry(gone)
    assert gone.ttl == 1_000 + 30 * 86_400


def test_key_records_are_read_as_they_are_written():
    record = entries.key_record("key/1", "f" * 32, None, 1_000)

    assert entries.read_record(entries.record_entry(record)) == record


def test_names_of_items_give_their_resource_and_key():
    pk = entries.item_pk("alerts", ['a/"b"', "ü", "1e0"])

    assert pk == 'row/alerts/["a/\\"b\\"","ü","1e0"]'
    assert entries.split_item_pk(pk) == ("alerts", ['a/"b"', "ü", "1e0"])


@pytest.mark.parametrize("pk", ["unique/a/b/[]", "row/alerts", "row/alerts/{}", "row/alerts/[1"])
def test_other_names_are_not_of_items(pk):
    with pytest.raises(Damaged):
        entries.split_item_pk(pk)


@pytest.mark.parametrize(
    "entry",
    [
        {"pk": {"S": "row/r/[]"}},
        {"pk": {"S": "row/r/[]"}, "etag": {"N": "1"}},
        {"pk": {"S": "row/r/[]"}, "etag": {"S": "e"}, "row": {"M": {}}},
        {"pk": {"S": "row/r/[]"}, "etag": {"S": "e"}, "ttl": {"S": "soon"}},
    ],
)
def test_items_changed_by_other_hands_are_damaged(entry):
    with pytest.raises(Damaged):
        entries.read_item(entry)


def test_an_etag_names_the_message_that_wrote_the_row():
    dedup_id = str(UUID(int=7))

    assert entries.dedup_id_of(entries.etag_of(dedup_id)) == dedup_id
    with pytest.raises(Damaged):
        entries.dedup_id_of("not hexadecimal")


def test_sizes_count_the_bytes_of_names_and_values():
    assert entries.size({"pk": {"S": "ü"}, "row": {"S": "€"}}) == 2 + 2 + 3 + 3
