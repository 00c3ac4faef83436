"""Rows become messages: by lane, in order, within what SQS takes, and always the same ones."""

import json
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import Problem
from chalicelib.messages.message import Message, RowSet, encode
from chalicelib.messages.split import KeyedRow, split, too_large
from chalicelib.settings import LANES, LEAST_MESSAGE_BYTES, MAX_MESSAGE_BYTES, queue_bytes

SQS_BYTES = 1_048_576


def row(
    item: int, digest: int | None = None, members: tuple[str, ...] = ("a",), text: str = ""
) -> KeyedRow:
    return KeyedRow(item, members, digest, text or json.dumps({"a": item}))


def bodies(parts: list[tuple[str | None, tuple[RowSet, ...]]]) -> list[str]:
    return [
        encode(
            Message(
                dedup_id="01890000-0000-7000-8000-000000000000",
                fingerprint="f" * 32,
                accepted_at=2**47 - 1,
                resource="r" * 63,
                op="replace",
                sets=sets,
                caller="c" * 200,
                receipt="t" * 80,
            )
        )
        for _, sets in parts
    ]


def writes(sets: tuple[RowSet, ...]) -> list[tuple[int, int | None, str]]:
    found = []
    for part in sets:
        texts = [json.dumps(value) for value in json.loads(f"[{part.rows}]")]
        digests = part.digests or (None,) * len(part.items)
        found += list(zip(part.items, digests, texts, strict=True))
    return found


rows = st.lists(
    st.builds(
        dict,
        digest=st.integers(0, 40),
        members=st.sampled_from([("a",), ("a", "b"), ("b",)]),
        pad=st.sampled_from([0, 10, 250_000, 400_000]),
    ),
    min_size=1,
    max_size=40,
)


@given(rows, st.booleans())
def test_the_messages_of_a_lane_have_the_writes_of_each_key_in_the_order_of_the_request(
    given, ordered
):
    sent = [
        KeyedRow(
            item,
            each["members"],
            each["digest"] if ordered else None,
            json.dumps({"n": item, "pad": "x" * each["pad"]}),
        )
        for item, each in enumerate(given)
    ]

    parts = split(sent)

    by_key: dict[int | None, list[int]] = defaultdict(list)
    for lane, sets in parts:
        for part in sets:
            assert len(set(part.digests)) == len(part.digests)
        for item, digest, text in writes(sets):
            assert json.loads(text)["n"] == item
            assert lane == (str(digest % LANES) if digest is not None else None)
            by_key[digest].append(item)
    expected: dict[int | None, list[int]] = defaultdict(list)
    for each in sent:
        expected[each.digest].append(each.item)
    if ordered:
        assert by_key == expected
    assert sorted(item for items in by_key.values() for item in items) == list(range(len(sent)))
    assert all(len(body.encode()) <= SQS_BYTES for body in bodies(parts))


@given(rows)
def test_the_same_rows_make_the_same_messages(given):
    sent = [row(i, each["digest"], each["members"]) for i, each in enumerate(given)]

    assert bodies(split(sent)) == bodies(split(list(sent)))


def test_first_messages_of_all_lanes_come_before_second_ones():
    text = json.dumps({"a": "x" * 600_000})
    sent = [row(i, i % 3, text=text) for i in range(9)]

    lanes = [lane for lane, _ in split(sent)]

    assert lanes == ["0", "1", "2"] * 3


def test_writes_to_one_key_stand_in_sets_one_after_the_other():
    parts = split([row(0, 5), row(1, 5, ("a", "b")), row(2, 7), row(3, 5)])

    assert [
        (lane, [(part.members, part.items) for part in sets]) for lane, sets in parts
    ] == [
        ("5", [(("a",), (0,)), (("a", "b"), (1,)), (("a",), (3,))]),
        ("7", [(("a",), (2,))]),
    ]  # fmt: skip


def test_rows_with_the_same_members_share_a_set():
    ((lane, sets),) = split([row(i, i * LANES, ("a",) if i % 2 else ("b",)) for i in range(6)])

    assert lane == "0"
    assert [part.items for part in sets] == [(0, 2, 4), (1, 3, 5)]


def test_rows_without_order_have_no_lane_and_no_digests():
    ((lane, sets),) = split([row(0), row(1)])

    assert lane is None
    assert sets == (RowSet(("a",), (0, 1), (), '{"a": 0},{"a": 1}'),)


@pytest.mark.parametrize("character", ["x", "ü", "€", "😀", "\uffff", "\\u0001", '\\"'])
def test_no_message_is_larger_than_sqs_takes_whatever_the_alphabet(character):
    text = json.dumps({"a": 0})[:-1] + ', "t": "' + character * 5_000 + '"}'

    for digest in (None, 3):
        parts = split([row(i, digest if digest is None else i, text=text) for i in range(300)])

        assert max(len(body.encode()) for body in bodies(parts)) <= SQS_BYTES
        assert sum(len(writes(sets)) for _, sets in parts) == 300


def test_no_message_is_larger_than_sqs_takes_when_every_row_is_a_set_of_its_own():
    same_key = [row(i, 2**64 - 1, ("id", "name")) for i in range(20_000)]
    many_kinds = [row(i, None, (f"column_{i}", "ü" * 20)) for i in range(10_000)]

    for sent in (same_key, many_kinds):
        parts = split(sent)

        assert max(len(body.encode()) for body in bodies(parts)) <= SQS_BYTES
        assert sum(len(part.items) for _, sets in parts for part in sets) == len(sent)


def test_a_body_of_six_megabytes_is_split_into_few_messages():
    text = json.dumps({"a": "x" * 1_000})
    parts = split([row(i, i * 7919, text=text) for i in range(6_000)])

    assert all(len(body.encode()) <= SQS_BYTES for body in bodies(parts))
    assert len(parts) == LANES
    assert sum(len(writes(sets)) for _, sets in parts) == 6_000


@pytest.mark.parametrize("character", ["x", "\uffff"])
def test_a_row_that_fits_no_message_is_refused_by_name(character):
    huge = json.dumps({"a": character * MAX_MESSAGE_BYTES}, ensure_ascii=False)

    with pytest.raises(Problem) as caught:
        split([row(0, 1), row(1, 2, text=huge)])

    assert caught.value.status == 413
    assert caught.value.type == "row-too-large"
    assert [fault.pointer for fault in caught.value.faults] == ["/1"]


def test_a_row_that_just_fits_is_taken():
    text = json.dumps({"a": "x" * (MAX_MESSAGE_BYTES - 1_000)})

    ((_, sets),) = split([row(0, 1, text=text)])

    assert sets[0].rows == text


@pytest.mark.parametrize("digest", [None, 5, 2**64 - 1])
def test_a_row_alone_makes_the_message_that_it_makes_beside_others(digest):
    alone = row(0, digest, ("a", "b"))
    large = json.dumps({"a": "x" * (MAX_MESSAGE_BYTES - 500)})  # no room beside it

    assert split([alone]) == split([alone, row(1, digest and digest + 1, text=large)])[:1]


def test_a_row_alone_that_fits_no_message_is_refused():
    text = json.dumps({"a": "x" * (MAX_MESSAGE_BYTES - 400)})

    for beside in ([], [row(1, 2)]):
        with pytest.raises(Problem) as caught:
            split([row(0, 1, text=text), *beside])
        assert caught.value.type == "row-too-large"


def _largest(most: int) -> KeyedRow:
    """The largest row that is taken."""
    for size in range(most, 0, -1):
        found = KeyedRow(2**31 - 1, ("a",), 2**64 - 1, json.dumps({"a": "x" * size}))
        if not too_large(found, ""):
            return found
    raise AssertionError("no row is taken")


@pytest.mark.parametrize("most", [LEAST_MESSAGE_BYTES, 250_000])
def test_no_message_is_larger_than_the_queue_of_a_stage_takes(monkeypatch, most):
    monkeypatch.setenv("DECANTER_MESSAGE_BYTES", str(most))
    rows = [KeyedRow(n, ("a",), n, json.dumps({"a": "x" * 999})) for n in range(1_000)]

    parts = split(rows)

    assert max(len(body.encode()) for body in bodies(parts)) <= queue_bytes(most)
    assert sum(len(each.items) for _, sets in parts for each in sets) == 1_000
    assert len(bodies(split([_largest(most)]))[0]) <= queue_bytes(most)
    with pytest.raises(Problem, match=f"a message holds at most {most}"):
        split([KeyedRow(0, ("a",), 0, json.dumps({"a": "x" * most}))])


@pytest.mark.parametrize("lanes", [None, 1])
def test_no_message_has_more_rows_than_a_transaction_of_the_stages_engine(monkeypatch, lanes):
    rows = [row(n, None if lanes is None else n) for n in range(6_000)]
    assert len(split(rows, lanes)) == 1
    monkeypatch.setenv("DECANTER_ENGINE", "dsql")

    parts = split(rows, lanes)

    assert [len(writes(sets)) for _, sets in parts] == [1_400] * 4 + [400]
    assert [item for _, sets in parts for item, *_ in writes(sets)] == [*range(6_000)]
