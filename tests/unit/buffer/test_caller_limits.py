"""What one caller may have waiting in the ordered queue, as one container keeps to it."""

import random
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.buffer.sqs import backlog
from chalicelib.buffer.sqs.backlog import Gate
from chalicelib.errors import NotConfigured, Problem
from chalicelib.settings import CallerLimits, caller_limits

LIMITS = CallerLimits(among_others=1_000, alone=20_000)


class Waiting:
    """The number of messages in a queue; an exception is raised. asked: how often it was asked."""

    def __init__(self, messages: Any) -> None:
        self.messages = messages
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        if isinstance(self.messages, Exception):
            raise self.messages
        return int(self.messages)


def send(gate: Gate, caller: str, messages: int, now: float, limits: CallerLimits = LIMITS) -> int:
    """Send messages one by one; returns how many were accepted."""
    accepted = 0
    for _ in range(messages):
        try:
            gate.admit(caller, 1, limits, now)
        except Problem:
            continue
        accepted += 1
    return accepted


def refusal(gate: Gate, caller: str, now: float) -> Problem:
    with pytest.raises(Problem) as caught:
        gate.admit(caller, 1, LIMITS, now)
    return caught.value


def test_who_has_sent_most_is_refused_and_nobody_else() -> None:
    waiting = Waiting(0)
    gate = Gate(waiting)
    for caller, messages in (("flooder", 2_000), ("busy", 100), ("quiet", 3)):
        assert send(gate, caller, messages, now=0.0) == messages
    waiting.messages = 2_000

    assert send(gate, "flooder", 50, now=40.0) == 0
    assert send(gate, "busy", 50, now=40.0) == 50
    assert send(gate, "quiet", 50, now=40.0) == 50
    assert send(gate, "new", 30, now=40.0) == 30


def test_nobody_is_refused_while_few_messages_wait() -> None:
    gate = Gate(Waiting(LIMITS.among_others))

    assert send(gate, "other", 1, now=0.0) == 1
    assert send(gate, "flooder", 5_000, now=0.0) == 5_000


def test_a_container_that_has_seen_little_of_a_caller_refuses_nothing_and_asks_nothing() -> None:
    waiting = Waiting(1_000_000)
    gate = Gate(waiting)
    send(gate, "other", 1, now=0.0)

    assert send(gate, "caller", 31, now=0.0) == 31
    assert waiting.asked == 0
    assert send(gate, "caller", 5, now=0.0) == 0
    assert waiting.asked == 1


def test_two_callers_may_have_as_much_as_one_each() -> None:
    waiting = Waiting(0)
    gate = Gate(waiting)
    for _ in range(500):
        send(gate, "one", 1, now=0.0)
        send(gate, "two", 1, now=0.0)

    waiting.messages = 1_900
    assert send(gate, "one", 1, now=40.0) == send(gate, "two", 1, now=40.0) == 1
    waiting.messages = 2_200
    assert send(gate, "one", 1, now=80.0) == send(gate, "two", 1, now=80.0) == 0


def test_a_request_of_many_messages_counts_as_many() -> None:
    gate = Gate(Waiting(2_000))
    gate.admit("other", 1, LIMITS, 0.0)
    gate.admit("bulk", 500, LIMITS, 0.0)

    assert refusal(gate, "bulk", 0.0).type == "too-many-waiting"


def test_a_caller_that_is_alone_may_have_far_more() -> None:
    waiting = Waiting(19_000)
    gate = Gate(waiting)

    assert send(gate, "caller", 5_000, now=0.0) == 5_000
    waiting.messages = 21_000
    assert send(gate, "caller", 10, now=40.0) == 0
    assert send(gate, "caller", 10, now=80.0, limits=LIMITS._replace(alone=None)) == 10


def test_a_caller_counts_as_one_of_the_others_for_an_hour() -> None:
    hour = 3_600.0
    waiting = Waiting(0)
    gate = Gate(waiting)
    gate.admit("other", 1, LIMITS, now=100.0)
    send(gate, "flooder", 2_000, now=200.0)
    waiting.messages = 19_000

    assert send(gate, "flooder", 10, now=300.0) == 0
    assert send(gate, "flooder", 100, now=3_500.0) < 40
    send(gate, "flooder", 30, now=2 * hour)
    send(gate, "flooder", 2_000, now=3 * hour + 1)
    assert send(gate, "flooder", 10, now=3 * hour + 2) == 10


def test_the_less_a_container_has_seen_the_more_has_to_wait() -> None:
    gate = Gate(waiting := Waiting(0))
    send(gate, "other", 1, now=0.0)
    send(gate, "caller", 40, now=0.0)

    waiting.messages = 1_500  # 40 of 71 messages
    assert send(gate, "caller", 1, now=40.0) == 1
    waiting.messages = 2_500
    assert send(gate, "caller", 1, now=46.0) == 0


def test_a_flood_is_refused_as_well_hours_later() -> None:
    gate = Gate(waiting := Waiting(0))
    for hours in (0, 2, 4):
        send(gate, "other", 1, now=3_600.0 * hours)
        waiting.messages = 0
        send(gate, "flooder", 2_000, now=3_600.0 * hours + 40)
        waiting.messages = 2_000
        assert send(gate, "flooder", 10, now=3_600.0 * hours + 80) == 0


def test_what_was_accepted_long_ago_is_forgotten() -> None:
    waiting = Waiting(0)
    gate = Gate(waiting)
    send(gate, "earlier", 1_000, now=0.0)
    send(gate, "now", 200, now=1_200.0)
    waiting.messages = 1_500

    assert send(gate, "earlier", 10, now=1_200.0) == 10
    assert send(gate, "now", 10, now=1_240.0) == 0


def test_a_container_that_was_idle_for_a_year_goes_on() -> None:
    gate = Gate(Waiting(10**9))
    send(gate, "caller", 30, now=0.0)
    year = 365 * 86_400.0

    assert send(gate, "caller", 31, now=year) == 31
    assert send(gate, "caller", 1, now=year) == 0


def test_messages_are_counted_every_few_seconds_and_rarely_while_a_queue_is_calm() -> None:
    asked = {}
    for messages in (10, 500):
        for a_second in (0.5, 50):
            gate = Gate(waiting := Waiting(messages))
            send(gate, "other", 1, now=0.0)
            send(gate, "caller", 31, now=0.0)
            for second in range(60):
                send(gate, "caller", int(a_second) or second % 2, now=second)
            asked[messages, a_second] = waiting.asked

    assert asked == {(10, 0.5): 2, (10, 50): 12, (500, 0.5): 10, (500, 50): 12}


@pytest.mark.parametrize("error", [EndpointConnectionError(endpoint_url="x"), KeyError("x")])
def test_without_a_count_nothing_is_refused_and_the_log_says_so_once(error, caplog) -> None:
    waiting = Waiting(error)
    gate = Gate(waiting)
    send(gate, "other", 1, now=0.0)

    for minute in range(5):
        assert send(gate, "flooder", 1_000, now=60.0 * minute) == 1_000
    assert waiting.asked == 5
    assert caplog.text.count("cannot count the messages") == 1
    waiting.messages = 5_000
    assert send(gate, "flooder", 10, now=600.0) == 0


def test_a_client_is_told_when_the_queue_will_have_room() -> None:
    waiting = Waiting(3_000)
    gate = Gate(waiting)
    send(gate, "other", 1, now=0.0)
    send(gate, "flooder", 30_000, now=0.0, limits=CallerLimits(10**6, None))

    def seconds(messages: int, now: float) -> int:
        waiting.messages = messages
        return int(refusal(gate, "flooder", now).headers["Retry-After"])

    assert seconds(3_000, 100.0) == 30  # not known yet
    assert seconds(2_900, 110.0) == 190  # 10 a second; 1,900 are too many
    assert seconds(1_400, 125.0) == 5  # 100 a second
    assert seconds(1_400, 135.0) == 30
    assert seconds(1_399, 145.0) == 300
    assert seconds(3_000, 155.0) == 30  # it grows


def test_a_refusal_says_how_many_wait_and_the_log_whose_they_are(caplog) -> None:
    waiting = Waiting(0)
    gate = Gate(waiting)
    send(gate, "other", 1, now=0.0)
    send(gate, "flooder\n", 100_000, now=0.0)
    waiting.messages = 1_500

    problem = refusal(gate, "flooder\n", 40.0)
    refusal(gate, "flooder\n", 41.0)

    assert "some 1,499 messages" in problem.detail
    assert "have 1,000 there" in problem.detail
    assert f"after {problem.headers['Retry-After']} s" in problem.detail
    [line] = [each for each in caplog.messages if "refused" in each]
    assert "of the caller 'flooder\\n'" in line


def test_a_container_remembers_the_callers_who_have_sent_most() -> None:
    waiting = Waiting(0)
    gate = Gate(waiting)
    send(gate, "flooder", 5_000, now=0.0)
    for number in range(3_000):
        gate.admit(f"caller {number}", 1, LIMITS, 0.0)

    assert len(gate._taken) <= backlog._MOST_CALLERS
    waiting.messages = 2_000
    assert send(gate, "flooder", 10, now=40.0) == 0


def test_containers_that_see_a_sample_each_agree() -> None:
    """Whichever of fifty containers a request reaches, the same callers are refused."""
    numbers = random.Random(0)
    waiting = Waiting(0)
    gates = [Gate(waiting) for _ in range(50)]
    shares = {"flooder": 0.9, "busy": 0.07, "quiet": 0.03}
    for caller in numbers.choices([*shares], [*shares.values()], k=40_000):
        numbers.choice(gates).admit(caller, 1, LIMITS, 0.0)
    waiting.messages = 3_000

    for caller, is_refused in (("flooder", True), ("busy", False), ("quiet", False)):
        accepted = sum(send(gate, caller, 1, now=40.0) for gate in gates)
        assert accepted == (0 if is_refused else len(gates)), caller


def test_limits_are_numbers_of_messages() -> None:
    assert caller_limits({}) == CallerLimits(100_000, 10_000_000)
    assert caller_limits({"DECANTER_CALLER_BACKLOG": "0"}) is None
    assert caller_limits({"DECANTER_LONE_CALLER_BACKLOG": "0"}) == CallerLimits(100_000, None)
    for name in ("DECANTER_CALLER_BACKLOG", "DECANTER_LONE_CALLER_BACKLOG"):
        with pytest.raises(NotConfigured, match=f"{name} is 'many'; set it to a number"):
            caller_limits({name: "many"})
