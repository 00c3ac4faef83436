"""When what waits will be poured, and how good such estimates were: pure functions."""

import pytest

from chalicelib.api.reads.estimate import estimate, latest, score, unknown
from chalicelib.messages.pace import Pace

NOW = 1_800_000_000.0
STEADY = Pace("ordered", int(NOW), 600, 60, 60.0, 0.5, 0, None)


def test_the_writes_that_wait_are_poured_at_the_pace_of_the_last_minute() -> None:
    found = estimate("ordered", 20, STEADY, False, NOW)

    assert (found.writes_ahead, found.writes_per_second, found.seconds) == (200, 10.0, 20.0)
    assert found.at == "2027-01-15T08:00:20.000+00:00"
    assert "200 writes in 20 messages wait in ordered" in found.basis
    assert "; 10 writes a second" in found.basis
    fast = estimate("ordered", 2, STEADY._replace(writes=741_234), False, NOW)
    assert (fast.writes_per_second, "12,354 writes a second" in fast.basis) == (12_400.0, True)
    slow = estimate("ordered", 2, STEADY._replace(writes=31), False, NOW)
    assert "0.52 writes a second" in slow.basis


@pytest.mark.parametrize(("busy", "seconds"), [(60, 20.0), (30, 10.0), (3, 1.0), (0.01, 0.3)])
def test_only_time_in_which_something_waited_counts(busy: float, seconds: float) -> None:
    found = estimate("ordered", 20, STEADY._replace(busy=busy, idle=0), False, NOW)

    assert found.seconds == seconds


def test_time_since_the_last_pour_counts_while_something_waits() -> None:
    pace = STEADY._replace(busy=10, idle=20)

    assert estimate("ordered", 20, pace, False, NOW).writes_per_second == 20.0
    assert estimate("ordered", 0, pace, False, NOW).writes_per_second == 60.0
    assert estimate("ordered", 20, pace._replace(idle=600), False, NOW).writes_per_second == 10.0


def test_a_message_holds_at_least_one_write() -> None:
    assert estimate("ordered", 9, STEADY._replace(writes=1), False, NOW).writes_ahead == 9


def test_an_empty_queue_is_poured_at_once_even_if_nothing_was_poured_or_it_is_paused() -> None:
    for pace, paused in ((STEADY, True), (STEADY._replace(writes=0, messages=0), False)):
        found = estimate("ordered", 0, pace, paused, NOW)
        assert (found.seconds, found.writes_ahead) == (0.0, 0)
        assert "nothing waits in ordered" in found.basis
    assert estimate("ordered", 0, None, False, NOW).writes_per_second is None


@pytest.mark.parametrize(
    ("messages", "pace", "paused", "why"),
    [
        (5, STEADY, True, "the drain of ordered is paused"),
        (5, STEADY._replace(writes=0, messages=0), False, "nothing of ordered was poured"),
        (5, None, False, "the database does not tell"),
        (None, STEADY, False, "how many messages wait in ordered"),
    ],
)
def test_what_is_not_known_is_null_with_the_reason(
    messages: int | None, pace: Pace | None, paused: bool, why: str
) -> None:
    found = estimate("ordered", messages, pace, paused, NOW)

    assert (found.seconds, found.at) == (None, None)
    assert why in found.basis


def test_of_several_buffers_the_latest_counts_unless_one_is_not_known() -> None:
    short, long = (estimate("ordered", each, STEADY, False, NOW) for each in (1, 20))

    assert latest([short, long, short]) == long
    assert latest([long, unknown("nobody says"), short]) == unknown("nobody says")


def waited(at: float, writes: int, pour: float, true: float) -> Pace:
    """A moment so many seconds ago, at which writes waited that were poured within `true`."""
    return STEADY._replace(at=NOW - at, writes=pour, waiting=writes, last=NOW - at + true)


def test_estimates_of_past_moments_are_compared_with_what_became_of_them() -> None:
    past = [
        waited(600, writes=100, pour=600, true=10),  # as predicted
        waited(540, writes=100, pour=600, true=19),
        waited(480, writes=100, pour=600, true=21),  # more than twice as long
        waited(420, writes=100, pour=600, true=4.9),  # less than half of it
    ]

    found = score(past, NOW)

    assert (found["scored"], found["within_factor_2"]) == (4, 0.5)
    assert found["median_error_seconds"] == (5.1 + 9) / 2


def test_a_fraction_of_a_second_counts_as_one() -> None:
    assert score([waited(600, writes=1, pour=600, true=1.9)], NOW)["within_factor_2"] == 1.0
    assert score([waited(600, writes=1, pour=600, true=2.1)], NOW)["within_factor_2"] == 0.0


def test_moments_that_say_nothing_are_not_scored() -> None:
    past = [
        waited(600, writes=0, pour=600, true=10),
        waited(600, writes=100, pour=0, true=10),
        waited(600, writes=100, pour=600, true=541),  # poured just now: more may wait
        STEADY._replace(waiting=5),
    ]

    found = score(past, NOW)

    assert (found["scored"], found["median_error_seconds"], found["within_factor_2"]) == (
        (0, None, None)
    )
    assert score([waited(600, writes=100, pour=600, true=539)], NOW)["scored"] == 1
