"""A run of the publish function: what is sent, in which order, and what is taken out."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from chalicelib import asking, aws, stage
from chalicelib.errors import NotConfigured
from chalicelib.publish import handler, refusals, topic
from chalicelib.publish.event import Event
from chalicelib.publish.refusals import Refusal
from chalicelib.publish.sending import Unpublishable
from tests.kit.clocks import ByPauses
from tests.kit.destinations import TOPIC
from tests.kit.outbox_stub import Operate, event
from tests.kit.world import Context

DENIED = ClientError(
    {
        "Error": {"Code": "AuthorizationError", "Message": "not you"},
        "ResponseMetadata": {"HTTPStatusCode": 403},
    },
    "PublishBatch",
)
THROTTLED = refusals.of_entry("Throttled", "too fast")
INVALID = refusals.of_entry("InvalidParameter", "no good")


@dataclass
class Service:
    """A topic. answers: to the first calls, as it refuses; later ones are taken. batches: the
    sequences of each call. taken: those of the events that it has. slow: of those that it throttles
    each time."""

    answers: list[Any] = field(default_factory=list)
    batches: list[list[int]] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    slow: set[int] = field(default_factory=set)
    always: Any = None

    def send(self, destination: stage.Destination, events: Sequence[Event]) -> dict[int, Refusal]:
        assert destination == TOPIC
        self.batches.append([each.sequence for each in events])
        slow = {n: THROTTLED for n, each in enumerate(events) if each.sequence in self.slow}
        answer = self.answers.pop(0) if self.answers else self.always or slow
        if isinstance(answer, Exception):
            raise answer
        refused: dict[int, Refusal] = answer
        self.taken += [each.sequence for n, each in enumerate(events) if n not in refused]
        return refused


@dataclass
class World:
    operate: Operate
    service: Service
    clock: ByPauses

    def fill(self, *places: int) -> None:
        self.operate.rows |= {place: event(place) for place in places}

    def run(self, seconds: float = 60) -> dict[str, int]:
        return handler.publish(Context(seconds))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> World:
    clock = ByPauses(monkeypatch, "chalicelib.publish.", "chalicelib.asking")
    found = World(Operate({}), Service(), clock)

    def within(_deadline: float, call: Callable[[], Any]) -> Any:
        clock.sleep(0.02)  # which each question takes
        return call()

    monkeypatch.setattr(aws, "within", within)
    monkeypatch.setattr(asking, "_client", lambda: found.operate)
    monkeypatch.setattr(topic, "send", found.service.send)
    monkeypatch.setenv("DECANTER_OPERATE_FUNCTION", "operate")
    monkeypatch.setenv("DECANTER_EVENTS", TOPIC.arn)
    caplog.set_level(logging.INFO, "decanter.publish")
    return found


def test_events_are_sent_in_order_and_then_taken_out(world: World, caplog: Any) -> None:
    world.fill(*range(1, 26))
    world.operate.rows |= {3: None, 25: None}  # not the last rows of their requests

    assert world.run() == {"published": 23, "refused": 0}

    assert world.service.taken == [each for each in range(1, 26) if each not in (3, 25)]
    assert [len(each) for each in world.service.batches] == [10, 10, 3]
    assert world.operate.rows == {}
    assert world.operate.asked[:2] == [([], 200), ([*range(1, 26)], 200)]
    assert caplog.messages[-1] == (
        "published 23 events, 0 refused; 0 rows left, the oldest for 0.0 s"
    )


def test_it_asks_every_two_seconds_for_most_of_a_minute(world: World) -> None:
    began = world.clock.now

    world.run(60)

    assert len(world.operate.asked) == 25 + 1
    assert 50 <= world.clock.now - began < 50.1


def test_rows_without_events_are_taken_out_without_a_pause(world: World) -> None:
    world.operate.rows = dict.fromkeys(range(1, 1_001))

    began = world.clock.now

    world.run()

    assert world.operate.asked[5] == ([*range(801, 1_001)], 200)
    assert world.service.batches == []
    assert world.clock.now > began  # and then it waits


def test_what_is_sent_and_not_confirmed_is_repeated_in_order(world: World) -> None:
    world.fill(*range(1, 15))
    send = world.service.send

    def send_and_lose_operate(*given: Any) -> Any:
        world.operate.busy = 1_000
        return send(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topic, "send", send_and_lose_operate)
        world.run()
    assert [*world.operate.rows] == [*range(1, 15)]
    world.operate.busy = 0
    world.run()

    assert world.service.taken == [*range(1, 15)] * 2
    assert world.operate.rows == {}


def test_what_a_batch_leaves_is_sent_before_anything_later(world: World) -> None:
    world.fill(*range(1, 16))
    world.service.answers = [{2: THROTTLED, 7: THROTTLED}, {0: THROTTLED}]

    world.run()

    assert world.service.batches == [[*range(1, 11)], [3, 8], [3], [*range(11, 16)]]
    assert sorted(world.service.taken) == [*range(1, 16)]
    assert world.operate.rows == {}


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://sns.test"),
        ClientError({"Error": {"Code": "Throttling"}}, "PublishBatch"),
        ClientError(
            {"Error": {"Code": "So"}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "PublishBatch"
        ),
    ],
)
def test_a_call_that_fails_for_now_is_made_again(world: World, error: Exception) -> None:
    world.fill(1, 2)
    world.service.answers = [error, error]

    assert world.run() == {"published": 2, "refused": 0}

    assert world.service.batches == [[1, 2]] * 3


def test_while_the_service_throttles_everything_waits(world: World, caplog: Any) -> None:
    world.fill(*range(1, 13))
    world.service.always = dict.fromkeys(range(10), THROTTLED)

    assert world.run() == {"published": 0, "refused": 0}

    assert {tuple(each) for each in world.service.batches} == {(*range(1, 11),)}
    assert len(world.service.batches) < 30  # it backs off
    assert [*world.operate.rows] == [*range(1, 13)]
    assert caplog.messages[-1].startswith("published 0 events, 0 refused; 12 rows left, the oldest")


def test_only_what_is_finished_is_taken_out_when_the_time_is_over(world: World) -> None:
    world.fill(*range(1, 21))
    world.operate.rows[2] = world.operate.rows[14] = None
    world.service.slow = {16}

    world.run()

    assert world.service.batches[:3] == [[1, *range(3, 12)], [12, 13, *range(15, 21)], [16]]
    assert [*world.operate.rows] == [*range(16, 21)]  # some of them are repeated later


def test_it_goes_on_when_operate_was_busy(world: World) -> None:
    world.fill(1)
    world.operate.busy = 5

    assert world.run() == {"published": 1, "refused": 0}


def test_a_run_without_an_answer_fails(world: World, caplog: Any) -> None:
    world.operate.busy = 1_000

    with pytest.raises(asking.Busy, match="as many calls as it may"):
        world.run()

    assert not [text for text in caplog.messages if text.startswith("published")]


def test_a_run_that_cannot_confirm_says_so(world: World, caplog: Any) -> None:
    world.fill(1)
    send = world.service.send

    def lose_operate(*given: Any) -> Any:
        world.operate.busy = 1_000
        return send(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topic, "send", lose_operate)
        assert world.run() == {"published": 1, "refused": 0}

    assert "not told of 1 rows" in caplog.text
    age = float(caplog.messages[-1].split()[-2])
    assert age >= 7 + 40  # it grows, although nobody says so


def test_what_is_refused_for_good_does_not_stop_the_others(world: World, caplog: Any) -> None:
    world.fill(*range(1, 13))
    world.service.answers = [{4: INVALID}]

    assert world.run() == {"published": 11, "refused": 1}

    assert 5 not in world.service.taken
    assert world.operate.rows == {}
    [said] = [text for text in caplog.messages if "is given up" in text]
    assert "InvalidParameter no good" in said
    assert event(5)["id"] in said
    assert "published 11 events, 1 refused; 0 rows left" in caplog.messages[-1]


def test_where_nothing_is_taken_nothing_is_given_up(world: World) -> None:
    world.fill(1, 2)
    world.service.always = {0: INVALID, 1: INVALID}

    with pytest.raises(Unpublishable, match="InvalidParameter no good"):
        world.run()

    assert [*world.operate.rows] == [1, 2]


def test_what_may_not_be_published_waits_and_what_was_sent_is_taken_out(
    world: World, caplog: Any
) -> None:
    world.fill(*range(1, 13))
    world.service.answers = [{}]
    world.service.always = DENIED

    with pytest.raises(Unpublishable, match=r"AuthorizationError not you.*its policy"):
        world.run()

    assert [*world.operate.rows] == [11, 12]
    assert caplog.messages[-1].startswith("published 10 events, 0 refused; 2 rows left")


def test_a_timeout_that_leaves_no_time_is_told(world: World) -> None:
    with pytest.raises(NotConfigured, match="lambda_timeout of publish"):
        world.run(10)


def test_without_the_setting_it_says_what_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DECANTER_EVENTS")

    with pytest.raises(NotConfigured, match="DECANTER_EVENTS"):
        world.run()
