"""The simulation against what queueing theory says, and what always holds."""

import math

import pytest

from decanter.planning.outcome import BufferOutcome, Outcome
from decanter.planning.profile import DAY_SECONDS, Outage
from decanter.planning.simulation import Setting, _Day, simulate
from tests.kit.planned import drain, traffic

RATE = 0.4  # requests a second: 34,560 a day, of which none are skipped
EXPONENTIAL = [-math.log(1 - (each + 0.5) / 1_000) for each in range(1_000)]


def only(outcome: Outcome) -> BufferOutcome:
    [buffer] = outcome.buffers
    return buffer


def mean_lag(given: Setting, seed: int = 1) -> float:
    day = _Day(given, seed, 1.0, stops_when_missed=False)
    day.run()
    return day._total.resources[0].lags.mean


@pytest.mark.parametrize("load", [0.3, 0.5])
def test_one_container_with_constant_service_waits_as_m_d_1(load: float) -> None:
    service = load / RATE

    waited = mean_lag(traffic(RATE, drain(), [service])) - service

    assert waited == pytest.approx(load * service / (2 * (1 - load)), rel=0.08)


@pytest.mark.parametrize("containers", [1, 3])
def test_containers_with_exponential_service_wait_as_m_m_k(containers: int) -> None:
    load = 0.5
    mean = load * containers / RATE
    offered = load * containers
    free = sum(offered**k / math.factorial(k) for k in range(containers))
    full = offered**containers / math.factorial(containers) / (1 - load)
    expected = full / (free + full) * mean / (containers * (1 - load))

    given = traffic(RATE, drain(cap=containers), [mean * each for each in EXPONENTIAL])
    waited = mean_lag(given) - mean

    assert waited == pytest.approx(expected, rel=0.1)


def test_each_lane_waits_as_if_it_were_alone() -> None:
    lanes, load = 4, 0.5
    service = load * lanes / RATE
    given = traffic(RATE, drain("ordered", lanes=lanes, cap=lanes), [service])

    waited = mean_lag(given) - service

    assert waited == pytest.approx(load * service / (2 * (1 - load)), rel=0.1)


def test_messages_that_wait_are_those_that_arrive_during_a_lag() -> None:
    given = traffic(RATE, drain(), [1.25])

    lag, curve = mean_lag(given), only(simulate(given, 1)).backlog

    within = [waiting for second, waiting in curve if second <= DAY_SECONDS]
    assert sum(within) / len(within) == pytest.approx(RATE * lag, rel=0.1)


def test_containers_are_busy_for_as_long_as_the_service_takes() -> None:
    found = only(simulate(traffic(RATE, drain(cap=3), [1.25]), 1))

    assert found.batches == found.messages == found.receives
    assert found.busy_seconds == pytest.approx(1.25 * found.messages)


@pytest.mark.parametrize(
    "given",
    [
        traffic(RATE, drain(), [1.25]),
        traffic(RATE, drain("ordered", lanes=4, cap=2, batch=10, mixes_lanes=True), [3.0]),
        traffic(RATE, drain(batch=1_000, window_seconds=20), [3.0]),
        traffic(RATE, drain("stream", lanes=2, cap=2, batch=9, window_seconds=9), [3.0]),
        traffic(RATE, drain(), [1.25], outage=Outage(30_000, 3_000)),
    ],
    ids=["one", "lanes", "window", "shards", "outage"],
)
def test_all_that_is_accepted_is_poured_once(given: Setting) -> None:
    day = _Day(given, 1, 1.0, stops_when_missed=False)

    found = only(day.run())

    assert found.messages == found.requests > 30_000
    assert day._total.resources[0].lags.total == found.messages
    assert day._buffers[found.name].waiting == 0


def test_a_seed_gives_the_same_day_and_another_one_another() -> None:
    given = traffic(RATE, drain(cap=2), [2.0])

    assert simulate(given, 1) == simulate(given, 1) != simulate(given, 2)


def test_a_long_stretch_that_is_skipped_counts_as_a_whole() -> None:
    """At twenty times the rate, most of the day is skipped."""
    given = traffic(20 * RATE, drain(), [0.5 / 20 / RATE])

    found = simulate(given, 1)

    assert found.simulated_requests < 0.1 * found.requests
    assert found.requests == pytest.approx(20 * RATE * DAY_SECONDS, rel=0.02)
    assert mean_lag(given) == pytest.approx(0.5 / 20 / RATE * 1.5, rel=0.1)
