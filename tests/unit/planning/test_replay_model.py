"""The model of a replay, by counting: batches, their messages, containers; beside a real poll."""

from collections.abc import Sequence
from typing import Any

import pytest
from ministack.services import sqs

from chalicelib.contract import resources
from decanter.planning.profile import Traffic
from decanter.planning.replay.emulated import Times, emulated, simulate
from decanter.planning.replay.figures import Run
from decanter.planning.replay.traffic import Maker, Planned, fresh
from decanter.planning.service import OpService, Service
from tests.kit import planned

ORDERED = emulated(planned.drain("ordered", cap=4, lanes=16, mixes_lanes=True, batch=10))
UNORDERED = emulated(planned.drain(cap=2, batch=1_000, window_seconds=1))
DRAINS = {"ordered": ORDERED, "unordered": UNORDERED}
SECOND = OpService(1.0, 0.0, 0.0, 0.0)
"""Of a batch, however large."""

STATIONS = Traffic("stations", 1.0, 1, 200, {"create-or-merge": 1.0}, keys=50)
OBSERVATIONS = Traffic("observations", 1.0, 3, 200, {"create": 1.0})


def requests(traffic: Traffic, *seconds: float) -> list[Planned]:
    maker = Maker(traffic, resources.resource(traffic.resource), 1, fresh())
    [op] = traffic.ops
    return [maker.request(second, op) for second in seconds]


def run(sent: Sequence[Planned], times: Times | None = None) -> Run:
    ops = {"create": SECOND, "create-or-merge": SECOND}
    chosen = times or Times(Service(0.0, ops))
    return simulate(sent, DRAINS, {"ordered": chosen, "unordered": chosen}, 1)


def batches(found: Run, buffer: str = "ordered") -> list[list[float]]:
    """When the messages of each batch were accepted."""
    made: dict[str, list[float]] = {}
    for each in found.of(buffer):
        made.setdefault(each.batch, []).append(each.accepted)
    return [*made.values()]


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (10, [10]), (11, [10, 1]), (35, [10, 10, 10, 5])]
)
def test_what_waits_at_once_is_poured_by_ten(count: int, sizes: list[int]) -> None:
    sent = [*requests(STATIONS, 0.0), *requests(STATIONS, *[0.5] * count)]

    first, *found = batches(run(sent))

    assert first == [0.0]
    assert [len(each) for each in found] == sizes


def test_the_fifo_queue_has_one_batch_at_a_time_and_the_other_two() -> None:
    seconds = [place / 100 for place in range(60)]
    found = run([*requests(STATIONS, *seconds), *requests(OBSERVATIONS, *seconds)])

    ends = [sorted({each.poured for each in found.of(buffer)}) for buffer in DRAINS]
    assert len(ends[0]) == 7  # the first has one message
    assert min(b - a for a, b in zip(ends[0], ends[0][1:], strict=False)) >= 1.0
    unordered = batches(found, "unordered")
    assert [len(each) for each in unordered][:4] == [1, 1, 10, 10]
    assert found.connections == 1 + 2


def test_a_lane_does_not_matter_to_what_is_poured_next() -> None:
    sent = requests(STATIONS, *[place / 1000 for place in range(40)])
    assert len({each.messages[0].lane for each in sent}) > 5

    accepted = [second for each in batches(run(sent)) for second in each]

    assert accepted == sorted(accepted)


def test_a_poll_in_vain_makes_the_next_one_late() -> None:
    """The poller hears of the second message while a batch runs, and of the end of that within
    the 50 ms after."""
    sent = requests(STATIONS, 0.0, 0.98)

    found = run(sent).of("ordered")

    assert [each.poured for each in found] == pytest.approx([1.0, 2.03])
    later = run(requests(STATIONS, 0.0, 0.5)).of("ordered")
    assert [each.poured for each in later] == pytest.approx([1.0, 2.0])


def test_a_container_is_busy_after_commit_too() -> None:
    ops = {"create-or-merge": SECOND}
    times = Times(Service(0.0, ops, return_seconds=0.5))

    found = run(requests(STATIONS, 0.0, 0.1), times).of("ordered")

    assert [each.poured for each in found] == pytest.approx([1.0, 2.5])


def test_a_container_connects_when_it_is_needed() -> None:
    times = Times(Service(3.0, {"create": SECOND}))

    assert run(requests(OBSERVATIONS, 0.0, 5.0), times).connections == 1
    found = run(requests(OBSERVATIONS, 0.0, 0.5, 5.0), times)

    assert [each.poured for each in found.of("unordered")] == pytest.approx([4.0, 4.5, 6.0])
    assert found.connections == 2


def test_batches_vary_as_those_that_were_measured() -> None:
    ops = {"create-or-merge": SECOND}
    times = Times(Service(0.0, ops), (0.5, 2.0))

    lags = {
        round(each.lag, 3) for each in run(requests(STATIONS, *range(0, 300, 3)), times).messages
    }

    assert lags == {0.5, 2.0}


def test_batches_are_those_of_a_real_poll_of_the_local_queue() -> None:
    """Messages come while batches are poured, which take a second each: as many to the simulated
    queue as to MiniStack's, which is polled whenever the simulated one is."""
    chunks = {0.0: 3, 0.4: 14, 2.6: 25, 3.1: 1, 4.9: 7, 9.5: 2}
    sent = requests(STATIONS, *[second for second, count in chunks.items() for _ in range(count)])
    simulated = run(sent)
    polls = sorted({each.poured - 1.0 for each in simulated.messages})
    url = _queue("replay.fifo")
    left, real = [*enumerate(sent)], []

    for poll in polls:
        while left and left[0][1].second <= poll + 1e-6:
            number, request = left.pop(0)
            _send(url, str(number), str(request.messages[0].lane))
        found = sqs._receive_messages_for_esm(url, ORDERED.batch)
        sqs._delete_messages_for_esm(url, {each["receipt_handle"] for each in found})
        real.append([sent[int(each["body"])].second for each in found])

    assert batches(simulated) == real
    assert [len(each) for each in real] == [3, 10, 4, 10, 10, 10, 3, 2]
    assert not sqs._receive_messages_for_esm(url, ORDERED.batch)


def _queue(name: str) -> str:
    made: dict[str, Any] = sqs._act_create_queue(
        {"QueueName": name, "Attributes": {"FifoQueue": "true"}}, ""
    )
    return str(made["QueueUrl"])


def _send(url: str, id_: str, lane: str) -> None:
    entry = {"QueueUrl": url, "MessageBody": id_, "MessageGroupId": lane}
    sqs._act_send_message({**entry, "MessageDeduplicationId": id_}, url)


def test_what_the_local_cloud_makes_of_a_stage() -> None:
    assert (ORDERED.cap, ORDERED.lanes, ORDERED.batch, ORDERED.window_seconds) == (1, 1, 10, 0)
    assert (UNORDERED.cap, UNORDERED.lanes, UNORDERED.batch) == (2, 0, 10)
    assert UNORDERED.window_seconds == 0
