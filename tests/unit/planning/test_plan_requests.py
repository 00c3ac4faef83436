"""Sample requests: the messages that the API function would make of them."""

from collections import Counter
from dataclasses import replace

import pytest

from chalicelib.settings import LANES, MAX_MESSAGE_BYTES
from decanter.planning.profile import Profile, Rate, Traffic
from decanter.planning.requests import BY_VALUES, RequestKind, kinds
from tests.kit.planned import SERVICE


def drawn(traffic: Traffic, buffer: str = "ordered", lanes: int = LANES) -> list[RequestKind]:
    profile = Profile((Rate(0, 1),), (traffic,), 1.0, "us-east-1")
    return kinds(profile, [buffer], [lanes], [SERVICE], 1)


def stations(rows: int = 1, row_bytes: int = 200, **fields: float) -> Traffic:
    return Traffic("stations", 1.0, rows, row_bytes, {"create": 1.0}, **fields)  # type: ignore[arg-type]


def share_of_the_busiest_lane(kind: RequestKind) -> float:
    lanes = Counter(each.lane for sent in kind.samples for each in sent.messages)
    return max(lanes.values()) / lanes.total()


def test_a_row_is_a_message_in_the_lane_of_its_key() -> None:
    [kind] = drawn(stations())

    assert all(len(each.messages) == each.puts == each.rows == 1 for each in kind.samples)
    assert {each.messages[0].lane for each in kind.samples} == {*range(LANES)}
    assert all(300 < each.bytes < 500 for each in kind.samples)


def test_new_rows_take_less_as_they_travel_by_their_values() -> None:
    traffic = replace(stations(), ops={"create": 0.5, "replace": 0.5})

    [create, other] = [kind.samples[0].bytes for kind in drawn(traffic)]
    [in_front, _] = [kind.samples[0].bytes for kind in drawn(traffic, "stream", 4)]

    assert other - create == pytest.approx(200 * (1 - BY_VALUES), abs=3)
    assert in_front > create


def test_many_rows_are_a_message_for_each_lane_and_ten_in_a_call() -> None:
    [kind] = drawn(stations(rows=1_000))

    for each in kind.samples:
        assert (len(each.messages), each.rows, each.puts) == (LANES, 1_000, 2)


def test_large_rows_are_more_messages() -> None:
    row_bytes = int(MAX_MESSAGE_BYTES / 2 / BY_VALUES)
    [kind] = drawn(stations(rows=10, row_bytes=row_bytes), "unordered", 0)

    for each in kind.samples:
        assert (len(each.messages), each.rows, each.puts) == (10, 10, 5)


def test_a_row_in_front_of_a_table_is_a_message() -> None:
    [kind] = drawn(stations(rows=250), "stream", 4)

    for each in kind.samples:
        assert (len(each.messages), each.puts) == (250, 3)
        assert {message.lane for message in each.messages} == {0, 1, 2, 3}


def test_a_message_takes_the_time_of_its_rows_and_bytes() -> None:
    [kind] = drawn(stations(rows=3), "unordered", 0)
    op = SERVICE.ops["create"]

    for each in kind.samples:
        [message] = each.messages
        seconds = op.message_seconds + 3 * op.row_seconds + message.bytes * op.byte_seconds
        assert message.seconds == pytest.approx(seconds)
        assert message.batch_seconds == op.batch_seconds


@pytest.mark.parametrize(
    ("fields", "share"),
    [
        ({}, 1 / LANES),
        ({"hottest": 0.5}, 0.5 + 0.5 / LANES),
        ({"hottest": 1.0}, 1.0),
        ({"keys": 1}, 1.0),
    ],
    ids=["even", "half", "one", "single"],
)
def test_keys_are_spread_as_the_profile_says(fields: dict[str, float], share: float) -> None:
    [kind] = drawn(stations(**fields))

    assert share_of_the_busiest_lane(kind) == pytest.approx(share, abs=0.02)


def test_zipf_favours_few_keys() -> None:
    """Of a thousand keys, the first one has a share of 1 / (1 + 1/2 + 1/3 + … + 1/1,000) = 0.134,
    and the lanes of all others are some that are as busy as any."""
    [kind] = drawn(stations(zipf=1.0, keys=1_000))

    assert 0.134 < share_of_the_busiest_lane(kind) < 0.134 + 0.134


def test_ops_share_the_requests_of_a_resource() -> None:
    traffic = Traffic("stations", 0.5, 1, 200, {"create": 0.75, "merge": 0.25})

    assert [each.share for each in drawn(traffic)] == [0.375, 0.125]
