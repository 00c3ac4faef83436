"""A stream in virtual time, and what an event source mapping makes of a batch's end."""

from decanter.proof.simulation.stream import KEPT_SECONDS, Lane, StreamRecord


def lane(*times: float) -> Lane:
    return Lane([StreamRecord(str(n), n, f"pk{n}", {}, at) for n, at in enumerate(times)])


def left(lane: Lane) -> list[str]:
    return [each.sequence for each in lane.records]


def test_a_batch_that_names_nothing_is_finished() -> None:
    shard = lane(0, 0, 0)

    shard.end(shard.take(1, 2), frozenset(), 1)

    assert left(shard) == ["2"]
    assert [each.sequence for each in shard.take(1, 9)] == ["2"]


def test_it_goes_on_with_the_lowest_record_that_was_named() -> None:
    shard = lane(0, 0, 0, 0)

    shard.end(shard.take(1, 4), frozenset({"3", "1"}), 1)

    assert left(shard) == ["1", "2", "3"]
    assert shard.take(1, 9)


def test_a_batch_that_fails_comes_again_in_halves_after_a_pause() -> None:
    shard = lane(0, 0, 0, 0)

    shard.end(shard.take(1, 4), None, 1)

    assert left(shard) == ["0", "1", "2", "3"]
    assert shard.take(1, 4) == []
    assert [each.sequence for each in shard.take(shard.ready_at, 4)] == ["0", "1"]
    shard.end(shard.records[:2], frozenset(), 2)
    assert [each.sequence for each in shard.take(2, 4)] == ["2", "3"]


def test_the_pauses_grow() -> None:
    shard, now, pauses = lane(0), 1.0, []
    for _ in range(3):
        shard.end(shard.take(now, 1), frozenset({"0"}), now)
        pauses.append(shard.ready_at - now)
        now = shard.ready_at

    assert pauses == sorted({*pauses})


def test_a_lane_has_one_batch_at_a_time() -> None:
    shard = lane(0, 0)
    shard.take(1, 1)

    assert shard.take(1, 1) == []


def test_a_record_is_dropped_after_a_day() -> None:
    shard = lane(0, 5)

    assert [each.sequence for each in shard.take(KEPT_SECONDS, 9)] == ["1"]
    assert [each.sequence for each in shard.dropped] == ["0"]
