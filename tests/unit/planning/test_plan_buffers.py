"""A buffer and its drain in simulated time: batches, windows, lanes, outages."""

from random import Random

import pytest

from decanter.planning.buffers import WARM_SECONDS, Buffer, Clock, Down
from decanter.planning.capacity import DrainCapacity
from decanter.planning.requests import SentMessage
from decanter.planning.service import Service
from decanter.planning.tallies import Lags
from tests.kit.planned import drain


class Bench:
    """A buffer whose messages are accepted at given seconds. lags: of those poured, in order."""

    def __init__(
        self,
        drain: DrainCapacity,
        cold: float = 0.0,
        down: Down | None = None,
        further: float = 0.0,
    ) -> None:
        self.clock = Clock()
        self.lags: list[float] = []
        found = Lags()
        found.count = self.lags.extend  # type: ignore[method-assign]
        service = Service(cold, {}, further_op_seconds=further)
        self.buffer = Buffer(drain, service, self.clock, Random(1), lambda: down or Down())
        self.buffer.lags = [found, found]

    def accept(self, second: float, lane: int = 0, seconds: float = 1.0, bytes: int = 1) -> None:
        message = SentMessage(lane, 1, bytes, 0.0, seconds, 0)
        self.clock.at(second, self.buffer.accept, message)

    def run(self) -> list[float]:
        while self.clock.next() < float("inf"):
            self.clock.step()
        return self.lags


def test_a_batch_takes_the_longest_fixed_part_and_the_sum_of_the_others() -> None:
    bench = Bench(drain(batch=10))
    bench.accept(0, seconds=5)
    for fixed, own in ((1.0, 0.25), (2.0, 0.5)):
        bench.clock.at(1, bench.buffer.accept, SentMessage(0, 1, 1, own, fixed, 0))

    assert bench.run() == [5, 6.75, 6.75]


def test_a_further_op_or_resource_takes_longer() -> None:
    bench = Bench(drain(batch=10), further=0.5)
    bench.accept(0, seconds=5)
    for kind in (0, 1, 1):
        bench.clock.at(1, bench.buffer.accept, SentMessage(0, 1, 1, 0.0, 1.0, kind))

    assert bench.run() == [5, 5.5, 5.5, 5.5]


def test_what_waits_for_a_container_is_one_batch() -> None:
    bench = Bench(drain(batch=3))
    for second in (0, 0.1, 0.2, 0.3, 0.4):
        bench.accept(second)

    assert bench.run() == pytest.approx([1, 1.9, 1.8, 1.7, 2.6])
    assert bench.buffer.tally.batches == 3


def test_a_window_waits_for_more_messages() -> None:
    bench = Bench(drain(batch=100, window_seconds=5))
    for second in (0, 1, 4):
        bench.accept(second)

    assert bench.run() == [6, 5, 2]


def test_a_full_batch_ends_its_window() -> None:
    bench = Bench(drain(batch=3, window_seconds=5))
    for second in (0, 1, 2, 3):
        bench.accept(second)

    assert bench.run() == [3, 2, 1, 6]


def test_a_batch_has_no_more_bytes_than_an_event() -> None:
    bench = Bench(drain(batch=10, batch_bytes=100))
    for bytes_ in (1, 60, 60, 30):
        bench.accept(0, bytes=bytes_)

    assert bench.run() == [1, 2, 3, 3]


def test_a_lane_is_poured_one_batch_at_a_time() -> None:
    bench = Bench(drain(lanes=2, cap=2, batch=1))
    for lane in (0, 0, 1):
        bench.accept(0, lane)

    assert bench.run() == [1, 1, 2]


def test_a_batch_of_the_ordered_queue_has_messages_of_several_lanes() -> None:
    bench = Bench(drain(lanes=3, cap=1, batch=10, mixes_lanes=True))
    for lane in (0, 1, 2, 1):
        bench.accept(0, lane)

    assert bench.run() == [1, 2, 2, 2]


def test_lanes_of_a_batch_wait_for_all_of_it() -> None:
    bench = Bench(drain(lanes=3, cap=2, batch=2, mixes_lanes=True))
    bench.accept(0, 0)
    bench.accept(0, 2)
    bench.accept(0.5, 0)
    bench.accept(0.5, 1)
    bench.accept(1.2, 1)

    assert bench.run() == [1, 1, 1.5, 1.5, 1.8]


def test_a_shard_is_not_poured_together_with_another() -> None:
    bench = Bench(drain("stream", lanes=3, cap=1, batch=10, window_seconds=1))
    for shard in (0, 1, 2):
        bench.accept(0, shard, seconds=5)

    assert bench.run() == [6, 11, 16]
    assert bench.buffer.tally.batches == 3


def test_a_container_starts_cold_once() -> None:
    bench = Bench(drain(cap=2), cold=3)
    for second in (0, 1, 10, 10 + 2 * WARM_SECONDS):
        bench.accept(second)

    assert bench.run() == [4, 4, 1, 4]
    assert bench.buffer.tally.cold_starts == 3
    assert bench.buffer.most_containers == 2


def test_more_containers_come_in_time() -> None:
    """The mapping of a standard queue begins with five batches at once."""
    bench = Bench(drain(cap=100))
    for _ in range(12):
        bench.accept(0)

    assert bench.run() == [1] * 5 + [2] * 7


def test_the_database_is_tried_again_within_the_invocation() -> None:
    bench = Bench(drain(), down=Down(0, 10))
    bench.accept(0)

    [lag] = bench.run()

    assert 11 < lag < 15
    assert bench.buffer.tally.batches == 1


def test_a_batch_that_loses_its_connection_is_poured_anew() -> None:
    bench = Bench(drain(), down=Down(1, 2))
    bench.accept(0, seconds=3)

    [lag] = bench.run()

    assert 5 < lag < 9


@pytest.mark.parametrize("lanes", [0, 4])
def test_what_an_invocation_cannot_pour_is_delivered_again(lanes: int) -> None:
    bench = Bench(drain(lanes=lanes, batch=1), down=Down(0, 40))
    bench.accept(0)
    bench.accept(0.5)

    lags = bench.run()

    assert lags[-1 if not lanes else 0] == 46
    assert lags != [46, 46.5] if not lanes else lags == [46, 46.5]
    assert bench.buffer.tally.batches == 3


def test_a_shard_is_tried_again_at_once() -> None:
    bench = Bench(drain("stream", lanes=1, visibility_seconds=0), down=Down(0, 40))
    bench.accept(0)

    [lag] = bench.run()

    assert 41 < lag < 46


def test_the_peak_of_the_backlog_is_cleared_when_all_of_it_is_poured() -> None:
    bench = Bench(drain())
    for second in (0, 0, 0, 2.5, 2.5):
        bench.accept(second)
    bench.run()

    assert (bench.buffer.peak, bench.buffer.peak_at, bench.buffer.cleared_at) == (3, 0, 3)
    assert bench.buffer.waiting == 0
