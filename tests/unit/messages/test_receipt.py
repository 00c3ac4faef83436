"""Receipts name their request, to their owner only."""

import base64
import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.messages.receipt import (
    FRONT_ITEMS,
    Receipt,
    fingerprint,
    front_id,
    front_item,
    is_of_front,
    issue,
    keyed_id,
    new_id,
    portion_id,
    span,
    split_id,
    verify,
)

KEY = b"k" * 32
RECEIPT = Receipt(
    id=new_id(1_790_000_000_000),
    accepted_at=1_790_000_000_000,
    messages=3,
    writes=1_000,
    fingerprint=fingerprint("POST", "/stations", b"{}"),
)

receipts = st.builds(
    Receipt,
    id=st.uuids().map(lambda id_: UUID(int=id_.int & ~0xFFFF)),
    accepted_at=st.integers(0, 2**48 - 1),
    messages=st.integers(1, 2**16 - 1),
    writes=st.integers(1, 2**24 - 1),
    fingerprint=st.binary(min_size=16, max_size=16).map(bytes.hex),
)


@given(receipts, st.binary(min_size=1), st.text(st.characters()))
def test_a_receipt_comes_back_to_its_owner(receipt, key, caller):
    token = issue(receipt, key, caller)

    assert verify(token, key, caller) == receipt
    assert len(token) == 80


def flipped(content):
    """Each bit by its number, with the content in which it is the other one."""
    for bit in range(8 * len(content)):
        other = bytearray(content)
        other[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(other)


def test_one_flipped_bit_makes_a_receipt_worthless():
    for bit, token in flipped(issue(RECEIPT, KEY, "me").encode()):
        assert verify(token.decode("latin-1"), KEY, "me") is None, bit


def test_one_flipped_bit_of_the_content_makes_a_receipt_worthless():
    for bit, raw in flipped(base64.urlsafe_b64decode(issue(RECEIPT, KEY, "me"))):
        assert verify(base64.urlsafe_b64encode(raw).decode(), KEY, "me") is None, bit


def test_a_receipt_says_nothing_to_another_caller_or_under_another_key():
    token = issue(RECEIPT, KEY, "me")

    assert verify(token, KEY, "you") is None
    assert verify(token, KEY, "") is None
    assert verify(token, b"K" * 32, "me") is None


@pytest.mark.parametrize("length", range(80))
def test_a_cut_receipt_is_worthless(length):
    assert verify(issue(RECEIPT, KEY, "me")[:length], KEY, "me") is None


@pytest.mark.parametrize(
    "token", ["", "ä", "€" * 80, "\ud800", "\0" * 80, "A" * 80, "A" * 84, "=" * 80, "A" * 10_000]
)
def test_what_is_no_receipt_is_worthless(token):
    assert verify(token, KEY, "me") is None


@given(st.text())
def test_no_text_breaks_the_reader_of_receipts(token):
    assert verify(token, KEY, "me") is None


def test_every_receipt_has_one_spelling():
    token = issue(RECEIPT._replace(fingerprint="ff" * 16), KEY, "me")
    assert "_" in token

    assert verify(token.replace("_", "/"), KEY, "me") is None
    assert verify(token + "====", KEY, "me") is None
    assert verify(token + "\n", KEY, "me") is None


def test_new_ids_are_unique_and_grow_with_time():
    now = time.time_ns() // 1_000_000
    ids = [new_id(now) for _ in range(10_000)]

    assert len(set(ids)) == len(ids)
    assert max(ids) < new_id(now + 1)
    assert {id_.version for id_ in ids} == {7}
    assert {id_.variant for id_ in ids} == {"specified in RFC 4122"}
    assert {id_.int >> 80 for id_ in ids} == {now}


@given(st.integers(0, 2**48 - 1))
def test_the_low_bits_of_an_id_are_left_for_message_numbers(now_ms):
    assert new_id(now_ms).int & 0xFFFF == 0
    assert keyed_id(str(now_ms), "key").int & 0xFF_FFFF_FFFF == 0


def test_an_id_of_the_front_says_so_and_names_its_items():
    first = Receipt(front_id(1_790_000_000_000, 7), 1_790_000_000_000, 3, 2, "0" * 32)
    ids = [UUID(first.dedup_id(number)) for number in range(first.messages)]

    assert [front_item(each) for each in ids] == [7, 8, 9]
    assert all(is_of_front(each) for each in ids)
    assert first.id.version == 7
    assert first.id.int >> 80 == first.accepted_at
    assert span(first.id, first.messages) == (ids[0], ids[-1])
    last = front_id(1_790_000_000_000, FRONT_ITEMS - 1)
    assert (front_item(last), is_of_front(last)) == (FRONT_ITEMS - 1, True)


@given(st.text(st.characters()))
def test_an_id_of_a_queued_request_is_not_of_the_front(idempotency_key):
    keyed = split_id(keyed_id("me", idempotency_key), [[0], [1]])

    assert not is_of_front(new_id(1_790_000_000_000))
    assert not is_of_front(keyed)
    assert not is_of_front(UUID(int=keyed.int | FRONT_ITEMS))


def test_message_numbers_count_up_from_the_id():
    assert RECEIPT.dedup_id(0) == str(RECEIPT.id)
    assert UUID(RECEIPT.dedup_id(0xFFFF)).int == RECEIPT.id.int + 0xFFFF


@given(st.text(st.characters()), st.text(st.characters()))
def test_a_keyed_id_depends_on_caller_and_key_alone(caller, idempotency_key):
    one = keyed_id(caller, idempotency_key)

    assert one == keyed_id(caller, idempotency_key)
    assert one.version == 8
    assert one != keyed_id(caller, idempotency_key + "x")
    assert one != keyed_id(caller + "x", idempotency_key)


def test_caller_and_key_do_not_run_into_each_other():
    assert keyed_id("ab", "c") != keyed_id("a", "bc")
    assert keyed_id("", "abc") != keyed_id("abc", "")


def parts_of(items: list[int], cuts: set[int]) -> list[list[int]]:
    ends = [*sorted(cuts & set(range(1, len(items)))), len(items)]
    return [items[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(st.integers(1, 40), st.sets(st.integers(1, 39)), st.sets(st.integers(1, 39)))
def test_messages_of_two_splits_have_no_dedup_id_in_common_and_are_found_together(rows, a, b):
    request = keyed_id("me", "key")
    one, other = parts_of([*range(rows)], a), parts_of([*range(rows)], b)

    ids = [split_id(request, one), split_id(request, other)]

    assert (ids[0] == ids[1]) == (one == other)
    assert {each.version for each in ids} == {8}
    assert span(ids[0], len(one)) == span(ids[1], len(other))
    first, last = span(ids[0], len(one))
    assert all(first.int <= each.int and each.int + 0xFFFF <= last.int + 1 for each in ids)
    assert last.int & 0xFF_FFFF_FFFF < 0xFF_FFFF_FFFF  # which claims the request


def test_a_request_in_one_message_has_the_same_id_in_every_split():
    assert split_id(keyed_id("me", "key"), [[0, 1, 2]]) == keyed_id("me", "key")


def test_the_order_of_rows_within_a_message_is_not_part_of_the_split():
    one, other = [[0, 2], [1, 3]], [[2, 0], [3, 1]]

    assert split_id(keyed_id("me", "k"), one) == split_id(keyed_id("me", "k"), other)


def test_a_request_without_a_key_has_a_span_of_its_messages():
    assert span(RECEIPT.id, 3) == (RECEIPT.id, UUID(int=RECEIPT.id.int + 2))


def test_a_fingerprint_covers_method_path_and_body():
    one = fingerprint("POST", "/stations", b"{}")

    assert one == fingerprint("POST", "/stations", b"{}")
    assert len({
        one,
        fingerprint("PUT", "/stations", b"{}"),
        fingerprint("POST", "/station", b"s{}"),
        fingerprint("POST", "/stations", b"{} "),
        fingerprint("POST/", "stations", b"{}"),
    }) == 5  # fmt: skip


def test_a_portion_is_a_split_of_its_own_that_its_content_names() -> None:
    request = keyed_id("me", "key")
    contents = [f"portion {number}".encode() for number in range(2_000)]

    ids = [portion_id(request, content) for content in contents]

    assert ids == [portion_id(request, content) for content in contents]
    assert len({*ids}) == len(ids)
    first, last = span(request, 1)
    assert all(first < each <= last for each in ids)  # neither the whole request, nor its claim
    splits = {str(each)[:-4] for each in ids}
    assert len(splits) > len(ids) * 0.99
    assert {each.version for each in ids} == {8}
